"""What nodes post, over HTTP: on record, as incidents, or refused with a sentence."""

import json
import time
from dataclasses import asdict
from typing import Any

import pytest
from whole_daemon import NODE_KEYS, Daemon

from fleetward.model.gpu_faults import Action, FaultKind, Scope, Severity
from fleetward.model.node_reports import MOST_EVENTS, FaultEvent, HealthReport, ReportedFinding
from fleetward.server import node_reports
from fleetward.server.node_tokens import token_of

NODE = "gpu002"
LOST = ReportedFinding("gpu_lost", "unhealthy", "GPU is lost", "GPU 3", "fatal", "reboot", evidence={"failure": "lost"})


def event(key: str = "b:1", **changes: object) -> dict[str, Any]:
    made = FaultEvent(
        key=key,
        at=time.time(),
        kind=FaultKind.XID,
        code=79,
        gpu=3,
        uuid="GPU-1",
        address="0000:61:00",
        severity=Severity.FATAL,
        action=Action.REBOOT,
        blame=Scope.HARDWARE,
        meaning="it fell off the bus",
        source="nvml",
    )
    return asdict(made) | changes


def health(
    *findings: ReportedFinding, passed: tuple[str, ...] = (), ago: float = 0, **changes: object
) -> dict[str, Any]:
    return asdict(HealthReport("periodic", time.time() - ago, findings, passed)) | changes


def keys(daemon: Daemon) -> list[str]:
    return sorted(one["key"] for one in daemon.local.get("/v1/events").json())


class TestWhoMay:
    @pytest.mark.parametrize("kind", ["events", "health"])
    @pytest.mark.parametrize(
        "token",
        ["", "wrong", token_of("gpu003", NODE_KEYS), token_of(NODE, [b"a key that the daemon does not have"])],
    )
    def test_only_the_node_itself_is_believed(self, daemon: Daemon, kind: str, token: str) -> None:
        answer = daemon.tell(NODE, kind, {"events": [event()]}, token)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert NODE in answer.json()["error"]
        assert keys(daemon) == []

    def test_the_key_from_before_is_still_good(self, daemon: Daemon) -> None:
        old = token_of(NODE, NODE_KEYS[1:])
        assert daemon.tell(NODE, "events", {"events": [event()]}, old).status_code == 200

    def test_a_node_that_nobody_knows_is_not_there(self, daemon: Daemon) -> None:
        answer = daemon.tell("gpu999", "events", {"events": [event()]})
        assert (answer.status_code, answer.json()["error"]) == (404, "there is no node gpu999 in this fleet")


class TestEvents:
    def test_they_are_taken_once_and_said_to_be_taken_each_time(self, daemon: Daemon) -> None:
        for _ in range(2):
            answer = daemon.tell(NODE, "events", {"events": [event("a"), event("b"), event("a")]})
            assert answer.json() == {"taken": ["a", "b"], "refused": {}}
        assert keys(daemon) == ["a", "b"]
        metrics = daemon.public.get("/metrics").text
        assert 'fleet_events_total{kind="xid",severity="fatal"} 2.0' in metrics
        assert 'fleet_events_total{kind="sxid",severity="info"} 0.0' in metrics

    @pytest.mark.parametrize(
        "changes",
        [
            {"at": float("nan")},
            {"at": "yesterday"},
            {"at": -1},
            {"kind": "cpu"},
            {"code": 79.5},
            {"code": True},
            {"code": 10**9},
            {"gpu": -1},
            {"gpu": "3"},
            {"severity": "terrible"},
            {"action": "explode"},
            {"blame": None},
            {"meaning": "x" * 5000},
            {"line": ["a"]},
            {"parent": "a b"},
            {"extra": 1},
        ],
    )
    def test_one_that_is_wrong_is_refused_by_name_and_costs_no_other(
        self, daemon: Daemon, changes: dict[str, Any]
    ) -> None:
        answer = daemon.tell(NODE, "events", {"events": [event("bad", **changes), event("good")]})
        found = answer.json()
        assert (answer.status_code, found["taken"], list(found["refused"])) == (200, ["good"], ["bad"])
        assert next(iter(changes)) in found["refused"]["bad"]
        assert keys(daemon) == ["good"]

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ("", "the post"),
            ("{", "the post"),
            ("[]", "the post"),
            ('{"events": 3}', "events"),
            ('{"events": [3]}', "events.0"),
            ('{"events": [{"key": "a b"}]}', "events.0"),
            ('{"events": [{"key": ""}]}', "events.0"),
            ('{"events": [{"key": "\\ud800"}]}', ""),
            ('{"events": ' + "[" * 100_000, "the post"),
            (json.dumps({"events": [event(str(n)) for n in range(MOST_EVENTS + 1)]}), "events"),
            (b"\xff\xfe", "the post"),
        ],
    )
    def test_what_is_no_post_is_refused_whole(self, daemon: Daemon, body: str | bytes, words: str) -> None:
        answer = daemon.tell(NODE, "events", body)
        assert answer.status_code == 400
        assert words in answer.json()["error"]
        assert keys(daemon) == []

    def test_what_is_too_long_is_not_read(self, daemon: Daemon) -> None:
        answer = daemon.tell(NODE, "events", b" " * (node_reports.MOST_BYTES + 1))
        assert answer.status_code == 413

    def test_a_child_is_shown_as_one(self, daemon: Daemon) -> None:
        daemon.tell(NODE, "events", {"events": [event("a"), event("b", code=45, parent="a", severity="info")]})
        found = {one["key"]: one["parent"] for one in daemon.local.get("/v1/events").json()}
        assert found == {"a": "", "b": "a"}
        only = daemon.local.get("/v1/events", params={"severity": "fatal", "node": NODE, "gpu": "3"}).json()
        assert [one["key"] for one in only] == ["a"]
        assert daemon.local.get("/v1/events", params={"severity": "bad"}).status_code == 400
        assert daemon.local.get("/v1/events", params={"hours": "x"}).status_code == 400


