#!/usr/bin/env python3
"""Plays the programs that handover.yml calls, under the name of each: what it was asked is kept, in order, in calls.

The folder that PLAYED_HANDOVER names has state.json: units with `active` and `enabled`, looks after which jobs are
gone, what Slurm and Kubernetes know.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["PLAYED_HANDOVER"])
NAME, ARGUMENTS = Path(sys.argv[0]).name, sys.argv[1:]
READS = ("show", "is-active", "is-enabled", "is-system-running", "list-unit-files", "daemon-reload")


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(text + "\n")


def systemctl(state: dict[str, Any], verb: str, *rest: str) -> int:
    """Answer as systemd would of the units in the state."""
    names = [word.removesuffix(".service") for word in rest if not word.startswith("-")]
    units = state["units"]
    if verb == "list-unit-files":
        sys.stdout.writelines(f"{name}.service enabled enabled\n" for name in names if name in units)
        return 0
    unit = units.get(names[-1]) if names else None
    if verb == "show":
        active = "active" if unit and unit["active"] else "inactive"
        say(f"Id={names[-1]}.service\nLoadState={'loaded' if unit else 'not-found'}\nActiveState={active}")
    elif verb == "is-active":
        say("active" if unit and unit["active"] else "inactive")
        return 0 if unit and unit["active"] else 3
    elif verb == "is-enabled":
        say("enabled" if unit and unit["enabled"] else "disabled")
        return 0 if unit and unit["enabled"] else 1
    elif unit:
        unit.update({"stop": {"active": False}, "disable": {"enabled": False}}.get(verb, {}))
    return 0


def squeue(state: dict[str, Any], *_: str) -> int:
    """Tell of jobs as often as the state says."""
    if state["looks"] != 0:
        state["looks"] -= 1
        say(" 17\n 18_3")
    return 0


def scontrol(state: dict[str, Any], *rest: str) -> int:
    """Know a node or not."""
    if state["slurm"] == "away":
        sys.stderr.write("slurm_load_node error: Unable to contact slurm controller (connect failure)")
        return 1
    say(f"NodeName={rest[-1]}" if state["slurm"] == "knows" else f"Node {rest[-1]} not found")
    return 0 if state["slurm"] == "knows" else 1


def sinfo(state: dict[str, Any], *_: str) -> int:
    """Say the node's state."""
    say(state["sinfo"])
    return 0


def fleetward(state: dict[str, Any], verb: str, *rest: str) -> int:
    """Drain, resume or check."""
    if verb == "check":
        return int(state["check"])
    say(json.dumps({"nodes": [{"node": rest[0], "result": state[verb], "claims": []}]}, indent=2))
    return 0


def kubectl(state: dict[str, Any], verb: str, *rest: str) -> int:
    """Know the node, cordon it, evict its pods."""
    if verb == "get" and state["kubernetes"]:
        say("node/gpu001")
    if verb in {"cordon", "uncordon"}:
        say(f"node/{rest[0]} {verb}ed")
    if verb == "drain" and not state["pods_go"]:
        sys.stderr.write(
            "error: unable to drain node: Cannot evict pod as it would violate the pod's disruption budget."
        )
        return 1
    return 0


def crictl(state: dict[str, Any], verb: str, *_: str) -> int:
    """Have two pods that DaemonSets left."""
    if verb == "pods":
        say("a1\nb2")
    return 0


def role(state: dict[str, Any], name: str) -> int:
    """Do what the role of that name would: start its daemon."""
    for unit in {"kubernetes_node": ["containerd", "kubelet"], "slurm_node": ["slurmd"]}.get(name, []):
        state["units"][unit] = {"active": True, "enabled": True}
    return 0


def main() -> int:
    """Answer once."""
    file = FOLDER / "state.json"
    state = json.loads(file.read_text())
    if not (NAME == "systemctl" and ARGUMENTS[0] in READS):
        with (FOLDER / "calls").open("a") as calls:
            calls.write(" ".join([NAME, *ARGUMENTS]) + "\n")
    code: int = globals()[NAME](state, *ARGUMENTS)
    file.write_text(json.dumps(state))
    return code


if __name__ == "__main__":
    sys.exit(main())
