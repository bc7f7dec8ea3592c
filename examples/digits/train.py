"""Train a small network on the digits data set, one rank per GPU; start it with `srun`, one task per GPU."""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

# One thread a rank: more would only fight over the processors, and change the order in which sums are made.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from all_reduce import Ring
from allocation import Allocation, read_allocation
from batches import Batches, Rows, read_digits
from checkpoint import State, load_newest, pack, save, unpack, write_durably
from ends import CheckpointError, Exit, RankError
from gpu import DEVICES, DeviceFile, GpuWatch, NvmlReader, end_now
from perceptron import SIZE, accuracy, initial_weights, loss_and_gradient
from rendezvous import connect_ring

MOMENTUM = 0.9


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    data: Path
    checkpoints: Path
    result: Path | None
    run: str | None
    checkpoint_every: int
    step_seconds: float
    epochs: int
    batch: int
    rate: float
    seed: int
    meet_timeout: float
    peer_timeout: float
    stop_timeout: int

    @property
    def recipe(self) -> dict[str, float]:
        """What must be the same when a training is taken up again."""
        return {"batch": self.batch, "rate": self.rate, "seed": self.seed}


def read_options(arguments: list[str]) -> Options:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=Path("data/digits.csv.gz"), help="the data set [%(default)s]")
    add("--checkpoints", type=Path, default=Path("checkpoints"), help="folder that all nodes share [%(default)s]")
    add("--result", type=Path, help="where rank 0 writes the result [CHECKPOINTS/result.json]")
    add("--run", help="name of the folder in CHECKPOINTS to go on from [the job's number]")
    add("--checkpoint-every", type=int, default=50, metavar="STEPS", help="[%(default)s]")
    add("--step-seconds", type=float, default=0.0, help="shortest time that a step may take [%(default)s]")
    add("--epochs", type=int, default=30, help="[%(default)s]")
    add("--batch", type=int, default=128, help="rows per step, over all ranks [%(default)s]")
    add("--rate", type=float, default=0.1, help="learning rate [%(default)s]")
    add("--seed", type=int, default=0, help="of the first weights and the order of the rows [%(default)s]")
    add("--meet-timeout", type=float, default=60.0, help="seconds for all ranks to arrive [%(default)s]")
    add("--peer-timeout", type=float, default=15.0, help="seconds that a rank may be silent [%(default)s]")
    add("--stop-timeout", type=int, default=20, help="seconds to reach a checkpoint after SIGTERM [%(default)s]")
    options = Options(**vars(parser.parse_args(arguments)))
    if options.checkpoint_every < 1 or options.epochs < 1:
        parser.error("--checkpoint-every and --epochs start at 1")
    return options


class StopRequest:
    """Set by SIGTERM or SIGUSR1, and looked at between steps only."""

    def __init__(self, seconds: int) -> None:
        self.asked = False
        self._seconds = seconds
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._ask)
        signal.signal(signal.SIGALRM, self._force)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            signal.alarm(self._seconds)

    def _force(self, number: int, frame: FrameType | None) -> NoReturn:
        os.write(1, b"no checkpoint was reached in time after the signal to stop: ending without one\n")
        os._exit(Exit.FAILED)


