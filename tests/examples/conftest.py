"""The sample job's ranks as processes on this machine, without Slurm and without GPUs."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import fleetward
from fleetward.operations.dataset import fetch_digits

JOB = Path(fleetward.__file__).parent / "examples" / "digits"
PLAYED = Path(__file__).parent / "played"

sys.path.insert(0, str(JOB))  # as Python does for a script: the job's files import each other by bare names


@dataclass
class Ranks:
    """The ranks of one job step, in the folder that they work in."""

    folder: Path
    count: int
    per_node: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, data: Path, *options: str, job: str, restarts: int = 0) -> None:
        """Start all ranks, as srun does; their device files are plain files in the folder."""
        for number in range(self.per_node):
            (self.folder / f"nvidia{number}").touch()
        for rank in range(self.count):
            command = [sys.executable, str(JOB / "train.py"), f"--data={data}", "--peer-timeout=5", *options]
            with self.log(rank).open("wb") as log:
                self.processes.append(
                    subprocess.Popen(
                        command,
                        cwd=self.folder,
                        env=self.environment(rank, job, restarts),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )

    def environment(self, rank: int, job: str, restarts: int) -> dict[str, str]:
        """Return Slurm's variables of one rank; the first node is the one name that has to resolve."""
        nodes = ["localhost", *(f"gpu{number:03}" for number in range(2, 2 + self.count // self.per_node))]
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PLAYED),
            "FLEETWARD_GPU_DEVICES": str(self.folder / "nvidia"),
            "PLAYED_LOST_GPUS": str(self.folder / "lost"),
            "SLURM_JOB_ID": job,
            "SLURM_STEP_ID": "0",
            "SLURM_RESTART_COUNT": str(restarts),
            "SLURM_STEP_NODELIST": "localhost,gpu[002-003]",
            "SLURM_STEP_GPUS": ",".join(map(str, range(self.per_node))),
            "SLURM_PROCID": str(rank),
            "SLURM_NTASKS": str(self.count),
            "SLURM_LOCALID": str(rank % self.per_node),
            "SLURMD_NODENAME": nodes[rank // self.per_node],
        }

    def log(self, rank: int) -> Path:
        """Return where the output of one rank goes."""
        return self.folder / f"rank-{rank}.log"

    def said(self, rank: int) -> str:
        """Return the output of one rank."""
        return self.log(rank).read_text()

    def wait(self, seconds: float = 60) -> list[int]:
        """Wait for all ranks to end, and return their exit codes."""
        deadline = time.monotonic() + seconds
        return [process.wait(max(deadline - time.monotonic(), 0.1)) for process in self.processes]

    def wait_until(self, seen: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until something is seen; fail where a rank ends, or the time is over, before that."""
        deadline = time.monotonic() + seconds
        while not seen():
            ended = [rank for rank, process in enumerate(self.processes) if process.poll() is not None]
            assert not ended, f"ranks {ended} have ended: {self.said(ended[0])}"
            assert time.monotonic() < deadline, f"not seen within {seconds} s: {self.said(0)}"
            time.sleep(0.05)

    def kill_all(self) -> None:
        """End whatever still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture(scope="session")
def digits() -> Path:
    """Return the real data set."""
    return fetch_digits()


@pytest.fixture
def make_ranks(tmp_path: Path) -> Iterator[Callable[..., Ranks]]:
    """Return what makes the ranks of a job step; those still running at the end of the test are killed."""
    made: list[Ranks] = []

    def make(count: int, per_node: int = 8, folder: str = "job") -> Ranks:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        made.append(Ranks(path, count, per_node))
        return made[-1]

    yield make
    for ranks in made:
        ranks.kill_all()
