"""The data: read, split, and dealt out in batches that every rank draws alike."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ends import SetupError
from numpy.typing import NDArray
from perceptron import DIGITS, PIXELS, Vector

HELD_OUT = 360
"""Rows kept from training, to measure the accuracy on: a fifth."""
SPLIT_SEED = 1797
"""Which rows those are never changes, whatever seed a training has."""


@dataclass(frozen=True)
class Rows:
    """Images and what they show; pixels (rows, PIXELS) from 0 to 1, labels (rows,)."""

    pixels: Vector
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)


def read_digits(path: Path) -> tuple[Rows, Rows]:
    """Return the rows to train on and the rows held out. Raises SetupError where the file is not the data set."""
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise SetupError(f"{path} cannot be read: {error}. Put scikit-learn's digits.csv.gz there") from error
    if table.shape[1] != PIXELS + 1 or len(table) <= HELD_OUT:
        raise SetupError(f"{path} holds a table of shape {table.shape}, not {PIXELS} pixels and a digit a row")
    labels = table[:, PIXELS].astype(np.int64)
    if labels.min() < 0 or labels.max() >= DIGITS:
        raise SetupError(f"{path} has labels outside 0 to {DIGITS - 1}")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(table))
    held_out, training = order[:HELD_OUT], order[HELD_OUT:]
    pixels = table[:, :PIXELS] / 16
    return Rows(pixels[training], labels[training]), Rows(pixels[held_out], labels[held_out])


class Batches:
    """Deals the rows of each epoch in a new order; the same seed gives the same order on every rank."""

    def __init__(self, rows: int, batch: int, random: np.random.Generator) -> None:
        if not 0 < batch <= rows:
            raise SetupError(f"a batch of {batch} rows cannot be drawn from {rows}: change --batch")
        self._rows = rows
        self._batch = batch
        self._random = random
        self.steps_per_epoch = rows // batch
        self._epoch_began = self.position
        self._order = np.empty(0, dtype=np.int64)

    @property
    def position(self) -> str:
        """Where the random numbers stand now, as JSON."""
        return json.dumps(self._random.bit_generator.state)

    def position_before(self, step: int) -> str:
        """Return where the random numbers must stand for `resume(step)`."""
        return self._epoch_began if step % self.steps_per_epoch else self.position

    def resume(self, step: int, position: str) -> None:
        """Go to where the batch of `step` is next."""
        self._random.bit_generator.state = json.loads(position)
        if step % self.steps_per_epoch:
            self._shuffle()

    def draw(self, step: int, rank: int, ranks: int) -> NDArray[np.int64]:
        """Return one rank's share of the batch of `step`, as row numbers. Steps must come in their order."""
        within = step % self.steps_per_epoch
        if within == 0:
            self._shuffle()
        batch = self._order[within * self._batch : (within + 1) * self._batch]
        return np.array_split(batch, ranks)[rank]

    def _shuffle(self) -> None:
        self._epoch_began = self.position
        self._order = self._random.permutation(self._rows)
