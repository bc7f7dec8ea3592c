"""Bring the digits data set to this machine: it ships inside scikit-learn's wheel."""

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from fleetward.model.errors import FleetwardError, OutOfReachError

MEMBER = "sklearn/datasets/data/digits.csv.gz"
SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
"""Of the unpacked file: 1797 rows of 64 pixels (0 to 16) and the digit they show (UCI optdigits, test part)."""
DOWNLOAD_SECONDS = 180


def fetch_digits(cache_dir: Path | None = None) -> Path:
    """Return the path of `digits.csv.gz`, downloaded by pip the first time and kept in `cache_dir`.

    Only the wheel is downloaded (some 9 MB): neither scikit-learn nor what it needs is installed. Without
    `cache_dir` the user's cache folder is used. Raises OutOfReachError where the package index does not answer.
    """
    cache = cache_dir or default_cache()
    kept = cache / "digits.csv.gz"
    if kept.is_file() and is_digits(kept.read_bytes()):
        return kept
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="digits-", dir=cache) as scratch:
            extracted = Path(scratch) / "digits.csv.gz"
            extracted.write_bytes(read_member(download_wheel(Path(scratch))))
            extracted.replace(kept)
    except OSError as error:
        raise FleetwardError(f"the data set cannot be kept in {cache}: {error}") from error
    return kept


def default_cache() -> Path:
    """Return fleetward's folder in the user's cache, after the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fleetward"


def is_digits(packed: bytes) -> bool:
    """Say whether this is the data set, whole and unchanged."""
    try:
        return hashlib.sha256(gzip.decompress(packed)).hexdigest() == SHA256
    except (OSError, EOFError, zlib.error):
        return False


def download_wheel(folder: Path) -> Path:
    """Download scikit-learn's wheel into `folder`, by this Python's pip and the index it is set up for."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    command += ["--no-deps", "--only-binary=:all:", "--timeout=15", "--retries=2"]
    command += [f"--dest={folder}", "scikit-learn"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise OutOfReachError(
            f"pip did not get scikit-learn's wheel within {DOWNLOAD_SECONDS} s: check the network and the package index"
        ) from error
    if "No module named pip" in done.stderr:
        raise FleetwardError(f"{sys.executable} has no pip: run `{sys.executable} -m ensurepip`, then try again")
    wheels = list(folder.glob("scikit_learn-*.whl"))
    if done.returncode != 0 or not wheels:
        last = (done.stderr.strip().splitlines() or [f"pip ended with exit code {done.returncode}"])[-1]
        raise OutOfReachError(
            f"the digits data set comes in scikit-learn's wheel, which pip cannot download: {last}. "
            "Check `pip config list` and the network"
        )
    return wheels[0]


def read_member(wheel: Path) -> bytes:
    """Return the data set out of the wheel, checked."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            packed = archive.read(MEMBER)
    except (zipfile.BadZipFile, KeyError) as error:
        raise FleetwardError(f"{wheel.name} has no {MEMBER}: {error}") from error
    if not is_digits(packed):
        raise FleetwardError(f"{MEMBER} in {wheel.name} is not the data set this job was written for")
    return packed
