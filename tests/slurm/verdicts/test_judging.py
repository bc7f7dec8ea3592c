"""One cause for each way in which an attempt ends, with its evidence, and who is to blame."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from played_answers import ATTEMPT

from fleetward.model.daemon_views import EventView
from fleetward.model.gpu_faults import FaultKind, Severity
from fleetward.slurm.accounting import Attempt, Step
from fleetward.slurm.answers import ENDED, Node
from fleetward.slurm.logs.scanning import LogFinding
from fleetward.slurm.logs.signs import LogKind
from fleetward.slurm.verdicts.causes import Again, Cause, Evidence
from fleetward.slurm.verdicts.judging import AFTER, faults_of, judge, span

assert ATTEMPT.started_at is not None
assert ATTEMPT.ended_at is not None
XID = EventView(
    id=1,
    node="gpu002",
    key="k",
    at=ATTEMPT.ended_at - timedelta(seconds=5),
    taken_at=ATTEMPT.ended_at,
    kind=FaultKind.XID,
    code=79,
    gpu="3",
    uuid="GPU-3",
    address="0000:3a:00.0",
    severity=Severity.FATAL,
    action="drain_reset",
    blame="hardware",
    meaning="GPU has fallen off the bus",
    source="kernel",
    parent="",
    line="",
)
STEP = Step("12", "0", "python", "FAILED", 1, 0, 60, ("gpu001",), ATTEMPT.started_at, ATTEMPT.ended_at)
DRAINED = Node("gpu002", "IDLE", ("DRAIN",), ("gpu",), {}, {}, 8, 0, 100, 0, "fleetward:i1 node_problem: GPU 3")


def ended(state: str, **changes: object) -> Attempt:
    return replace(ATTEMPT, state=state, **changes)  # type: ignore[arg-type]


def log(kind: LogKind, text: str = "ValueError: x", rank: int | None = 3) -> tuple[LogFinding, ...]:
    return (LogFinding(kind, rank, None, 7, "/data/x.log", text, None, 1),)


FAILED = ended("FAILED", exit_code=1)


@pytest.mark.parametrize(
    ("attempt", "evidence", "cause", "again"),
    [
        (ended("COMPLETED"), Evidence(), Cause.COMPLETED, Again.NO),
        (ended("RUNNING", ended_at=None), Evidence(), Cause.RUNNING, Again.NO),
        (ended("PENDING", started_at=None, ended_at=None), Evidence(), Cause.PENDING, Again.NO),
        (ended("TIMEOUT"), Evidence(), Cause.TIME_LIMIT, Again.PERHAPS),
        (ended("DEADLINE"), Evidence(), Cause.DEADLINE, Again.NO),
        (ended("PREEMPTED"), Evidence(), Cause.PREEMPTED, Again.YES),
        (ended("NODE_FAIL"), Evidence(), Cause.NODE_FAILURE, Again.YES),
        (ended("BOOT_FAIL"), Evidence(), Cause.NODE_FAILURE, Again.YES),
        (ended("OUT_OF_MEMORY"), Evidence(), Cause.OUT_OF_MEMORY, Again.NO),
        (FAILED, Evidence(steps=(replace(STEP, state="OUT_OF_MEMORY"),)), Cause.OUT_OF_MEMORY, Again.NO),
        (ended("LAUNCH_FAILED"), Evidence(), Cause.LAUNCH_FAILED, Again.YES),
        (ended("CANCELLED", cancelled_by="1000"), Evidence(), Cause.CANCELLED, Again.PERHAPS),
        (ended("REQUEUED"), Evidence(), Cause.REQUEUED, Again.PERHAPS),
        (ended("REQUEUED"), Evidence(log=log(LogKind.WARNED)), Cause.TIME_LIMIT, Again.YES),
        (FAILED, Evidence(log=log(LogKind.WARNED)), Cause.PROGRAM_ERROR, Again.NO),
        (ended("REQUEUED"), Evidence(faults=(XID,)), Cause.GPU_FAULT, Again.YES),
        (FAILED, Evidence(faults=(XID,)), Cause.GPU_FAULT, Again.YES),
        (ended("CANCELLED"), Evidence(faults=(XID,)), Cause.GPU_FAULT, Again.YES),
        (FAILED, Evidence(faults=(replace(XID, blame="app"),)), Cause.PROGRAM_ERROR, Again.NO),
        (FAILED, Evidence(faults=(replace(XID, severity=Severity.WARNING),)), Cause.PROGRAM_ERROR, Again.NO),
        (FAILED, Evidence(log=log(LogKind.CUDA_OUT_OF_MEMORY)), Cause.GPU_OUT_OF_MEMORY, Again.NO),
        (FAILED, Evidence(log=log(LogKind.HOST_OUT_OF_MEMORY)), Cause.OUT_OF_MEMORY, Again.NO),
        (FAILED, Evidence(log=log(LogKind.NCCL_TIMEOUT)), Cause.NCCL_TIMEOUT, Again.PERHAPS),
        (FAILED, Evidence(log=log(LogKind.NO_SPACE)), Cause.STORAGE, Again.NO),
        (FAILED, Evidence(log=log(LogKind.IO_ERROR)), Cause.STORAGE, Again.PERHAPS),
        (FAILED, Evidence(log=log(LogKind.TRACEBACK)), Cause.PROGRAM_ERROR, Again.NO),
        (FAILED, Evidence(), Cause.PROGRAM_ERROR, Again.NO),
        (ended("FAILED", exit_signal=11), Evidence(), Cause.SIGNAL, Again.NO),
        (ended("FAILED", exit_signal=9), Evidence(), Cause.SIGNAL, Again.PERHAPS),
        (ended("FAILED", exit_code=139), Evidence(), Cause.SIGNAL, Again.NO),
        (FAILED, Evidence(steps=(replace(STEP, exit_code=0, exit_signal=7),)), Cause.SIGNAL, Again.NO),
        (ended("FAILED"), Evidence(), Cause.UNKNOWN, Again.PERHAPS),
    ],
)
def test_each_ending_has_one_cause(attempt: Attempt, evidence: Evidence, cause: Cause, again: Again) -> None:
    found = judge(attempt, evidence)
    assert (found.cause, found.again) == (cause, again)
    assert found.sentence


def test_a_failed_gpu_is_named_and_its_node_is_to_blame() -> None:
    found = judge(FAILED, Evidence(faults=(XID, replace(XID, node="gpu001", code=48)), nodes=(DRAINED,)))
    assert "gpu002 GPU 3, gpu001 GPU 3, XID 79, GPU has fallen off the bus" in found.sentence
    assert found.nodes == ("gpu002", "gpu001")
    assert found.evidence[0].startswith("gpu002 GPU 3: XID 79")
    assert "gpu002 is IDLE+DRAIN: fleetward:i1 node_problem: GPU 3" in found.evidence


def test_a_lost_node_is_to_blame_where_it_is_known() -> None:
    assert judge(ended("NODE_FAIL", failed_node="gpu002"), Evidence()).nodes == ("gpu002",)
    assert judge(ended("NODE_FAIL", nodes=("gpu001",)), Evidence()).nodes == ("gpu001",)
    assert judge(ended("NODE_FAIL"), Evidence()).nodes == ()


def test_the_sentence_says_what_a_person_needs() -> None:
    assert judge(ended("TIMEOUT"), Evidence()).sentence == "it reached its time limit of 2 h"
    assert judge(ended("CANCELLED", cancelled_by="1000"), Evidence()).sentence == "it was cancelled by user 1000"
    found = judge(FAILED, Evidence(log=log(LogKind.TRACEBACK), steps=(STEP,)))
    assert found.sentence == "the program failed on rank 3: ValueError: x"
    assert found.evidence == (
        "Slurm: FAILED, exit code 1, on gpu[001-002]",
        "step 0 (python): FAILED, exit code 1",
        "/data/x.log:7, rank 3: ValueError: x",
    )
    assert judge(ended("FAILED", exit_code=143), Evidence()).sentence == "the program was ended by SIGTERM (15)"


def test_faults_count_on_its_nodes_while_it_ran_and_a_little_after() -> None:
    assert ATTEMPT.started_at is not None
    assert ATTEMPT.ended_at is not None
    early = replace(XID, at=ATTEMPT.started_at - timedelta(seconds=1))
    late = replace(XID, at=ATTEMPT.ended_at + AFTER, code=48)
    gone = replace(XID, at=ATTEMPT.ended_at + AFTER + timedelta(seconds=1))
    other = replace(XID, node="gpu009")
    assert [one.code for one in faults_of(ATTEMPT, (late, early, gone, other, XID))] == [79, 48]
    assert faults_of(replace(ATTEMPT, started_at=None), (XID,)) == ()


@given(
    st.sampled_from(sorted(ENDED | {"REQUEUED", "RUNNING"})),
    st.integers(0, 255),
    st.integers(0, 255),
    st.lists(st.sampled_from(LogKind), max_size=2),
    st.booleans(),
)
def test_every_ending_gets_a_verdict(state: str, code: int, number: int, kinds: list[LogKind], fault: bool) -> None:
    findings = tuple(one for kind in kinds for one in log(kind))
    evidence = Evidence(faults=(XID,) if fault else (), log=findings)
    found = judge(ended(state, exit_code=code, exit_signal=number), evidence)
    assert found.sentence
    assert bool(found.evidence) == (found.cause not in (Cause.COMPLETED, Cause.RUNNING))


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (5400, "1 h 30 min"), (90061, "1 d 1 h 1 min 1 s")])
def test_a_length_of_time_is_told_in_words(seconds: int, words: str) -> None:
    assert span(seconds) == words
