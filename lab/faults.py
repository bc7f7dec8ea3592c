"""Faults on a node of a lab: made where a real one would be made, and undone again."""

import time

from fleetward.lab.engine import Engine
from fleetward.lab.scenario import Scenario, kernel_lines, xid_event
from fleetward.lab.spec import LabSpec
from fleetward.model.errors import UsageError

SCENARIO = "/etc/fleetward/nvml/scenario.conf"
EVENTS = "/run/fleetward/nvml/events"
KERNEL_LOG = "/run/fleetward/nvml/kmsg"
"""What plays /dev/kmsg: the containers of a lab share the kernel of the machine that they are on."""
OFF_THE_BUS = 79
"""The XID after which a GPU no longer answers: it fell off the PCIe bus."""


def raise_xid(engine: Engine, spec: LabSpec, node: str, gpu: int, code: int) -> None:
    """Raise an XID on a GPU: lines in the kernel's log, an NVML event, and for 79 the GPU is lost from then on."""
    event = xid_event(gpu, code)
    count, scenario = _look(engine, spec, node)
    if count == 0:
        raise UsageError(f"{node} has no GPUs yet: `fleetward lab up --name {spec.name}` provisions it")
    if gpu >= count:
        raise UsageError(f"{node} has the GPUs 0 to {count - 1}, not {gpu}")
    changed = scenario.with_gpu(gpu, lost=1) if code == OFF_THE_BUS else scenario
    since_start = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    _write(engine, spec, node, changed, kernel_lines(scenario, gpu, code, since_start), event)


def stop_slurmd(engine: Engine, spec: LabSpec, node: str) -> None:
    """Kill the node's slurmd and keep it down."""
    engine.execute(spec.container(node), ["systemctl", "kill", "--signal=KILL", "slurmd"])
    engine.execute(spec.container(node), ["systemctl", "stop", "slurmd"])


def clear(engine: Engine, spec: LabSpec, node: str) -> None:
    """Undo every fault of a node: all GPUs are well, slurmd runs."""
    _write(engine, spec, node, Scenario())
    engine.execute(spec.container(node), ["systemctl", "reset-failed", "slurmd"])
    engine.execute(spec.container(node), ["systemctl", "start", "slurmd"])


def _look(engine: Engine, spec: LabSpec, node: str) -> tuple[int, Scenario]:
    """Return how many GPUs the node has, and what is wrong with them already."""
    script = f"ls -d /dev/nvidia[0-9]* 2>/dev/null | wc -l; cat {SCENARIO} 2>/dev/null || true"
    count, _, scenario = engine.execute(spec.container(node), ["sh", "-c", script]).text.partition("\n")
    return int(count), Scenario.parse(scenario)


def _write(
    engine: Engine, spec: LabSpec, node: str, scenario: Scenario, kernel_log: str = "", events: str = ""
) -> None:
    # The stand-in notices a new inode, and so never sees the file half written.
    script = (
        f'mkdir -p $(dirname {SCENARIO}) && printf %s "$1" > {SCENARIO}.new && mv {SCENARIO}.new {SCENARIO}'
        f' && printf %s "$2" >> {KERNEL_LOG} && printf %s "$3" >> {EVENTS}'
    )
    engine.execute(spec.container(node), ["sh", "-c", script, "fault", scenario.render(), kernel_log, events])
