"""A log that moves: nothing in it is missed or read twice, over restarts of the program and of the machine."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetward.exporters.events import kernel_log
from fleetward.exporters.events.kernel_lines import KernelXid
from fleetward.exporters.events.kernel_log import KernelFault, KernelLog

BOOT = "4b1d"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "kmsg"
    file.write_text("3,1,1,-;NVRM: Xid (PCI:0000:05:00): 48, from before\n")
    return file


def line(code: int, *, number: int = 2, seconds: float = 0.0) -> str:
    return f"3,{number},{int(seconds * 1e6)},-;NVRM: Xid (PCI:0000:05:00): {code}, pid=1\n"


def write(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def restarted(reader: KernelLog, log: Path, boot: str = BOOT) -> KernelLog:
    """Return the reader of the next run, which has the cursor from disk."""
    cursor: dict[str, Any] = json.loads(json.dumps(reader.cursor))
    reader.close()
    return KernelLog(log, boot, cursor)


def codes(faults: list[KernelFault]) -> list[int]:
    return [fault.told.xid for fault in faults if isinstance(fault.told, KernelXid)]


def test_what_was_there_before_is_old_news_and_what_comes_is_told_in_order(log: Path) -> None:
    reader = KernelLog(log, BOOT)
    assert reader.readable
    assert reader.read() == []
    write(log, line(13) + "6,3,3,-;eth0: link up\n" + line(62))
    assert codes(reader.read()) == [13, 62]
    assert reader.read() == []


def test_a_restart_goes_on_where_the_last_run_was(log: Path) -> None:
    reader = KernelLog(log, BOOT)
    write(log, line(13))
    first = reader.read()
    write(log, line(31))
    reader = restarted(reader, log)
    second = reader.read()
    assert codes(second) == [31]
    assert not {one.key for one in first} & {one.key for one in second}


def test_what_is_read_again_has_the_same_key(log: Path) -> None:
    reader = KernelLog(log, BOOT)
    cursor = reader.cursor
    write(log, line(13) + line(13))
    told = reader.read()
    again = KernelLog(log, BOOT, cursor).read()
    assert [one.key for one in told] == [one.key for one in again]
    assert len({one.key for one in told}) == 2


def test_half_a_line_is_waited_for_also_over_a_restart(log: Path) -> None:
    reader = KernelLog(log, BOOT)
    write(log, "3,2,2,-;NVRM: Xid (PCI:0000:05:0")
    assert reader.read() == []
    reader = restarted(reader, log)
    write(log, "0): 79, whole now\n")
    assert codes(reader.read()) == [79]


def test_a_log_that_is_emptied_or_replaced_is_followed(log: Path, tmp_path: Path) -> None:
    reader = KernelLog(log, BOOT)
    log.write_text("")
    assert reader.read() == []
    write(log, line(8))
    (eight,) = reader.read()
    write(log, line(9))
    (tmp_path / "next").write_text(line(10))
    (tmp_path / "next").replace(log)
    assert codes(reader.read() + reader.read()) == [9, 10]
    log.write_text(line(8))
    (other,) = reader.read()
    assert codes([eight, other]) == [8, 8]
    assert eight.key != other.key


@pytest.mark.parametrize("how", ["emptied", "replaced", "grown"])
def test_a_log_that_became_another_one_while_nobody_looked_is_read_from_its_beginning(
    log: Path, tmp_path: Path, how: str
) -> None:
    reader = KernelLog(log, BOOT)
    write(log, line(8))
    (eight,) = reader.read()
    if how == "replaced":
        log.replace(tmp_path / "old")
    log.write_text(line(9) * (1 if how == "emptied" else 20))
    found = restarted(reader, log).read()
    assert set(codes(found)) == {9}
    assert len(found) == (1 if how == "emptied" else 20)
    assert eight.key not in {one.key for one in found}


def test_after_a_boot_the_log_is_read_from_its_beginning(log: Path) -> None:
    reader = KernelLog(log, BOOT)
    assert codes(restarted(reader, log, "another").read()) == [48]


def test_the_cursor_of_another_log_says_nothing(log: Path, tmp_path: Path) -> None:
    reader = KernelLog(log, BOOT)
    other = tmp_path / "other"
    other.write_text(line(8))
    assert restarted(reader, other).read() == []


def test_what_was_written_while_nobody_read_has_the_time_at_which_it_was_written(log: Path) -> None:
    now = [1000.0]
    reader = KernelLog(log, BOOT, clock=lambda: now[0])
    reader.read()
    write(log, line(13, seconds=400))  # the kernel's own clock is 600 s behind
    assert reader.read()[0].at == 1000
    write(log, line(13, seconds=450) + line(13))
    now[0] = 1300.0
    again = KernelLog(log, BOOT, reader.cursor, clock=lambda: now[0])
    assert [round(one.at, 3) for one in again.read()] == [1050, 600]


def test_a_line_of_a_megabyte_is_cut_and_costs_no_other_one(log: Path) -> None:
    reader = KernelLog(log, BOOT)
    write(log, "x" * 1_000_000 + line(79) + line(13) + "3,4,4,-;NVRM: Xid (PCI:0000:05:00): 31, " + "y" * 1_000_000)
    assert reader.read() == []
    faults = [fault for _ in range(40) for fault in reader.read()]
    assert codes(faults) == [13]
    write(log, "\n" + line(62))
    faults = [fault for _ in range(3) for fault in reader.read()]
    assert codes(faults) == [31, 62]
    assert len(faults[0].told.line) < 9000


def test_bytes_that_are_no_text_are_read_around(log: Path) -> None:
    reader = KernelLog(log, BOOT)
    with log.open("ab") as file:
        file.write(b"\xff\xfe\x00 \n3,2,2,-;NVRM: Xid (PCI:0000:05:00): 13, name=\xff\xfe\x00\n" + line(31).encode())
    assert codes(reader.read()) == [13, 31]


@pytest.mark.parametrize("seed", range(20))
def test_however_it_is_written_and_restarted_each_line_comes_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  no secret
    log = tmp_path / "kmsg"
    log.write_text("")
    reader = KernelLog(log, BOOT)
    found: list[KernelFault] = []
    written = chance.choices(range(1, 200), k=300)
    text = "".join(line(code) if chance.random() < 0.5 else f"6,1,1,-;usb\n{line(code)}" for code in written)
    while text:
        cut = chance.randrange(1, 400)
        write(log, text[:cut])
        text = text[cut:]
        if chance.random() < 0.7:
            found += reader.read()
        if chance.random() < 0.2:
            reader = restarted(reader, log)
    for _ in range(10):
        found += reader.read()
    assert codes(found) == written
    assert len({one.key for one in found}) == len(written)


def test_a_log_that_is_not_there_is_said_to_be_unreadable_and_tried_again(tmp_path: Path) -> None:
    now = [0.0]
    path = tmp_path / "kmsg"
    reader = KernelLog(path, BOOT, clock=lambda: now[0])
    assert not reader.readable
    path.write_text(line(8))
    assert reader.read() == []
    assert not reader.readable
    now[0] = kernel_log.RETRY_SECONDS
    assert reader.read() == []
    assert reader.readable
    write(path, line(9))
    assert codes(reader.read()) == [9]


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """Return a pipe in the place of /dev/kmsg: each record with its continuation lines comes by itself."""
    path = tmp_path / "device"
    os.mkfifo(path)
    return path


def test_records_come_one_a_read_as_from_the_kernel(device: Path) -> None:
    keeps_open = os.open(device, os.O_RDWR)
    try:
        reader = KernelLog(device, BOOT)
        assert reader.read() == []
        os.write(keeps_open, line(79).encode() + b" SUBSYSTEM=pci\n DEVICE=+pci:0000:05:00.0\n")
        assert reader.selectable() is not None
        (fault,) = reader.read()
        assert (codes([fault]), fault.key) == ([79], f"kernel:{BOOT}:2")
        assert reader.read() == []
        reader.close()
    finally:
        os.close(keeps_open)


class Ring:
    """Plays the kernel's ring of records: numbered, read one at a time, the oldest overwritten."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, device: Path) -> None:
        self.records: list[tuple[int, bytes]] = []
        self._next = 0
        self._read = 0
        opened = os.open
        self._file = opened(device, os.O_RDWR)

        def open_ring(path: Path, flags: int) -> int:
            self._read = self.records[0][0] if self.records else self._next
            return opened(path, flags)

        def read_ring(_file: int, _length: int) -> bytes:
            left = [one for one in self.records if one[0] >= self._read]
            if not left:
                raise BlockingIOError
            if left[0][0] > self._read:
                self._read = left[0][0]
                raise BrokenPipeError
            self._read = left[0][0] + 1
            return left[0][1]

        monkeypatch.setattr("fleetward.exporters.events.kmsg.os.open", open_ring)
        monkeypatch.setattr("fleetward.exporters.events.kmsg.os.read", read_ring)

    def write(self, *codes: int, keep: int = 100) -> None:
        for code in codes:
            self.records.append((self._next, line(code, number=self._next).encode()))
            self._next += 1
        del self.records[:-keep]

    def close(self) -> None:
        os.close(self._file)


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch, device: Path) -> Iterator[Ring]:
    ring = Ring(monkeypatch, device)
    yield ring
    ring.close()


