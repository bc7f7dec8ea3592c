"""Faults as they are written on a node, and undone: by the very scripts, on files of this machine."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from fleetward.exporters.events.kernel_lines import KernelXid
from fleetward.exporters.events.kernel_log import KernelLog
from fleetward.lab import faults
from fleetward.lab.engine import Engine
from fleetward.lab.fault_kinds import xid
from fleetward.lab.spec import LabSpec

SPEC = LabSpec("lab", "trixie", 3)
LOST, OTHER = KernelXid("0000:61:00", 79), KernelXid("0000:43:00", 48)


@dataclass
class HereEngine:
    """Runs scripts on this machine, but for those that are about its devices, its journal and its services."""

    ran: list[tuple[str, ...]] = field(default_factory=list)

    def execute(self, _container: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.ran.append(tuple(argv))
        if argv[0] != "sh" or "journal" in argv or argv[2].startswith("ls -d"):
            return Told("8\n")
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return Told(done.stdout)


class Told(subprocess.CompletedProcess[str]):
    """What a container's program printed."""

    def __init__(self, text: str) -> None:
        super().__init__([], 0)
        self.text = text


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the files that play a node's GPUs."""
    for name, file in {"SCENARIO": "scenario.conf", "EVENTS": "events", "KERNEL_LOG": "kmsg"}.items():
        monkeypatch.setattr(faults, name, str(tmp_path / file))
    for file in ("events", "kmsg"):
        (tmp_path / file).touch()
    return tmp_path


def test_a_repair_leaves_no_fault_in_scenario_kernel_log_or_events(node: Path) -> None:
    here = HereEngine()
    faults.inject(cast(Engine, here), SPEC, "gpu002", xid(3, 79))
    assert [bool((node / name).read_text()) for name in ("scenario.conf", "kmsg", "events")] == [True] * 3
    faults.clear(cast(Engine, here), SPEC, "gpu002")
    assert [(node / name).read_text() for name in ("scenario.conf", "kmsg", "events")] == [""] * 3
    assert sorted(file.name for file in node.iterdir()) == ["events", "kmsg", "scenario.conf"]
    assert here.ran[-1] == ("systemctl", "start", "slurmd")


def test_who_follows_the_kernels_log_sees_the_next_fault_and_none_twice(node: Path) -> None:
    here = cast(Engine, HereEngine())
    log = KernelLog(node / "kmsg", "boot")
    faults.inject(here, SPEC, "gpu002", xid(3, 79))
    first = log.read()
    assert [fault.told for fault in first] == [LOST, KernelXid("0000:61:00", 79, implied=True)]
    faults.clear(here, SPEC, "gpu002")
    faults.inject(here, SPEC, "gpu002", xid(1, 48))
    second = log.read()
    assert [fault.told for fault in second] == [OTHER]
    assert len({fault.key for fault in first + second}) == 3
    faults.clear(here, SPEC, "gpu002")
    assert log.read() == []
    log.close()
