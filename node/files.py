"""Files that others read while they are renewed."""

import contextlib
import os
from pathlib import Path


def replace_file(file: Path, text: str, *, durable: bool = False) -> None:
    """Put a file in place whole, readable for all; raises OSError. A durable one outlives a loss of power."""
    new = file.with_name(f".{file.name}.new.{os.getpid()}")
    try:
        with new.open("w", encoding="utf-8", errors="replace") as opened:
            opened.write(text)
            opened.flush()
            os.fchmod(opened.fileno(), 0o644)
            if durable:
                os.fsync(opened.fileno())
        new.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
