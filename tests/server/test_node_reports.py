"""What nodes post, over HTTP: on record, as incidents, or refused with a sentence."""

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from played_events import fault_event
from starlette.testclient import TestClient
from whole_daemon import NODE_KEYS, Daemon, alert, cut, eventually

from fleetward.model.node_reports import MOST_EVENTS, HealthReport, ReportedFinding
from fleetward.server import node_posts, node_reports
from fleetward.server.app import Secrets, public_app
from fleetward.server.node_tokens import token_of
from fleetward.store.embedded import EmbeddedPostgres

NODE = "gpu002"
LOST = ReportedFinding("gpu_lost", "unhealthy", "GPU is lost", "GPU 3", "fatal", "reboot", evidence={"failure": "lost"})


def event(key: str = "b:1", **changes: object) -> dict[str, Any]:
    """Return an event as it is posted; a change may be one that no event has."""
    return asdict(fault_event(key)) | changes


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

    def test_without_a_key_nobody_is_believed_and_the_answer_says_why(self, daemon: Daemon) -> None:
        made = daemon.made
        app = public_app(made.service, made.intake, made.reports, Secrets("", ()), made.registry)
        answer = TestClient(app).post(
            f"/v1/nodes/{NODE}/events",
            json={"events": [event()]},
            headers={"Authorization": f"Bearer {token_of(NODE, NODE_KEYS)}"},
        )
        assert answer.status_code == 401
        assert "daemon.node_key_file" in answer.json()["error"]
        assert keys(daemon) == []

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
            {"at": float("inf")},
            {"at": "yesterday"},
            {"at": "1795000000"},
            {"at": True},
            {"at": 10**400},
            {"at": -1},
            {"kind": "cpu"},
            {"code": 79.5},
            {"code": True},
            {"code": 10**9},
            {"code": "79"},
            {"code": 10**4000},
            {"gpu": -1},
            {"gpu": "3"},
            {"severity": "terrible"},
            {"action": "explode"},
            {"blame": None},
            {"meaning": "x" * 5000},
            {"line": ["a"]},
            {"line": {"a": {"b": []}}},
            {"uuid": 7},
            {"parent": "a b"},
            {"parent": "\ud800"},
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
            ('{"events": [{"key": "\\ud800"}]}', "events.0"),
            ('{"events": [{"key": ["a"]}]}', "events.0"),
            ('{"events": [{"key": "' + "k" * 129 + '"}]}', "events.0"),
            ('{"events": ' + "[" * 100_000, "nested too deeply"),
            ('{"events": ' + "[" * 400_000 + "]" * 400_000 + "}", "nested too deeply"),
            ('{"events": [' + "9" * 10_000 + "]}", "the post"),
            ('{"events": []} {}', "the post"),
            ('{"event": []}', "events"),
            (json.dumps({"events": [event(str(n)) for n in range(MOST_EVENTS + 1)]}), "events"),
            (b"\xff\xfe", "the post"),
        ],
    )
    def test_what_is_no_post_is_refused_whole(self, daemon: Daemon, body: str | bytes, words: str) -> None:
        answer = daemon.tell(NODE, "events", body)
        assert answer.status_code == 400
        assert words in answer.json()["error"]
        assert keys(daemon) == []

    def test_text_that_no_database_takes_costs_no_fault(self, daemon: Daemon) -> None:
        told = event("a", line="half \ud83d of a pair, \x00 and \x1b[31m", meaning="\udfff", source="\x00")
        answer = daemon.tell(NODE, "events", {"events": [told, event("b")]})
        assert answer.json() == {"taken": ["a", "b"], "refused": {}}
        (kept,) = [one for one in daemon.local.get("/v1/events").json() if one["key"] == "a"]
        assert kept["line"] == "half \ufffd of a pair, \ufffd and \x1b[31m"

    def test_fields_of_a_later_release_are_left_out(self, daemon: Daemon) -> None:
        assert daemon.tell(NODE, "events", {"events": [event("a", weight=3)], "more": 1}).json()["taken"] == ["a"]
        assert daemon.tell(NODE, "health", health(LOST, mood="good")).json() == {"incidents": [1]}

    def test_one_from_a_clock_that_is_far_ahead_is_of_now(self, daemon: Daemon) -> None:
        daemon.tell(NODE, "events", {"events": [event("a", at=9e9)]})
        (kept,) = daemon.local.get("/v1/events").json()
        assert datetime.fromisoformat(kept["at"]).timestamp() <= time.time() + node_reports.EARLY_SECONDS

    def test_of_two_with_one_key_the_one_that_can_be_read_counts(self, daemon: Daemon) -> None:
        answer = daemon.tell(NODE, "events", {"events": [event("a", code=-1), event("a")]})
        assert answer.json() == {"taken": ["a"], "refused": {}}

    def test_those_that_are_refused_are_counted(self, daemon: Daemon) -> None:
        daemon.tell(NODE, "events", {"events": [event("a", code=-1), event("b", at=0, gpu=None)]})
        metrics = daemon.public.get("/metrics").text
        assert "fleet_events_refused_total 1.0" in metrics
        assert "fleet_event_delay_seconds_count 1.0" in metrics

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_posts_cut_repeated_and_turned_around_give_the_same_record(
        self, at_rest: Daemon, data: st.DataObject
    ) -> None:
        first = {one["key"] for one in at_rest.local.get("/v1/events", params={"limit": 10_000}).json()}
        told = [event(f"{len(first)}:{number}", code=1 + number) for number in range(8)]
        whole = data.draw(st.permutations(told))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
        posts = [whole[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(whole)])]
        posts += data.draw(st.lists(st.sampled_from(posts), max_size=3))
        for post in data.draw(st.permutations(posts)):
            answer = at_rest.tell(NODE, "events", {"events": post}).json()
            assert answer == {"taken": [one["key"] for one in post], "refused": {}}
        kept = at_rest.local.get("/v1/events", params={"limit": 10_000}).json()
        new = {one["key"]: one["code"] for one in kept if one["key"] not in first}
        assert new == {one["key"]: one["code"] for one in told}
        assert len(kept) == len(first) + len(told)

    def test_what_is_too_long_is_not_read(self, daemon: Daemon) -> None:
        answer = daemon.tell(NODE, "events", b" " * (node_posts.MOST_BYTES + 1))
        assert answer.status_code == 413

    def test_a_child_is_shown_as_one(self, daemon: Daemon) -> None:
        daemon.tell(NODE, "events", {"events": [event("a"), event("b", code=45, parent="a", severity="info")]})
        found = {one["key"]: one["parent"] for one in daemon.local.get("/v1/events").json()}
        assert found == {"a": "", "b": "a"}
        only = daemon.local.get("/v1/events", params={"severity": "fatal", "node": NODE, "gpu": "3"}).json()
        assert [one["key"] for one in only] == ["a"]
        assert daemon.local.get("/v1/events", params={"severity": "bad"}).status_code == 400
        assert daemon.local.get("/v1/events", params={"seconds": "x"}).status_code == 400


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
        assert daemon.tell(NODE, "health", health(LOST, ago=1)).json() == {"incidents": [1]}
        assert daemon.incident()["timeline"] == view["timeline"], "said again it is no news"
        daemon.tell(NODE, "health", health(passed=("gpu_lost",)))
        assert daemon.incident()["incident"]["firing"] == 0

    def test_an_unhealthy_node_is_drained_once_a_person_agrees(self, daemon: Daemon) -> None:
        hot = ReportedFinding("gpu_temperature", "unhealthy", "93 degrees", "GPU 4", "fatal", "inspect")
        daemon.tell(NODE, "health", health(hot))
        run = eventually(lambda: daemon.incident()["runs"])[0]
        assert (run["runbook"], run["state"]) == ("node-unhealthy", "proposed")
        assert run["params"] == {"node": NODE, "check": "gpu_temperature"}
        assert daemon.slurm.calls == []
        daemon.ask("/v1/runs/1/approve", digest=run["digest"])
        reason = "fleetward:i1 node_problem: unhealthy by check gpu_temperature"
        eventually(lambda: daemon.slurm.nodes_now[NODE].reason == reason)
        assert daemon.slurm.nodes_now[NODE].flags == ("DRAIN",)

    def test_prometheus_rule_tells_of_the_same_incident(self, daemon: Daemon) -> None:
        labels = {"node": NODE, "gpu": "4", "check": "gpu_temperature", "entity": "GPU 4", "rack": "r1"}
        assert daemon.post(alert("NodeUnhealthy", **labels)).json() == {"incidents": [1]}
        hot = ReportedFinding("gpu_temperature", "unhealthy", "93 degrees", "GPU 4")
        assert daemon.tell(NODE, "health", health(hot)).json() == {"incidents": [1]}

    def test_only_alertmanager_ends_what_alertmanager_told(self, daemon: Daemon) -> None:
        theirs = alert("GpuOffBus", node=NODE, gpu="3", source="node report", check="gpu_lost", entity="GPU 3")
        daemon.post(theirs)
        assert daemon.tell(NODE, "health", health(LOST, ago=2)).json() == {"incidents": [1]}
        assert daemon.incident()["incident"]["firing"] == 2, "both tell of one incident"
        daemon.tell(NODE, "health", health(passed=("gpu_lost",), ago=1))
        assert daemon.incident()["incident"]["firing"] == 1
        daemon.post(theirs | {"status": "resolved", "endsAt": "2026-11-21T13:00:00Z"})
        assert daemon.incident()["incident"]["firing"] == 0

    def test_a_gpu_that_the_kernel_names_by_its_address_is_the_one_of_the_event(self, daemon: Daemon) -> None:
        daemon.tell(NODE, "events", {"events": [event(address="0000:61:00", gpu=3)]})
        seen = ReportedFinding("xid_off_bus", "unhealthy", "XID 79", "0000:61:00")
        daemon.tell(NODE, "health", health(seen))
        found = daemon.incident()["incident"]
        assert (found["alert_name"], found["gpu"]) == ("GpuOffBus", "3")

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_a_gpu_that_falls_off_the_bus_is_one_incident_whoever_tells_of_it_in_whatever_order(
        self, daemon: Daemon, order: tuple[int, ...]
    ) -> None:
        seen = ReportedFinding("xid_off_bus", "unhealthy", "XID 79: gone", "0000:61:00", evidence={"seconds_ago": 90})
        count = ReportedFinding("pci_gpu_count", "unhealthy", "7 GPUs on the bus where there should be 8")
        hot = ReportedFinding("gpu_temperature_margin", "degraded", "2 degrees", "GPU 3")
        tellers: list[Callable[[], object]] = [
            lambda: daemon.tell(NODE, "health", health(LOST, seen, count, hot)),
            lambda: daemon.post(alert("GpuOffBus", gpu="3")),
            lambda: daemon.tell(NODE, "events", {"events": [event()]}),
        ]
        for teller in order:
            tellers[teller]()
        daemon.post(alert("GpuXidFatal", gpu="3", xid="154"), alert("GpuCountWrong"))
        daemon.post(alert("NodeDegraded", gpu="3", check="gpu_temperature_margin", entity="GPU 3", severity="warning"))
        (found,) = daemon.local.get("/v1/incidents").json()
        assert (found["alert_name"], found["gpu"], found["firing"]) == ("GpuOffBus", "3", 8)

    def test_a_fatal_xid_is_one_incident_though_nobody_names_its_address_but_prometheus(self, daemon: Daemon) -> None:
        fresh = ReportedFinding("xid_memory", "unhealthy", "XID 95: not contained", "0000:61:00")
        daemon.tell(NODE, "health", health(replace(fresh, evidence={"seconds_ago": 4}), ago=3))
        assert daemon.local.get("/v1/incidents").json() == []
        daemon.post(alert("GpuXidFatal", gpu="3", xid="95"))
        daemon.tell(NODE, "health", health(replace(fresh, evidence={"seconds_ago": 6}), ago=1))
        (found,) = daemon.local.get("/v1/incidents").json()
        assert (found["alert_name"], found["gpu"], found["firing"]) == ("GpuXidFatal", "3", 2)

    def test_a_check_that_is_left_out_from_now_on_fires_no_more_after_three_reports(self, daemon: Daemon) -> None:
        daemon.tell(NODE, "health", health(LOST, ago=9))
        firing = []
        for ago in (4, 3, 2):
            daemon.tell(NODE, "health", health(passed=("cpu_count",), ago=ago))
            firing.append(daemon.incident()["incident"]["firing"])
        assert firing == [1, 1, 0]

    def test_a_daemon_that_was_started_again_knows_what_fires(self, daemon: Daemon) -> None:
        daemon.tell(NODE, "health", health(LOST, ago=3))
        records = daemon.made.reports._records
        anew = node_reports.NodeReports(records, lambda: [NODE])
        anew.health(NODE, json.dumps(health(LOST, ago=2)).encode())
        assert daemon.incident()["incident"]["firing"] == 1
        anew.health(NODE, json.dumps(health(passed=("gpu_lost",), ago=1)).encode())
        assert daemon.incident()["incident"]["firing"] == 0
        late = anew.health(NODE, json.dumps(health(LOST, ago=2)).encode())
        assert (late.incidents, daemon.incident()["incident"]["firing"]) == ((), 0)

    def test_what_is_a_users_or_unknown_is_counted_and_raises_nothing(self, daemon: Daemon) -> None:
        users = ReportedFinding("a", "unhealthy", "why", problem="user_problem")
        assert daemon.tell(NODE, "health", health(users, ReportedFinding("b", "unknown", "?"))).json() == {
            "incidents": []
        }
        metrics = daemon.public.get("/metrics").text
        assert 'fleet_health_findings_total{problem="user_problem",status="unhealthy"} 1.0' in metrics
        assert 'fleet_health_findings_total{problem="node_problem",status="unknown"} 1.0' in metrics
        assert daemon.local.get("/v1/incidents").json() == []

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
            {"at": "1"},
            {"at": True},
            {"at": float("inf")},
            {"findings": [asdict(LOST) | {"why": 3}]},
            {"findings": [asdict(LOST) | {"evidence": {"a": [1]}}]},
            {"findings": {"check": "a"}},
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


class TestWithoutTheRecord:
    @pytest.mark.parametrize("kind", ["events", "health"])
    def test_the_node_is_to_try_again_and_nothing_is_half_taken(
        self, at_rest: Daemon, postgres: EmbeddedPostgres, kind: str
    ) -> None:
        body = {"events": [event()]} if kind == "events" else health(LOST)
        with cut(at_rest, postgres):
            answer = at_rest.tell(NODE, kind, body)
            assert (answer.status_code, answer.json()["exit_code"]) == (503, 3)
        assert keys(at_rest) == []
        assert at_rest.get("/v1/incidents?state=all") == []
        assert at_rest.tell(NODE, kind, body).status_code == 200
        assert len(keys(at_rest) if kind == "events" else at_rest.get("/v1/incidents")) == 1
