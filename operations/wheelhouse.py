"""Wheels for nodes that reach no package index: collected here for the target's Python, installed there.

GPU nodes on real sites have no internet, so the machine that runs Ansible collects what they need from the lock
files in `requirements/` and hands it over as one archive.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

import fleetward
from fleetward.model.errors import FleetwardError, OutOfReachError, UsageError
from fleetward.operations.command import CommandError, run
from fleetward.operations.own_wheel import own_version, write_own_wheel

EXTRAS = ("node", "head", "server")
BUILD_SETS = ("pyslurm",)
"""Lock files that hold a source distribution and what builds it on the node; ours is not among them."""
SETS = (*EXTRAS, *BUILD_SETS)
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_17_x86_64",
)
"""pip matches each by its exact name, so every one that a wheel may carry is named."""
_PYTHON = re.compile(r"3\.\d{1,2}")


@dataclass(frozen=True)
class Wheelhouse:
    """Wheels as one archive, and the version of ours that is in it, empty where ours is not."""

    archive: Path
    folder: str
    """name of the one folder in the archive"""
    version: str


def locked(file: Path, python: str) -> list[str]:
    """Return the requirements of a lock file that hold for a target's Python, each pinned, with its hashes.

    pip evaluates environment markers on the machine it runs on, so they are evaluated here for the target.
    """
    target = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    chosen = []
    for entry in re.split(r"(?<!\\)\n", file.read_text()):
        words = entry.replace("\\\n", " ").split(" --hash=")
        text = words[0].strip()
        if not text or text.startswith("#"):
            continue
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(target):
            pinned = f"{requirement.name}{requirement.specifier}"
            chosen.append(" ".join([pinned, *(f"--hash={word.strip()}" for word in words[1:])]))
    return chosen


def download(requirements: Sequence[str], python: str, cache: Path) -> Path:
    """Return a folder with exactly these wheels, downloaded once.

    Raises OutOfReachError where the package index does not answer.
    """
    name = hashlib.sha256("\n".join([python, *requirements]).encode()).hexdigest()[:16]
    folder = cache / f"wheels-{python}-{name}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        wanted = Path(work) / "requirements.txt"
        wanted.write_text("\n".join(requirements) + "\n")
        into = Path(work) / "wheels"
        platforms = [word for name in PLATFORMS for word in ("--platform", name)]
        try:
            run(
                [
                    *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
                    f"--no-binary={','.join(BUILD_SETS)}",
                    *("--implementation", "cp", "--python-version", python, *platforms),
                    *("--require-hashes", "--requirement", str(wanted), "--dest", str(into)),
                ],
                seconds=600,
            )
        except CommandError as error:
            said = [line for line in error.output.splitlines() if line.startswith("ERROR")]
            raise OutOfReachError(
                f"the package index did not give the wheels for Python {python}: {said[-1] if said else error}"
            ) from None
        into.rename(folder)
    return folder


def collect(python: str, extra: str, cache: Path) -> Wheelhouse:
    """Collect all that `fleetward[extra]`, or a build set, needs on a node with this Python (such as 3.13)."""
    if not _PYTHON.fullmatch(python):
        raise UsageError(f"Python {python!r}: write it as 3.13")
    if extra not in SETS:
        raise UsageError(f"extra {extra!r}: there are {', '.join(SETS)}")
    lock = Path(fleetward.__file__).parent / "requirements" / f"{extra}.txt"
    with _alone_in(cache):
        wheels = download(locked(lock, python), python, cache)
        return _packed(wheels, python, extra, cache)


@contextlib.contextmanager
def _alone_in(cache: Path) -> Iterator[None]:
    """Hold the cache: Ansible asks for every host at once."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _packed(wheels: Path, python: str, extra: str, cache: Path) -> Wheelhouse:
    version = own_version() if extra in EXTRAS else ""
    own_digest = f"-{version.partition('+')[2]}" if version else ""
    folder = f"fleetward-wheels-{extra}-{wheels.name.removeprefix('wheels-')}{own_digest}"
    archive = cache / f"{folder}.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=cache) as work:
            own = [write_own_wheel(Path(work))] if version else []
            draft = Path(work) / "wheels.tar"
            with tarfile.open(draft, "w") as tar:
                for wheel in [*sorted(wheels.iterdir()), *own]:
                    tar.add(wheel, arcname=f"{folder}/{wheel.name}", filter=_as_root)
            draft.rename(archive)
    return Wheelhouse(archive, folder, version)


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o644
    return entry


def main(arguments: Sequence[str] | None = None) -> int:
    """Print where the archive is and what it holds, as JSON: what the role `fleetward` asks on the controller."""
    parser = argparse.ArgumentParser(prog="fleetward.operations.wheelhouse", description=main.__doc__)
    parser.add_argument("--python", required=True)
    parser.add_argument("--extra", required=True, choices=SETS)
    parser.add_argument("--cache", required=True, type=Path)
    chosen = parser.parse_args(arguments)
    try:
        made = collect(chosen.python, chosen.extra, chosen.cache)
    except FleetwardError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return int(error.exit_code)
    print(json.dumps({"archive": str(made.archive), "folder": made.folder, "version": made.version}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
