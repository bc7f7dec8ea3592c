"""Faults on a node of a lab: made where a real one would be made, and undone again."""

import time

from fleetward.lab.engine import Engine
from fleetward.lab.scenario import Scenario, kernel_lines, xid_event
from fleetward.lab.spec import LabSpec
from fleetward.model.errors import UsageError
from fleetward.operations.command import CommandError

SCENARIO = "/etc/fleetward/nvml/scenario.conf"
EVENTS = "/run/fleetward/nvml/events"
KERNEL_LOG = "/run/fleetward/nvml/kmsg"
"""What plays /dev/kmsg: the containers of a lab share the kernel of the machine that they are on."""
OFF_THE_BUS = 79
"""The XID after which a GPU no longer answers: it fell off the PCIe bus."""


def raise_xid(engine: Engine, spec: LabSpec, node: str, gpu: int, code: int) -> None:
    """Raise an XID on a GPU: lines in the kernel's log, an NVML event, and for 79 the GPU is lost from then on."""
    count = _gpu_count(engine, spec, node)
    if not 0 <= gpu < count:
        raise UsageError(f"{node} has the GPUs 0 to {count - 1}, not {gpu}")
    event = xid_event(gpu, code)
    scenario = _read(engine, spec, node)
    if code == OFF_THE_BUS:
        _change(engine, spec, node, scenario.with_gpu(gpu, lost=1))
    since_start = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    _write(engine, spec, node, f"cat >> {KERNEL_LOG}", kernel_lines(scenario, gpu, code, since_start))
    _write(engine, spec, node, f"cat >> {EVENTS}", event)


def stop_slurmd(engine: Engine, spec: LabSpec, node: str) -> None:
    """Kill the node's slurmd and keep it down."""
    engine.execute(spec.container(node), ["systemctl", "kill", "--signal=KILL", "slurmd"])
    engine.execute(spec.container(node), ["systemctl", "stop", "slurmd"])


def clear(engine: Engine, spec: LabSpec, node: str) -> None:
    """Undo every fault of a node: all GPUs are well, slurmd runs."""
    _change(engine, spec, node, Scenario())
    engine.execute(spec.container(node), ["systemctl", "reset-failed", "slurmd"])
    engine.execute(spec.container(node), ["systemctl", "start", "slurmd"])


def _gpu_count(engine: Engine, spec: LabSpec, node: str) -> int:
    listed = engine.execute(spec.container(node), ["sh", "-c", "ls -d /dev/nvidia[0-9]* 2>/dev/null | wc -l"]).text
    if int(listed) == 0:
        raise UsageError(f"{node} has no GPUs yet: `fleetward lab up --name {spec.name}` provisions it")
    return int(listed)


def _read(engine: Engine, spec: LabSpec, node: str) -> Scenario:
    try:
        return Scenario.parse(engine.execute(spec.container(node), ["cat", SCENARIO]).text)
    except CommandError:
        return Scenario()


def _change(engine: Engine, spec: LabSpec, node: str, scenario: Scenario) -> None:
    # the stand-in notices a new inode: it never sees the file half written
    _write(
        engine,
        spec,
        node,
        f"mkdir -p $(dirname {SCENARIO}) && cat > {SCENARIO}.new && mv {SCENARIO}.new {SCENARIO}",
        scenario.render(),
    )


def _write(engine: Engine, spec: LabSpec, node: str, script: str, text: str) -> None:
    engine.execute(spec.container(node), ["sh", "-c", script], stdin=text)
