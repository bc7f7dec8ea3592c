"""How far hosts are from what the inventory declares: the same playbook in check mode, counted by host and role.

Nothing is changed. A task that would change something is a difference; what it would be is not told, since differences
can hold secrets. A host that fails in check mode, or does not answer, is unknown and never taken to be in order.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fleetward.operations.playbook import PlaybookResult, PlaybookRun, TaskChange, run_playbook

SITE = "site.yml"
"""The role of a task that is in the playbook itself."""


@dataclass(frozen=True, slots=True)
class HostDrift:
    """One host."""

    host: str
    differs: Mapping[str, tuple[str, ...]]
    """By role, the tasks that would change something."""
    unknown: str = ""
    """Why the host was not looked at to its end; empty where it was."""

    @property
    def in_order(self) -> bool:
        """Whether nothing would be changed, as far as check mode can tell."""
        return not self.differs and not self.unknown


@dataclass(frozen=True, slots=True)
class Drift:
    """All hosts at one time."""

    at: datetime
    hosts: tuple[HostDrift, ...] = field(default=())

    @property
    def found(self) -> tuple[HostDrift, ...]:
        """Those that are not in order."""
        return tuple(host for host in self.hosts if not host.in_order)


def look(wanted: PlaybookRun, now: datetime, on_task: Callable[[str], None] = lambda _: None) -> Drift:
    """Play it in check mode and return how far each host is; `wanted.check` is set whatever it was."""
    result = run_playbook(wanted.checked(), on_task)
    return drift_of(result, now)


def drift_of(result: PlaybookResult, now: datetime) -> Drift:
    """Return what a play in check mode says."""
    by_host: dict[str, list[TaskChange]] = {host: [] for host in result.ok}
    for change in result.changes:
        by_host.setdefault(change.host, []).append(change)
    unknown: dict[str, str] = {}
    for failure in result.failures:
        by_host.setdefault(failure.host, [])
        unknown.setdefault(failure.host, f"{failure.task}: {failure.message}")
    if result.timed_out:
        unknown = {host: unknown.get(host, "there was no time to look at it to its end") for host in by_host}
    hosts = (HostDrift(host, _by_role(found), unknown.get(host, "")) for host, found in sorted(by_host.items()))
    return Drift(now, tuple(hosts))


def _by_role(changes: Iterable[TaskChange]) -> dict[str, tuple[str, ...]]:
    roles: dict[str, list[str]] = {}
    for change in changes:
        tasks = roles.setdefault(change.role or SITE, [])
        if change.task not in tasks:
            tasks.append(change.task)
    return {role: tuple(tasks) for role, tasks in sorted(roles.items())}


def metrics(drift: Drift) -> str:
    """Return it in Prometheus' text format, for node_exporter's textfile collector on the host that looked.

    `fleet_drift_tasks{node,role}` counts tasks that would change something, 0 under the role `all` for a host in order;
    `fleet_drift_known{node}` is 0 where a host was not looked at to its end: no count is told of it then.
    """
    lines = [
        "# HELP fleet_drift_tasks Tasks that would change something on a host.",
        "# TYPE fleet_drift_tasks gauge",
        *_counts(drift.hosts),
        "# HELP fleet_drift_known 1 where a host was looked at to its end.",
        "# TYPE fleet_drift_known gauge",
        *(f"fleet_drift_known{_labels(node=one.host)} {int(not one.unknown)}" for one in drift.hosts),
        "# HELP fleet_drift_looked_timestamp_seconds When it was looked last.",
        "# TYPE fleet_drift_looked_timestamp_seconds gauge",
        f"fleet_drift_looked_timestamp_seconds {drift.at.timestamp():.0f}",
    ]
    return "\n".join(lines) + "\n"


def _counts(hosts: Sequence[HostDrift]) -> Iterator[str]:
    for one in hosts:
        if one.unknown:
            continue
        counts = Counter({role: len(tasks) for role, tasks in one.differs.items()}) or Counter(all=0)
        for role, count in sorted(counts.items()):
            yield f"fleet_drift_tasks{_labels(node=one.host, role=role)} {count}"


def _labels(**values: str) -> str:
    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{name}="{quoted(value)}"' for name, value in values.items()) + "}"