class Training:
    """One rank's share of the training."""

    def __init__(self, options: Options, place: Allocation, ring: Ring, watch: GpuWatch, rows: Rows) -> None:
        self.options = options
        self.place = place
        self.ring = ring
        self.watch = watch
        self.rows = rows
        self.folder = options.checkpoints / (options.run or place.job)
        random = np.random.default_rng(options.seed)
        self.weights = initial_weights(random)
        self.momentum = np.zeros(SIZE)
        self.batches = Batches(len(rows), options.batch, random)
        self.steps = options.epochs * self.batches.steps_per_epoch
        self.step = 0
        self.resumed_from: int | None = None

    def resume(self) -> None:
        """Take up the newest whole checkpoint: rank 0 reads it, and all get it from rank 0."""
        packed = b""
        if self.place.rank == 0:
            state, problems = load_newest(self.folder)
            for problem in problems:
                say(self.place, f"passing over a checkpoint: {problem}")
            packed = b"" if state is None else pack(state)
        packed = self.ring.broadcast(packed)
        if not packed:
            return
        state = unpack(packed)
        if state.recipe != self.options.recipe:
            raise CheckpointError(
                f"{self.folder} holds a training with {state.recipe}, but this one has {self.options.recipe}: "
                "give it another --run, or the same options"
            )
        self.weights, self.momentum = state.weights, state.momentum
        self.batches.resume(state.step, state.position)
        self.step = self.resumed_from = state.step

    def run(self, stop: StopRequest) -> bool:
        """Train to the end, or until any rank is asked to stop. Returns whether it came to the end."""
        began = time.monotonic()
        first = self.step
        while self.step < self.steps:
            loss, stopping = self._step(stop.asked)
            last = self.step == self.steps
            if stopping or last or self.step % self.options.checkpoint_every == 0:
                self._save()
            if self.place.rank == 0 and (last or self.step % self.batches.steps_per_epoch == 0):
                say(self.place, f"step {self.step} of {self.steps}, loss {loss:.4f}")
            if stopping and not last:
                return False
            self.watch.sleep(began + (self.step - first) * self.options.step_seconds - time.monotonic())
        return True

    def _step(self, asked_to_stop: bool) -> tuple[float, bool]:
        """Do one step. Returns the batch's mean loss, and whether any rank was asked to stop."""
        self.watch.check()
        share = self.batches.draw(self.step, self.place.rank, self.place.ranks)
        loss, gradient = loss_and_gradient(self.weights, self.rows.pixels[share], self.rows.labels[share])
        total = np.concatenate([gradient, [loss, float(asked_to_stop)]])
        self.ring.all_reduce(total)
        self.momentum = MOMENTUM * self.momentum - self.options.rate * total[:SIZE] / self.options.batch
        self.weights = self.weights + self.momentum
        self.step += 1
        return float(total[SIZE]) / self.options.batch, bool(total[SIZE + 1])

    def _save(self) -> None:
        if self.place.rank == 0:
            position = self.batches.position_before(self.step)
            state = State(self.step, self.weights, self.momentum, position, self.options.recipe)
            say(self.place, f"saved {save(self.folder, state)}")

    def agreed_digest(self) -> str:
        """Return the SHA-256 of the weights. Raises RankError if the ranks do not all have the same."""
        digest = hashlib.sha256(self.weights.tobytes()).hexdigest()
        differing = np.array([float(self.ring.broadcast(digest.encode()) != digest.encode())])
        self.ring.all_reduce(differing)
        if differing[0]:
            raise RankError(f"{differing[0]:.0f} ranks ended with other weights than rank 0: do not use the result")
        return digest


def report(training: Training, held_out: Rows, digest: str, seconds: float) -> None:
    """Write the result, and say it in one line. For rank 0."""
    place = training.place
    result = {
        "job": place.job,
        "accuracy": accuracy(training.weights, held_out.pixels, held_out.labels),
        "steps": training.step,
        "restarts": place.restarts,
        "resumed_from_step": training.resumed_from,
        "seconds": round(seconds, 3),
        "ranks": place.ranks,
        "hosts": list(dict.fromkeys(training.ring.nodes)),
        "weights_sha256": digest,
        "options": {name: str(value) for name, value in asdict(training.options).items()},
    }
    path = training.options.result or training.options.checkpoints / "result.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, (json.dumps(result, indent=2) + "\n").encode())
    start = "from the start" if training.resumed_from is None else f"from step {training.resumed_from}"
    say(
        place,
        f"done: accuracy {result['accuracy']:.4f} on {len(held_out)} rows held out, {training.step} steps, {start}, "
        f"{place.restarts} restarts, {place.ranks} ranks on {', '.join(dict.fromkeys(training.ring.nodes))}, "
        f"{seconds:.1f} s",
    )


def train(options: Options, place: Allocation, stop: StopRequest) -> Exit:
    """Be one rank from start to end."""
    began = time.monotonic()
    rows, held_out = read_digits(options.data)
    device = DeviceFile(place.gpu, os.environ.get("FLEETWARD_GPU_DEVICES", DEVICES))
    reader = NvmlReader(place.gpu)
    with GpuWatch(device, reader, end_now) as watch:
        say(place, f"holds {device.path}, {reader.uuid()}")
        with Ring(place.rank, connect_ring(place, options.meet_timeout), options.peer_timeout) as ring:
            training = Training(options, place, ring, watch, rows)
            training.resume()
            if not training.run(stop):
                say(place, f"stopped at step {training.step} as asked; started again it goes on from there")
                return Exit.STOPPED
            signal.alarm(0)
            digest = training.agreed_digest()
            if place.rank == 0:
                report(training, held_out, digest, time.monotonic() - began)
    return Exit.DONE


def say(place: Allocation, text: str) -> None:
    """Write one line to the job's log."""
    print(f"rank {place.rank} on {place.node}: {text}", flush=True)


def main() -> int:
    """Run this rank and return its exit code."""
    options = read_options(sys.argv[1:])
    stop = StopRequest(options.stop_timeout)
    try:
        place = read_allocation(os.environ)
    except RankError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return error.code
    try:
        return train(options, place, stop)
    except RankError as error:
        say(place, f"ends: {error}")
        return error.code
    except OSError as error:
        say(place, f"ends: {error}")
        return Exit.FAILED


if __name__ == "__main__":
    sys.exit(main())
