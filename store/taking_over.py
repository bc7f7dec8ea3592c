"""A worse alert about a fault whose incident is open already takes it over: one fault stays one incident.

Who finds a fault first is a matter of seconds, and what tells least of it may be the fastest. The incident then goes on
under the name, the page and the summary of what tells most, open again where somebody had acknowledged less.
"""

from collections.abc import Callable

from fleetward.model.incidents import Alert
from fleetward.model.runs import RunState
from fleetward.store import decisions, incident_rows, run_rows, timeline, words
from fleetward.store.database import Connection
from fleetward.store.joining import JOINS, JOINS_ANY_GPU, IncidentKey

_GIVES_WAY = (RunState.PLANNED, RunState.PROPOSED)


def take_over(connection: Connection, alert: Alert, key: IncidentKey, page: Callable[[str], str]) -> None:
    """Give an alert's key to an open incident that tells less of its fault, by whoever holds the lock.

    An incident whose run is under way or has stopped is left as it is, for its page is being carried out under its
    name; so is everything where the key has an incident already, or where nothing tells less. A run that the
    daemon only proposed is aborted where another page is to come.
    """
    if not key.node or not key.gpu or _open(connection, key):
        return
    runbook = words.text(page(alert.name))
    for incident_id, name in _that_tell_less(connection, key):
        if _make_way(connection, incident_id, key.alert_name, runbook):
            connection.execute(
                "update incidents set alert_name = %(name)s, gpu = %(gpu)s, summary = %(summary)s, labels = %(labels)s,"
                " runbook = %(page)s, state = 'open', acknowledged_at = null, acknowledged_by = '' where id = %(id)s",
                {
                    "id": incident_id,
                    "name": key.alert_name,
                    "gpu": key.gpu,
                    "summary": incident_rows.summary(alert),
                    "labels": words.json(alert.labels),
                    "page": runbook,
                },
            )
            timeline.add(
                connection,
                incident_id,
                "alert",
                timeline.DAEMON,
                f"goes on as {key.alert_name}, which tells more of this fault than {name}",
                {"was": name},
            )
            return


def _open(connection: Connection, key: IncidentKey) -> bool:
    found = connection.execute(
        "select 1 from incidents where state <> 'closed' and alert_name = %s and node = %s and gpu = %s",
        [key.alert_name, key.node, key.gpu],
    ).fetchone()
    return found is not None


def _that_tell_less(connection: Connection, key: IncidentKey) -> list[tuple[int, str]]:
    """Return number and name of the open incidents about the same fault, locked, what tells most of it first."""
    of_the_gpu = [name for name, more in JOINS.items() if key.alert_name in more]
    of_any = [name for name, more in JOINS_ANY_GPU.items() if key.alert_name in more]
    rows = connection.execute(
        "select id, alert_name from incidents where state <> 'closed' and node = %(node)s"
        " and (alert_name = any(%(of_the_gpu)s) and gpu = %(gpu)s or alert_name = any(%(of_any)s))"
        " order by array_position(%(order)s, alert_name), id for no key update",
        {
            "node": key.node,
            "gpu": key.gpu,
            "of_the_gpu": of_the_gpu,
            "of_any": of_any,
            "order": [*of_the_gpu, *of_any],
        },
    ).fetchall()
    return [(int(row["id"]), str(row["alert_name"])) for row in rows]


def _make_way(connection: Connection, incident_id: int, name: str, runbook: str) -> bool:
    """Abort what the daemon proposed for an incident; False, and nothing done, where a run of it is under way."""
    rows = connection.execute(
        "select * from runs where incident = %s and ended_at is null order by id for update", [incident_id]
    )
    runs = run_rows.with_steps(connection, rows)
    if any(run.state not in _GIVES_WAY for run in runs):
        return False
    for run in runs:
        if run.state is RunState.PROPOSED and run.asked_by == timeline.DAEMON and runbook not in {"", run.runbook}:
            decisions.set_state(connection, run, RunState.ABORTED, f"{name} came, which tells more", timeline.DAEMON)
    return True
