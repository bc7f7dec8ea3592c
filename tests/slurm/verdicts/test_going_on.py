"""Which jobs go back into the queue, and which nodes they keep off."""

from dataclasses import replace

import pytest
from played_answers import GPU, NODES
from played_slurm import job

from fleetward.slurm.answers import JobDetail
from fleetward.slurm.verdicts.causes import Again, Cause, Verdict
from fleetward.slurm.verdicts.going_on import avoidable, suspects, why_not

DETAIL = JobDetail(replace(job("12"), partition="gpu", node_count=1, gpus={"h100": 8}, cpus=8, time_limit=10**6), ())


def verdict(cause: Cause, again: Again = Again.YES, *nodes: str) -> Verdict:
    return Verdict(cause, "it ended", (), again, "", nodes)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (verdict(Cause.NODE_FAILURE), ""),
        (verdict(Cause.SIGNAL, Again.PERHAPS), ""),
        (verdict(Cause.PROGRAM_ERROR, Again.NO), "it ended: a requeue would end the same way"),
        (verdict(Cause.COMPLETED, Again.NO), "it completed"),
        (verdict(Cause.RUNNING, Again.NO), "it ended: a requeue would end this attempt"),
        (verdict(Cause.PENDING, Again.NO), "it ended: a requeue would end this attempt"),
    ],
)
def test_a_job_goes_back_where_that_makes_sense(last: Verdict, words: str) -> None:
    assert why_not(last) == words


def test_nodes_to_blame_are_those_of_all_attempts_once() -> None:
    found = [
        verdict(Cause.NODE_FAILURE, Again.YES, "gpu002"),
        verdict(Cause.PREEMPTED),
        verdict(Cause.GPU_FAULT, Again.YES, "gpu001", "gpu002"),
    ]
    assert suspects(found) == ("gpu002", "gpu001")


def test_a_job_keeps_off_nodes_as_long_as_enough_are_left() -> None:
    partitions = (GPU,)
    assert avoidable(("gpu001",), DETAIL, NODES, partitions) == ("gpu001",)
    assert avoidable(("gpu001", "gpu002"), DETAIL, NODES, partitions) == ("gpu001", "gpu002")  # gpu003 may come back
    assert avoidable(("gpu001", "gpu002", "gpu003"), DETAIL, NODES, partitions) == ()
    excludes = replace(DETAIL, excluded=("gpu003",))
    assert avoidable(("gpu001", "gpu002"), excludes, NODES, partitions) == ()
    assert avoidable(("gpu001",), replace(DETAIL, wanted=("gpu001",)), NODES, partitions) == ()
    assert avoidable(("gpu001",), DETAIL, NODES, ()) == ()
