"""How far a run of a playbook is on each host, from the events of ansible-runner, for a view and for a record."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from fleetward.operations.node_runner import printable
from fleetward.operations.playbook import PlaybookResult, TaskFailure, task_failure

LAST_LINES = 20
"""Lines of Ansible's own output that are kept, for where it ends before any task."""

_NOT_BEGUN = "Task failed: Finalization of task args"
_ENDS = {"runner_on_ok", "runner_on_failed", "runner_on_skipped", "runner_on_unreachable"}


class HostState(StrEnum):
    """Where one host stands, from what a person looks at first to what can wait."""

    FAILED = "failed"
    UNREACHABLE = "unreachable"
    WORKING = "working"
    WAITING = "waiting"
    """For the hosts that are still at a task that this one has behind it."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class HostProgress:
    """One host at one moment."""

    name: str
    state: HostState
    role: str
    """Of the task under way, or of the last one; empty for a task of the playbook itself."""
    task: str
    ok: int
    changed: int
    failed: int
    worked_seconds: float
    """In tasks, the one under way included; waiting for other hosts is left out."""
    task_seconds: float
    """In the task under way; 0 where there is none."""
    said: str = ""
    """The last words of what failed."""


@dataclass(slots=True)
class _Host:
    role: str = ""
    task: str = ""
    ok: int = 0
    changed: int = 0
    failed: int = 0
    unreachable: int = 0
    since: float | None = None
    worked: float = 0.0
    said: str = ""


class PlayProgress:
    """Takes events as they come; may be looked at from another thread meanwhile."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Know no host yet: each is known from its first task on."""
        self._clock = clock
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._failures: list[TaskFailure] = []
        self._printed: deque[str] = deque(maxlen=LAST_LINES)
        self._is_over = False
        self.began = clock()
        self.task = ""
        """The task under way, as Ansible names it: `role : task`."""

    def see(self, event: Mapping[str, Any]) -> TaskFailure | None:
        """Take one event; returns the failure that it tells of, if any."""
        kind, data = str(event.get("event")), event.get("event_data") or {}
        with self._lock:
            self._printed.extend(str(event.get("stdout") or "").splitlines())
            if kind == "playbook_on_task_start":
                self.task = str(data.get("name", ""))
            elif kind == "runner_on_start":
                self._begin(data, self._time_of(event))
            elif kind in _ENDS:
                return self._end(kind, data, event)
            elif kind == "playbook_on_stats":
                self._settle(data)
        return None

    def _time_of(self, event: Mapping[str, Any]) -> float:
        try:
            return datetime.fromisoformat(str(event.get("created"))).timestamp()
        except ValueError:
            return self._clock()

    def _begin(self, data: Mapping[str, Any], at: float) -> None:
        host = self._hosts.setdefault(str(data.get("host", "?")), _Host())
        host.role, host.task, host.since = str(data.get("role") or ""), str(data.get("task") or ""), at

    def _end(self, kind: str, data: Mapping[str, Any], event: Mapping[str, Any]) -> TaskFailure | None:
        host = self._hosts.setdefault(str(data.get("host", "?")), _Host())
        host.role, host.task = str(data.get("role") or ""), str(data.get("task") or "")
        if host.since is not None:
            host.worked += max(0.0, self._time_of(event) - host.since)
            host.since = None
        if kind == "runner_on_ok":
            host.ok += 1
            host.changed += bool((data.get("res") or {}).get("changed"))
        elif kind != "runner_on_skipped" and data.get("ignore_errors"):
            host.ok += 1
        elif kind != "runner_on_skipped":
            failure = task_failure(data, unreachable=kind == "runner_on_unreachable")
            if not failure.message:
                failure = replace(failure, message=_printed_error(str(event.get("stdout") or "")))
            host.said = failure.message
            host.failed += not failure.unreachable
            host.unreachable += failure.unreachable
            self._failures.append(failure)
            return failure
        return None

    def _settle(self, stats: Mapping[str, Any]) -> None:
        """Take the counts that Ansible ends with: in them what was rescued is no failure."""
        self._is_over = True
        for name in stats.get("processed") or {}:
            self._hosts.setdefault(str(name), _Host())
        for name, host in self._hosts.items():
            host.since = None
            host.ok = _count(stats, "ok", name)
            host.changed = _count(stats, "changed", name)
            host.failed = _count(stats, "failures", name)
            host.unreachable = _count(stats, "dark", name)
            if not host.failed and not host.unreachable:
                host.said = ""

    def hosts(self) -> tuple[HostProgress, ...]:
        """Return every host known so far, in the order in which they came."""
        now = self._clock()
        with self._lock:
            return tuple(self._shown(name, host, now) for name, host in self._hosts.items())

    def _shown(self, name: str, host: _Host, now: float) -> HostProgress:
        under_way = 0.0 if host.since is None else max(0.0, now - host.since)
        counts = (host.ok, host.changed, host.failed)
        worked = host.worked + under_way
        return HostProgress(name, self._state(host), host.role, host.task, *counts, worked, under_way, host.said)

    def _state(self, host: _Host) -> HostState:
        if host.unreachable:
            return HostState.UNREACHABLE
        if host.since is not None:
            return HostState.WORKING
        if host.failed:
            return HostState.FAILED
        return HostState.DONE if self._is_over else HostState.WAITING

    def result(self, status: int, *, timed_out: bool = False) -> PlaybookResult:
        """Return how it ended, in the words of all that run playbooks."""
        with self._lock:
            ended = {name for name, host in self._hosts.items() if host.failed or host.unreachable}
            return PlaybookResult(
                status=status,
                changed={name: host.changed for name, host in self._hosts.items()},
                ok={name: host.ok for name, host in self._hosts.items()},
                failures=tuple(failure for failure in self._failures if failure.host in ended),
                last_words=printable("\n".join(self._printed)),
                timed_out=timed_out,
            )


def _printed_error(printed: str) -> str:
    """Return why a task could not be begun, which Ansible prints where `no_log` hides the result; no module's words."""
    for line in printable(printed).splitlines():
        before, mark, words = line.partition("[ERROR]: ")
        if mark and not before.strip() and words.startswith(_NOT_BEGUN):
            return words.strip()
    return "what it said is hidden by no_log"


def _count(stats: Mapping[str, Any], kind: str, host: str) -> int:
    return int((stats.get(kind) or {}).get(host, 0))
