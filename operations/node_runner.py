"""Programs of runbook steps on nodes, through ansible-runner and the module `fleetward_step`."""

import base64
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetward.model.errors import FleetwardError, OutOfReachError, UsageError
from fleetward.operations.playbook import ROOT, TaskFailure, ansible_environment, task_failure
from fleetward.runbooks.actions.node_run import NodeStep, NodeStepState

FOLDER = "/run/fleetward-steps"
"""Where a node keeps the markers; gone with a boot, as what they are about."""

WAIT = 3.0
"""Seconds for which one call waits for a program; a person sees its output as often."""

OVERHEAD = 60
"""Seconds that Ansible may take beside that."""

_SSH = "-o ControlMaster=auto -o ControlPersist=120s -o ConnectTimeout=5 -o ServerAliveInterval=5"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


class NodeOutOfReachError(OutOfReachError):
    """A node could not be reached through Ansible, or not in time."""


class NodeStepError(FleetwardError):
    """A node was reached, and the program could not be begun or looked for."""


@dataclass
class _Answer:
    """What the one task said."""

    result: Mapping[str, Any] | None = None
    failure: TaskFailure | None = None


@dataclass(frozen=True)
class AnsibleNodeRunner:
    """Runs programs on the hosts of an inventory, which also says how they are logged in to."""

    inventory: Path
    variables: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = FOLDER
    wait: float = WAIT

    def run(self, node: str, argv: Sequence[str], marker: str, seconds: float, up_for: float) -> NodeStep:
        """Begin a program unless its marker is there, and return how it stands after a short wait."""
        wanted = {"argv": list(argv), "seconds": seconds, "up_for": up_for, "wait": min(seconds + 1, self.wait)}
        return self._ask(node, marker, wanted)

    def observe(self, node: str, marker: str) -> NodeStep:
        """Return how it stands; changes nothing."""
        return self._ask(node, marker, {"wait": 0})

    def _ask(self, node: str, marker: str, wanted: Mapping[str, Any]) -> NodeStep:
        if not _NAME.fullmatch(node):
            raise UsageError(f"{node!r} is not the name of one node")
        request = json.dumps({**wanted, "marker": marker, "folder": self.folder})
        answer = _Answer()
        status = self._play(node, base64.b64encode(request.encode()).decode(), answer)
        if answer.failure and answer.failure.unreachable:
            raise NodeOutOfReachError(f"{node} does not answer: {answer.failure.message}")
        if answer.failure:
            raise NodeStepError(f"{node}: {answer.failure.message}")
        if answer.result is not None:
            return _read(node, answer.result)
        if status == "timeout":
            raise NodeOutOfReachError(f"{node} gave no answer within {wanted['wait'] + OVERHEAD:.0f} s")
        raise UsageError(f"{node} could not be asked through {self.inventory}: is it a host of this inventory?")

    def _play(self, node: str, request: str, answer: _Answer) -> str:
        """Run the playbook and return how ansible-runner says that it ended."""
        import ansible_runner

        def on_event(event: dict[str, Any]) -> bool:
            kind, data = event["event"], event.get("event_data", {})
            if kind == "runner_on_ok" and data.get("host") == node:
                answer.result = data.get("res")
            elif kind in {"runner_on_failed", "runner_on_unreachable"}:
                answer.failure = task_failure(data, unreachable=kind.endswith("unreachable"))
            return False  # events are read here, not kept as files

        private = tempfile.mkdtemp(prefix="fleetward-step-")
        try:
            ended = ansible_runner.run(
                private_data_dir=private,
                playbook=str(ROOT / "playbooks/node_step.yml"),
                inventory=str(self.inventory.absolute()),
                limit=node,
                extravars={**self.variables, "node_step_node": node, "node_step_request": request},
                envvars={
                    **ansible_environment(),
                    "ANSIBLE_SSH_ARGS": _SSH,
                    "ANSIBLE_SSH_RETRIES": "0",
                    **self.environment,
                },
                event_handler=on_event,
                quiet=True,
                timeout=int(self.wait) + OVERHEAD,
            )
            return str(ended.status)
        finally:
            shutil.rmtree(private, ignore_errors=True)


def printable(text: str) -> str:
    """Return a program's output as lines of text: no codes for terminals in it, other unprintable ones as `?`."""
    plain = _TERMINAL.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "?" for sign in plain)


def _read(node: str, result: Mapping[str, Any]) -> NodeStep:
    try:
        return NodeStep(
            state=NodeStepState(result["state"]),
            up_for=float(result["up_for"]),
            exit=result.get("exit"),
            timed_out=bool(result.get("timed_out")),
            output=printable(str(result.get("output", ""))),
            cut=int(result.get("cut", 0)),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise NodeStepError(f"{node}: what the node answered cannot be read: {error!r}") from error
