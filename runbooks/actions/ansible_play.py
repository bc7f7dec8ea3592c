"""`ansible.play`: bring one node to what the inventory declares, by a playbook of this distribution.

Roles are idempotent, so a play that was cut off has simply not been done, and is played again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from fleetward.model.errors import OutOfReachError, UsageError
from fleetward.runbooks.actions.base import Asks, Call, Done, Failed, NotBegun, Observation, Report, Result
from fleetward.runbooks.actions.declared import (
    Declared,
    Kind,
    duration,
    node_name,
    node_of,
    one_of,
    seconds_of,
    since,
    word_list,
)
from fleetward.runbooks.clock import Clock

PLAYBOOKS = ("site",)
"""Those that may be played on a single node."""
PATIENCE = 600.0
"""Seconds for which a node may be out of reach before a person is asked."""
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Play:
    """What is to be played."""

    playbook: str
    node: str
    seconds: float
    """After which Ansible is ended."""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Played:
    """How a play ended."""

    ok: int
    changed: int
    failures: tuple[str, ...] = ()
    """One line each: host, task, reason; empty where all is well."""
    timed_out: bool = False


class Player(Protocol):
    """Something that plays playbooks; OutOfReachError where the node did not answer."""

    def play(self, wanted: Play, report: Report) -> Played:
        """Play it to its end, telling of tasks as they begin."""


@dataclass(frozen=True)
class NoPlays:
    """The player where the daemon has no inventory."""

    why: str = "the daemon has no inventory to play; name the site's with provision.inventory in its settings"

    def play(self, wanted: Play, report: Report) -> Played:
        """Say that it cannot."""
        return Played(0, 0, (self.why,))


class AnsiblePlay(Declared):
    """Play a playbook on one node."""

    declared = Kind(
        "ansible.play",
        changes=True,
        argument=one_of(*PLAYBOOKS),
        options={"on": node_name, "tags": word_list, "within": duration},
        required=frozenset({"on"}),
    )

    def __init__(self, player: Player, clock: Clock) -> None:
        self._player = player
        self._clock = clock

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Note the beginning."""
        return {"at": self._clock.now().isoformat()}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Play it to its end."""
        node, within = node_of(call, "on"), seconds_of(call, "within", "1h")
        wanted = Play(str(call.step.arguments[""]), node, within, _tags(call))
        try:
            played = self._player.play(wanted, report)
        except OutOfReachError as error:
            if since(before, self._clock).total_seconds() < PATIENCE:
                raise
            return Asks(str(error))
        outcome = {"ok": played.ok, "changed": played.changed}
        if played.timed_out:
            return Failed(f"Ansible had no end within {within:.0f} s, and was ended", outcome)
        if played.failures:
            more = f" (and {len(played.failures) - 1} more)" if played.failures[1:] else ""
            return Failed(played.failures[0] + more, {**outcome, "failures": list(played.failures[:20])})
        if not played.ok:
            of = f" with the tag {', '.join(wanted.tags)}" if wanted.tags else ""
            return Failed(f"no task of {wanted.playbook}.yml{of} was played on {node}", outcome)
        return Done(outcome)

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Leave it to `act`: playing again is as good as playing once."""
        return NotBegun()


def _tags(call: Call) -> tuple[str, ...]:
    """Return the tags, whose placeholders are filled now; UsageError where one could be taken for more than a tag."""
    words = call.step.arguments.get("tags", [])
    if not isinstance(words, list) or not all(isinstance(word, str) and _TAG.fullmatch(word) for word in words):
        raise UsageError(f"tags {word_list(words) or f'holds what is no tag: {words!r}'}")
    return tuple(words)
