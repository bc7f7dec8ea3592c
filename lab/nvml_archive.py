"""The stand-in's sources as one archive, for the role that builds it on a host: `python -m fleetward.lab.nvml_archive`.

One file goes over in one task, where a folder would cost a task's time for each of its files.
"""

import argparse
import hashlib
import io
import json
import os
import sys
import tarfile
from pathlib import Path

import fleetward

SUFFIXES = frozenset({".c", ".h", ".sh", ".txt"})


def sources() -> dict[str, bytes]:
    """Return the files that the build needs, by name."""
    folder = Path(fleetward.__file__).parent / "lab" / "nvml"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES}


def pack(files: dict[str, bytes]) -> tuple[str, bytes]:
    """Return the name of the folder in the archive, which differs with every change of a file, and the archive."""
    digest = hashlib.sha256()
    for name, text in files.items():
        digest.update(f"{name}\0{len(text)}\0".encode() + text)
    folder = f"fleetward-nvml-{digest.hexdigest()[:16]}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode = len(text), 0o644
            archive.addfile(member, io.BytesIO(text))
    return folder, packed.getvalue()


def main(arguments: list[str] | None = None) -> None:
    """Write the archive into the cache and print a JSON document with `archive` (its path) and `folder` (in it)."""
    parser = argparse.ArgumentParser(description="Pack the sources of the NVML stand-in.")
    parser.add_argument("--cache", type=Path, required=True, help="the folder that the archive goes into")
    cache: Path = parser.parse_args(arguments).cache
    folder, packed = pack(sources())
    archive = cache / f"{folder}.tar"
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = cache / f".{folder}.{os.getpid()}"
    unfinished.write_bytes(packed)
    unfinished.replace(archive)
    sys.stdout.write(json.dumps({"archive": str(archive.absolute()), "folder": folder}) + "\n")


if __name__ == "__main__":
    main()
