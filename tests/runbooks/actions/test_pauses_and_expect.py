"""Steps that wait: for time, for a person, for Prometheus."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from played_slurm import START, PlayedWorld

from fleetward.model.errors import FleetwardError, UsageError
from fleetward.runbooks.actions.base import Call, Done, Failed, NotBegun, Waiting
from fleetward.runbooks.actions.pauses import Approve, Wait
from fleetward.runbooks.actions.prometheus_expect import Expect
from fleetward.runbooks.prometheus import PrometheusOutOfReachError, RecordedPrometheus, Sample

MakeCall = Callable[..., Call]
UP = (Sample({"gpu": "3"}, 1.0, START),)
ZERO = (Sample({"xid": "79"}, 0.0, START),)


def expect(world: PlayedWorld, *answers: tuple[Sample, ...] | FleetwardError) -> Expect:
    return Expect(RecordedPrometheus({"up": list(answers)}), world.clock)


def test_an_approval_comes_from_outside(world: PlayedWorld, call: MakeCall) -> None:
    step = call("Really?")
    waiting = Approve().act(step, Approve().prepare(step), world.report)
    assert isinstance(waiting, Waiting)
    assert "Really?" in waiting.why
    assert Approve().observe(step, {}) == NotBegun()
    approved = Call(step.run, replace(step.step, outcome={"approved_by": "ada"}))
    assert Approve().act(approved, {}, world.report) == Done({"approved_by": "ada"})
    assert Approve().observe(approved, {}) == Done({"approved_by": "ada"})


def test_time_passes_by_the_clock_and_also_over_a_restart(world: PlayedWorld, call: MakeCall) -> None:
    before = Wait(world.clock).prepare(call("30s"))
    assert Wait(world.clock).act(call("30s"), before, world.report) == Waiting("30 s to go", 5.0)
    world.clock.sleep(28)
    assert Wait(world.clock).act(call("30s"), before, world.report) == Waiting("2 s to go", 2.0)
    world.clock.sleep(2)
    assert Wait(world.clock).act(call("30s"), before, world.report) == Done()


@pytest.mark.parametrize("length", ["", "0s", "30", 30, "1h30m", "-1s", None])
def test_what_is_no_length_of_time_is_refused(world: PlayedWorld, call: MakeCall, length: object) -> None:
    before = Wait(world.clock).prepare(call("30s"))
    with pytest.raises(UsageError, match="length of time"):
        Wait(world.clock).act(call(length), before, world.report)


def test_it_must_hold_for_the_whole_time(world: PlayedWorld, call: MakeCall) -> None:
    action = expect(world, UP, (), UP)
    step = call("up", for_="30s")
    before = action.prepare(step)
    assert isinstance(action.act(step, before, world.report), Waiting)
    world.clock.sleep(31)
    assert action.act(step, before, world.report) == Waiting("`up` does not hold yet", 2.0)
    assert action.act(step, before, world.report) == Waiting("`up` has held for 0 of 30 s", 2.0)
    world.clock.sleep(29)
    assert isinstance(action.act(step, before, world.report), Waiting)
    world.clock.sleep(1)
    done = action.act(step, before, world.report)
    assert isinstance(done, Done)
    assert done.outcome["samples"] == "{gpu='3'} 1"


def test_a_sample_of_0_that_a_comparison_let_through_holds(world: PlayedWorld, call: MakeCall) -> None:
    action, step = expect(world, ZERO), call("up", for_="1s")
    before = action.prepare(step)
    action.act(step, before, world.report)
    world.clock.sleep(1)
    assert isinstance(action.act(step, before, world.report), Done)


def test_it_fails_after_its_time(world: PlayedWorld, call: MakeCall) -> None:
    action, step = expect(world, ()), call("up", for_="30s", within="5m")
    before = action.prepare(step)
    world.clock.sleep(299)
    assert isinstance(action.act(step, before, world.report), Waiting)
    world.clock.sleep(1)
    assert action.act(step, before, world.report) == Failed("`up` did not come to hold within 300 s")


def test_what_holds_at_the_end_of_its_time_may_finish(world: PlayedWorld, call: MakeCall) -> None:
    action, step = expect(world, UP), call("up", for_="30s", within="1m")
    before = action.prepare(step)
    world.clock.sleep(59)
    action.act(step, before, world.report)
    world.clock.sleep(29)
    assert isinstance(action.act(step, before, world.report), Waiting)
    world.clock.sleep(1)
    assert isinstance(action.act(step, before, world.report), Done)


def test_a_time_in_which_nobody_looked_does_not_count(world: PlayedWorld, call: MakeCall) -> None:
    action = expect(world, UP, PrometheusOutOfReachError("down"), UP)
    step = call("up", for_="30s")
    before = action.prepare(step)
    action.act(step, before, world.report)
    world.clock.sleep(20)
    with pytest.raises(PrometheusOutOfReachError):
        action.act(step, before, world.report)
    world.clock.sleep(20)
    assert action.act(step, before, world.report) == Waiting("`up` has held for 0 of 30 s", 2.0)


def test_a_new_daemon_counts_from_its_own_looks(world: PlayedWorld, call: MakeCall) -> None:
    step = call("up", for_="30s")
    before = expect(world, UP).prepare(step)
    expect(world, UP).act(step, before, world.report)
    world.clock.sleep(60)
    assert isinstance(expect(world, UP).act(step, before, world.report), Waiting)


def test_two_runs_do_not_share_their_time(world: PlayedWorld, call: MakeCall) -> None:
    action, step = expect(world, UP), call("up", for_="30s")
    before = action.prepare(step)
    action.act(step, before, world.report)
    world.clock.sleep(30)
    other = Call(replace(step.run, id=8), step.step)
    assert isinstance(action.act(other, before, world.report), Waiting)
    assert isinstance(action.act(step, before, world.report), Done)
