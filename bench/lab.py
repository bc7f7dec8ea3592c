"""How long a visitor waits for a cluster, with nothing there and with the image cached."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import Figure

ROOT = Path(__file__).parent.parent
NAME = f"bench-{os.getpid()}"


def measure() -> list[Figure]:
    """Set up an environment from nothing, then bring a lab up twice: with an empty cache, and with a full one.

    Packages that apt installed on this machine stay; their download is the one thing a fresh machine does more.
    """
    fleetward = str(Path(sys.executable).with_name("fleetward"))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": folder, "XDG_STATE_HOME": folder}

        def run(*argv: str) -> tuple[float, str]:
            began = time.monotonic()
            done = subprocess.run(argv, check=True, env=environment, stdout=subprocess.PIPE, text=True)
            return time.monotonic() - began, done.stdout

        fresh, _ = run("git", "clone", "--quiet", str(ROOT), f"{folder}/clone")
        setup, _ = run(f"{folder}/clone/tools/setup.sh", "controller")
        subprocess.run(
            ["podman", "rmi", "--force", "localhost/fleetward-node:trixie"], check=False, capture_output=True
        )
        try:
            cold, _ = run(fleetward, "lab", "up", "--name", NAME)
            run(fleetward, "lab", "down", "--name", NAME)
            warm, _ = run(fleetward, "lab", "up", "--name", NAME)
            _, status = run(fleetward, "lab", "status", "--name", NAME, "--json")
            inventory = ("--json", "--inventory", json.loads(status)["inventory"])
            again, changes = run(fleetward, "provision", *inventory)
            alone, _ = run(fleetward, "provision", *inventory, "--limit", "gpu001")
        finally:
            run(fleetward, "lab", "down", "--name", NAME)
    changed = sum(json.loads(changes)["changed"].values())
    return [
        Figure(
            "make lab from nothing: clone, environment, image, containers, site.yml, job", fresh + setup + cold, 420
        ),
        Figure("make lab with the image cached", warm, 120),
        Figure("site.yml a second time", again, 90),
        Figure("changes of site.yml a second time", changed, 0, "tasks"),
        Figure("site.yml limited to one unchanged GPU node", alone, 45),
    ]
