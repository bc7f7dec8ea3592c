"""How long the loop takes in a lab: from a lost GPU to the node drained in Slurm, each leg by itself."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.figures import Figure

NAME = f"bench-loop-{os.getpid()}"
FLEETWARD = str(Path(sys.executable).with_name("fleetward"))
NODE, GPU, PAGE = "gpu002", "3", "gpu-off-bus"
ROUNDS = 3


def measure() -> list[Figure]:
    """Bring a lab up, lose a GPU a few times in auto mode, and take the slowest round."""
    try:
        up = json.loads(_fleetward("lab", "up", "--name", NAME, "--no-job", "--json"))
        head = str(up["hosts"][0]["address"])
        _on_head("fleetward", "autopilot", "mode", PAGE, "auto")
        rounds = [_round(head) for _ in range(ROUNDS)]
    finally:
        _fleetward("lab", "down", "--name", NAME)
    slowest = max(rounds, key=lambda legs: legs["drained"])
    return [
        Figure("fault -> gpu_up 0 in Prometheus", slowest["seen"], None),
        Figure("fault -> alert fires", slowest["alert"], None),
        Figure("fault -> incident", slowest["incident"], None),
        Figure("fault -> run begun", slowest["run"], None),
        Figure(f"fault -> node drained in Slurm, slowest of {ROUNDS}", slowest["drained"], 20),
    ]


def _round(head: str) -> dict[str, float]:
    """Lose one GPU, wait for the drain, mend it, wait until the node is back; return seconds after the fault."""
    began = time.time()
    _fleetward("lab", "fault", "--name", NAME, NODE, "xid", "--gpu", GPU, "--code", "79")
    _until(lambda: "DRAIN" in _on_head("sinfo", "-hN", "-n", NODE, "-o", "%T").upper())
    drained = time.time() - began
    incidents = json.loads(_on_head("fleetward", "incident", "list", "--json"))["incidents"]
    shown = json.loads(_on_head("fleetward", "incident", "show", str(incidents[0]["id"]), "--json"))
    legs = {
        "seen": _seen_at(head, began) - began,
        "alert": _fired_at(head) - began,
        "incident": _moment(shown["incident"]["opened_at"]) - began,
        "run": min(_moment(step["started_at"]) for step in shown["runs"][0]["steps"] if step["started_at"]) - began,
        "drained": drained,
    }
    _fleetward("lab", "fault", "--name", NAME, NODE, "clear")
    _until(lambda: "DRAIN" not in _on_head("sinfo", "-hN", "-n", NODE, "-o", "%T").upper(), 180)
    return legs


def _fired_at(head: str) -> float:
    alerts = httpx.get(f"http://{head}:9090/api/v1/alerts", timeout=10).json()["data"]["alerts"]
    return min(_moment(one["activeAt"]) for one in alerts if one["labels"].get("node") == NODE)


def _seen_at(head: str, began: float) -> float:
    """Return the time of the first sample after the fault in which the GPU is gone."""
    query = f'gpu_up{{node="{NODE}",gpu="{GPU}"}}[2m]'
    answer = httpx.get(f"http://{head}:9090/api/v1/query", params={"query": query}, timeout=10).json()
    values = answer["data"]["result"][0]["values"]
    return min(float(at) for at, value in values if float(at) >= began and value == "0")


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def _until(holds: Callable[[], Any], seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"the lab did not come that far within {seconds:.0f} s")
        time.sleep(0.2)


def _on_head(*command: str) -> str:
    return _fleetward("lab", "shell", "--name", NAME, "head", "--", *command)


def _fleetward(*words: str) -> str:
    return subprocess.run([FLEETWARD, *words], check=True, stdout=subprocess.PIPE, text=True).stdout
