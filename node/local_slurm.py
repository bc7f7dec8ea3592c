"""The little of Slurm that a node may need without a daemon: how nodes are, its own drain, its own resume."""

import os
import re
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from fleetward.node.children import begun, collect
from fleetward.node.deadline import Deadline
from fleetward.node.local_drain import SlurmNode
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

CALL_SECONDS = 3.0
FEWEST_SECONDS = 0.5
"""A call that has less time than this is not begun."""
FIELDS = ("NodeList", "StateComplete", "Timestamp", "Reason")
"""Of sinfo; the time is that of the reason."""
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_STATE = re.compile(r"[A-Za-z_]+(\+[A-Za-z_]+)*")


class LocalSlurm(Protocol):
    """Slurm as a node sees it; each method raises ProbeError where nothing is known of what came of it."""

    def fleet(self) -> Mapping[str, SlurmNode]:
        """Return every node by name."""

    def node(self, name: str) -> SlurmNode:
        """Return one node."""

    def drain(self, name: str, reason: str) -> None:
        """Take a node out of service, once its jobs have ended."""

    def resume(self, name: str) -> None:
        """Put a drained node back into service."""


class SlurmPrograms:
    """Slurm through sinfo and scontrol, each in a process that is ended with its time."""

    def __init__(self, surroundings: Surroundings, deadline: Deadline) -> None:
        """Take the programs of a node; all calls together end by the deadline."""
        self._surroundings = surroundings
        self._deadline = deadline

    def fleet(self) -> Mapping[str, SlurmNode]:
        """Return every node by name."""
        return self._listed()

    def node(self, name: str) -> SlurmNode:
        """Return one node; ProbeError where Slurm knows none of this name."""
        found = self._listed(f"--nodes={_checked(name)}").get(name)
        if found is None:
            raise ProbeError(f"Slurm knows no node {name}: say in the settings as which it knows this one")
        return found

    def drain(self, name: str, reason: str) -> None:
        """Take a node out of service, once its jobs have ended; replaces the reason that it has."""
        self._run("scontrol", "update", f"nodename={_checked(name)}", "state=drain", f"reason={reason}")

    def resume(self, name: str) -> None:
        """Put a drained node back into service."""
        self._run("scontrol", "update", f"nodename={_checked(name)}", "state=resume")

    def _listed(self, *which: str) -> dict[str, SlurmNode]:
        separator = f"~{secrets.token_hex(6)}~"  # nobody who writes a reason can know it
        form = ",".join(f"{field}:0{separator}" for field in FIELDS)  # :0 is for as long as it is
        return parse(self._run("sinfo", "--all", "--noheader", "--Node", *which, f"--Format={form}"), separator)

    def _run(self, *argv: str) -> str:
        seconds = self._deadline.left(CALL_SECONDS)
        if seconds < FEWEST_SECONDS:
            raise ProbeError(f"no time is left to ask {argv[0]}")
        # a second child, so that nothing of a program that does not even end by a signal is waited for
        run = partial(self._surroundings.run, argv, seconds, _environment())
        answer = collect({argv[0]: begun(run, seconds)})[argv[0]]
        if isinstance(answer, ProbeError):
            words = str(answer)
            raise ProbeError(words if words.startswith(argv[0]) else f"{argv[0]}: {words}")
        return answer


def parse(text: str, separator: str) -> dict[str, SlurmNode]:
    """Read sinfo's answer, a node with each of FIELDS before a separator; ProbeError where it is not whole.

    A node that is in several partitions comes several times.
    """
    *parts, rest = text.split(separator)
    if rest.strip() or len(parts) % len(FIELDS):
        raise ProbeError("sinfo's answer is not whole")
    rows = [parts[at : at + len(FIELDS)] for at in range(0, len(parts), len(FIELDS))]
    return {node.name: node for node in (_node(*row) for row in rows)}


def _node(name: str, state: str, at: str, reason: str) -> SlurmNode:
    if not _STATE.fullmatch(state) or not _NODE.fullmatch(name.strip()):
        raise ProbeError(f"sinfo's answer has a node {name.strip()[:60]!r} in the state {state[:60]!r}")
    when = int(at) if at.isascii() and at.isdigit() and len(at) < 19 else 0
    return SlurmNode(name.strip(), frozenset(state.lower().split("+")), "" if reason == "none" else reason, when)


def _environment() -> dict[str, str]:
    """Return nothing that would change what the programs print, and where slurmd has put its configuration."""
    where = {key: os.environ[key] for key in ("SLURM_CONF",) if key in os.environ}
    return {"PATH": "/usr/bin:/usr/sbin:/usr/local/bin", "SLURM_TIME_FORMAT": "%s", **where}


def _checked(name: str) -> str:
    """Return the name of one node; ProbeError where Slurm might read several in it."""
    if not _NODE.fullmatch(name) or name.upper() == "ALL":
        raise ProbeError(f"{name!r} is not the name of one node")
    return name
