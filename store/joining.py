"""Which alerts tell of one fault: an incident is about the fault, whoever finds it and under however many names.

A GPU that fails is found by several rules and checks. Under the name that says most it is an incident, and the others
join it where it is open. Where one that tells less was faster, the one that tells more takes its incident over
(`taking_over`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fleetward.model.incidents import Alert
from fleetward.store import words
from fleetward.store.database import Connection

JOINS: Mapping[str, tuple[str, ...]] = {
    "GpuXidFatal": ("GpuOffBus",),
    "NodeUnhealthy": ("GpuOffBus", "GpuXidFatal"),
    "NodeDegraded": ("GpuOffBus", "GpuXidFatal", "NodeUnhealthy"),
}
"""The incidents about the same GPU that an alert joins, by the alert's name, the first of them that is open."""
JOINS_ANY_GPU: Mapping[str, tuple[str, ...]] = {"GpuCountWrong": ("GpuOffBus",)}
"""Those about any GPU of the node: one that is lost may be missing from the count too."""
_LAST = ("GpuXidFatal", "GpuCountWrong", "NodeUnhealthy", "NodeDegraded")


@dataclass(frozen=True, slots=True, order=True)
class IncidentKey:
    """What makes two alerts the same incident."""

    alert_name: str
    node: str = ""
    gpu: str = ""


def rank(alert: Alert) -> int:
    """Return the place in which an alert is taken of those that come together; 0 where it joins no other name's."""
    return _LAST.index(alert.name) + 1 if alert.name in _LAST else 0


def joined(connection: Connection, alert: Alert, key: IncidentKey) -> IncidentKey:
    """Return the key of the open incident that an alert belongs to, by whoever holds the lock; its own where none is.

    First comes the incident with its own key, then one about the same GPU under a name that says more, then the one
    that holds what the same check found on the same part of the node: Prometheus may not know which GPU that is.
    """
    if not key.node:
        return key
    names = [key.alert_name, *(JOINS.get(key.alert_name, ()) if key.gpu else JOINS_ANY_GPU.get(key.alert_name, ()))]
    row = connection.execute(
        "select alert_name, gpu from incidents where state <> 'closed' and node = %(node)s"
        " and alert_name = any(%(names)s) and (gpu = %(gpu)s or %(any)s and alert_name <> %(name)s)"
        " order by array_position(%(names)s, alert_name), id limit 1",
        {
            "node": key.node,
            "names": names,
            "name": key.alert_name,
            "gpu": key.gpu,
            "any": key.alert_name in JOINS_ANY_GPU,
        },
    ).fetchone()
    if row is None and alert.labels.get("check"):
        row = connection.execute(
            "select i.alert_name, i.gpu from incidents i join alerts a on a.incident = i.id"
            " where i.state <> 'closed' and i.node = %s and a.status = 'firing' and a.labels ->> 'check' = %s"
            " and coalesce(a.labels ->> 'entity', '') = %s and a.labels ->> 'severity' = %s order by i.id limit 1",
            [
                key.node,
                words.text(alert.labels["check"]),
                words.text(alert.labels.get("entity", "")),
                words.text(alert.labels.get("severity", "")),
            ],
        ).fetchone()
    return key if row is None else IncidentKey(str(row["alert_name"]), key.node, str(row["gpu"]))