def test_the_kernels_records_are_gone_on_with_by_their_number(ring: Ring, device: Path) -> None:
    ring.write(1, 2)
    reader = KernelLog(device, BOOT)
    assert reader.read() == []
    ring.write(3)
    reader = restarted(reader, device)
    assert codes(reader.read()) == [3]
    ring.write(4, 5)
    assert codes(restarted(reader, device).read()) == [4, 5]
    assert reader.lost == 0


def test_records_that_were_overwritten_are_counted_whether_it_ran_or_not(ring: Ring, device: Path) -> None:
    reader = KernelLog(device, BOOT)
    ring.write(1)
    assert codes(reader.read()) == [1]
    ring.write(*range(2, 12), keep=4)
    assert codes(reader.read()) == [8, 9, 10, 11]
    assert reader.lost == 6
    reader = restarted(reader, device)
    ring.write(*range(12, 20), keep=3)
    assert codes(reader.read()) == [17, 18, 19]
    assert reader.lost == 5


def test_after_a_boot_the_kernels_records_are_read_from_the_first(ring: Ring, device: Path) -> None:
    ring.write(1, 2, 3)
    reader = restarted(KernelLog(device, "before"), device)
    assert codes(reader.read()) == [1, 2, 3]


def test_a_device_that_is_always_at_its_end_is_not_waited_for() -> None:
    reader = KernelLog(Path("/dev/null"), BOOT)
    assert reader.read() == []
    assert reader.selectable() is None


