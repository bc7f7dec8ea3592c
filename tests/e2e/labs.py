"""A real lab as a test asks it."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

FLEETWARD = str(Path(sys.executable).with_name("fleetward"))


@dataclass(frozen=True)
class Lab:
    """A running lab, asked only through what its users have: the command, Slurm's programs, Prometheus."""

    name: str
    suite: str
    up: dict[str, Any]
    """what `lab up --json` printed"""

    @staticmethod
    def after(lab: "Lab", up: str) -> "Lab":
        """Return the lab as another `lab up --json` left it."""
        return replace(lab, up=json.loads(up))

    def fleetward(self, *words: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command about this lab."""
        return fleetward(*words, "--name", self.name, seconds=seconds)

    def on(self, node: str, *command: str, user: str = "root", seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on a node as a user, and return how it ended."""
        argv = command if user == "root" else ("runuser", "-u", user, "--", *command)
        words = ("lab", "shell", "--name", self.name, node, "--", *argv)
        return subprocess.run(
            [FLEETWARD, *words], capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )

    def told(self, node: str, *command: str, user: str = "root", seconds: float = 60) -> str:
        """Run a command that must succeed and return what it printed."""
        done = self.on(node, *command, user=user, seconds=seconds)
        assert done.returncode == 0, f"{' '.join(command)} on {node}: {done.stderr or done.stdout}"
        return done.stdout

    def inventory(self) -> str:
        """Return the folder of the inventory that this lab is provisioned from."""
        return str(json.loads(self.fleetward("lab", "status", "--json").stdout)["inventory"])

    def address(self, node: str) -> str:
        return next(str(host["address"]) for host in self.up["hosts"] if host["name"] == node)

    def prometheus(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and values that an instant query gives."""
        url = f"http://{self.address('head')}:9090/api/v1/query"
        answer = httpx.get(url, params={"query": query}, timeout=10).raise_for_status().json()
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]


def fleetward(*words: str, seconds: float = 900) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FLEETWARD, *words], capture_output=True, text=True, timeout=seconds, check=False)


@contextlib.contextmanager
def brought_up(name: str, suite: str, *words: str) -> Iterator[Lab]:
    """Bring a lab up and take it down whatever happens."""
    try:
        up = fleetward("lab", "up", "--name", name, "--suite", suite, "--json", *words)
        assert up.returncode == 0, up.stderr[-4000:]
        yield Lab(name, suite, json.loads(up.stdout))
    finally:
        down = fleetward("lab", "down", "--name", name)
    assert down.returncode == 0, down.stderr
