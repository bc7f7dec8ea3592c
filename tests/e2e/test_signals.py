"""Each kind of fault that a lab can play, seen in four ways: metric, finding of a check, event, one incident."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from labs import Lab
from loops import becomes, incidents, mend, put_right, wait_for

pytestmark = pytest.mark.lab


@dataclass(frozen=True)
class Signal:
    """A fault as `fleetward lab fault NODE` plays it, and what tells of it."""

    words: str
    metric: str
    """What Prometheus shows of the node, or of the GPU where the fault has one; `HERE` is filled in."""
    check: str
    incident: str
    """The name of the one incident about the GPU, or the node; empty where it is no trouble of the node."""
    xid: int | None = None
    """The number of the one event; None where the driver raises none."""


def on_gpu(kind: str, metric: str, check: str, incident: str, options: str = "", xid: int | None = None) -> Signal:
    return Signal(f"{kind} --gpu GPU {options}".strip(), metric, check, incident, xid)


FIRST = "gpu001"
OF_GPUS = (
    on_gpu("xid", 'gpu_xid_total{xid="31",HERE} > 0', "xid_program", "", "--code 31", 31),
    on_gpu("gpu-lost", "gpu_up{HERE} == 0", "gpu_lost", "GpuOffBus", xid=79),
    on_gpu("gpu-hang", "gpu_up{HERE} == 0", "xid_gpu", "GpuOffBus", xid=119),
    on_gpu(
        "ecc",
        'gpu_ecc_errors_total{type="uncorrected",HERE} == 2',
        "gpu_ecc_uncorrected",
        "GpuXidFatal",
        "--uncorrected 2",
        48,
    ),
    on_gpu("row-remap", "gpu_row_remap_failed{HERE} == 1", "gpu_row_remap_failed", "GpuXidFatal", "--failed", 64),
    on_gpu("nvlink-down", 'gpu_nvlink_up{link="5",HERE} == 0', "gpu_nvlink_down", "GpuXidFatal", "--link 5", 74),
    on_gpu(
        "throttle",
        'gpu_clock_event_active{reason="hw_power_brake",HERE} == 1',
        "gpu_power_brake",
        "NodeDegraded",
        "--reason power-brake",
    ),
    on_gpu("hot", "gpu_temperature_celsius{HERE} == 93", "gpu_temperature", "NodeUnhealthy", "--celsius 93"),
)
"""One for each GPU of FIRST."""
ELSEWHERE = {
    "gpu002": (
        on_gpu("fabric", "gpu_fabric_state{HERE} == 3", "gpu_fabric_state", "NodeUnhealthy", "--state failed"),
        on_gpu(
            "recovery",
            "gpu_recovery_action{HERE} == 2",
            "gpu_recovery_action",
            "GpuXidFatal",
            "--action node-reboot",
            154,
        ),
    ),
    "gpu003": (Signal("driver-gone", "gpu_driver_up{HERE} == 0", "gpu_driver", "GpuCountWrong"),),
}
PLAYED = {
    (node, number): signal
    for node, signals in {FIRST: OF_GPUS, **ELSEWHERE}.items()
    for number, signal in enumerate(signals)
}


def events(lab: Lab) -> list[dict[str, Any]]:
    """Return the newest events on record, the newest first."""
    found: list[dict[str, Any]] = json.loads(lab.told("head", "fleetward", "events", "--json"))["events"]
    return found


@pytest.fixture(scope="module")
def before(lab: Lab) -> int:
    """Return the id of the newest event from before."""
    return max((int(event["id"]) for event in events(lab)), default=0)


@pytest.fixture(scope="module")
def broken(lab: Lab, before: int) -> Iterator[Lab]:
    """Play every fault, each on a GPU of its own."""
    put_right(lab)
    for (node, gpu), signal in PLAYED.items():
        done = lab.fleetward("lab", "fault", node, *signal.words.replace("GPU", str(gpu)).split())
        assert done.returncode == 0, done.stderr
    yield lab
    for node in {node for node, _ in PLAYED}:
        mend(lab, node)
    put_right(lab)


def here(node: str, gpu: int, signal: Signal) -> str:
    return f'node="{node}"' + (f',gpu="{gpu}"' if "GPU" in signal.words else "")


each = pytest.mark.parametrize(
    ("node", "gpu", "signal"),
    [(*place, signal) for place, signal in PLAYED.items()],
    ids=lambda one: getattr(one, "words", None),
)


@each
def test_prometheus_shows_it(broken: Lab, node: str, gpu: int, signal: Signal) -> None:
    query = signal.metric.replace("HERE", here(node, gpu, signal))
    wait_for(lambda: broken.prometheus(query), 30, query)


@each
def test_a_check_on_the_node_finds_it(broken: Lab, node: str, gpu: int, signal: Signal) -> None:
    done = broken.on(node, "fleetward", "check", "--json", "--only", signal.check)
    assert done.returncode == 5, done.stderr or done.stdout
    found = [one for one in json.loads(done.stdout)["findings"] if one["status"] in {"degraded", "unhealthy"}]
    assert {one["check"] for one in found} == {signal.check}


@each
def test_the_daemon_has_its_event_once(broken: Lab, before: int, node: str, gpu: int, signal: Signal) -> None:
    """A throttled or hot GPU raises no XID: those have none."""
    about = (node, str(gpu))

    def told() -> list[int]:
        found = [event for event in events(broken) if event["id"] > before]
        return [event["code"] for event in found if (event["node"], event["gpu"]) == about]

    becomes(told, [] if signal.xid is None else [signal.xid], 30, f"XIDs of {about}")


@each
def test_it_is_one_incident_whoever_tells_of_it(broken: Lab, node: str, gpu: int, signal: Signal) -> None:
    """A GPU of a node that has several faults is another incident for each."""
    about = (node, str(gpu) if "GPU" in signal.words else "")

    def opened() -> list[str]:
        found = [one for one in incidents(broken) if one["state"] != "closed" and (one["node"], one["gpu"]) == about]
        return [one["alert_name"] for one in found]

    becomes(opened, [signal.incident] if signal.incident else [], 120, f"incidents about {about}")
