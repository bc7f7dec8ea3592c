"""The interface over HTTP: shapes, errors, and what happens while the record is out of reach."""

from datetime import UTC, datetime

import pytest
from whole_daemon import TOKEN, Daemon, alert, cut, eventually

from fleetward.runbooks.prometheus import PrometheusOutOfReachError, Sample
from fleetward.server.app import MOST_BYTES
from fleetward.server.webhook import MOST_BYTES as MOST_BYTES_OF_A_POST
from fleetward.slurm.answers import Job, Listing
from fleetward.slurm.client import SlurmOutOfReachError, SlurmRefusedError
from fleetward.store.embedded import EmbeddedPostgres


def test_without_the_record_the_webhook_has_alertmanager_try_again(at_rest: Daemon, postgres: EmbeddedPostgres) -> None:
    with cut(at_rest, postgres):
        answer = at_rest.post(alert())
        assert answer.status_code == 503
        assert answer.json()["exit_code"] == 3
        assert at_rest.local.get("/v1/incidents").status_code == 503
        assert at_rest.public.get("/healthz").status_code == 503
        assert "out of reach" in at_rest.get("/v1/status")["reaches"]["store"]
        assert at_rest.get("/v1/fleet")["problems"]
        assert 'fleet_daemon_reaches{target="store"} 0.0' in at_rest.public.get("/metrics").text
    assert at_rest.post(alert()).json() == {"incidents": [1]}
    assert at_rest.public.get("/healthz").text == "ok"


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", TOKEN[:-1]])
def test_a_post_without_the_token_is_not_even_read(at_rest: Daemon, token: str) -> None:
    answer = at_rest.post(alert(), token=token)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert at_rest.get("/v1/incidents?state=all") == []


def test_a_post_that_is_no_alert_is_refused_for_good(at_rest: Daemon) -> None:
    answer = at_rest.public.post("/alertmanager", content="{", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.json()["exit_code"]) == (400, 2)


