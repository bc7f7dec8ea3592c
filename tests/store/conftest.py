"""What tests of the store share: the nouns on a fresh database, and alerts and runs to put into it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleetward.model.incidents import Alert, AlertStatus
from fleetward.model.runs import Mode, RunState, Step
from fleetward.store.claims import Claims
from fleetward.store.database import Database
from fleetward.store.incidents import Incidents
from fleetward.store.runs import NewRun, Runs

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

AlertMaker = Callable[..., Alert]


@pytest.fixture
def incidents(database: Database) -> Incidents:
    return Incidents(database)


@pytest.fixture
def runs(database: Database) -> Runs:
    return Runs(database)


@pytest.fixture
def claims(database: Database) -> Claims:
    return Claims(database)


@pytest.fixture
def fails(database: Database) -> Callable[[str, str], None]:
    """Return a way to have the database fail at rows: of a table, where a condition on `new` holds."""

    def make(table: str, condition: str) -> None:
        raises = "begin raise exception 'the disk is full'; end"
        with database.transaction() as connection:
            connection.execute(f"create function fail() returns trigger language plpgsql as $$ {raises} $$".encode())
            connection.execute(
                f"create trigger fail before insert on {table} for each row when ({condition})"
                " execute function fail()".encode()
            )

    return make


@pytest.fixture
def alert() -> AlertMaker:
    """Return a maker of alerts; keywords are labels, but for those of the alert itself."""

    def make(
        name: str = "GpuOffBus",
        *,
        status: AlertStatus = AlertStatus.FIRING,
        fingerprint: str = "",
        minutes: float = 0,
        summary: str = "a GPU is gone",
        **labels: str,
    ) -> Alert:
        named = {"alertname": name, "severity": "critical", "node": "gpu002", "gpu": "3"} | labels
        return Alert(
            fingerprint=fingerprint or "-".join(named.values()),
            status=status,
            labels=named,
            annotations={"summary": summary},
            starts_at=BEGAN + timedelta(minutes=minutes),
            ends_at=BEGAN + timedelta(hours=1) if status is AlertStatus.RESOLVED else None,
        )

    return make


@pytest.fixture
def new_run() -> NewRun:
    """Return a run of three steps, proposed, without an incident."""
    steps = (
        Step(0, "look", "Diagnosis", "node.run", {"": ["dmesg"], "on": "gpu002"}),
        Step(1, "ask", "Mitigation", "approve", {"": "drain?"}),
        Step(2, "drain", "Mitigation", "slurm.drain", {"": "gpu002", "why": "off the bus"}),
    )
    return NewRun(
        runbook="gpu-off-bus",
        title="A GPU fell off the bus",
        incident=None,
        params={"node": "gpu002"},
        page="# the page",
        policy={"absolute": 20, "share": 0.1},
        digest="d" * 64,
        mode=Mode.PROPOSE,
        state=RunState.PROPOSED,
        asked_by="alice",
        steps=steps,
    )


@pytest.fixture
def running(new_run: NewRun) -> NewRun:
    """Return the same run, begun by itself."""
    return replace(new_run, mode=Mode.AUTO, state=RunState.RUNNING)
