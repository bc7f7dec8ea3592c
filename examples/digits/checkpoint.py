"""Checkpoints: written whole or not at all, checked when read, the last two kept."""

import hashlib
import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ends import CheckpointError
from perceptron import SIZE, Vector

KEPT = 2
DIGEST_BYTES = 32


@dataclass(frozen=True)
class State:
    """All that training goes on from."""

    step: int
    """How many steps are done."""
    weights: Vector
    momentum: Vector
    position: str
    """Where the random numbers stand, as JSON."""
    recipe: dict[str, float]
    """The options that make one training different from another."""


def pack(state: State) -> bytes:
    """Return the state as bytes, with a SHA-256 digest in front."""
    about = {"step": state.step, "position": state.position, "recipe": state.recipe}
    body = io.BytesIO()
    np.savez(
        body, weights=state.weights, momentum=state.momentum, about=np.frombuffer(json.dumps(about).encode(), np.uint8)
    )
    return hashlib.sha256(body.getvalue()).digest() + body.getvalue()


def unpack(packed: bytes) -> State:
    """Return the state out of `packed`. Raises CheckpointError where a single bit is not as it was written."""
    digest, body = packed[:DIGEST_BYTES], packed[DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise CheckpointError("it is damaged or was not written to its end")
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        about = json.loads(arrays["about"].tobytes())
        state = State(about["step"], arrays["weights"], arrays["momentum"], about["position"], about["recipe"])
    if state.weights.shape != (SIZE,) or state.momentum.shape != (SIZE,):
        raise CheckpointError(f"it holds {state.weights.size} weights, where the model has {SIZE}")
    return state


def save(folder: Path, state: State) -> Path:
    """Write a checkpoint so that a crash at any moment leaves the earlier ones whole, and drop the oldest."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{state.step:08}.checkpoint"
    write_durably(path, pack(state))
    for _, old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load_newest(folder: Path) -> tuple[State | None, list[str]]:
    """Return the newest checkpoint that is whole, and what was wrong with each newer one.

    None where there is no checkpoint at all. Raises CheckpointError where there are some and none is whole: to begin
    again silently would lose what a person may still rescue.
    """
    problems: list[str] = []
    for _, path in _newest_first(folder):
        try:
            return unpack(path.read_bytes()), problems
        except (CheckpointError, OSError) as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise CheckpointError(f"no checkpoint is whole ({'; '.join(problems)}): remove {folder} to begin again")
    return None, problems


def write_durably(path: Path, content: bytes) -> None:
    """Replace the file at once by `content`, on the disk before this returns."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _newest_first(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    named = ((re.fullmatch(r"step-(\d+)\.checkpoint", path.name), path) for path in folder.iterdir())
    return sorted(((int(match[1]), path) for match, path in named if match), reverse=True)
