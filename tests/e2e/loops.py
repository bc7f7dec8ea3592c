"""The loop from a fault to a fleet that is whole again, as tests drive it and look at it from outside."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labs import Lab

HOME = "/home/researcher"
FOLDER = f"{HOME}/digits"
STEP_SECONDS = "0.15"
"""Long enough a training (330 steps) that a fault comes in its middle."""


CHANCE = random.SystemRandom()
"""Which node, GPU and drain it is differs at each run, whatever seeds other plugins set."""


@dataclass(frozen=True)
class Gpu:
    """One GPU of a node, by Slurm's and NVML's index."""

    node: str
    index: str


@dataclass(frozen=True)
class HandDrain:
    """A node that a person has drained, in their own words."""

    node: str
    reason: str


def wait_for(holds: Callable[[], Any], seconds: float, what: str) -> Any:  # noqa: ANN401  whatever was waited for
    """Return what `holds` gives once it is true; fail with `what` where that takes longer."""
    until = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < until, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.5)
    return found


def becomes(look: Callable[[], Any], wanted: object, seconds: float, what: str) -> None:
    """Wait until a look gives what is wanted; fail with what it gave last where that takes longer."""
    until = time.monotonic() + seconds
    while (seen := look()) != wanted:
        assert time.monotonic() < until, f"{what}: {seen} in place of {wanted} after {seconds:.0f} s"
        time.sleep(0.5)


def told_json(lab: Lab, *command: str) -> Any:  # noqa: ANN401  JSON
    """Return what a command on the head prints with --json."""
    return json.loads(lab.told("head", *command, "--json"))


def prepare_job(lab: Lab) -> None:
    """Put the sample job into the researcher's folder, with steps so slow that it can be broken in the middle."""
    if lab.on("head", "test", "-e", f"{FOLDER}/venv/ready").returncode:
        done = lab.fleetward("lab", "job", "--json")
        assert done.returncode == 0, done.stderr
    slow = f'sed \'s/"0.06"/"{STEP_SECONDS}"/; s/"50"/"20"/\' {FOLDER}/job.yaml > {FOLDER}/slow.yaml'
    lab.told("head", "sh", "-c", f"rm -rf {FOLDER}/checkpoints && {slow}")


def running_job(lab: Lab) -> str:
    """Wait until a job runs and has written a checkpoint; return its id."""

    def look() -> str:
        running = lab.told("head", "squeue", "-h", "-u", "researcher", "-t", "R", "-o", "%A").split()
        written = lab.on("head", "sh", "-c", f"ls {FOLDER}/checkpoints/*/*.checkpoint").returncode == 0
        return running[0] if running and written else ""

    return str(wait_for(look, 90, "a running job with a checkpoint"))


def long_job(lab: Lab, name: str) -> str:
    """Submit a job that sits on a node until it is cancelled."""
    script = "#!/bin/sh\nsleep 600\n"
    words = ("sbatch", "--parsable", "--requeue", "--account=research", f"--nodelist={name}", "--output=/dev/null")
    lab.told("head", "sh", "-c", f"printf '{json.dumps(script)[1:-1]}' > /tmp/long.sh && chmod 644 /tmp/long.sh")
    job = lab.told("head", *words, "/tmp/long.sh", user="researcher").strip()
    wait_for(lambda: lab.told("head", "squeue", "-h", "-j", job, "-o", "%T").strip() == "RUNNING", 30, "a running job")
    return job


def times_logged(lab: Lab, words: str) -> int:
    """Count lines of slurmctld's log with these words."""
    return int(lab.told("head", "sh", "-c", f"grep -cF '{words}' /var/log/slurm/slurmctld.log || true"))


def any_gpu_of(lab: Lab, job: str) -> Gpu:
    """Return a GPU that the job holds, by chance."""
    nodes = lab.told("head", "squeue", "-h", "-j", job, "-o", "%N").strip()
    named = set(lab.told("head", "scontrol", "show", "hostnames", nodes).split())

    def busy() -> list[Gpu]:
        rows = lab.prometheus("gpu_utilization_ratio > 0.5")
        return [Gpu(labels["node"], labels["gpu"]) for labels, _ in rows if labels["node"] in named]

    # The job may write its first checkpoint before the next look of the exporter, and that before the next scrape.
    held: list[Gpu] = wait_for(busy, 30, f"a busy GPU on {nodes} in Prometheus")
    chosen = CHANCE.choice(held)
    print(f"of {len(held)} busy GPUs, GPU {chosen.index} of {chosen.node} is the one that fails")  # noqa: T201  for the report
    return chosen


