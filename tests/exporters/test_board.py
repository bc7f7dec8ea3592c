"""Memory that processes share: what is read is whole, whatever happened to who wrote it."""

import os
import signal
import time

import pytest

from fleetward.exporters.gpu.board import Board


def test_what_was_written_is_read_in_its_own_cell() -> None:
    board = Board(3, 256)
    board.write(1, (1, 2.5, "GPU-1", None, [("a", 1)]))
    assert board.read(1) == (1, 2.5, "GPU-1", None, [("a", 1)])
    assert (board.read(0), board.read(2)) == (None, None)
    board.clear(1)
    assert board.read(1) is None


def test_what_does_not_fit_is_refused_and_leaves_what_was_there() -> None:
    board = Board(2, 64)
    board.write(0, "fits")
    with pytest.raises(ValueError, match="do not fit"):
        board.write(0, "x" * 64)
    assert board.read(0) == "fits"
    assert board.read(1) is None


def test_another_process_reads_only_whole_content() -> None:
    """The writer changes every byte without a pause and is killed in the middle of it."""
    board = Board(1, 8192)
    writer = os.fork()
    if writer == 0:
        while True:
            for letter in "abcdefgh":
                board.write(0, letter * 8000)
    until, seen = time.monotonic() + 1, set()
    try:
        while time.monotonic() < until:
            content = board.read(0)
            if content is not None:
                assert content == content[0] * 8000
                seen.add(content[0])
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    assert len(seen) > 1
    rest = board.read(0)
    assert rest is None or rest == rest[0] * 8000


def test_a_cell_that_is_half_written_holds_what_was_last_read_of_it() -> None:
    """As where its writer waits for a processor."""
    board = Board(2, 64)
    board.write(0, "whole")
    assert board.read(0) == "whole"
    board._memory[12] ^= 0xFF
    assert board.read(0) == "whole"
    board.write(0, "again")
    assert board.read(0) == "again"
    board._memory[12] ^= 0xFF
    board.clear(0)
    assert board.read(0) is None, "its writer is gone"


def test_one_of_which_nothing_whole_was_read_is_empty() -> None:
    board = Board(1, 64)
    board.write(0, "whole")
    board._memory[12] ^= 0xFF
    assert board.read(0) is None
