"""Memory that processes share: each cell is written by one of them and read by another, and none waits for the other.

A writer may be killed at any moment, or get no processor for seconds, also in the middle of a cell: a checksum tells a
reader what is whole, and it goes by what was whole before.
"""

import marshal
import mmap
import struct
import time
import zlib
from typing import Any

_HEAD = struct.Struct("<II")
"""Length and CRC-32 of what follows."""
_TRIES = 50
_PAUSE_SECONDS = 0.0002


class Board:
    """Numbered cells of one size; make it before the processes that share it are forked."""

    def __init__(self, cells: int, cell_bytes: int) -> None:
        """Take fresh memory; every cell is empty."""
        self._size = cell_bytes
        self._memory = mmap.mmap(-1, cells * cell_bytes)
        self._whole: dict[int, Any] = {}
        """What this process last read of each cell."""

    def write(self, cell: int, content: Any) -> None:  # noqa: ANN401  what marshal can write
        """Put in what marshal can write; ValueError where it does not fit, and the cell stays as it was."""
        text = marshal.dumps(content)
        if len(text) > self._size - _HEAD.size:
            raise ValueError(f"{len(text)} bytes do not fit into a cell of {self._size}")
        begin = cell * self._size
        self._memory[begin + _HEAD.size : begin + _HEAD.size + len(text)] = text
        _HEAD.pack_into(self._memory, begin, len(text), zlib.crc32(text))

    def read(self, cell: int) -> Any:  # noqa: ANN401  whatever was written
        """Return what the cell holds; while it is half written what it held before, and None where it is empty."""
        begin = cell * self._size
        for _ in range(_TRIES):
            length, check = _HEAD.unpack_from(self._memory, begin)
            if length == 0 or length > self._size - _HEAD.size:
                self._whole.pop(cell, None)
                return None
            text = self._memory[begin + _HEAD.size : begin + _HEAD.size + length]
            if zlib.crc32(text) == check:
                self._whole[cell] = marshal.loads(text)  # noqa: S302  only processes of our own write here
                return self._whole[cell]
            time.sleep(_PAUSE_SECONDS)  # it is being written at this very moment
        return self._whole.get(cell)

    def clear(self, cell: int) -> None:
        """Empty a cell whose writer is gone."""
        _HEAD.pack_into(self._memory, cell * self._size, 0, 0)
