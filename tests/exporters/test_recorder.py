"""What becomes of what sources tell: an event as the catalogue sees it, counted, kept, and told to the daemon."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetward.exporters.events import journal as journal_module
from fleetward.exporters.events.fault_state import KEPT_SECONDS, folded
from fleetward.exporters.events.faults import Device, SxidEvent, XidEvent
from fleetward.exporters.events.journal import Journal
from fleetward.exporters.events.kernel_lines import parse_record
from fleetward.exporters.events.kernel_log import KernelFault
from fleetward.exporters.events.outbox import Outbox
from fleetward.exporters.events.recorder import RETRY_SECONDS, ROOM_BYTES, Clocks, Recorder
from fleetward.model.gpu_fault_files import read_catalogue
from fleetward.model.node_reports import LONGEST_LINE

CATALOGUE = read_catalogue()
THREE = XidEvent(3, "GPU-3", 79)


class Node:
    """A node whose exporter can be started again; `now` is the steady clock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.now, self.wall, self.boot, self.push = 1000.0, 1.7e9, "boot", True
        self._keys = 0
        self._running: Journal | None = None
        self.recorder = self.start()

    def start(self) -> Recorder:
        """Start the exporter, or end it by `kill -9` and start it again."""
        if self._running is not None:
            self._running.close()
        self._running = Journal(self._folder)
        entries, broken = self._running.read()
        assert not broken
        state = folded(entries, self.boot, Outbox())
        clocks = Clocks(lambda: self.now, lambda: self.wall + self.now)
        self.recorder = Recorder(state, self._running, CATALOGUE, push=self.push, clocks=clocks)
        self.recorder.knows({"0000:1b:00": Device(3, "GPU-3")})
        return self.recorder

    def kernel(self, text: str, at: float | None = None, key: str = "") -> None:
        self._keys += 1
        told = parse_record(text)
        assert told
        fault = KernelFault(told, key or f"kernel:{self._keys}", self.now if at is None else at)
        self.recorder.tell([fault], (), {"number": self._keys})

    def nvml(self, code: int) -> None:
        self.recorder.tell((), [XidEvent(3, "GPU-3", code)], None)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.recorder.batch(1000).values()]

    def stop(self) -> None:
        assert self._running
        self._running.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.stop()


def xid(code: int, address: str = "0000:1b:00", rest: str = "pid=1") -> str:
    return f"NVRM: Xid (PCI:{address}): {code}, {rest}"


def test_an_event_says_all_that_the_catalogue_knows(node: Node) -> None:
    node.kernel(xid(79, rest="GPU has fallen off the bus."), at=990.0)
    entry = CATALOGUE.xid(79)
    assert node.events() == [
        {
            "key": "kernel:1",
            "at": 1.7e9 + 990,
            "kind": "xid",
            "code": 79,
            "gpu": 3,
            "uuid": "GPU-3",
            "address": "0000:1b:00",
            "severity": "fatal",
            "action": entry.action,
            "blame": entry.scope[0],
            "meaning": entry.meaning,
            "source": "kernel log",
            "parent": "",
            "line": "NVRM: Xid (PCI:0000:1b:00): 79, GPU has fallen off the bus.",
        }
    ]


def test_an_sxid_is_an_event_and_counted_by_its_switch(node: Node) -> None:
    node.kernel("nvidia-nvswitch2: SXid (PCI:0000:a9:00.0): 12028, Non-fatal, Link 32 egress")
    (event,) = node.events()
    assert (event["kind"], event["code"], event["gpu"], event["address"]) == ("sxid", 12028, None, "0000:a9:00")
    assert event["severity"] != "fatal"
    assert node.recorder.tally().sxids == {SxidEvent(2, "0000:a9:00", 12028): 1}


def test_a_gpu_that_nobody_knows_is_told_by_its_address_once(node: Node) -> None:
    node.kernel(xid(79, "0000:77:00"))
    node.kernel("NVRM: GPU 0000:77:00.0: GPU has fallen off the bus.")
    (event,) = node.events()
    assert (event["gpu"], event["uuid"], event["address"]) == (None, "", "0000:77:00")
    assert (node.recorder.tally().strange, node.recorder.tally().xids) == (1, {})


def test_a_long_line_is_cut_to_what_the_daemon_takes(node: Node) -> None:
    node.kernel(xid(31, rest="x" * 5000))
    assert len(node.events()[0]["line"]) == LONGEST_LINE


