"""File systems, RAID and NVMe."""

import errno
import os
from collections.abc import Iterator

from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import NOT_IN_JOBS_WAY, Asked, check
from fleetward.node.probes.programs import NVME_LOG, NvmeLog
from fleetward.node.probes.storage import ARRAYS, MOUNTS, NETWORK, NVMES, Arrays, Mounts, Nvmes
from fleetward.node.results import ProbeError, Trouble


@check(
    "mount_missing",
    "A file system of /etc/fstab or of the profile is not mounted.",
    MOUNTS,
    Severity.FATAL,
    Action.WATCH,
    "gcm, nhc, gpud",
)
def _mount_missing(found: Mounts, asked: Asked) -> Iterator[Trouble]:
    there = {one.target for one in found.mounts}
    for target in sorted({one.target for one in found.declared} | set(asked.profile.host.mounts)):
        if target not in there:
            yield Trouble("not mounted", target)


@check(
    "mount_hung",
    "A file system does not answer: where many nodes say so, it is its server.",
    MOUNTS,
    Severity.FATAL,
    Action.WATCH,
    "gcm, nhc, gpud",
)
def _mount_hung(found: Mounts, _: Asked) -> Iterator[Trouble]:
    for one in found.mounts:
        if one.failure:
            known = one.asked and one.failure != os.strerror(errno.EACCES)
            yield Trouble(one.failure, one.target, {"type": one.kind, "hung": int(one.hung)}, known=known)


@check(
    "mount_read_only",
    "A file system that is declared as writable is read-only.",
    MOUNTS,
    Severity.FATAL,
    Action.INSPECT,
    "nhc",
)
def _mount_read_only(found: Mounts, _: Asked) -> Iterator[Trouble]:
    writable = {one.target for one in found.declared if not one.read_only}
    for one in found.mounts:
        if one.read_only and one.target in writable:
            yield Trouble("mounted read-only: the kernel may have found it damaged", one.target, {"type": one.kind})


@check(
    "disk_full",
    "A file system has little room left.",
    MOUNTS,
    Severity.WARNING,
    Action.WATCH,
    "gcm",
    limits={"share": 0.8, "fatal_share": 0.95},
)
def _disk_full(found: Mounts, asked: Asked) -> Iterator[Trouble]:
    for one in found.mounts:
        if not one.bytes_total or one.read_only:
            continue
        used = 1 - one.bytes_free / one.bytes_total
        if used > asked.limits["share"]:
            full = used > asked.limits["fatal_share"] and one.kind not in NETWORK  # a server's disk is not the node's
            severity = Severity.FATAL if full else Severity.WARNING
            yield Trouble(f"{used:.0%} used", one.target, {"used_share": round(used, 3)}, severity)


@check(
    "disk_inodes",
    "A file system can hold few more files.",
    MOUNTS,
    Severity.WARNING,
    Action.WATCH,
    "node-mixin, gcm",
    limits={"share": 0.95},
)
def _disk_inodes(found: Mounts, asked: Asked) -> Iterator[Trouble]:
    for one in found.mounts:
        used = 1 - one.inodes_free / one.inodes_total if one.inodes_total else 0.0
        if used > asked.limits["share"] and not one.read_only:
            yield Trouble(f"{used:.0%} of the inodes used", one.target, {"used_share": round(used, 3)})


@check(
    "raid",
    "A RAID has lost a disk, or is not active.",
    ARRAYS,
    Severity.DEGRADED,
    Action.RMA,
    "node-mixin, imbue cluster-health",
)
def _raid(found: Arrays, _: Asked) -> Iterator[Trouble]:
    for one in found.arrays:
        if one.state != "active" or one.working < one.members:
            why = f"{one.state}, {one.working} disks of {one.members}"
            yield Trouble(why, one.name, {"state": one.state, "working": one.working, "members": one.members})


@check(
    "nvme_count",
    "The node has another number of NVMe drives than the profile says.",
    NVMES,
    Severity.FATAL,
    Action.INSPECT,
    "azurehpc-health-checks",
)
def _nvme_count(found: Nvmes, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.host.nvme_count
    if expected is None:
        raise ProbeError("the profile does not say how many NVMe drives there should be")
    if len(found.states) != expected:
        evidence = {"drives": len(found.states), "expected": expected}
        yield Trouble(f"{len(found.states)} drives, expected {expected}", evidence=evidence)


@check(
    "nvme_state",
    "An NVMe drive's controller does not work.",
    NVMES,
    Severity.FATAL,
    Action.INSPECT,
    "gcm",
)
def _nvme_state(found: Nvmes, _: Asked) -> Iterator[Trouble]:
    for name, state in found.states:
        if state != "live":
            yield Trouble(f"its state is {state}", name, {"state": state})


@check(
    "nvme_wear",
    "An NVMe drive is near the end of the writes that it is made for.",
    NVME_LOG,
    Severity.WARNING,
    Action.RMA,
    "gcm",
    limits={"used_percent": 80, "fatal_percent": 100},
    contexts=NOT_IN_JOBS_WAY,
)
def _nvme_wear(found: NvmeLog, asked: Asked) -> Iterator[Trouble]:
    for one in found.drives:
        if one.used_percent is None:
            yield Trouble("the drive does not tell its wear", one.device, known=False)
        elif one.used_percent > asked.limits["used_percent"]:
            severity = Severity.FATAL if one.used_percent > asked.limits["fatal_percent"] else Severity.WARNING
            evidence = {"used_percent": one.used_percent}
            yield Trouble(f"{one.used_percent:.0f} % used", one.device, evidence, severity)


@check(
    "nvme_warning",
    "An NVMe drive warns of its end, or is short of spare blocks.",
    NVME_LOG,
    Severity.FATAL,
    Action.RMA,
    "gcm",
    contexts=NOT_IN_JOBS_WAY,
)
def _nvme_warning(found: NvmeLog, _: Asked) -> Iterator[Trouble]:
    for one in found.drives:
        if one.critical_warning:
            evidence = {"critical_warning": one.critical_warning}
            yield Trouble(f"critical warning {one.critical_warning:#x}", one.device, evidence)
        spare, least = one.spare_percent, one.spare_threshold_percent
        if spare is not None and least is not None and spare < least:
            yield Trouble(f"{spare:.0f} % spare, least {least:.0f} %", one.device, {"spare_percent": spare})


@check(
    "nvme_media_errors",
    "An NVMe drive lost data.",
    NVME_LOG,
    Severity.FATAL,
    Action.RMA,
    "gcm",
    contexts=NOT_IN_JOBS_WAY,
)
def _nvme_media_errors(found: NvmeLog, _: Asked) -> Iterator[Trouble]:
    for one in found.drives:
        if one.media_errors:
            yield Trouble(f"{one.media_errors} media errors", one.device, {"media_errors": one.media_errors})


CHECKS = (
    _mount_missing,
    _mount_hung,
    _mount_read_only,
    _disk_full,
    _disk_inodes,
    _raid,
    _nvme_count,
    _nvme_state,
    _nvme_wear,
    _nvme_warning,
    _nvme_media_errors,
)
