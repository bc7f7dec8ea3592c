"""Reading logs that grow, shrink, vanish, are replaced, are sparse, or have lines without an end."""

import errno
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.errors import FleetwardError, UsageError
from fleetward.slurm.logs import tail as tail_module
from fleetward.slurm.logs.tail import BLOCK, CUT, LONGEST_LINE, Lines, MissingLogError, NoLogError, Tail, blocks


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "job.log"


@pytest.fixture
def tail(log: Path) -> Iterator[Tail]:
    followed = Tail(log)
    yield followed
    followed.close()


def write(log: Path, text: bytes) -> None:
    with log.open("ab") as file:
        file.write(text)


def read(log: Path, last: int | None = None) -> bytes:
    return b"".join(blocks(log, last))


def looked(tail: Tail) -> tuple[bytes, list[str]]:
    """Return all that a tail has now, and what happened."""
    data, happened = b"", []
    while True:
        news = tail.look()
        data += news.data
        happened += [news.happened] if news.happened else []
        if not news.more:
            return data, happened


@given(st.lists(st.binary(max_size=60)))
def test_lines_come_out_whole_however_the_bytes_come_in(pieces: list[bytes]) -> None:
    lines, out = Lines(), b""
    for piece in pieces:
        whole = lines.feed(piece)
        assert not whole or whole.endswith(b"\n")
        out += whole
    out += lines.rest()
    text = b"".join(pieces).replace(b"\0", b"")
    assert out == text + (b"" if not text or text.endswith(b"\n") else b"\n")


def test_a_line_without_an_end_is_cut_once() -> None:
    lines = Lines()
    out = b"".join(lines.feed(b"x" * 50_000) for _ in range(20)) + lines.feed(b"x\nnext\nhalf")
    assert out == b"x" * LONGEST_LINE + CUT + b"\nnext\n"
    assert lines.rest() == b"half\n"


def test_of_a_progress_bar_label_and_last_state_are_kept() -> None:
    lines = Lines()
    updates = [b"\rEpoch %5d: %s" % (number, b"#" * 80) for number in range(10_000)]
    out = lines.feed(b" 3: Epoch 0") + b"".join(lines.feed(update) for update in updates) + lines.feed(b" done\n")
    assert out.count(b"\n") == 1
    assert CUT not in out
    assert out.startswith(b" 3: Epoch 0")
    assert out.endswith(updates[-1] + b" done\n")
    assert len(out) <= LONGEST_LINE + 100


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"").replace(b"\0", b"")), max_size=30))
def test_the_last_lines_are_the_last(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    log = tmp_path_factory.getbasetemp() / "last.log"
    whole = b"".join(line + b"\n" for line in lines)
    for text in (whole, whole + b"half"):
        log.write_bytes(text)
        for count in (1, 2, 7, 100):
            expected = text.split(b"\n")[:-1] if text.endswith(b"\n") else text.split(b"\n")
            got = read(log, count)
            assert got == b"".join(line + b"\n" for line in expected[-count:] if text), (text, count)


def test_the_last_lines_of_a_long_log_are_found_over_blocks(log: Path) -> None:
    lines = [b"%07d %s\n" % (number, b"x" * 90) for number in range(30_000)]
    log.write_bytes(b"".join(lines))
    assert log.stat().st_size > 2 * BLOCK
    assert read(log, 25_000) == b"".join(lines[-25_000:])
    assert read(log) == b"".join(lines)


def test_the_last_lines_are_looked_for_in_a_bounded_part(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "MOST_BACK", 1000)
    log.write_bytes(b"first\n" + b"x" * 5000 + b"\nlast\n")
    assert read(log, 10) == b"x" * 994 + b"\nlast\n"


def test_holes_are_passed_over_in_no_time_and_memory(log: Path) -> None:
    with log.open("wb") as file:
        file.write(b"before\n")
        file.seek(1 << 40)
        file.write(b"after\n")
        file.truncate(1 << 41)
    assert read(log) == b"before\nafter\n"
    assert read(log, 5) == b""  # its last MOST_BACK bytes are a hole


def test_a_line_of_any_length_takes_bounded_memory(log: Path) -> None:
    with log.open("wb") as file:
        for _ in range(48):
            file.write(b"y" * BLOCK)
        file.write(b"\nlast\n")
    tracemalloc.start()
    try:
        sizes = [len(block) for block in blocks(log)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) < 2 * LONGEST_LINE
    assert peak < 8 * BLOCK


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingLogError, match="no such file"):
        read(tmp_path / "none")
    with pytest.raises(MissingLogError):
        read(Path(__file__) / "below")
    with pytest.raises(NoLogError, match="no ordinary file"):
        read(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NoLogError):
        read(tmp_path / "fifo")
    with pytest.raises(NoLogError):
        Tail(Path("/dev/zero")).look()
    assert issubclass(NoLogError, UsageError)