def test_what_follows_another_fault_names_it_also_after_a_restart(node: Node) -> None:
    node.kernel(xid(48))
    node.now += 3
    node.start()
    node.kernel(xid(94))
    node.now += 11
    node.kernel(xid(94))
    first, second, third = sorted(node.events(), key=lambda event: float(event["at"]))
    assert (first["parent"], second["parent"], third["parent"]) == ("", first["key"], "")


def test_a_fault_that_nvml_told_of_before_a_kill_is_not_told_again_by_the_kernels_log(node: Node) -> None:
    node.nvml(79)
    node.now += 60
    node.start()
    node.kernel(xid(79), at=1001.0)
    assert node.recorder.tally().xids == {THREE: 1}
    assert [event["source"] for event in node.events()] == ["nvml"]


def test_a_fault_while_nobody_ran_is_told_by_the_kernel_alone(node: Node) -> None:
    node.now += 60
    node.start()
    node.kernel(xid(79), at=node.now - 2)
    node.nvml(79)  # another one: NVML tells only of what happens while it is listened to
    assert node.recorder.tally().xids == {THREE: 2}


def test_after_a_boot_counts_go_on_and_nothing_is_recent(node: Node) -> None:
    node.kernel(xid(79))
    node.boot = "next"
    node.start()
    node.nvml(79)
    assert node.recorder.tally().xids == {THREE: 2}
    assert node.recorder.tally().last_xids == {"GPU-3": 79}


def test_what_the_daemon_took_is_not_kept_and_what_it_did_not_outlasts_a_restart(node: Node) -> None:
    for code in (13, 31, 79):
        node.kernel(xid(code))
    assert [event["code"] for event in node.events()] == [79, 13, 31]
    node.recorder.done(["kernel:1"], {"kernel:3": "it has no meaning"})
    assert node.recorder.tally().outcomes == {"taken": 1, "refused": 1, "dropped": 0}
    node.start()
    assert [event["code"] for event in node.events()] == [31]
    assert node.recorder.tally().waiting == 1


def test_without_a_daemon_nothing_waits(node: Node) -> None:
    node.push = False
    node.start()
    node.kernel(xid(79))
    assert node.events() == []
    assert node.recorder.tally().outcomes == {}
    assert node.recorder.tally().xids == {THREE: 1}


def test_no_event_is_shown_that_is_not_on_disk(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    settled = journal_module._write

    def write(file: int, text: bytes) -> None:
        seen.append(len(node.recorder.batch(10)))
        settled(file, text)

    monkeypatch.setattr(journal_module, "_write", write)
    node.kernel(xid(79))
    assert seen == [0]
    assert len(node.recorder.batch(10)) == 1


def test_a_disk_that_is_full_costs_what_a_restart_needs_and_nothing_else(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int, _text: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "_write", full)
        node.kernel(xid(79))
        assert node.recorder.tally().state_writable is False
        assert len(node.events()) == 1
    node.kernel(xid(31))
    assert node.recorder.tally().state_writable is False
    node.now += RETRY_SECONDS
    node.recorder.tell((), (), {"number": 2})
    assert node.recorder.tally().state_writable is True
    node.start()
    assert node.recorder.tally().xids == {THREE: 1, XidEvent(3, "GPU-3", 31): 1}
    assert len(node.events()) == 2


def test_the_journal_is_written_anew_before_it_grows_without_end(node: Node, tmp_path: Path) -> None:
    node.push = False
    node.start()
    for _ in range(4000):
        node.kernel(xid(31, rest="x" * 400))
    assert (tmp_path / "faults.journal").stat().st_size < 2 * ROOM_BYTES
    node.start()
    assert node.recorder.tally().xids == {XidEvent(3, "GPU-3", 31): 4000}


def test_the_counts_of_a_gpu_that_was_taken_out_are_forgotten_in_the_end(node: Node) -> None:
    node.kernel(xid(79))
    node.now += KEPT_SECONDS + 1
    node.start()
    node.start()
    assert node.recorder.tally().xids == {}


def test_a_state_of_another_release_is_not_taken_for_ours() -> None:
    for entry in ({"kind": "state", "version": 99}, {"kind": "strange"}, {"kind": "fault"}, {"cursor": {}}):
        with pytest.raises(ValueError, match=r"release|kind"):
            folded([entry], "boot", Outbox())
