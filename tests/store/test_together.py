"""Everybody at once: no deadlock, no half of anything, and every incident's story fits its state."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from fleetward.model.claims import ClaimClass
from fleetward.model.errors import ConflictError
from fleetward.model.incidents import Alert, AlertStatus, IncidentState
from fleetward.model.runs import RunState, StepState
from fleetward.store.claims import Claims
from fleetward.store.incidents import Incidents
from fleetward.store.runs import NewRun, Runs

NODES = ("gpu001", "gpu002")
TURNS = 40


class Crowd:
    """People, Alertmanager and the engine, each doing what comes to mind."""

    def __init__(
        self, incidents: Incidents, runs: Runs, claims: Claims, alert: Callable[..., Alert], new: NewRun
    ) -> None:
        self.incidents, self.runs, self.claims, self.alert, self.new = incidents, runs, claims, alert, new

    def work(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  no secret is made of it
        doings = [
            self.deliver,
            self.deliver,
            self.plan,
            self.advance,
            self.advance,
            self.claim,
            self.settle,
            self.decide,
        ]
        for turn in range(TURNS):
            with suppress(ConflictError):  # somebody else was first, as it should be
                chance.choice(doings)(chance, turn)

    def deliver(self, chance: random.Random, turn: int) -> None:
        status = chance.choice(list(AlertStatus))
        alerts = [self.alert(node=node, status=status, minutes=turn // 10) for node in NODES]
        self.incidents.take(chance.sample(alerts, 2))

    def plan(self, chance: random.Random, turn: int) -> None:
        for incident in self.incidents.list([IncidentState.OPEN], limit=1):
            self.runs.create(replace(self.new, incident=incident.id, state=RunState.RUNNING))

    def advance(self, chance: random.Random, turn: int) -> None:
        for run in map(self.runs.run, self.runs.active()):
            for step in run.steps[:1]:
                self.runs.reserve(run.id, step.index, {})
                self.runs.set_step_state(run.id, step.index, StepState.DONE)
                self.runs.note(run.id, "step", "fleetward", "done")

    def claim(self, chance: random.Random, turn: int) -> None:
        for incident in self.incidents.list([IncidentState.OPEN, IncidentState.ACKNOWLEDGED]):
            self.claims.add(incident.node, incident.owner, ClaimClass.NODE_PROBLEM, "gone", "fleetward")
            self.claims.release(incident.node, incident.owner, "fleetward")

    def settle(self, chance: random.Random, turn: int) -> None:
        for incident in self.incidents.list([IncidentState.OPEN, IncidentState.ACKNOWLEDGED]):
            self.incidents.close_if_settled(incident.id, "fleetward", "settled")

    def decide(self, chance: random.Random, turn: int) -> None:
        for run in map(self.runs.run, self.runs.active()):
            self.runs.abort(run.id, "alice")
        for incident in self.incidents.list([IncidentState.OPEN], limit=1):
            self.incidents.ack(incident.id, "alice")


def test_a_crowd_leaves_a_record_that_makes_sense(
    incidents: Incidents, runs: Runs, claims: Claims, alert: Callable[..., Alert], running: NewRun
) -> None:
    crowd = Crowd(incidents, runs, claims, alert, running)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(crowd.work, range(6)))  # raises what any of them met: a deadlock is out of reach
    everything = incidents.list(limit=10_000)
    closed = [one for one in everything if one.state is IncidentState.CLOSED]
    assert closed, "nothing was ever settled, so nothing was tried"
    for incident in everything:
        entries = [entry.kind for entry in incidents.timeline(incident.id)]
        assert entries[0] == "alert"
        assert entries.count("close") == (incident.state is IncidentState.CLOSED)
        mine = runs.of_incident(incident.id)
        if incident.state is IncidentState.CLOSED:
            assert incident.firing == 0
            assert all(run.state.ended for run in mine)
            assert all(claim.owner != incident.owner for claim in claims.open())
        for run in mine:
            assert run.steps[0].attempts <= 1 or run.steps[0].state is not StepState.PENDING
    not_closed = [(one.alert_name, one.node, one.gpu) for one in everything if one.state is not IncidentState.CLOSED]
    assert len(not_closed) == len(set(not_closed)) <= len(NODES)