def drain_by_hand(lab: Lab) -> HandDrain:
    """Drain one node as a person would, before anything else happens."""
    node = CHANCE.choice([host["name"] for host in lab.up["hosts"][1:]])
    reason = f"bob: disk smells odd, ticket {CHANCE.randrange(10**6)} (do not touch: it's mine)"
    lab.told("head", "scontrol", "update", f"nodename={node}", "state=drain", f"reason={reason}")
    return HandDrain(node, reason)


def undrain(lab: Lab, hand: HandDrain) -> None:
    lab.told("head", "scontrol", "update", f"nodename={hand.node}", "state=resume")


def node(lab: Lab, name: str) -> dict[str, Any]:
    """Return a node as Slurm itself tells it."""
    shown = json.loads(lab.told("head", "scontrol", "show", "node", name, "--json"))["nodes"][0]
    return {"state": shown["state"], "reason": shown.get("reason", "")}


def incidents(lab: Lab, state: str = "all") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told_json(lab, "fleetward", "incident", "list", "--state", state)["incidents"]
    return found


def incident_of(lab: Lab, alert: str, name: str) -> dict[str, Any] | None:
    """Return the newest incident of an alert on a node that is not closed."""
    found = [one for one in incidents(lab, "all") if (one["alert_name"], one["node"]) == (alert, name)]
    return max((one for one in found if one["state"] != "closed"), key=lambda one: int(one["id"]), default=None)


def newest(lab: Lab) -> int:
    """Return the number of the newest incident, before a fault is made; 0 where there is none."""
    return max((int(one["id"]) for one in incidents(lab)), default=0)


def is_the_only_one(lab: Lab, incident: dict[str, Any], since: int) -> None:
    """Check that of all that was opened about its node since there were `since` incidents it is the only one."""
    opened = [one for one in incidents(lab) if one["node"] == incident["node"] and int(one["id"]) > since]
    assert [one["id"] for one in opened] == [incident["id"]], [
        (one["alert_name"], one["gpu"], one["summary"]) for one in opened
    ]


def detail(lab: Lab, incident: int) -> dict[str, Any]:
    found: dict[str, Any] = told_json(lab, "fleetward", "incident", "show", str(incident))
    return found


def run_of(lab: Lab, incident: int) -> dict[str, Any] | None:
    """Return the newest run of an incident."""
    return max(detail(lab, incident)["runs"], key=lambda run: int(run["id"]), default=None)


def result(lab: Lab) -> dict[str, Any]:
    """Return what the training wrote at its end."""
    found: dict[str, Any] = json.loads(lab.told("head", "cat", f"{FOLDER}/checkpoints/result.json"))
    return found


def accounted(lab: Lab, job: str) -> tuple[str, str, int]:
    """Return state, nodes and restarts of a job's last attempt, as slurmdbd has them."""
    row = lab.told("head", "sacct", "-nXP", "-j", job, "--format=State,NodeList,Restarts").strip().splitlines()[-1]
    state, nodes, restarts = row.split("|")
    return state, nodes, int(restarts)


def break_gpu(lab: Lab, gpu: Gpu, code: int = 79) -> None:
    done = lab.fleetward("lab", "fault", gpu.node, "xid", "--gpu", gpu.index, "--code", str(code))
    assert done.returncode == 0, done.stderr


def mend(lab: Lab, name: str) -> None:
    done = lab.fleetward("lab", "fault", name, "clear")
    assert done.returncode == 0, done.stderr


def timeline_rows(lab: Lab, incident: int) -> int:
    """Return how many entries PostgreSQL itself has of an incident's timeline."""
    query = f"select count(*) from timeline where incident = {int(incident)}"  # noqa: S608  a number
    return int(lab.told("head", "psql", "-AtXc", query, "fleetward", user="fleetward"))


def put_right(lab: Lab) -> None:
    """End what other tests have left: a closed incident has neither runs nor claims."""
    for one in incidents(lab, "all"):
        if one["state"] != "closed":
            lab.on("head", "fleetward", "incident", "close", str(one["id"]), "--why", "the test is over")
    for name in [host["name"] for host in lab.up["hosts"][1:]]:
        if "DRAIN" in node(lab, name)["state"]:
            lab.told("head", "scontrol", "update", f"nodename={name}", "state=resume")
