"""Whether the GPUs are there, answer, and are as the profile says."""

from collections import Counter
from collections.abc import Iterator

from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import BETWEEN_JOBS, Asked, check
from fleetward.node.checks.gpu_values import answering, gpu_check, gpu_name, not_answering, present, values
from fleetward.node.probes.gpus import GPUS, Gpus, value
from fleetward.node.results import ProbeError, Problem, Trouble

RESET_WORDS = "requires reset"
"""In NVML's own words for a GPU that has to be reset."""


@check(
    "gpu_driver",
    "The driver of the GPUs does not answer, or is of another version than its library.",
    GPUS,
    Severity.FATAL,
    Action.REBOOT,
    "gpud",
)
def _driver(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    if gpus.census.failure and gpus.missing_library and not asked.profile.gpu.count:
        raise ProbeError(gpus.census.failure)
    if gpus.census.failure:
        yield Trouble(gpus.census.failure)


@check(
    "gpu_count",
    "The driver shows another number of GPUs than the profile has.",
    GPUS,
    Severity.FATAL,
    Action.REBOOT,
    "gcm, azurehpc-health-checks, gpud",
)
def _count(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.gpu.count
    if expected is None:
        raise ProbeError("the profile does not say how many GPUs there should be")
    if gpus.census.failure:
        raise ProbeError(gpus.census.failure)
    if gpus.census.count != expected:
        evidence = {"gpus": gpus.census.count, "expected": expected}
        yield Trouble(f"{gpus.census.count} GPUs where there should be {expected}", evidence=evidence)


def _failed(gpus: Gpus, *, reset: bool) -> Iterator[Trouble]:
    if gpus.census.failure:
        raise ProbeError(gpus.census.failure)
    for one in gpus.gpus:
        if not one.up and (RESET_WORDS in one.failure.lower()) is reset:
            yield Trouble(one.failure, gpu_name(one.identity.index), {"failure": one.failure})
    yield from not_answering(gpus)


@check(
    "gpu_lost",
    "A GPU is listed by the driver and does not answer.",
    GPUS,
    Severity.FATAL,
    Action.REBOOT,
    "gpud",
)
def _lost(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    yield from _failed(gpus, reset=False)


@check(
    "gpu_requires_reset",
    "A GPU answers only that it has to be reset.",
    GPUS,
    Severity.FATAL,
    Action.DRAIN_RESET,
    "gpud, NVSentinel",
)
def _requires_reset(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    yield from _failed(gpus, reset=True)


@check(
    "gpu_recovery_action",
    "The driver asks for a reset or a reboot.",
    GPUS,
    Severity.FATAL,
    Action.DRAIN_RESET,
    "awslabs gpu-cluster-healthcheck",
)
def _recovery_action(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    for reading, number in values(gpus, "gpu_recovery_action"):
        wanted = asked.catalogue().recovery(int(number)) if number else None
        if number and wanted is None:
            why = f"the driver asks for action {number:g}, which this version does not know"
            yield Trouble(why, gpu_name(reading.identity.index), severity=Severity.WARNING, action=Action.WATCH)
        elif number and wanted is not None:
            why = f"the driver asks for: {wanted.texts[0]}"
            evidence = {"gpu_recovery_action": number}
            yield Trouble(why, gpu_name(reading.identity.index), evidence, wanted.severity, wanted.action)
    yield from not_answering(gpus)


persistence = gpu_check(
    "gpu_persistence",
    "Persistence mode is off, so that the driver is loaded anew for each program.",
    {"gpu_persistence_enabled": "persistence mode is off"},
    lambda number, _: number == 0,
    Severity.WARNING,
    Action.WATCH,
    "azurehpc-health-checks, gpud, awslabs gpu-cluster-healthcheck",
)


@check(
    "gpu_vbios",
    "A GPU has another VBIOS than the profile allows, or than most GPUs of the node.",
    GPUS,
    Severity.DEGRADED,
    Action.UPDATE_SOFTWARE,
    "gcm, azurehpc-health-checks",
)
def _vbios(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    found = {one.identity.index: one.identity.vbios_version for one in answering(gpus) if one.identity.vbios_version}
    if not found:
        raise ProbeError("no GPU here tells its VBIOS version")
    usual = Counter(found.values()).most_common(1)[0][0]
    allowed = asked.profile.gpu.vbios or (usual,)
    for index, version in found.items():
        if version not in allowed:
            yield Trouble(f"VBIOS {version}, expected {' or '.join(allowed)}", gpu_name(index), {"vbios": version})
    yield from not_answering(gpus)


@check(
    "gpu_driver_version",
    "The driver is of another version than the profile says.",
    GPUS,
    Severity.WARNING,
    Action.UPDATE_SOFTWARE,
    "gcm",
)
def _driver_version(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    expected, found = asked.profile.gpu.driver, gpus.census.driver
    if not expected:
        raise ProbeError("the profile does not say which driver there should be")
    if not found:
        raise ProbeError(gpus.census.failure or "the driver does not tell its version")
    if found != expected:
        yield Trouble(f"driver {found}, expected {expected}", evidence={"driver": found, "expected": expected})


@check(
    "gpu_process_between_jobs",
    "A program computes on a GPU where no job should run.",
    GPUS,
    Severity.DEGRADED,
    Action.RESTART_APP,
    "gcm, soperator",
    contexts=BETWEEN_JOBS,
    problem=Problem.USER,
)
def _stray_processes(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    for one in answering(gpus):
        if one.processes:
            pids = ", ".join(str(process.pid) for process in one.processes)
            yield Trouble(f"processes {pids} use the GPU", gpu_name(one.identity.index), {"pids": pids})
    yield from not_answering(gpus)


@check(
    "gpu_memory_between_jobs",
    "GPU memory is in use, and no program has it.",
    GPUS,
    Severity.DEGRADED,
    Action.DRAIN_RESET,
    "gcm, soperator",
    limits={"used_mib": 15},
    contexts=BETWEEN_JOBS,
)
def _memory_leak(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    for reading, used in values(gpus, "gpu_memory_used_bytes"):
        mib = used / 1024**2
        if reading.processes_told and not reading.processes and mib > asked.limits["used_mib"]:
            why = f"{mib:.0f} MiB are used, and no process is there"
            yield Trouble(why, gpu_name(reading.identity.index), {"used_mib": round(mib)})
    yield from not_answering(gpus)


@check(
    "gpu_power_limit",
    "A GPU may draw less power than its profile says, or than its default where there is none.",
    GPUS,
    Severity.WARNING,
    Action.WATCH,
    "NVSentinel, dcgm-exporter",
    limits={"share": 0.99},
)
def _power_limit(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.gpu.power_limit_watts
    for reading, watts in values(gpus, "gpu_power_limit_watts"):
        usual = expected or value(reading, "gpu_power_limit_setting_watts.default")
        if usual and watts < usual * asked.limits["share"]:
            evidence = {"limit_watts": watts, "expected_watts": usual}
            yield Trouble(f"limited to {watts:.0f} W of {usual:.0f} W", gpu_name(reading.identity.index), evidence)
    yield from not_answering(gpus)


power_brake = gpu_check(
    "gpu_power_brake",
    "The power supply of the node holds a GPU down.",
    {"gpu_clock_event_active.hw_power_brake": "the power brake is on"},
    present,
    Severity.DEGRADED,
    Action.INSPECT,
    "NVSentinel, dcgm-exporter",
)

CHECKS = (
    _driver,
    _count,
    _lost,
    _requires_reset,
    _recovery_action,
    persistence,
    _vbios,
    _driver_version,
    _stray_processes,
    _memory_leak,
    _power_limit,
    power_brake,
)
