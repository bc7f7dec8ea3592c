"""A whole Slurm in one container, and scripts that stand for its programs here."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleetward.slurm.answers import JobDetail
from fleetward.slurm.client import SlurmClient
from fleetward.slurm.worker import PROGRAM

PROGRAMS = ("squeue", "scontrol", "sbatch", "scancel", "sacct", "sacctmgr", "sprio", "sdiag", "sshare")
PYSLURM = "/opt/fleetward-pyslurm/bin/python"
SCRIPT = Path(__file__).parents[1] / "slurm" / "small_cluster.sh"


def engine() -> str:
    """Return podman, or docker where that is what there is."""
    found = shutil.which("podman") or shutil.which("docker")
    assert found is not None, "the contract wants podman or docker"
    return found


@dataclass(frozen=True)
class Cluster:
    """A container with a whole Slurm, and the scripts that stand for its programs here."""

    name: str
    bin: Path

    def told(self, *argv: str, limit: float = 60) -> str:
        """Run a program in the container and return what it printed."""
        done = subprocess.run(
            [engine(), "exec", self.name, *argv], capture_output=True, text=True, timeout=limit, check=False
        )
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def seen_by(self, user: str, folder: Path) -> "Cluster":
        """Return the cluster as a user of it sees it."""
        copied = Cluster(self.name, folder)
        copied.write_programs("--user", user)
        return copied

    def write_programs(self, *options: str) -> None:
        """Write the scripts, which run the real programs in the container."""
        words = " ".join(options)
        for program in (*PROGRAMS, "python"):
            real = PYSLURM if program == "python" else program
            path = self.bin / program
            path.write_text(
                f'#!/bin/sh\nexec {engine()} exec -i -e SLURM_TIME_FORMAT {words} {self.name} {real} "$@"\n'
            )
            path.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FLEETWARD_")}
        return kept | {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "FLEETWARD_PYSLURM_PYTHON": str(self.bin / "python"),
        }


def start(image: str, folder: Path) -> Cluster:
    name = f"fleetward-contract-{os.getpid()}"
    options = [
        *(["--runtime", "runc"] if "podman" in engine() and shutil.which("runc") else []),
        *("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768", "--cap-add=MKNOD"),
        f"--volume={SCRIPT}:/cluster.sh:ro",
        f"--volume={PROGRAM.parent.resolve()}:{PROGRAM.parent}:ro",
        *("--name", name, "--hostname", "head", "--entrypoint=sleep"),
    ]
    begin = [engine(), "run", "--detach", *options, image, "infinity"]
    subprocess.run(begin, check=True, stdout=subprocess.DEVNULL)
    cluster = Cluster(name, folder)
    cluster.write_programs()
    return cluster


@contextmanager
def small_cluster(image: str, folder: Path) -> Iterator[Cluster]:
    """Yield a cluster whose nodes gpu001 and gpu002 are up, and remove it."""
    started = start(image, folder)
    try:
        started.told("sh", "/cluster.sh", limit=120)
        yield started
    finally:
        remove = [engine(), "rm", "--force", "--time", "0", "--volumes", started.name]
        subprocess.run(remove, check=True, stdout=subprocess.DEVNULL)


def eventually(holds: Callable[[], bool], limit: float = 30) -> None:
    until = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < until, f"did not come to hold within {limit} s"
        time.sleep(0.3)


def script(*options: str, command: str = "sleep 300") -> str:
    lines = "".join(f"#SBATCH {option}\n" for option in ("--output=/dev/null", "--mem=100M", *options))
    return f"#!/bin/sh\n{lines}{command}\n"


def running(client: SlurmClient, job_id: str) -> JobDetail:
    eventually(lambda: client.job(job_id).job.state == "RUNNING")
    return client.job(job_id)
