"""What else the kernel's log tells: each check is a pattern, from the start of the message where that can be."""

import re
from collections.abc import Iterator

from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import Asked, Check
from fleetward.node.checks.xids import DAY, recent
from fleetward.node.probes.kernel_log import KERNEL_LOG, KernelRecords
from fleetward.node.results import Problem, Trouble


def _line_check(
    id: str,
    meaning: str,
    pattern: str,
    severity: Severity,
    action: Action,
    source: str,
    problem: Problem = Problem.NODE,
) -> Check[KernelRecords]:
    """Make a check that finds the lines of a pattern."""
    compiled = re.compile(pattern)

    def judge(log: KernelRecords, asked: Asked) -> Iterator[Trouble]:
        lines = [one.message for one in recent(log, asked.limits["hours"]) if compiled.match(one.message)]
        if lines:
            yield Trouble(lines[-1][:200], evidence={"count": len(lines), "line": lines[-1]})

    return Check(id, KERNEL_LOG, severity, action, source, meaning, judge, DAY, problem=problem)


CHECKS = (
    _line_check(
        "kernel_mlx5",
        "The driver of a network card gave the card up.",
        r"mlx5_core \S+ ?.*(command timeout|leak of a command|health miss count|unrecoverable|health compromised)",
        Severity.FATAL,
        Action.REBOOT,
        "NVSentinel",
    ),
    _line_check(
        "kernel_pcie_power",
        "A PCIe slot does not give a card enough power.",
        r"mlx5_core \S+ ?.*[Ii]nsufficient power on the PCIe slot",
        Severity.WARNING,
        Action.INSPECT,
        "NVSentinel",
    ),
    _line_check(
        "kernel_pcie_error",
        "A PCIe device had an error that was not corrected.",
        r"(pcieport|nvidia|nvme|mlx5_core) \S+ (AER: .*Uncorrect(ed|able) \((Non-)?Fatal\)"
        r"|PCIe Bus Error: severity=Uncorrect(ed|able) \((Non-)?Fatal\))",
        Severity.DEGRADED,
        Action.INSPECT,
        "gcm, gpud",
    ),
    _line_check(
        "kernel_machine_check",
        "Processor or memory told of an error of the hardware.",
        r"(mce: )?\[Hardware Error\]: (Machine check|CPU \d+: Machine Check|Corrected error|Uncorrected|.*UE\b)",
        Severity.DEGRADED,
        Action.INSPECT,
        "nhc",
    ),
    _line_check(
        "kernel_lockup",
        "A processor hung in the kernel.",
        r"(watchdog: BUG: soft lockup|(NMI )?[Ww]atchdog: .*[Hh]ard LOCKUP|rcu: INFO: rcu_\w+ (self-)?detected stall)",
        Severity.FATAL,
        Action.REBOOT,
        "NVSentinel, gpud",
    ),
    _line_check(
        "kernel_hung_task",
        "A task waits in the kernel for minutes.",
        r"INFO: task .{1,64} blocked for more than \d+ seconds",
        Severity.WARNING,
        Action.WATCH,
        "gpud",
    ),
    _line_check(
        "kernel_out_of_memory",
        "The kernel killed a program because memory was short.",
        r"(Out of memory: Killed process|Memory cgroup out of memory: Killed process) \d+",
        Severity.WARNING,
        Action.RESTART_APP,
        "gpud",
        Problem.USER,
    ),
    _line_check(
        "kernel_disk_error",
        "A disk could not be read or written.",
        r"(blk_update_request: )?((I/O|critical medium|critical target) error, dev |Buffer I/O error on dev )"
        r"|nvme nvme\d+: (I/O \d+ .*timeout|controller is down)",
        Severity.FATAL,
        Action.INSPECT,
        "gcm",
    ),
    _line_check(
        "kernel_filesystem_error",
        "A file system is damaged, or was stopped by the kernel.",
        r"EXT4-fs error|EXT4-fs \(.*\): Remounting filesystem read-only|BTRFS error"
        r"|XFS \(.*\): (Corruption|Filesystem has been shut down|metadata I/O error|log I/O error)",
        Severity.FATAL,
        Action.INSPECT,
        "gcm, nhc",
    ),
)
