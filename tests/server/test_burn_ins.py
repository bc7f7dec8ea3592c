"""Burn-ins carried out by the daemon, a round at a time: reservation, jobs, logs, certificates, and what is held."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from burn_in_logs import BAD, GOOD, OTHER_PARTS, run_jobs
from played_slurm import node
from whole_daemon import Daemon

from fleetward.model.claims import ClaimClass
from fleetward.server.fence import RESERVATION
from fleetward.slurm.client import SlurmOutOfReachError, SlurmRefusedError
from fleetward.store.claims import Claims
from fleetward.store.fingerprints import Fingerprints


def begin(daemon: Daemon, nodes: str = "gpu[001-002]", **body: object) -> dict[str, Any]:
    return daemon.ask("/v1/burn-ins", nodes=nodes, **body)


def burn_in(daemon: Daemon, number: int = 1) -> dict[str, Any]:
    return daemon.get(f"/v1/burn-ins/{number}")


def rounds(daemon: Daemon, many: int = 3) -> None:
    for _ in range(many):
        daemon.made.burner.round()


def results(daemon: Daemon, number: int = 1) -> dict[str, str]:
    return {one["name"]: one["outcome"] for one in burn_in(daemon, number)["nodes"]}


def standings(daemon: Daemon) -> dict[str, str]:
    return {one["node"]: one["standing"] for one in daemon.get("/v1/standings")}


@pytest.fixture
def passed(at_rest: Daemon) -> Daemon:
    """Return a daemon of whose nodes two have just passed."""
    begin(at_rest)
    rounds(at_rest)
    run_jobs(at_rest)
    rounds(at_rest)
    return at_rest


def test_from_the_start_to_the_certificate(at_rest: Daemon) -> None:
    begun = begin(at_rest)
    assert begun["burn_in"]["workloads"] == ["dcgm_medium"]
    at_rest.made.burner.round()
    assert at_rest.slurm.kept == {RESERVATION: ("gpu001", "gpu002")}
    rounds(at_rest)
    assert len(at_rest.slurm.scripts) == 2
    assert all(f"#SBATCH --reservation={RESERVATION}\n" in script for script in at_rest.slurm.scripts.values())
    run_jobs(at_rest)
    rounds(at_rest)
    now = burn_in(at_rest)
    assert (now["state"], now["why"], results(at_rest)) == (
        "done",
        "2 passed",
        {"gpu001": "passed", "gpu002": "passed"},
    )
    assert at_rest.slurm.kept == {}
    assert standings(at_rest) == {"gpu001": "valid", "gpu002": "valid", "gpu003": "missing", "gpu004": "missing"}
    certificate = at_rest.get("/v1/standings/gpu001")["certificate"]
    assert certificate["results"]["dcgm_medium"]["outcome"] == "passed"
    ends, began = (datetime.fromisoformat(certificate[name]) for name in ("expires_at", "issued_at"))
    assert ends - began == timedelta(days=90)


def test_a_node_that_fails_is_held_loses_its_certificate_and_can_be_tested_again(passed: Daemon) -> None:
    begin(passed)
    rounds(passed)
    run_jobs(passed, lambda name: BAD if name == "gpu002" else GOOD)
    rounds(passed)
    assert results(passed, 2) == {"gpu001": "passed", "gpu002": "failed"}
    assert passed.slurm.nodes_now["gpu002"].reason.startswith("fleetward:q2 node_problem: dcgm_medium failed: ")
    assert "DRAIN" not in passed.slurm.nodes_now["gpu001"].flags
    assert passed.get("/v1/standings/gpu002")["why"] == ["it failed in q2"]

    begin(passed, "gpu002")
    rounds(passed)
    assert "DRAIN" not in passed.slurm.nodes_now["gpu002"].flags, "in the reservation it is in service"
    run_jobs(passed)
    rounds(passed)
    assert (results(passed, 3), standings(passed)["gpu002"]) == ({"gpu002": "passed"}, "valid")
    assert Claims(passed.database).open() == ()


def test_what_a_burn_in_holds_a_person_lets_go(passed: Daemon) -> None:
    begin(passed, "gpu002")
    rounds(passed)
    run_jobs(passed, lambda _: BAD)
    rounds(passed)
    assert passed.local.post("/v1/nodes/gpu002/clear", json={"why": " "}).status_code == 400
    passed.ask("/v1/nodes/gpu002/clear", why="a riser was loose")
    assert "DRAIN" not in passed.slurm.nodes_now["gpu002"].flags
    assert passed.local.post("/v1/nodes/gpu002/clear", json={"why": "again"}).status_code == 409


@pytest.mark.parametrize(
    ("told", "why"),
    [("nothing that can be read", "dcgm_medium unknown"), ("", "dcgm_medium unknown")],
)
def test_what_says_nothing_gives_no_certificate_and_holds_nobody(at_rest: Daemon, told: str, why: str) -> None:
    begin(at_rest, "gpu001")
    rounds(at_rest)
    run_jobs(at_rest, lambda _: told)
    rounds(at_rest)
    (found,) = burn_in(at_rest)["nodes"]
    assert (found["outcome"], found["certificate"]) == ("unknown", None)
    assert why in found["why"][0]
    assert Claims(at_rest.database).open() == ()


def test_a_job_that_left_no_log_says_how_it_ended(at_rest: Daemon) -> None:
    begin(at_rest, "gpu001")
    rounds(at_rest)
    at_rest.slurm.end("100", "NODE_FAIL")
    rounds(at_rest)
    (job,) = burn_in(at_rest)["jobs"]
    assert (job["state"], "NODE_FAIL" in job["why"], "is not there" in job["why"]) == ("ended", True, True)
    assert "NODE_FAIL" in burn_in(at_rest)["nodes"][0]["why"][0]


def test_a_log_that_is_out_of_reach_is_waited_for(at_rest: Daemon) -> None:
    begin(at_rest, "gpu001")
    rounds(at_rest)
    run_jobs(at_rest)
    at_rest.runner.raises = SlurmOutOfReachError("no answer")
    rounds(at_rest)
    assert burn_in(at_rest)["jobs"][0]["state"] == "submitted"
    at_rest.runner.raises = None
    rounds(at_rest)
    assert results(at_rest) == {"gpu001": "passed"}


def test_a_job_that_was_submitted_before_a_crash_is_found_by_its_name(at_rest: Daemon) -> None:
    begin(at_rest, "gpu001")
    rounds(at_rest, 1)
    submitted = at_rest.made.burn_ins._records.burn_ins.submitted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(at_rest.made.burn_ins._records.burn_ins), "submitted", _cut_off)
        rounds(at_rest, 2)
    assert submitted is not None
    assert (len(at_rest.slurm.scripts), burn_in(at_rest)["jobs"][0]["state"]) == (1, "planned")
    rounds(at_rest)
    assert (len(at_rest.slurm.scripts), burn_in(at_rest)["jobs"][0]["slurm_job"]) == (1, "100")


def _cut_off(*_: object) -> None:
    """Lose what was to be recorded."""


def test_slurm_that_refuses_a_job_ends_it_with_its_words(at_rest: Daemon) -> None:
    begin(at_rest, "gpu001")
    rounds(at_rest, 1)
    at_rest.slurm.on_write = None

    def refuse(script: str, _: Path) -> None:
        raise SlurmRefusedError("sbatch: error: Invalid account")

    at_rest.slurm.submit = refuse  # type: ignore[method-assign, assignment]
    rounds(at_rest)
    assert burn_in(at_rest)["jobs"][0]["why"] == "Slurm did not take its job: sbatch: error: Invalid account"
    assert results(at_rest) == {"gpu001": "unknown"}


def test_what_has_not_ended_in_time_is_cancelled(at_rest: Daemon) -> None:
    begin(at_rest, "gpu001", seconds=60)
    rounds(at_rest)
    assert at_rest.slurm.jobs_now["100"].state == "PENDING"
    with at_rest.database.transaction() as connection:
        connection.execute("update burn_ins set made_at = made_at - interval '2 minutes'")
    rounds(at_rest)
    assert at_rest.slurm.jobs_now["100"].state == "CANCELLED"
    assert results(at_rest) == {"gpu001": "unknown"}


def test_an_abort_cancels_its_jobs_and_gives_the_nodes_back(at_rest: Daemon) -> None:
    begin(at_rest)
    rounds(at_rest)
    at_rest.ask("/v1/burn-ins/1/abort")
    rounds(at_rest)
    assert {job.state for job in at_rest.slurm.jobs_now.values()} == {"CANCELLED"}
    assert at_rest.slurm.kept == {}
    assert {job["state"] for job in burn_in(at_rest)["jobs"]} == {"ended"}
    assert at_rest.local.post("/v1/burn-ins/1/abort", json={}).status_code == 409


class TestWhoMayBeTested:
    @pytest.mark.parametrize(
        ("body", "status", "why"),
        [
            ({"nodes": "gpu009"}, 400, "no node 'gpu009'"),
            ({"nodes": "gpu[1-"}, 400, "gpu[1-"),
            ({"nodes": "gpu[1-99999999]"}, 400, "too many nodes"),
            ({"nodes": "gpu001", "workloads": ["rm -rf"]}, 400, "there is no workload 'rm -rf'"),
            ({"nodes": "gpu001", "workloads": ["nccl_pair"]}, 400, "nothing runs on a node"),
            ({"nodes": "gpu001", "seconds": -1}, 400, "seconds"),
            ({"nodes": "gpu001", "more": 1}, 400, "more"),
        ],
    )
    def test_a_wrong_request_is_refused_in_words(
        self, at_rest: Daemon, body: dict[str, object], status: int, why: str
    ) -> None:
        answer = at_rest.local.post("/v1/burn-ins", json=body)
        assert (answer.status_code, why in answer.text) == (status, True), answer.text
        assert at_rest.get("/v1/burn-ins") == []

    def test_who_is_out_of_service_is_left_out(self, at_rest: Daemon) -> None:
        at_rest.slurm.drain("gpu002", "riser of ada")
        begun = begin(at_rest)
        assert begun["left_out"] == {"gpu002": "it is out of service: riser of ada"}
        assert [one["name"] for one in begun["burn_in"]["nodes"]] == ["gpu001"]
        assert at_rest.local.post("/v1/burn-ins", json={"nodes": "gpu002"}).status_code == 400

    def test_a_node_is_in_one_burn_in_at_a_time(self, at_rest: Daemon) -> None:
        begin(at_rest, "gpu001")
        answer = at_rest.local.post("/v1/burn-ins", json={"nodes": "gpu[001-002]"})
        assert (answer.status_code, "gpu001 is being burned in by q1" in answer.text) == (409, True)


class TestReservation:
    def test_no_job_begins_before_its_nodes_are_in_it(self, at_rest: Daemon) -> None:
        at_rest.slurm.refuses[RESERVATION] = "scontrol: busy"
        begin(at_rest)
        rounds(at_rest)
        assert (at_rest.slurm.kept, at_rest.slurm.scripts) == ({}, {})
        del at_rest.slurm.refuses[RESERVATION]
        rounds(at_rest)
        assert len(at_rest.slurm.scripts) == 2

    def test_two_burn_ins_share_it(self, at_rest: Daemon) -> None:
        begin(at_rest, "gpu001")
        begin(at_rest, "gpu003")
        rounds(at_rest)
        assert at_rest.slurm.kept == {RESERVATION: ("gpu001", "gpu003")}
        run_jobs(at_rest, states=["COMPLETED"])
        rounds(at_rest)
        assert at_rest.slurm.kept == {}


class TestStandings:
    def test_another_fingerprint_voids_a_certificate_and_an_older_one_does_not(self, passed: Daemon) -> None:
        record = Fingerprints(passed.database)
        issued = datetime.fromisoformat(passed.get("/v1/standings/gpu001")["certificate"]["issued_at"])
        record.tell("gpu001", OTHER_PARTS, "a" * 64, issued - timedelta(minutes=1))
        assert standings(passed)["gpu001"] == "valid"
        record.tell("gpu001", OTHER_PARTS, "a" * 64, issued + timedelta(minutes=1))
        found = passed.get("/v1/standings/gpu001")
        assert (found["standing"], found["why"]) == ("void", ["kernel was upgraded from 6.12.48 to 6.12.49"])
        rounds(passed, 1)
        record.tell("gpu001", json.dumps({"driver": "580.95.05"}), "b" * 64, issued + timedelta(minutes=2))
        assert passed.get("/v1/standings/gpu001")["standing"] == "void", "what cannot be read any more is no way back"

    def test_what_is_told_is_in_the_metrics(self, passed: Daemon) -> None:
        page = passed.public.get("/metrics").text
        assert 'fleet_node_qualified{node="gpu001"} 1.0' in page
        assert 'fleet_node_qualified{node="gpu004"} 0.0' in page
        assert 'fleet_node_certificate_expiry_timestamp_seconds{node="gpu001"}' in page


@pytest.mark.parametrize("at_rest", [True], indirect=True)
class TestGate:
    def test_who_never_passed_is_kept_out_until_it_has(self, passed: Daemon) -> None:
        rounds(passed)
        assert passed.slurm.kept == {RESERVATION: ("gpu003", "gpu004")}
        assert [one["node"] for one in passed.get("/v1/standings") if one["kept_out"]] == ["gpu003", "gpu004"]

    def test_an_inventory_that_cannot_be_read_lets_nobody_in(self, passed: Daemon, tmp_path: Path) -> None:
        rounds(passed)
        (tmp_path / "site/hosts.yml").write_text("all: [")
        rounds(passed)
        assert passed.slurm.kept == {RESERVATION: ("gpu003", "gpu004")}


class TestLiftedClaims:
    """A change's own claim, on a node that its page has burned in."""

    def begin(self, daemon: Daemon) -> None:
        daemon.made.burn_ins._keeper.hold("gpu001", "c3", ClaimClass.MAINTENANCE, "driver", "ada")
        daemon.made.burn_ins.burn_in("gpu001", (), 3600, "c3", "r7 qualify")

    def test_is_lifted_in_the_reservation_only_and_gone_where_the_node_passed(self, at_rest: Daemon) -> None:
        self.begin(at_rest)
        at_rest.slurm.refuses[RESERVATION] = "scontrol: busy"
        rounds(at_rest)
        assert at_rest.slurm.nodes_now["gpu001"].reason == "fleetward:c3 maintenance: driver"
        del at_rest.slurm.refuses[RESERVATION]
        rounds(at_rest)
        assert "DRAIN" not in at_rest.slurm.nodes_now["gpu001"].flags
        run_jobs(at_rest)
        rounds(at_rest)
        assert Claims(at_rest.database).open() == ()

    @pytest.mark.parametrize("told", [BAD, "nothing"])
    def test_is_back_on_a_node_that_did_not_pass_before_it_leaves_the_reservation(
        self, at_rest: Daemon, told: str
    ) -> None:
        self.begin(at_rest)
        rounds(at_rest)
        run_jobs(at_rest, lambda _: told)
        kept: list[bool] = []
        at_rest.slurm.on_write = lambda slurm: kept.append("DRAIN" in slurm.nodes_now["gpu001"].flags)
        rounds(at_rest)
        assert at_rest.slurm.calls[-1] == ("unreserve", RESERVATION)
        assert kept[-1]
        assert "c3" in {claim.owner for claim in Claims(at_rest.database).open("gpu001")}

    def test_is_back_after_an_abort(self, at_rest: Daemon) -> None:
        self.begin(at_rest)
        rounds(at_rest)
        at_rest.ask("/v1/burn-ins/1/abort")
        rounds(at_rest)
        assert at_rest.slurm.nodes_now["gpu001"].reason.startswith("fleetward:c3 maintenance: ")

    def test_asked_for_again_by_the_same_name_it_is_the_same(self, at_rest: Daemon) -> None:
        self.begin(at_rest)
        again = at_rest.made.burn_ins.burn_in("gpu001", (), 3600, "c3", "r7 qualify")
        assert again.id == 1


def test_the_log_of_a_job_is_shown_by_itself_alone(passed: Daemon) -> None:
    job = burn_in(passed)["jobs"][0]
    assert job["log"] == ""
    assert "begin dcgm_medium" in passed.get(f"/v1/burn-ins/1/jobs/{job['id']}")["log"]
    assert passed.local.get("/v1/burn-ins/1/jobs/999").status_code == 400


def test_steps_of_nodes_that_are_gone_from_slurm_do_not_keep_the_others(at_rest: Daemon) -> None:
    begin(at_rest, "gpu001")
    begin(at_rest, "gpu002")
    del at_rest.slurm.nodes_now["gpu002"]
    rounds(at_rest)
    assert at_rest.slurm.kept == {RESERVATION: ("gpu001",)}
    run_jobs(at_rest)
    rounds(at_rest)
    assert results(at_rest) == {"gpu001": "passed"}
    at_rest.slurm.add(node("gpu002"))
    rounds(at_rest)
    assert at_rest.slurm.kept == {RESERVATION: ("gpu002",)}