class TestHealth:
    def test_an_incident_is_opened_and_ends_when_the_check_passes(self, daemon: Daemon) -> None:
        daemon.tell(NODE, "events", {"events": [event()]})
        answer = daemon.tell(NODE, "health", health(LOST, ago=2))
        assert answer.json() == {"incidents": [1]}
        view = daemon.incident()
        assert (view["incident"]["alert_name"], view["incident"]["gpu"]) == ("GpuOffBus", "3")
        assert view["incident"]["firing"] == 1
        told = [(entry["kind"], entry["who"]) for entry in view["timeline"]]
        assert ("alert", NODE) in told
        assert ("event", NODE) in told
        assert daemon.tell(NODE, "health", health(LOST, ago=1)).json() == {"incidents": []}
        daemon.tell(NODE, "health", health(passed=("gpu_lost",)))
        assert daemon.incident()["incident"]["firing"] == 0

    def test_a_report_that_comes_late_changes_nothing(self, daemon: Daemon) -> None:
        daemon.tell(NODE, "health", health(LOST))
        assert daemon.tell(NODE, "health", health(passed=("gpu_lost",), ago=5)).json() == {"incidents": []}
        assert daemon.incident()["incident"]["firing"] == 1

    @pytest.mark.parametrize("ago", [node_reports.LATE_SECONDS + 30, -node_reports.EARLY_SECONDS - 30])
    def test_a_clock_that_is_wrong_is_told(self, daemon: Daemon, ago: float) -> None:
        answer = daemon.tell(NODE, "health", health(LOST, ago=ago))
        assert answer.status_code == 400
        assert "set the node's clock" in answer.json()["error"]
        assert daemon.local.get("/v1/incidents").json() == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"context": "party"},
            {"at": None},
            {"findings": [{"check": "a"}]},
            {"findings": [asdict(LOST) | {"status": "healthy"}]},
            {"findings": [asdict(LOST) | {"check": "a b"}]},
            {"findings": [asdict(LOST) | {"why": "x" * 5000}]},
            {"findings": [asdict(LOST) | {"evidence": {str(n): n for n in range(100)}}]},
            {"findings": [asdict(LOST)] * 1001},
            {"passed": ["a b"]},
            {"passed": [3]},
            {"extra": 1},
        ],
    )
    def test_what_is_no_report_is_refused(self, daemon: Daemon, changes: dict[str, Any]) -> None:
        answer = daemon.tell(NODE, "health", health(LOST, **changes))
        assert answer.status_code == 400
        assert next(iter(changes)) in answer.json()["error"]
        assert daemon.local.get("/v1/incidents").json() == []

    def test_hostile_words_are_only_words(self, daemon: Daemon) -> None:
        evil = ReportedFinding("gpu_lost", "unhealthy", "\x1b[31m<script>{{ 7*7 }}\x00", "GPU 3; reboot")
        assert daemon.tell(NODE, "health", health(evil)).json() == {"incidents": [1]}
        found = daemon.incident()["incident"]
        assert found["gpu"] == ""
        assert "\x00" not in found["summary"]