def test_a_post_that_never_ends_is_cut_off(at_rest: Daemon) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = at_rest.public.post("/alertmanager", content=b" " * (MOST_BYTES_OF_A_POST + 1), headers=headers)
    assert answer.status_code == 413
    assert at_rest.local.post("/v1/runs", content=b" " * (MOST_BYTES + 1)).status_code == 413


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/status"),
        ("POST", "/v1/modes"),
        ("POST", "/v1/nodes/gpu001/drain"),
        ("POST", "/v1/runs/1/approve"),
        ("GET", "/v1/incidents"),
    ],
)
def test_the_network_gets_nothing_of_what_is_for_people(at_rest: Daemon, method: str, path: str) -> None:
    assert at_rest.public.request(method, path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/incidents/999", None),
        ("GET", "/v1/incidents/x", None),
        ("GET", "/v1/incidents/٣", None),
        ("GET", "/v1/incidents?state=x", None),
        ("GET", "/v1/runs/999", None),
        ("GET", "/v1/runs?limit=x", None),
        ("GET", "/v1/runbooks/x", None),
        ("POST", "/v1/runs", {"runbook": "x"}),
        ("POST", "/v1/runs", {"runbook": "test-node-broken"}),
        ("POST", "/v1/runs", {"runbook": "test-node-broken", "params": {"node": "a;b"}}),
        ("POST", "/v1/runs", {"runbook": "test-node-broken", "params": {"node": "gpu001", "x": "y"}}),
        ("POST", "/v1/runs/1/decide", {"step": 0, "decision": "maybe"}),
        ("POST", "/v1/modes", {"runbook": "test-node-broken", "mode": "wild"}),
        ("POST", "/v1/modes", {"runbook": "x", "mode": "auto"}),
        ("POST", "/v1/nodes/gpu001/drain", {}),
        ("POST", "/v1/nodes/gpu001/drain", {"why": "  "}),
        ("POST", "/v1/nodes/gpu001/drain", {"why": "x", "class": "fun"}),
        ("POST", "/v1/nodes/gpu001/drain", {"why": "x", "who": "root"}),
        ("POST", "/v1/nodes/nothing/drain", {"why": "x"}),
        ("POST", "/v1/nodes/nothing/resume", {}),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(at_rest: Daemon, method: str, path: str, body: object) -> None:
    answer = at_rest.local.request(method, path, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["exit_code"] == 2
    assert answer.json()["error"]
    assert at_rest.slurm.calls == []


def test_who_asks_is_never_what_a_header_says(at_rest: Daemon) -> None:
    at_rest.made.sources[0].look()
    headers = {"X-Forwarded-For": "root", "X-Remote-User": "root", "Forwarded": "for=root"}
    answer = at_rest.local.post("/v1/nodes/gpu001/drain", json={"why": "x"}, headers=headers)
    assert answer.json()["claims"][0]["made_by"] == "ada"


def test_a_person_plans_a_run_without_an_incident(daemon: Daemon) -> None:
    run = daemon.ask("/v1/runs", runbook="test-node-broken", params={"node": "gpu004"})
    assert (run["state"], run["asked_by"], run["incident"]) == ("proposed", "ada", None)
    daemon.ask("/v1/runs/1/approve", digest=run["digest"])
    eventually(lambda: daemon.slurm.nodes_now["gpu004"].reason == "fleetward:r1 node_problem: it is broken")
    assert daemon.ask("/v1/runs/1/abort")["state"] == "aborted"


def test_an_incident_has_one_run_of_a_page_at_a_time(daemon: Daemon) -> None:
    daemon.post(alert())
    eventually(lambda: daemon.incident()["runs"])
    answer = daemon.local.post("/v1/runs", json={"runbook": "test-node-broken", "incident": 1})
    assert answer.status_code == 409
    assert "r1" in answer.json()["error"]


def test_acknowledging_says_who(at_rest: Daemon) -> None:
    at_rest.post(alert())
    answer = at_rest.ask("/v1/incidents/1/ack", note="looking")
    assert (answer["state"], answer["acknowledged_by"]) == ("acknowledged", "ada")


def test_the_library_shows_modes_steps_and_problems(at_rest: Daemon) -> None:
    (at_rest.folder / "test-node-broken.md").write_text("no page")
    assert "test-node-broken" not in at_rest.get("/v1/modes")
    at_rest.page("auto")
    assert at_rest.get("/v1/modes")["test-node-broken"] == "auto"
    at_rest.ask("/v1/modes", runbook="test-node-broken", mode="observe")
    shown = at_rest.get("/v1/runbooks/test-node-broken")
    assert shown["mode"] == "observe"
    assert [step["action"] for step in shown["steps"]] == ["slurm.drain", "approve", "slurm.resume"]
    assert shown["text"].startswith("---\nid: test-node-broken")
    assert shown["problems"] == []
    assert {page["text"] for page in at_rest.get("/v1/runbooks")} == {""}


def test_all_sets_every_page(at_rest: Daemon) -> None:
    assert set(at_rest.ask("/v1/modes", runbook="all", mode="observe").values()) == {"observe"}


def test_the_fleet_has_gpus_jobs_claims_and_incidents(daemon: Daemon) -> None:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    labels = {"node": "gpu002", "gpu": "3"}
    daemon.prometheus.answers = {
        "gpu_up": (Sample(labels, 0.0, at), Sample({"node": "gpu002", "gpu": "4"}, 1.0, at)),
        "gpu_temperature_celsius": (Sample(labels, 61.0, at), Sample({**labels, "gpu": "x"}, 1.0, at)),
        "gpu_utilization_ratio": (Sample(labels, float("nan"), at),),
    }
    daemon.post(alert())
    daemon.ask("/v1/nodes/gpu002/drain", why="a look")
    fleet = daemon.get("/v1/fleet")
    views = {view["name"]: view for view in fleet["nodes"]}
    assert fleet["cluster"] == "lab"
    assert (views["gpu002"]["state"], views["gpu002"]["claims"], views["gpu002"]["incidents"]) == (
        "idle+drain",
        ["p-ada"],
        [1],
    )
    gpus = views["gpu002"]["gpus"]
    assert [gpu["up"] for gpu in gpus] == [None, None, None, False, True, None, None, None]
    assert (gpus[3]["temperature"], gpus[3]["utilization"]) == (61.0, None)
    assert set(fleet["ages"]) == {"nodes", "jobs", "partitions", "prometheus"}
    assert fleet["problems"] == []


def test_a_fleet_whose_jobs_slurm_does_not_tell_has_its_nodes_all_the_same(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Listing[Job]:
        raise SlurmRefusedError("you may not see them")

    monkeypatch.setattr(daemon.slurm, "jobs", refuse)
    fleet = daemon.get("/v1/fleet")
    assert len(fleet["nodes"]) == 4
    assert set(fleet["ages"]) == {"nodes", "partitions", "prometheus"}
    assert fleet["problems"] == ["Slurm does not answer about jobs: you may not see them"]
    assert daemon.get("/v1/status")["reaches"]["slurm"] == ""


def test_a_fleet_while_slurm_is_away_is_the_one_from_before_and_older(daemon: Daemon) -> None:
    assert daemon.get("/v1/fleet")["problems"] == []
    daemon.slurm.raises = SlurmOutOfReachError("slurmctld does not answer")
    daemon.made.sources[0].fresh(20)
    first, second = daemon.get("/v1/fleet"), daemon.get("/v1/fleet")
    assert [node["name"] for node in second["nodes"]] == ["gpu001", "gpu002", "gpu003", "gpu004"]
    assert all(second["ages"][part] >= first["ages"][part] > 0 for part in ("nodes", "jobs", "partitions"))
    [problem] = second["problems"]
    assert problem.startswith("Slurm does not answer about nodes, jobs, partitions, since ")
    assert problem.endswith(" UTC: slurmctld does not answer")


def test_a_fleet_before_slurm_ever_answered_says_so(at_rest: Daemon) -> None:
    at_rest.slurm.raises = SlurmOutOfReachError("slurmctld does not answer")
    at_rest.made.service._backing.interest.show()
    at_rest.made.sources[0].look()
    fleet = at_rest.get("/v1/fleet")
    assert (fleet["nodes"], fleet["jobs"], fleet["ages"]) == ([], [], {})
    assert any(
        problem.startswith("Slurm does not answer, since ") and problem.endswith("slurmctld does not answer")
        for problem in fleet["problems"]
    )


def test_a_fleet_without_prometheus_is_shown_with_the_problem(daemon: Daemon) -> None:
    daemon.prometheus.raises = PrometheusOutOfReachError("no Prometheus")
    daemon.made.sources[1].look()
    fleet = daemon.get("/v1/fleet")
    assert len(fleet["nodes"]) == 4
    assert any("no Prometheus" in problem for problem in fleet["problems"])


def test_the_metrics_count_incidents_runs_and_held_nodes(daemon: Daemon) -> None:
    daemon.ask("/v1/modes", runbook="all", mode="auto")
    daemon.post(alert())
    eventually(lambda: daemon.run()["state"] == "waiting")
    metrics = daemon.public.get("/metrics").text
    for line in (
        'fleet_incidents{state="open"} 1.0',
        'fleet_runs{state="waiting"} 1.0',
        "fleet_nodes_held 1.0",
        "fleet_nodes_held_allowed 1.0",
        'fleet_leg_seconds_count{leg="alert_to_incident"} 1.0',
        'fleet_node_incidents{alert="NodeBroken",node="gpu002"} 1.0',
        'fleet_node_claims{node="gpu002"} 1.0',
        'fleet_node_claims{node="gpu001"} 0.0',
    ):
        assert line in metrics
    eventually(lambda: 'fleet_leg_seconds_count{leg="incident_to_claim"} 1.0' in daemon.public.get("/metrics").text)
