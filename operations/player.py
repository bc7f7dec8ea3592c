"""Plays of runbook steps through ansible-runner, one at a time on each node."""

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetward.model.ansible_inventory import read_inventory
from fleetward.model.errors import OutOfReachError, UsageError
from fleetward.operations.node_runner import printable
from fleetward.operations.playbook import PlaybookRun, run_playbook
from fleetward.runbooks.actions.ansible_play import Play, Played
from fleetward.runbooks.actions.base import Report

_MOST_WORDS = 300
"""Characters of what Ansible said that stand in a failure."""


@dataclass(frozen=True)
class AnsiblePlayer:
    """Plays playbooks on the hosts of an inventory, which also says how they are logged in to."""

    inventory: Path
    variables: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    _busy: defaultdict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))

    def play(self, wanted: Play, report: Report) -> Played:
        """Play it to its end.

        OutOfReachError where the node did not answer, or another play holds it for long; UsageError where it is no
        host of the inventory: a group's name would have all its hosts played.
        """
        if wanted.node not in read_inventory(self.inventory, lambda *_: None).hosts:
            raise UsageError(f"{wanted.node} is not a host of the inventory {self.inventory}")
        busy = self._busy[wanted.node]
        if not busy.acquire(timeout=60):
            raise OutOfReachError(f"another play is under way on {wanted.node}")
        try:
            run = PlaybookRun(
                inventory=self.inventory,
                playbook=wanted.playbook,
                limit=wanted.node,
                tags=",".join(wanted.tags) or None,
                variables=self.variables,
                environment=self.environment,
                seconds=int(wanted.seconds),
            )
            result = run_playbook(run, lambda task: report(f"{task}\n"))
        finally:
            busy.release()
        if result.timed_out:
            return Played(0, 0, timed_out=True)
        failed = result.failures if result.status else ()  # where it ended well, what failed was rescued
        if gone := [failure for failure in failed if failure.unreachable]:
            raise OutOfReachError(f"{gone[0].host} does not answer: {gone[0].message}")
        failures = tuple(map(str, failed))
        if result.status and not failures:
            said = " ".join(printable(result.last_words).split())[:_MOST_WORDS] or "it said nothing"
            failures = (f"Ansible ended with status {result.status} before any task failed: {said}",)
        return Played(result.ok.get(wanted.node, 0), result.changed.get(wanted.node, 0), failures)
