"""What the runbook's screen says of a run and its page."""

from dataclasses import replace
from types import ModuleType

from fleetward.model.runs import RunState, StepState
from fleetward.tui.picture import Picture
from fleetward.tui.screens.run_lines import (
    asks,
    current_step,
    page_lines,
    run_heading,
    step_lines,
    waiting_approval,
    what_approval_does,
    why_it_stands,
)
from fleetward.tui.text import Line


def text(lines: list[Line]) -> list[str]:
    return ["".join(span for span, _ in line) for line in lines]


def test_a_run_stands_at_its_first_step_that_is_not_over(sample: ModuleType) -> None:
    states = (StepState.DONE, StepState.SKIPPED, StepState.FAILED)
    step = current_step(sample.run(RunState.FAILED, *states))
    assert step is not None
    assert step.name == "requeue"
    last = current_step(sample.run(RunState.DONE, *(StepState.DONE,) * 5))
    assert last is not None
    assert last.name == "resume"
    assert current_step(replace(sample.run(), steps=())) is None


def test_only_a_proposed_run_and_one_at_an_approve_step_ask(sample: ModuleType) -> None:
    assert asks(sample.run())
    waiting = sample.run(RunState.WAITING, StepState.WAITING)
    assert not asks(waiting)
    at_approve = replace(waiting, steps=(replace(waiting.steps[0], action="approve"), *waiting.steps[1:]))
    assert asks(at_approve)
    assert waiting_approval(replace(at_approve, state=RunState.RUNNING)) is None
    assert not any(asks(sample.run(state)) for state in RunState if state is not RunState.PROPOSED)


def test_an_approval_tells_the_blast_before_the_steps(sample: ModuleType) -> None:
    picture = Picture(fleet=sample.small_fleet(), status=sample.recorded().daemon)
    told = text(what_approval_does(sample.run(RunState.PROPOSED, StepState.DONE), sample.incident(), picture))
    order = [
        "May take out: node",
        "  job 41 digits of alice, 16 GPUs",
        "Steps that follow:",
        "  drain: slurm.drain gpu002",
    ]
    assert [line for line in told if line in order] == order
    assert not any("look: node.run" in line for line in told)
    assert "  Fleetward holds 0 of the 1 nodes that it may hold" in told


def test_a_full_guardrail_is_told_in_red(sample: ModuleType) -> None:
    status = replace(sample.recorded().daemon, drained=1)
    lines = what_approval_does(sample.run(), sample.incident(), Picture(status=status))
    assert (("  Fleetward holds 1 of the 1 nodes that it may hold", "bold red"),) in lines


def test_why_a_run_stands_is_never_empty_where_a_person_is_asked(sample: ModuleType) -> None:
    assert "p" in why_it_stands(sample.run())
    assert "d" in why_it_stands(sample.run(RunState.STOPPED))
    assert why_it_stands(sample.run(RunState.WAITING, why="Prometheus is away")) == "Prometheus is away"
    assert why_it_stands(sample.run(RunState.DONE, approved_by="alice")) == "approved by alice"


def test_the_heading_tells_what_could_not_be_renewed(sample: ModuleType) -> None:
    heading = text(run_heading(sample.incident(), sample.run(), "the daemon went away", fetched=True))
    assert heading[1] == " ✗ not renewed: the daemon went away"
    assert text(run_heading(sample.incident(), None, "", fetched=False))[1] == " asking the daemon ..."


def test_a_step_shows_why_outcome_and_output(sample: ModuleType) -> None:
    run = sample.run(RunState.WAITING, why="the claim is not free")
    step = replace(
        run.steps[0],
        attempts=2,
        started_at=sample.AT,
        why="busy",
        outcome={"jobs": ["41"], "note": sample.EVIL},
        output="one\n\x1b[31mtwo\n",
    )
    told = text(step_lines(replace(run, steps=(step, *run.steps[1:])), step))
    assert told == [
        "the run: the claim is not free",
        "03:00:00 .. , 2 times",
        "why: busy",
        'node.run = ["journalctl", "--dmesg"]',
        '-> jobs: ["41"]',
        r"-> note: ev\x1b[31mil\x9b2J [bold]red[/] \u202egpj",
        "one",
        r"\x1b[31mtwo",
    ]


def test_a_page_has_its_values_and_its_paragraphs_joined() -> None:
    page = (
        "---\nid: a\n---\n## Meaning\nGPU {{ gpu }} of {{node}}\nis {{ lost }}.\n\n- one\n- two\n\n"
        "```step x\na: b\nc: d\n```\nEnd."
    )
    assert text(page_lines(page, {"gpu": "3", "node": "n\x1b1"})) == [
        "Meaning",
        r"GPU 3 of n\x1b1 is {{ lost }}.",
        "",
        "- one",
        "- two",
        "",
        "step x",
        "a: b",
        "c: d",
        "",
        "End.",
    ]
