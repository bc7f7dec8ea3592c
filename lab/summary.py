"""What a visitor of the lab is told: hosts, GPUs, the job, and where to look next."""

import json
from dataclasses import asdict
from typing import Any

from fleetward.lab import inventory
from fleetward.lab.engine import Engine
from fleetward.lab.lifecycle import open_engine
from fleetward.lab.spec import HEAD, LabSpec, LabState
from fleetward.model.errors import UsageError
from fleetward.operations.command import CommandError


def of(engine: Engine, spec: LabSpec, state: LabState, *, job: dict[str, Any] | None, seconds: float) -> dict[str, Any]:
    """Return the summary of a lab as JSON-ready data."""
    states = engine.states(spec.name)
    kept = state.read()
    return {
        "lab": asdict(spec),
        "ready": bool(kept and kept[1]),
        "inventory": str(inventory.of(spec, state)),
        "seconds": round(seconds, 1),
        "hosts": [{**asdict(host), "state": states.get(spec.container(host.name), "absent")} for host in spec.hosts],
        "nodes": _nodes(engine, spec),
        "job": job,
    }


def status(name: str) -> dict[str, Any]:
    """Return the summary of a lab by name; refuse where there is none."""
    state = LabState.of(name)
    kept = state.read()
    if kept is None:
        raise UsageError(f"there is no lab {name!r}: `fleetward lab up --name {name}` makes it")
    return of(open_engine(), kept[0], state, job=None, seconds=0)


def _nodes(engine: Engine, spec: LabSpec) -> list[dict[str, Any]]:
    """Ask the head what Slurm knows; nothing yet where it is not provisioned."""
    try:
        said = engine.execute(spec.container(HEAD), ["fleetward", "nodes", "--json"], seconds=30)
    except CommandError:
        return []
    nodes: list[dict[str, Any]] = json.loads(said.text)["nodes"]
    return nodes


def status_text(found: dict[str, Any]) -> str:
    """Write the hosts and nodes as a table."""
    lab = found["lab"]
    nodes = {node["name"]: node for node in found["nodes"]}
    lines = [f"Lab {lab['name']!r}: {lab['suite']}, {'ready' if found['ready'] else 'not ready'}", ""]
    rows = [("HOST", "ADDRESS", "CONTAINER", "SLURM", "GPUS")]
    for host in found["hosts"]:
        node = nodes.get(host["name"], {})
        rows.append((host["name"], host["address"], host["state"], node.get("state", "-"), node.get("gres", "-")))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


def text(found: dict[str, Any]) -> str:
    """Write the whole summary for a person, ending with what to try next."""
    parts = [status_text(found)]
    if job := found["job"]:
        parts.append("\n  " + job_text(job))
    name = "" if found["lab"]["name"] == "lab" else f" --name {found['lab']['name']}"
    head = found["hosts"][0]["address"]
    parts.append(f"\n  Took {found['seconds']:.0f} s. Where to look next:")
    parts.append(
        _commands(
            (f"fleetward lab shell{name}", "a shell on the head: sinfo, squeue, sacct"),
            (f"fleetward lab shell{name} head -- fleetward nodes", "what is there, with GPUs"),
            (f"http://{head}:9090", "Prometheus; try gpu_utilization_ratio"),
            (f"fleetward lab down{name}", "leaves nothing behind"),
        )
    )
    if found["ready"]:
        parts.append("\n" + see_it_heal(found["hosts"][1:], name))
    return "\n".join(parts)


def see_it_heal(gpu_hosts: list[dict[str, Any]], name: str) -> str:
    """Write the three commands that show a visitor the whole loop, from a broken GPU to a fleet that is whole."""
    node = gpu_hosts[min(1, len(gpu_hosts) - 1)]["name"]
    return "  See it break and heal, in three commands:\n" + _commands(
        (f"fleetward lab tui{name}", "open the screen; s submits a training job, ? tells the keys"),
        (
            f"fleetward lab fault {node} xid --gpu 3 --code 79{name}",
            "break a GPU from a second terminal; approve its runbook",
        ),
        (f"fleetward lab fault {node} clear{name}", "mend it, and watch it heal"),
    )


def _commands(*rows: tuple[str, str]) -> str:
    width = max(len(command) for command, _ in rows)
    return "\n".join(f"    {command:<{width}}  {meaning}" for command, meaning in rows)


def job_text(job: dict[str, Any]) -> str:
    """Write what became of the sample job in one line."""
    result = job["result"]
    return (
        f"Job {job['job_id']} {job['state']}: accuracy {result['accuracy']:.3f} after {result['steps']} steps"
        f" on {result['ranks']} ranks in {result['seconds']:.0f} s; accounted {job['alloc_tres']}"
    )
