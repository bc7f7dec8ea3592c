"""Faults on a node of a lab: made where a real one would be made, and undone again."""

import time

from fleetward.lab.engine import Engine
from fleetward.lab.fault_kinds import Change, Fault, change_of
from fleetward.lab.scenario import Scenario
from fleetward.lab.spec import LabSpec
from fleetward.model.errors import UsageError

SCENARIO = "/etc/fleetward/nvml/scenario.conf"
EVENTS = "/run/fleetward/nvml/events"
KERNEL_LOG = "/run/fleetward/nvml/kmsg"
"""What plays /dev/kmsg: the containers of a lab share the kernel of the machine that they are on."""

JOURNAL = r"""
machine=$(cat /etc/machine-id) boot=$(tr -d - < /proc/sys/kernel/random/boot_id)
folder=/var/log/journal/$machine since=$(awk '{printf "%d", $1 * 1000000}' /proc/uptime)
mkdir -p "$folder"
printf %s "$1" | sed 's/^[^;]*;//' | while IFS= read -r message; do
    printf '__REALTIME_TIMESTAMP=%s\n__MONOTONIC_TIMESTAMP=%s\n_BOOT_ID=%s\n' "$(date +%s%6N)" "$since" "$boot"
    printf '_MACHINE_ID=%s\n_HOSTNAME=%s\n_TRANSPORT=kernel\n' "$machine" "$(hostname)"
    printf 'SYSLOG_IDENTIFIER=kernel\nSYSLOG_FACILITY=0\nPRIORITY=3\nMESSAGE=%s\n\n' "$message"
done | /usr/lib/systemd/systemd-journal-remote --output="$folder/kernel.journal" - > /dev/null 2>&1
"""
"""Puts lines of the kernel into the journal, as journald would: in a container it reads no kernel's log."""

ANEW = 'for file; do : > "$file.new" && mv "$file.new" "$file" || exit; done'
"""Puts empty files in the place of others: whoever follows one goes on at the beginning of the new one."""


def inject(engine: Engine, spec: LabSpec, node: str, fault: Fault) -> None:
    """Make a fault on a node: the scenario, lines in the kernel's log and NVML events, as the fault says."""
    count, scenario = _look(engine, spec, node)
    if count == 0:
        raise UsageError(f"{node} has no GPUs yet: `fleetward lab up --name {spec.name}` provisions it")
    if fault.gpu is not None and not 0 <= fault.gpu < count:
        raise UsageError(f"{node} has the GPUs 0 to {count - 1}, not {fault.gpu}")
    since_start = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    _write(engine, spec, node, change_of(fault, scenario, since_start))


def stop_slurmd(engine: Engine, spec: LabSpec, node: str) -> None:
    """Kill the node's slurmd and keep it down."""
    engine.execute(spec.container(node), ["systemctl", "kill", "--signal=KILL", "slurmd"])
    engine.execute(spec.container(node), ["systemctl", "stop", "slurmd"])


def clear(engine: Engine, spec: LabSpec, node: str) -> None:
    """Undo every fault of a node, as a power cycle would: all GPUs are well, the kernel's log is new, slurmd runs.

    The journal keeps its copy, as one on a disk does.
    """
    _write(engine, spec, node, Change(Scenario()))
    engine.execute(spec.container(node), ["sh", "-c", ANEW, "anew", KERNEL_LOG, EVENTS])
    engine.execute(spec.container(node), ["systemctl", "reset-failed", "slurmd"])
    engine.execute(spec.container(node), ["systemctl", "start", "slurmd"])


def _look(engine: Engine, spec: LabSpec, node: str) -> tuple[int, Scenario]:
    """Return how many GPUs the node has, and what is wrong with them already."""
    script = f"ls -d /dev/nvidia[0-9]* 2>/dev/null | wc -l; cat {SCENARIO} 2>/dev/null || true"
    count, _, scenario = engine.execute(spec.container(node), ["sh", "-c", script]).text.partition("\n")
    return int(count), Scenario.parse(scenario)


def _write(engine: Engine, spec: LabSpec, node: str, change: Change) -> None:
    # The stand-in notices a new inode, and so never sees the file half written. The line comes first, as a driver's
    # does: whoever sees what is wrong with a GPU finds why.
    script = (
        f'mkdir -p $(dirname {SCENARIO}) && printf %s "$1" > {SCENARIO}.new && printf %s "$2" >> {KERNEL_LOG}'
        f' && mv {SCENARIO}.new {SCENARIO} && printf %s "$3" >> {EVENTS}'
    )
    written = [change.scenario.render(), change.kernel_log, change.events]
    engine.execute(spec.container(node), ["sh", "-c", script, "fault", *written])
    if change.kernel_log:
        engine.execute(spec.container(node), ["sh", "-c", JOURNAL, "journal", change.kernel_log])
