"""A wheel of this very distribution, whether it runs from a checkout or from site-packages.

Nodes install from it without a package index. The wheel is written from the package's own files, so its content is
exactly the code that provisions; its version carries a digest of that content, so that a changed file is a new
version to pip, and an unchanged one is not.
"""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import fleetward

LEFT_OUT = {"__pycache__", "inventories", "examples"}
"""A node gets the programs, and the daemon the playbooks and roles that it plays in changes."""
_EPOCH = (2020, 2, 2, 0, 0, 0)


def package_files() -> Iterator[tuple[str, Path]]:
    """Yield each file of the package with its name inside the wheel, in a stable order."""
    top = Path(fleetward.__file__).parent

    def below(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
        for entry in sorted(folder.iterdir()):
            inside = f"{name}/{entry.name}"
            if entry.is_dir():  # the rooms are links to folders: followed
                if entry.name not in LEFT_OUT:
                    yield from below(entry, inside)
            elif entry.suffix != ".pyc":
                yield inside, entry

    yield from below(top, "fleetward")


def content_digest() -> str:
    """Name the content of the package, and what it requires, in ten hexadecimal digits."""
    total = hashlib.sha256((distribution("fleetward").read_text("METADATA") or "").encode())
    for name, file in package_files():
        total.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:10]


def own_version() -> str:
    """Return the version that the wheel will have: the release, then the digest of the content."""
    return f"{fleetward.__version__}+{content_digest()}"


def write_own_wheel(folder: Path) -> Path:
    """Write the wheel into a folder and return its path."""
    version = own_version()
    target = folder / f"fleetward-{version}-py3-none-any.whl"
    about = f"fleetward-{version}.dist-info"
    rows: list[str] = []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:

        def add(name: str, content: bytes) -> None:
            wheel.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(content)}\n")

        for name, file in package_files():
            add(name, file.read_bytes())
        add(f"{about}/METADATA", _metadata(version).encode())
        add(
            f"{about}/WHEEL",
            b"Wheel-Version: 1.0\nGenerator: fleetward\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        add(f"{about}/entry_points.txt", b"[console_scripts]\nfleetward = fleetward.main:main\n")
        record = "".join(rows) + f"{about}/RECORD,,\n"
        wheel.writestr(zipfile.ZipInfo(f"{about}/RECORD", _EPOCH), record)
    return target


def _metadata(version: str) -> str:
    """Return the installed metadata under the new version: requirements and extras as they were declared."""
    text = distribution("fleetward").read_text("METADATA") or ""
    head, _, body = text.partition("\n\n")
    lines = [f"Version: {version}" if line.startswith("Version:") else line for line in head.splitlines()]
    return "\n".join(lines) + "\n\n" + body
