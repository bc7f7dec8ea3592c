"""Burn-ins: a node is in one at a time, a job goes one way, and an end issues and revokes certificates at once."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fleetward.model.burn_ins import (
    BurnIn,
    BurnInNode,
    BurnInState,
    JobState,
    NewJob,
    NodeOutcome,
    Phase,
    WorkloadOutcome,
)
from fleetward.model.errors import ConflictError, FleetwardError, UsageError
from fleetward.store.burn_ins import LONGEST_LOG, BurnIns, NewBurnIn
from fleetward.store.certificates import Certificates
from fleetward.store.database import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ODD = "\0a\ud800'; drop table burn_ins; --\N{SNOWMAN}"
KEPT = "\ufffda\ufffd'; drop table burn_ins; --\N{SNOWMAN}"
PASSED = NodeOutcome(
    "passed",
    (),
    '{"kernel": "6.8"}',
    {"fio": WorkloadOutcome("passed", "all is well", ("1 GB/s",))},
    NOW,
    NOW + timedelta(days=90),
)
FAILED = NodeOutcome("failed", ("fio failed: slow",))
UNKNOWN = NodeOutcome("unknown", ("fio unknown: it was not run", "it did not tell its fingerprint"))
ALONE = NewJob(Phase.NODE, 0, ("gpu001",), ("fio", "nccl_node"))
TOGETHER = NewJob(Phase.PAIR_SEARCH, 3, ("gpu002", "gpu001"), ("nccl_pair",))


@pytest.fixture
def burn_ins(database: Database) -> BurnIns:
    return BurnIns(database)


@pytest.fixture
def certificates(database: Database) -> Certificates:
    return Certificates(database)


@pytest.fixture
def new() -> NewBurnIn:
    return NewBurnIn({"gpu002": "hgx-h100", "gpu001": "hgx-h100"}, ["fio", "nccl_pair"], 3600.5, "ada")


@pytest.fixture
def begun(burn_ins: BurnIns, new: NewBurnIn) -> BurnIn:
    return burn_ins.begin(new)


@pytest.fixture
def job(burn_ins: BurnIns, begun: BurnIn) -> int:
    burn_ins.plan(begun.id, [ALONE])
    return burn_ins.get(begun.id).jobs[0].id


def at_once(*works: Callable[[], object]) -> list[FleetwardError]:
    """Do several things at the same moment, and return what was refused."""
    barrier, refused = threading.Barrier(len(works)), list[FleetwardError]()

    def do(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
        except FleetwardError as error:
            refused.append(error)

    threads = [threading.Thread(target=do, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return refused


class TestBegin:
    def test_keeps_what_was_asked_for(self, burn_ins: BurnIns, new: NewBurnIn) -> None:
        made = burn_ins.begin(replace(new, lifts={"gpu002": "c4", "gpu009": "c5"}))
        assert made == burn_ins.get(made.id)
        assert made.nodes == (BurnInNode("gpu001", "hgx-h100"), BurnInNode("gpu002", "hgx-h100", lifts="c4"))
        assert (made.workloads, made.seconds, made.made_by) == (("fio", "nccl_pair"), 3600.5, "ada")
        assert (made.state, made.why, made.ended_at, made.jobs) == (BurnInState.RUNNING, "", None, ())
        assert made.owner == f"q{made.id}"
        assert made.made_at.utcoffset() is not None

    def test_a_node_that_is_being_burned_in_is_refused_and_nothing_kept(
        self, burn_ins: BurnIns, new: NewBurnIn, begun: BurnIn
    ) -> None:
        other = replace(new, nodes={"gpu003": "hgx-h100", "gpu002": "hgx-h100"})
        with pytest.raises(
            ConflictError, match=f"gpu002 is being burned in by q{begun.id}: wait for its end, or abort"
        ):
            burn_ins.begin(other)
        assert burn_ins.list() == (begun,)
        assert burn_ins.begin(replace(new, nodes={"gpu003": "hgx-h100"})).state is BurnInState.RUNNING

    def test_a_node_whose_burn_in_has_ended_may_be_in_another(
        self, burn_ins: BurnIns, new: NewBurnIn, begun: BurnIn
    ) -> None:
        burn_ins.abort(begun.id, "bob")
        again = burn_ins.begin(new)
        burn_ins.finish(again.id, {"gpu001": UNKNOWN, "gpu002": UNKNOWN})
        assert burn_ins.begin(new).id > again.id

    def test_of_several_at_once_that_want_one_node_a_single_one_begins(self, burn_ins: BurnIns, new: NewBurnIn) -> None:
        others = [replace(new, nodes={"gpu001": "a", f"gpu10{at}": "a"}) for at in range(4)]
        refused = at_once(*[lambda one=one: burn_ins.begin(one) for one in others])
        assert [type(error) for error in refused] == [ConflictError] * 3
        assert len(burn_ins.list()) == 1

    def test_several_at_once_that_share_no_node_all_begin(self, burn_ins: BurnIns, new: NewBurnIn) -> None:
        others = [replace(new, nodes={f"gpu{at}": "a"}) for at in range(4)]
        assert at_once(*[lambda one=one: burn_ins.begin(one) for one in others]) == []
        assert len(burn_ins.going()) == 4

    def test_that_fails_at_a_node_leaves_nothing(
        self, burn_ins: BurnIns, new: NewBurnIn, fails: Callable[[str, str], None]
    ) -> None:
        fails("burn_in_nodes", "new.node = 'gpu002'")
        with pytest.raises(psycopg.Error, match="the disk is full"):
            burn_ins.begin(new)
        assert burn_ins.list() == ()

    def test_odd_text_is_kept_as_text(self, burn_ins: BurnIns, new: NewBurnIn) -> None:
        made = burn_ins.begin(replace(new, nodes={ODD: ODD}, workloads=[ODD], made_by=ODD, lifts={ODD: ODD}))
        assert made.nodes == (BurnInNode(KEPT, KEPT, lifts=KEPT),)
        assert (made.workloads, made.made_by) == ((KEPT,), KEPT)
        assert burn_ins.of(ODD) == made
        with pytest.raises(ConflictError):
            burn_ins.begin(replace(new, nodes={ODD: "another"}))


class TestLists:
    def test_the_latest_first(self, burn_ins: BurnIns, new: NewBurnIn) -> None:
        ids = [burn_ins.begin(replace(new, nodes={f"gpu{at}": "a"})).id for at in range(3)]
        assert [one.id for one in burn_ins.list()] == ids[::-1]
        assert [one.id for one in burn_ins.list(2)] == ids[:0:-1]
        assert [one.nodes for one in burn_ins.list(1)] == [(BurnInNode("gpu2", "a"),)]

    def test_the_newest_of_whoever_began_it(self, burn_ins: BurnIns, new: NewBurnIn) -> None:
        for at, who in enumerate(("run 7", "run 7", "ada")):
            newest = burn_ins.begin(replace(new, nodes={f"gpu{at}": "a"}, made_by=who))
        assert burn_ins.of("ada") == newest
        found = burn_ins.of("run 7")
        assert found is not None
        assert found.nodes == (BurnInNode("gpu1", "a"),)
        assert burn_ins.of("run") is None

    def test_of_what_is_not_there(self, burn_ins: BurnIns) -> None:
        assert burn_ins.list() == burn_ins.going() == ()
        for ask in (
            burn_ins.get,
            burn_ins.with_logs,
            lambda id: burn_ins.abort(id, "bob"),
            lambda id: burn_ins.plan(id, []),
        ):
            with pytest.raises(UsageError, match="there is no burn-in q5"):
                ask(5)
        with pytest.raises(UsageError, match="q5 has no job 7"):
            burn_ins.log(5, 7)

    def test_going_are_those_under_way_and_those_that_are_not_wound_up(self, burn_ins: BurnIns, new: NewBurnIn) -> None:
        running, done, aborted = [burn_ins.begin(replace(new, nodes={f"gpu{at}": "a"})).id for at in range(3)]
        burn_ins.finish(done, {"gpu1": UNKNOWN})
        burn_ins.abort(aborted, "bob")
        burn_ins.wound_up(running)
        assert [one.id for one in burn_ins.going()] == [running, aborted]
        burn_ins.wound_up(aborted)
        assert [one.id for one in burn_ins.going()] == [running]


class TestJobs:
    def test_are_kept_in_their_order_each_under_a_name_of_its_own(self, burn_ins: BurnIns, begun: BurnIn) -> None:
        burn_ins.plan(begun.id, [ALONE, TOGETHER])
        burn_ins.plan(begun.id, [])
        burn_ins.plan(begun.id, [ALONE])
        jobs = burn_ins.get(begun.id).jobs
        assert [NewJob(job.phase, job.round, job.nodes, job.workloads) for job in jobs] == [ALONE, TOGETHER, ALONE]
        assert {(job.state, job.slurm_job, job.why, job.log, job.ended_at) for job in jobs} == {
            (JobState.PLANNED, "", "", "", None)
        }
        assert len({job.token for job in jobs}) == len({job.name for job in jobs}) == 3
        assert all(len(job.token) == 32 for job in jobs)

    @pytest.mark.parametrize("state", [BurnInState.ABORTED, BurnInState.DONE])
    def test_none_is_planned_once_the_burn_in_has_ended(
        self, burn_ins: BurnIns, begun: BurnIn, state: BurnInState
    ) -> None:
        if state is BurnInState.ABORTED:
            burn_ins.abort(begun.id, "bob")
        else:
            burn_ins.finish(begun.id, {"gpu001": UNKNOWN, "gpu002": UNKNOWN})
        burn_ins.plan(begun.id, [ALONE])
        assert burn_ins.get(begun.id).jobs == ()

    def test_goes_from_planned_over_submitted_to_ended(self, burn_ins: BurnIns, begun: BurnIn, job: int) -> None:
        burn_ins.submitted(job, "77")
        (found,) = burn_ins.get(begun.id).jobs
        assert (found.state, found.slurm_job, found.ended_at) == (JobState.SUBMITTED, "77", None)
        burn_ins.ended(job, "what it printed", "it was cut off")
        found = burn_ins.log(begun.id, job)
        assert (found.state, found.slurm_job, found.why, found.log) == (
            JobState.ENDED,
            "77",
            "it was cut off",
            "what it printed",
        )
        assert found.ended_at is not None

    def test_one_that_slurm_did_not_take_ends_unsubmitted(self, burn_ins: BurnIns, begun: BurnIn, job: int) -> None:
        burn_ins.ended(job, "", "Slurm did not take its job")
        (found,) = burn_ins.get(begun.id).jobs
        assert (found.state, found.slurm_job, found.why) == (JobState.ENDED, "", "Slurm did not take its job")

    def test_what_was_recorded_is_not_recorded_over(self, burn_ins: BurnIns, begun: BurnIn, job: int) -> None:
        burn_ins.submitted(job, "77")
        burn_ins.submitted(job, "78")
        assert burn_ins.get(begun.id).jobs[0].slurm_job == "77"
        burn_ins.ended(job, "first")
        before = burn_ins.log(begun.id, job)
        burn_ins.ended(job, "second", "why")
        burn_ins.submitted(job, "79")
        assert burn_ins.log(begun.id, job) == before

    def test_of_another_one_nothing_changes(self, burn_ins: BurnIns, begun: BurnIn, job: int) -> None:
        burn_ins.plan(begun.id, [TOGETHER])
        burn_ins.submitted(job, "77")
        burn_ins.ended(job, "log")
        assert burn_ins.get(begun.id).jobs[1].state is JobState.PLANNED

    def test_logs_come_only_where_they_are_asked_for(self, burn_ins: BurnIns, begun: BurnIn, job: int) -> None:
        burn_ins.ended(job, "what it printed")
        for seen in (burn_ins.get(begun.id), *burn_ins.list(), *burn_ins.going()):
            assert [one.log for one in seen.jobs] == [""]
        assert [one.log for one in burn_ins.with_logs(begun.id).jobs] == ["what it printed"]
        assert burn_ins.log(begun.id, job) == burn_ins.with_logs(begun.id).jobs[0]

    def test_of_another_burn_in_is_not_given(self, burn_ins: BurnIns, new: NewBurnIn, begun: BurnIn, job: int) -> None:
        other = burn_ins.begin(replace(new, nodes={"gpu009": "a"}))
        with pytest.raises(UsageError, match=f"q{other.id} has no job {job}"):
            burn_ins.log(other.id, job)
        assert burn_ins.log(begun.id, job).nodes == ("gpu001",)

    def test_a_long_log_keeps_its_end(self, burn_ins: BurnIns, begun: BurnIn, job: int) -> None:
        text = "\N{SNOWMAN}" * LONGEST_LOG + "the end"
        burn_ins.ended(job, text)
        kept = burn_ins.log(begun.id, job).log
        assert kept == text[-LONGEST_LOG:]

    def test_odd_text_is_kept_as_text(self, burn_ins: BurnIns, begun: BurnIn) -> None:
        burn_ins.plan(begun.id, [NewJob(Phase.NODE, 0, (ODD,), (ODD,))])
        (job,) = burn_ins.get(begun.id).jobs
        burn_ins.submitted(job.id, ODD)
        burn_ins.ended(job.id, ODD, ODD)
        found = burn_ins.log(begun.id, job.id)
        assert (found.nodes, found.workloads) == ((KEPT,), (KEPT,))
        assert {found.slurm_job, found.log, found.why} == {KEPT}


class TestAbort:
    def test_ends_it_without_results(self, burn_ins: BurnIns, begun: BurnIn) -> None:
        ended = burn_ins.abort(begun.id, "bob")
        assert (ended.state, ended.why, ended.nodes) == (BurnInState.ABORTED, "aborted by bob", begun.nodes)
        assert ended.ended_at is not None
        assert ended == burn_ins.get(begun.id)

    def test_of_what_has_ended_is_a_conflict(self, burn_ins: BurnIns, begun: BurnIn) -> None:
        burn_ins.abort(begun.id, "bob")
        with pytest.raises(ConflictError, match=f"q{begun.id} has ended already: it is aborted"):
            burn_ins.abort(begun.id, "carol")
        assert burn_ins.get(begun.id).why == "aborted by bob"

    def test_a_job_of_it_is_still_recorded_to_its_end(self, burn_ins: BurnIns, begun: BurnIn, job: int) -> None:
        burn_ins.abort(begun.id, "bob")
        burn_ins.submitted(job, "77")
        burn_ins.ended(job, "", "aborted")
        assert burn_ins.get(begun.id).jobs[0].slurm_job == "77"

    def test_and_finish_at_once_are_one_end(self, burn_ins: BurnIns, begun: BurnIn, certificates: Certificates) -> None:
        passed = {"gpu001": PASSED, "gpu002": PASSED}
        refused = at_once(lambda: burn_ins.abort(begun.id, "bob"), lambda: burn_ins.finish(begun.id, passed))
        assert [type(error) for error in refused] == [ConflictError]
        is_done = burn_ins.get(begun.id).state is BurnInState.DONE
        assert bool(certificates.latest()) == is_done


class TestFinish:
    def test_records_what_came_of_every_node_and_issues_certificates(
        self, burn_ins: BurnIns, begun: BurnIn, certificates: Certificates
    ) -> None:
        burn_ins.finish(begun.id, {"gpu001": PASSED, "gpu002": FAILED})
        done = burn_ins.get(begun.id)
        assert (done.state, done.why) == (BurnInState.DONE, "1 passed, 1 failed")
        assert done.ended_at is not None
        assert certificates.latest().keys() == {"gpu001"}
        made = certificates.latest()["gpu001"]
        assert done.nodes == (
            BurnInNode("gpu001", "hgx-h100", "passed", (), made.id),
            BurnInNode("gpu002", "hgx-h100", "failed", ("fio failed: slow",)),
        )
        assert (made.burn_in, made.node, made.profile) == (begun.id, "gpu001", "hgx-h100")
        assert (made.fingerprint, made.results) == (PASSED.fingerprint, PASSED.results)
        assert (made.issued_at, made.expires_at) == (PASSED.issued_at, PASSED.expires_at)
        assert (made.revoked_at, made.revoked_why) == (None, "")

    def test_one_that_failed_loses_the_certificate_that_it_had_and_one_that_is_unknown_keeps_it(
        self, burn_ins: BurnIns, new: NewBurnIn, begun: BurnIn, certificates: Certificates, database: Database
    ) -> None:
        burn_ins.finish(begun.id, {"gpu001": PASSED, "gpu002": PASSED})
        before = certificates.latest()
        again = burn_ins.begin(new)
        burn_ins.finish(again.id, {"gpu001": FAILED, "gpu002": UNKNOWN})
        now = certificates.latest()
        assert now["gpu002"] == before["gpu002"]
        assert (now["gpu001"].id, now["gpu001"].revoked_why) == (before["gpu001"].id, f"it failed in q{again.id}")
        assert burn_ins.get(again.id).nodes[1].why == tuple(UNKNOWN.why)
        assert burn_ins.get(begun.id).nodes[0].certificate == before["gpu001"].id
        with database.transaction() as connection:
            rows = connection.execute("select revoked_why from certificates where revoked_at is not null").fetchall()
        assert [row["revoked_why"] for row in rows] == [f"it failed in q{again.id}"]

    def test_a_second_time_is_a_conflict(self, burn_ins: BurnIns, begun: BurnIn, certificates: Certificates) -> None:
        burn_ins.finish(begun.id, {"gpu001": UNKNOWN, "gpu002": UNKNOWN})
        with pytest.raises(ConflictError, match=f"q{begun.id} has ended already: it is done"):
            burn_ins.finish(begun.id, {"gpu001": PASSED, "gpu002": FAILED})
        assert certificates.latest() == {}
        assert [node.outcome for node in burn_ins.get(begun.id).nodes] == ["unknown", "unknown"]

    def test_of_one_that_was_aborted_issues_and_revokes_nothing(
        self, burn_ins: BurnIns, new: NewBurnIn, begun: BurnIn, certificates: Certificates
    ) -> None:
        burn_ins.finish(begun.id, {"gpu001": UNKNOWN, "gpu002": PASSED})
        before = certificates.latest()
        again = burn_ins.begin(new)
        burn_ins.abort(again.id, "bob")
        with pytest.raises(ConflictError):
            burn_ins.finish(again.id, {"gpu001": PASSED, "gpu002": FAILED})
        assert certificates.latest() == before

    def test_that_fails_at_a_certificate_has_not_happened(
        self,
        burn_ins: BurnIns,
        begun: BurnIn,
        certificates: Certificates,
        fails: Callable[[str, str], None],
    ) -> None:
        fails("certificates", "new.node = 'gpu002'")
        with pytest.raises(psycopg.Error, match="the disk is full"):
            burn_ins.finish(begun.id, {"gpu001": PASSED, "gpu002": PASSED})
        assert burn_ins.get(begun.id) == begun
        assert certificates.latest() == {}

    def test_odd_text_is_kept_as_text(self, burn_ins: BurnIns, new: NewBurnIn, certificates: Certificates) -> None:
        made = burn_ins.begin(replace(new, nodes={ODD: "a", "gpu002": "a"}))
        told = replace(PASSED, fingerprint=ODD, results={ODD: WorkloadOutcome("passed", ODD, (ODD,))})
        burn_ins.finish(made.id, {ODD: told, "gpu002": NodeOutcome("failed", (ODD,))})
        nodes = {node.name: node for node in burn_ins.get(made.id).nodes}
        assert nodes["gpu002"].why == (KEPT,)
        found = certificates.latest()[KEPT]
        assert nodes[KEPT].certificate == found.id
        assert (found.fingerprint, found.results) == (KEPT, {KEPT: WorkloadOutcome("passed", KEPT, (KEPT,))})
