"""From a page to a run: parameters from people and alerts, checked; all of it pinned by one digest."""

from datetime import UTC, datetime

import pytest

from fleetward.model.errors import UsageError
from fleetward.model.incidents import Incident, IncidentState, Severity
from fleetward.model.runs import Mode, RunState
from fleetward.runbooks.page import parse
from fleetward.runbooks.plan import plan

TEXT = """---
id: p
title: The title
alerts: [A]
severity: warning
params:
  node: {from: labels.node}
  gpu: {from: labels.gpu, default: ""}
  xid: {from: labels.xid, default: "0", pattern: "[0-9]+"}
blast: gpu
mode: propose
---
## Mitigation
```step drain
slurm.drain: "{{ node }}"
why: "XID {{ xid }} on {{ gpu }}"
```
## Verification
```step back
prometheus.expect: gpu_up{node=$node, gpu=$gpu} == 1
```
"""
PAGE = parse(TEXT, "p.md")
POLICY = {"absolute": 20}


def incident(**labels: str) -> Incident:
    return Incident(
        id=12,
        alert_name="A",
        severity=Severity.WARNING,
        state=IncidentState.OPEN,
        summary="",
        node=labels.get("node", ""),
        gpu=labels.get("gpu", ""),
        labels=labels,
        opened_at=datetime(2026, 3, 1, tzinfo=UTC),
    )


def test_a_run_has_its_steps_with_every_placeholder_filled() -> None:
    run = plan(PAGE, {}, incident(node="gpu002", gpu="3", xid="48"), Mode.PROPOSE, POLICY, asked_by="alice")
    assert (run.runbook, run.title, run.incident, run.asked_by, run.blast) == ("p", "The title", 12, "alice", "gpu")
    assert run.params == {"node": "gpu002", "gpu": "3", "xid": "48"}
    assert run.page == TEXT
    drain, back = run.steps
    assert (drain.index, drain.name, drain.section, drain.action) == (0, "drain", "Mitigation", "slurm.drain")
    assert drain.arguments == {"": "gpu002", "why": "XID 48 on 3"}
    assert (back.index, back.arguments) == (1, {"": 'gpu_up{node="gpu002", gpu="3"} == 1'})


@pytest.mark.parametrize(
    ("mode", "state"),
    [(Mode.OBSERVE, RunState.PLANNED), (Mode.PROPOSE, RunState.PROPOSED), (Mode.AUTO, RunState.RUNNING)],
)
def test_the_mode_says_how_far_it_goes_by_itself(mode: Mode, state: RunState) -> None:
    assert plan(PAGE, {"node": "a"}, None, mode, POLICY).state is state


def test_what_a_person_gives_comes_before_the_alert_and_the_default_last() -> None:
    run = plan(PAGE, {"node": "gpu009"}, incident(node="gpu002", gpu="3"), Mode.PROPOSE, POLICY)
    assert run.params == {"node": "gpu009", "gpu": "3", "xid": "0"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "node has no value; give node=VALUE"),
        ({"node": "a", "rack": "r1"}, "rack is no parameter of this page"),
        ({"node": "a b"}, "node='a b' does not match"),
        ({"node": "$(reboot)"}, "does not match"),
        ({"node": "a\nState=IDLE"}, "cannot be printed"),
        ({"node": "a state=idle"}, "does not match"),
        ({"node": "--help"}, "begins with a dash"),
        ({"node": "a", "gpu": "3,4"}, "gpu='3,4' does not match"),
        ({"node": "a", "gpu": "\u0663"}, "does not match"),
        ({"node": "a", "xid": "4" * 300}, "is longer than 256 characters"),
        ({"node": "a" * 64}, "does not match"),
    ],
)
def test_a_value_that_is_missing_or_not_fit_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        plan(PAGE, given, None, Mode.PROPOSE, POLICY)
    assert said in str(refused.value)


def test_labels_are_checked_like_anything_else() -> None:
    with pytest.raises(UsageError, match="does not match"):
        plan(PAGE, {}, incident(node="gpu002; reboot"), Mode.PROPOSE, POLICY)


def test_the_digest_is_over_page_parameters_and_policy() -> None:
    def digest(text: str = TEXT, node: str = "a", allowed: int = 20) -> str:
        return plan(parse(text, "p.md"), {"node": node}, None, Mode.PROPOSE, {"absolute": allowed}).digest

    assert digest() == digest()
    assert len({digest(), digest(TEXT + " "), digest(node="b"), digest(allowed=21)}) == 4


def test_a_page_without_steps_is_not_run() -> None:
    front = TEXT.split("## Mitigation", maxsplit=1)[0]
    with pytest.raises(UsageError, match="has no steps to run"):
        plan(parse(front, "p.md"), {"node": "a"}, None, Mode.PROPOSE, POLICY)