def test_a_time_that_is_nonsense_is_not_believed_of_a_record_that_has_just_come(log: Path) -> None:
    now = [1000.0]
    reader = KernelLog(log, BOOT, clock=lambda: now[0])
    reader.read()
    for now[0] in (1000.0, 1060.0):
        write(log, line(13, seconds=1))
        assert reader.read()[0].at == now[0]


def test_nor_of_one_that_came_before_the_log_was_first_read(log: Path) -> None:
    reader = KernelLog(log, BOOT, clock=lambda: 5000.0)
    write(log, line(13, seconds=0.001))
    assert [fault.at for fault in reader.read()] == [5000.0]


@pytest.mark.parametrize("text", [line(9), line(9) * 20])
def test_a_log_that_is_emptied_and_written_to_between_two_looks_is_read_from_its_beginning(
    log: Path, text: str
) -> None:
    reader = KernelLog(log, BOOT)
    write(log, line(8))
    assert codes(reader.read()) == [8]
    log.write_text(text)
    assert codes(reader.read()) == [9] * text.count("Xid")


def test_a_log_that_is_taken_away_and_comes_back_is_followed(log: Path) -> None:
    reader = KernelLog(log, BOOT)
    log.unlink()
    assert reader.read() == []
    log.write_text(line(9))
    for _ in range(3):
        files = len(list(Path("/proc/self/fd").iterdir()))
        log.with_name("next").write_text(line(9))
        log.with_name("next").replace(log)
        assert codes(reader.read()) == [9]
        assert len(list(Path("/proc/self/fd").iterdir())) == files
