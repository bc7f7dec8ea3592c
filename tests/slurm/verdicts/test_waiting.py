"""Why a job waits: every reason in a sentence, what is before it, where it would fit."""

from dataclasses import replace

import pytest
from played_answers import GPU, NODES
from played_slurm import job

from fleetward.slurm.answers import JobDetail
from fleetward.slurm.verdicts.fitting import Needs
from fleetward.slurm.verdicts.waiting import Waiting, in_words, judge_waiting
from fleetward.slurm.verdicts.waiting_reasons import REASONS, Who, reason_of

WAITS = replace(
    job("12"),
    number=12,
    state="PENDING",
    reason="Resources",
    nodes=(),
    node_count=2,
    gpus={"h100": 16},
    cpus=16,
    partition="gpu",
    account="research",
    qos="normal",
    time_limit=3600,
    started_at=None,
)


def judged(priorities: dict[int, int] | None = None, **changes: object) -> Waiting:
    detail = JobDetail(replace(WAITS, **changes), ())  # type: ignore[arg-type]
    rivals = [replace(WAITS, number=number) for number in (13, 14, 15)]
    others = [replace(WAITS, number=16, partition="cpu"), replace(WAITS, number=17, state="RUNNING")]
    return judge_waiting(detail, (detail.job, *rivals, *others), NODES, (GPU,), priorities or {})


@pytest.mark.parametrize("word", REASONS)
def test_every_reason_is_a_sentence(word: str) -> None:
    found = reason_of(word)
    assert found is REASONS[word]
    assert (found.who is Who.OWNER) <= bool(found.advice)


@pytest.mark.parametrize(
    ("words", "part", "who"),
    [
        ("QOSMaxGRESPerUser", "more than its QOS allows", Who.OWNER),
        ("QOSGrpGRES", "all jobs of its QOS", Who.TIME),
        ("QOSMinGRES", "a limit of its QOS", Who.OWNER),
        ("AssocGrpGRES", "all jobs of its account", Who.TIME),
        ("AssocMaxJobsLimit", "more than its account allows", Who.OWNER),
        ("(launch failed requeued held)".strip("()"), "could not be started", Who.OPERATOR),
        ("ReqNodeNotAvail, UnavailableNodes:gpu[001-002]", "a node that it wants", Who.OPERATOR),
        ("Nodes required for job are DOWN, DRAINED or reserved", "down, drained", Who.OPERATOR),
        ("Whatever\x1b[31m", "Slurm says 'Whatever\\x1b[31m'", Who.OPERATOR),
    ],
)
def test_reasons_with_more_words_are_known_by_their_beginning(words: str, part: str, who: Who) -> None:
    found = reason_of(words)
    assert part in found.sentence
    assert found.who is who


def test_jobs_before_it_are_those_of_its_partition_with_a_higher_priority() -> None:
    assert judged({12: 100, 13: 101, 14: 100, 15: 300, 16: 900, 17: 900}).ahead == 2
    assert judged({13: 101}).ahead == 0


def test_what_would_start_now_is_told_where_the_job_itself_would_not() -> None:
    assert judged().less == Needs(1, {"h100": 8}, 8, 3600, "research", "normal")
    assert judged(node_count=1, gpus={"h100": 8}, cpus=8).less is None


def test_nodes_that_are_out_of_service_are_counted_where_too_few_are_left() -> None:
    assert "1 of the 3 nodes that it could use are out of service" in judged(node_count=3, gpus={"h100": 24}).sentence
    assert "only 3 nodes of gpu have what it asks for" in judged(node_count=4, gpus={"h100": 32}).sentence


def test_dependencies_and_nodes_are_named() -> None:
    detail = JobDetail(replace(WAITS, reason="Dependency"), (), dependency="afterok:7(unfulfilled)")
    assert "(afterok:7(unfulfilled))" in judge_waiting(detail, (), NODES, (GPU,), {}).sentence
    assert "(UnavailableNodes:gpu003)" in judged(reason="ReqNodeNotAvail, UnavailableNodes:gpu003").sentence


def test_a_partition_that_is_gone_is_no_error() -> None:
    found = judged(partition="gone")
    assert (found.less, [room.partition for room in found.rooms]) == (None, ["gpu"])


def test_what_is_asked_for_is_told_in_words() -> None:
    assert in_words(Needs(2, {"h100": 8}, 8, None)) == "2 nodes with 8 x h100 each"
    assert in_words(Needs(1, {"gpu": 3}, 8, None)) == "1 node with 3 x GPU"
    assert in_words(Needs(3, {}, 8, None)) == "3 nodes"
