"""What a rolling change costs beside the waits that it cannot do without: eight nodes of a lab, two at a time."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.figures import Figure

NAME = f"bench-change-{os.getpid()}"
NODES = "gpu[001-008]"
FLEETWARD = str(Path(sys.executable).with_name("fleetward"))
PAGE = ("change-site", NODES, "--at-once", "2", "--param", "part=node_exporter", "--param", "patience=30m")


def measure() -> list[Figure]:
    """Play a role through eight nodes with a job each; hold its time against the longest node of each batch."""
    subprocess.run([FLEETWARD, "lab", "up", "--name", NAME, "--nodes", "8", "--no-job"], check=True)
    try:
        words = "--nodelist=gpu00$n --gpus-per-node=8 --time=10 --output=/dev/null --parsable --wrap='sleep 60'"
        command = f"cd /tmp && for n in 1 2 3 4 5 6 7 8; do sbatch {words}; done"
        jobs = _on_head("runuser", "-u", "researcher", "--", "sh", "-c", command).split()
        planned = json.loads(_on_head("fleetward", "change", "plan", *PAGE, "--json"))["change"]
        name = f"c{planned['id']}"
        _on_head("fleetward", "change", "approve", name, "--digest", planned["digest"])
        while (change := json.loads(_on_head("fleetward", "change", "status", name, "--json"))["change"])[
            "state"
        ] == "running":
            time.sleep(5)
        states = _on_head("sacct", "-nXP", "--format=State,Restarts", "-j", ",".join(jobs)).split()
    finally:
        subprocess.run([FLEETWARD, "lab", "down", "--name", NAME], check=True)
    lost = sum(state != "COMPLETED|0" for state in states)
    undone = sum(node["state"] != "done" for node in change["nodes"])
    return [
        Figure("a change through 8 nodes, over the sum of its batches' longest nodes", _overhead(change), 1.3, "times"),
        Figure("jobs that it cost", lost, 0, "jobs"),
        Figure("nodes that it left undone", undone, 0, "nodes"),
    ]


def _overhead(change: Mapping[str, Any]) -> float:
    """Return the whole time over the sum of what the longest node of each batch took."""

    def moment(text: str) -> float:
        return datetime.fromisoformat(text).timestamp()

    nodes = [node for node in change["nodes"] if node["began_at"] and node["ended_at"]]
    longest = (
        max(moment(node["ended_at"]) - moment(node["began_at"]) for node in batch)
        for _, batch in itertools.groupby(nodes, key=lambda node: node["batch"])
    )
    return (moment(change["ended_at"]) - moment(change["approved_at"])) / sum(longest)


def _on_head(*command: str) -> str:
    words = (FLEETWARD, "lab", "shell", "--name", NAME, "head", "--", *command)
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL).stdout
