"""The daemon killed with SIGKILL at every point of a run: the same end, or a stop that asks, and no action twice."""

import time
from collections.abc import Iterator

import pytest
from labs import Lab
from loops import (
    CHANCE,
    Gpu,
    break_gpu,
    detail,
    long_job,
    mend,
    node,
    put_right,
    run_of,
    times_logged,
    wait_for,
)
from test_loop import PAGE, STEPS

pytestmark = [pytest.mark.lab, pytest.mark.verify]

POINTS = ("reserve", "prepared", "acted", "recorded")
UNIT = "fleetward.service"
DROP_IN = f"/run/systemd/system/{UNIT}.d/crash.conf"


@pytest.fixture(scope="module")
def auto_lab(lab: Lab) -> Iterator[Lab]:
    lab.told("head", "fleetward", "autopilot", "mode", PAGE, "auto")
    yield lab
    lab.told("head", "fleetward", "autopilot", "mode", PAGE, "propose")


def arm(lab: Lab, crash_at: str) -> None:
    """Have the daemon kill itself there, and stay dead."""
    text = f"[Service]\\nEnvironment=FLEETWARD_CRASH_AT={crash_at}\\nRestart=no\\n"
    lab.told("head", "sh", "-c", f"mkdir -p $(dirname {DROP_IN}) && printf '{text}' > {DROP_IN}")
    restart(lab)


def disarm(lab: Lab) -> None:
    lab.told("head", "rm", "-f", DROP_IN)
    restart(lab)


def restart(lab: Lab) -> None:
    lab.told("head", "sh", "-c", f"systemctl daemon-reload && systemctl reset-failed {UNIT}; systemctl restart {UNIT}")
    wait_for(lambda: lab.on("head", "fleetward", "autopilot", "status").returncode == 0, 30, "the daemon")


@pytest.mark.timeout(300, func_only=True)  # the first one brings the lab up
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("index", range(len(STEPS)))
def test_killed_at_any_point_it_comes_to_the_same_end(auto_lab: Lab, index: int, point: str) -> None:
    lab = auto_lab
    put_right(lab)
    gpu = Gpu(CHANCE.choice(["gpu001", "gpu002", "gpu003"]), str(CHANCE.randrange(8)))
    job = long_job(lab, gpu.node)
    arm(lab, f"{index}:{point}")
    try:
        break_gpu(lab, gpu)
        incident = wait_for(lambda: opened(lab, gpu.node), 30, "an incident")
        mend_when_drained(lab, gpu)
        died = wait_for(
            lambda: lab.on("head", "systemctl", "is-failed", "--quiet", UNIT).returncode == 0, 90, "a crash"
        )
        assert died
        disarm(lab)
        mend(lab, gpu.node)
        run = wait_for(lambda: ended(lab, incident), 120, "the run's end")
        assert run["state"] == "done", run["why"]
        assert [step["name"] for step in run["steps"] if step["state"] == "done"] == list(STEPS)
        wait_for(lambda: "DRAIN" not in node(lab, gpu.node)["state"], 10, "the node back in service")
        assert times_logged(lab, f"fleetward:i{incident} node_problem") == 1
        assert " Restarts=1 " in lab.told("head", "scontrol", "show", "job", "-o", job)
        wait_for(lambda: detail(lab, incident)["incident"]["state"] == "closed", 60, "a closed incident")
    finally:
        lab.on("head", "scancel", job)
        disarm(lab)
        mend(lab, gpu.node)
        put_right(lab)


def opened(lab: Lab, name: str) -> int:
    """Return the id of a node's newest incident from the record itself: the daemon may die as soon as it is there."""
    query = f"select max(id) from incidents where node = '{name}' and state <> 'closed'"  # noqa: S608  a node of ours
    return int(lab.told("head", "psql", "-AtXc", query, "fleetward", user="fleetward").strip() or 0)


def mend_when_drained(lab: Lab, gpu: Gpu) -> None:
    """Clear the fault once the node is out of service, so that steps behind the verification are reached too."""
    until = time.monotonic() + 25
    while time.monotonic() < until:
        if lab.on("head", "systemctl", "is-active", "--quiet", UNIT).returncode:
            return
        if "DRAIN" in node(lab, gpu.node)["state"]:
            mend(lab, gpu.node)
            return
        time.sleep(0.5)


def ended(lab: Lab, incident: int) -> dict[str, object] | None:
    run = run_of(lab, incident)
    return run if run and run["state"] in {"done", "failed", "aborted", "stopped"} else None
