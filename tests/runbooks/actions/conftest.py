"""A world in memory, and steps of runs in it."""

from collections.abc import Callable

import pytest
from played_slurm import START, PlayedWorld, node, world_of

from fleetward.model.runs import Mode, Run, RunState, Step
from fleetward.runbooks.actions.base import Call


@pytest.fixture
def world() -> PlayedWorld:
    return world_of(node("gpu001"), node("gpu002"), node("gpu003"))


@pytest.fixture
def call() -> Callable[..., Call]:
    """Return a maker of calls: the action's own argument, its options, and what the step already has."""

    def make(argument: object, step: Step | None = None, incident: int | None = 12, **options: object) -> Call:
        run = Run(
            id=7,
            runbook="gpu-off-bus",
            title="A GPU fell off the bus",
            incident=incident,
            params={"node": "gpu001"},
            digest="",
            mode=Mode.AUTO,
            state=RunState.RUNNING,
            why="",
            asked_by="fleetward",
            asked_at=START,
        )
        named = {key.rstrip("_"): value for key, value in options.items()}
        return Call(run, step or Step(3, "the-step", "Mitigation", "an.action", {"": argument, **named}))

    return make