def refuse(error: int) -> object:
    def call(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    return call


def test_what_may_not_be_read_is_an_error_with_what_to_do(
    log: Path, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_bytes(b"x\n")
    monkeypatch.setattr(tail_module.os, "open", refuse(errno.EACCES))
    with pytest.raises(FleetwardError, match="you may not read it; ask its owner"):
        read(log)
    with pytest.raises(FleetwardError, match="you may not read it"):
        tail.look()


def test_a_disk_that_fails_is_an_error_of_who_reads_once(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_bytes(b"x\n")
    monkeypatch.setattr(tail_module.os, "pread", refuse(errno.EIO))
    with pytest.raises(FleetwardError, match="Input/output error"):
        read(log)


def test_growth_is_seen_in_whole_lines(log: Path, tail: Tail) -> None:
    log.write_bytes(b"one\ntw")
    assert looked(tail) == (b"one\n", [])
    assert looked(tail) == (b"", [])
    write(log, b"o\nthree\n\xff\xfe\n")
    assert looked(tail) == (b"two\nthree\n\xff\xfe\n", [])


def test_a_log_that_is_not_there_yet_is_waited_for_and_read_from_its_beginning(log: Path) -> None:
    tail = Tail(log, last=1)
    assert looked(tail) == (b"", ["is not there yet; waiting for it"])
    assert looked(tail) == (b"", [])
    log.write_bytes(b"one\ntwo\n")
    assert looked(tail) == (b"one\ntwo\n", [])
    tail.close()


def test_a_tail_begins_with_the_last_lines(log: Path) -> None:
    log.write_bytes(b"one\ntwo\nthree\n")
    tail = Tail(log, last=2)
    assert looked(tail) == (b"two\nthree\n", [])
    tail.close()


def test_a_log_that_is_cut_is_read_from_its_beginning(log: Path, tail: Tail) -> None:
    log.write_bytes(b"a long first line\nhalf")
    looked(tail)
    log.write_bytes(b"new\n")
    assert looked(tail) == (b"half\nnew\n", ["was cut; it is read from its beginning"])


def test_a_log_that_was_cut_and_has_grown_beyond_its_old_end_is_known(log: Path, tail: Tail) -> None:
    log.write_bytes(b"attempt 1\n")
    looked(tail)
    log.write_bytes(b"attempt 2\n" * 50)
    assert looked(tail) == (b"attempt 2\n" * 50, ["was cut; it is read from its beginning"])


def test_another_file_in_its_place_is_read_after_the_rest_of_the_first(log: Path, tail: Tail) -> None:
    log.write_bytes(b"one\n")
    looked(tail)
    old = log.with_suffix(".1")
    log.rename(old)
    write(old, b"late")
    log.write_bytes(b"new\n")
    assert looked(tail) == (b"", [])  # the rest of the first, which has no newline
    assert looked(tail) == (b"late\nnew\n", ["is another file now; it is read from its beginning"])


def test_a_log_that_is_removed_and_comes_back(log: Path, tail: Tail) -> None:
    log.write_bytes(b"one\n")
    looked(tail)
    log.unlink()
    assert looked(tail) == (b"", ["was removed; waiting for it"])
    assert looked(tail) == (b"", [])
    log.write_bytes(b"two\n")
    assert looked(tail)[0] == b"two\n"


@pytest.mark.parametrize("error", [errno.ESTALE, errno.EIO])
def test_a_file_system_that_is_away_is_waited_for(
    error: int, log: Path, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_bytes(b"one\n")
    looked(tail)
    write(log, b"two\n")
    with monkeypatch.context() as patch:
        patch.setattr(tail_module.os, "pread", refuse(error))
        assert looked(tail) == (b"", [f"cannot be read ({os.strerror(error)}); trying again"])
        assert looked(tail) == (b"", [])
    assert looked(tail) == (b"two\n", [])


def test_the_holes_of_a_log_that_grows_are_passed_over(log: Path, tail: Tail) -> None:
    log.write_bytes(b"one\n")
    looked(tail)
    with log.open("r+b") as file:
        file.seek(1 << 40)
        file.write(b"two\n")
    assert looked(tail) == (b"two\n", [])
    write(log, b"three\n")
    assert looked(tail) == (b"three\n", [])


def test_a_look_takes_no_more_than_a_block(log: Path, tail: Tail) -> None:
    log.write_bytes(b"0123456789abcde\n" * (BLOCK // 8))
    news = tail.look()
    assert (len(news.data), news.more) == (BLOCK, True)


def test_the_end_is_read_with_the_line_that_has_none(log: Path, tail: Tail) -> None:
    log.write_bytes(b"one\n")
    looked(tail)
    write(log, b"two\nhalf")
    assert b"".join(news.data for news in tail.last()) == b"two\nhalf\n"


def test_the_end_of_a_log_that_never_came(tail: Tail) -> None:
    assert [news.happened for news in tail.last()] == ["is not there yet; waiting for it", ""]


def test_the_end_of_a_file_that_grows_without_end_is_where_it_was(log: Path, tail: Tail) -> None:
    """Somebody else may write on after the job."""
    log.write_bytes(b"x\n")
    news = []
    for one in tail.last():
        write(log, b"y" * BLOCK + b"\n")
        news.append(one)
        assert len(news) < 10
    assert len(b"".join(one.data for one in news)) < 2 * BLOCK
