"""`fleetward events` and `fleetward node-token`."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from played_daemon import NOON, PlayedDaemon

from fleetward.model.daemon_views import EventView
from fleetward.model.gpu_faults import FaultKind, Severity

Asking = Callable[..., subprocess.CompletedProcess[str]]


def event(number: int = 1, **changes: object) -> EventView:
    values: dict[str, object] = {
        "id": number,
        "node": "gpu002",
        "key": f"b:{number}",
        "at": NOON,
        "taken_at": NOON,
        "kind": FaultKind.XID,
        "code": 79,
        "gpu": "3",
        "uuid": "GPU-1",
        "address": "0000:61:00",
        "severity": Severity.FATAL,
        "action": "drain_reset",
        "blame": "hardware",
        "meaning": "it fell off the bus",
        "source": "nvml",
        "parent": "",
        "line": "",
    }
    return EventView(**{**values, **changes})  # type: ignore[arg-type]  # each has the field's type


def test_faults_are_listed_with_those_that_follow_marked(asking: Asking, daemon: PlayedDaemon) -> None:
    child = event(2, code=45, severity=Severity.INFO, parent="b:1", meaning="channels were cleaned up")
    switch = event(3, kind=FaultKind.SXID, code=20034, gpu="", severity=Severity.DEGRADED)
    daemon.events_held = [switch, child, event()]
    lines = asking("events").stdout.splitlines()
    assert lines[0].split() == ["WHEN", "NODE", "GPU", "FAULT", "SEVERITY", "MEANING", "ACTION", "BLAME"]
    assert [words in line for words, line in zip(("0000:61:00", "└ XID 45", "✗ fatal"), lines[1:], strict=True)] == [
        True
    ] * 3
    assert "drain reset" in lines[3]


def test_what_is_asked_for_reaches_the_daemon(asking: Asking, daemon: PlayedDaemon) -> None:
    asking("events", "--node", "gpu002", "--gpu", "3", "--severity", "fatal", "--since", "2h", "--limit", "5")
    assert daemon.asked[-1].query == {
        "node": "gpu002",
        "gpu": "3",
        "severity": "fatal",
        "seconds": "7200",
        "limit": "5",
    }


def test_json_has_every_value(asking: Asking, daemon: PlayedDaemon) -> None:
    daemon.events_held = [event()]
    (found,) = json.loads(asking("events", "--json").stdout)["events"]
    assert (found["code"], found["severity"], found["at"]) == (79, "fatal", "2026-11-21T12:00:00+00:00")


def test_a_line_with_escapes_is_harmless(asking: Asking, daemon: PlayedDaemon) -> None:
    daemon.events_held = [event(meaning="\x1b[31mred")]
    assert "\x1b" not in asking("events").stdout


def test_a_nodes_token_is_the_same_each_time_and_another_for_another(fleetward: Asking, tmp_path: Path) -> None:
    file = tmp_path / "node-key"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    named = {"FLEETWARD_DAEMON_NODE_KEY_FILE": str(file)}
    first, again, other = (fleetward("node-token", name, **named).stdout for name in ("gpu001", "gpu001", "gpu002"))
    assert first == again != other
    assert len(first.strip()) == len(other.strip()) == 64
    assert file.read_text().strip() not in first


def test_without_a_key_there_is_no_token(fleetward: Asking) -> None:
    done = fleetward("node-token", "gpu001")
    assert (done.returncode, done.stdout) == (2, "")
    assert "daemon.node_key_file" in done.stderr
