"""`node.qualify`: begun once under its own name, waited for, and done only where the node passed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from played_slurm import START, PlayedClock

from fleetward.model.burn_ins import BurnIn, BurnInNode, BurnInState
from fleetward.model.errors import ConflictError, UsageError
from fleetward.runbooks.actions.base import Call, Done, Failed, NotBegun, Waiting
from fleetward.runbooks.actions.node_qualify import NoBurnIns, Qualify

UNDER_WAY = BurnIn(3, BurnInState.RUNNING, "", ("fio",), 60, "r1", START, None, (BurnInNode("gpu001", "hgx"),))


def ended(outcome: str, *why: str, state: BurnInState = BurnInState.DONE) -> BurnIn:
    return replace(UNDER_WAY, state=state, nodes=(BurnInNode("gpu001", "hgx", outcome, why, 9),))


@dataclass
class Played:
    """A qualifier with one burn-in; `raises` is raised first."""

    now: BurnIn = UNDER_WAY
    raises: Exception | None = None
    asked: list[tuple[str, tuple[str, ...], float, str, str]] = field(default_factory=list)

    def burn_in(self, node: str, workloads: Sequence[str], seconds: float, owner: str, asked_by: str) -> BurnIn:
        self.asked.append((node, tuple(workloads), seconds, owner, asked_by))
        if self.raises is not None:
            raise self.raises
        return self.now


@pytest.fixture
def step(call: Callable[..., Call]) -> Call:
    return call("gpu001", within="2h", workloads=["fio"])


def test_it_is_asked_for_under_one_name_and_waited_for(step: Call) -> None:
    played, clock = Played(), PlayedClock()
    action = Qualify(played, clock)
    before = action.prepare(step)
    assert isinstance(action.act(step, before, lambda _: None), Waiting)
    assert isinstance(action.observe(step, before), NotBegun)
    played.now = ended("passed")
    done = action.act(step, before, lambda _: None)
    assert isinstance(done, Done)
    assert done.outcome["certificate"] == 9
    first, second = played.asked
    assert first == second
    assert first[:4] == ("gpu001", ("fio",), 7200.0, step.run.owner)
    assert action.prepare(step)["asked_by"] != before["asked_by"]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (ended("failed", "fio failed: slow"), "q3: fio failed: slow"),
        (ended("unknown"), "q3: unknown"),
        (replace(ended("", state=BurnInState.ABORTED), why="aborted by ada"), "q3 was aborted: aborted by ada"),
        (replace(UNDER_WAY, nodes=()), "q3 has no node gpu001"),
    ],
)
def test_whatever_is_no_pass_fails(step: Call, found: BurnIn, why: str) -> None:
    action = Qualify(Played(found), PlayedClock())
    result = action.act(step, action.prepare(step), lambda _: None)
    assert isinstance(result, Failed)
    assert result.why == why


def test_another_burn_in_or_a_partner_is_waited_for_and_not_for_ever(step: Call) -> None:
    clock = PlayedClock()
    action = Qualify(Played(raises=ConflictError("gpu001 is being burned in by q2")), clock)
    before = action.prepare(step)
    assert isinstance(action.act(step, before, lambda _: None), Waiting)
    clock.time += timedelta(hours=3)
    assert isinstance(action.act(step, before, lambda _: None), Failed)


def test_where_there_is_no_inventory_it_says_so(step: Call) -> None:
    action = Qualify(NoBurnIns(), PlayedClock())
    with pytest.raises(UsageError, match=r"provision\.inventory"):
        action.act(step, action.prepare(step), lambda _: None)
