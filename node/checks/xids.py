"""XIDs and SXids in the kernel's log, judged by the catalogue of faults."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf

from fleetward.exporters.events.kernel_lines import KernelSxid, KernelXid, parse_record
from fleetward.model.gpu_faults import Action, FaultKind, Scope, Severity, Verdict
from fleetward.node.checking import Asked, check
from fleetward.node.probes.kernel_log import KERNEL_LOG, KernelRecords, Record
from fleetward.node.repaired import EVERYTHING
from fleetward.node.results import Problem, Trouble

OFF_BUS, RECOVERY = 79, 154
MEMORY = frozenset({48, 63, 64, 92, 94, 95})
NVLINK = frozenset({74, *range(144, 151)})
PROGRAM = frozenset({13, 31})
"""What a faulty program raises, and now and then a faulty GPU."""
DAY: Mapping[str, float] = {"hours": 24}


@dataclass(frozen=True)
class Seen:
    """One fault in the log."""

    address: str
    verdict: Verdict
    age_seconds: float | None
    line: str


def recent(log: KernelRecords, hours: float) -> Iterator[Record]:
    """Yield the records of the last hours, and those of which nobody knows the age."""
    for record in log.records:
        if record.age_seconds is None or record.age_seconds <= hours * 3600:
            yield record


def _faults(log: KernelRecords, asked: Asked, kind: FaultKind) -> Iterator[Seen]:
    for record in recent(log, asked.limits["hours"]):
        found = parse_record(record.message)
        if isinstance(found, KernelXid) and kind is FaultKind.XID:
            code = found.xid
        elif isinstance(found, KernelSxid) and kind is FaultKind.SXID:
            code = found.sxid
        else:
            continue
        verdict = asked.catalogue().classify(kind, code, found.line)
        yield Seen(found.address, verdict, record.age_seconds, found.line)


def _told(log: KernelRecords, faults: Iterable[Seen]) -> Iterator[Trouble]:
    """Yield one trouble for each number on each device; what is repaired, and mere information, is left out."""
    by_device: dict[tuple[str, int], list[Seen]] = defaultdict(list)
    for fault in faults:
        if fault.verdict.severity > Severity.INFO and not _is_history(log, fault):
            by_device[fault.address, fault.verdict.code].append(fault)
    for (address, code), seen in by_device.items():
        worst = max((one.verdict for one in seen), key=lambda verdict: verdict.severity.rank)
        evidence: dict[str, str | int | float] = {"count": len(seen), "line": seen[-1].line}
        if seen[-1].age_seconds is not None:
            evidence["seconds_ago"] = round(seen[-1].age_seconds)
        why = f"{worst.kind.upper()} {code}: {worst.meaning}"
        problem = Problem.USER if worst.blame is Scope.APP else Problem.NODE
        yield Trouble(why, address, evidence, worst.severity, worst.action, problem)


def _is_history(log: KernelRecords, fault: Seen) -> bool:
    since = min(log.repaired.get(fault.address, inf), log.repaired.get(EVERYTHING, inf))
    return fault.age_seconds is not None and fault.age_seconds > since


def _xids(log: KernelRecords, asked: Asked, wanted: Callable[[Verdict], bool]) -> Iterator[Trouble]:
    yield from _told(log, (one for one in _faults(log, asked, FaultKind.XID) if wanted(one.verdict)))


@check(
    "xid_off_bus",
    "A GPU fell off the bus (XID 79).",
    KERNEL_LOG,
    Severity.FATAL,
    Action.REBOOT,
    "gpud, awslabs gpu-cluster-healthcheck",
    limits=DAY,
)
def _off_bus(log: KernelRecords, asked: Asked) -> Iterator[Trouble]:
    yield from _xids(log, asked, lambda verdict: verdict.code == OFF_BUS)


@check(
    "xid_memory",
    "The driver told of a GPU memory fault or a row remap (XID 48, 63, 64, 92, 94, 95).",
    KERNEL_LOG,
    Severity.FATAL,
    Action.DRAIN_RESET,
    "gpud, NVSentinel",
    limits=DAY,
)
def _memory(log: KernelRecords, asked: Asked) -> Iterator[Trouble]:
    yield from _xids(log, asked, lambda verdict: verdict.code in MEMORY)


@check(
    "xid_nvlink",
    "The driver told of an NVLink fault (XID 74, 144 to 150).",
    KERNEL_LOG,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "NVSentinel, gpud",
    limits=DAY,
)
def _nvlink(log: KernelRecords, asked: Asked) -> Iterator[Trouble]:
    yield from _xids(log, asked, lambda verdict: verdict.code in NVLINK)


@check(
    "xid_recovery",
    "The driver said what has to be done with a GPU (XID 154).",
    KERNEL_LOG,
    Severity.FATAL,
    Action.DRAIN_RESET,
    "awslabs gpu-cluster-healthcheck",
    limits=DAY,
)
def _recovery(log: KernelRecords, asked: Asked) -> Iterator[Trouble]:
    yield from _xids(log, asked, lambda verdict: verdict.code == RECOVERY)


def _has_own_check(verdict: Verdict) -> bool:
    return verdict.code in MEMORY | NVLINK | {OFF_BUS, RECOVERY}


@check(
    "xid_program",
    "A program did on a GPU what it may not (XID 13, 31 and others of which the catalogue blames the program).",
    KERNEL_LOG,
    Severity.WARNING,
    Action.RESTART_APP,
    "gpud, NVSentinel",
    limits=DAY,
    problem=Problem.USER,
)
def _program(log: KernelRecords, asked: Asked) -> Iterator[Trouble]:
    yield from _xids(log, asked, lambda verdict: verdict.blame is Scope.APP and not _has_own_check(verdict))


@check(
    "xid_gpu",
    "The driver told of another fault of a GPU, its firmware or its surroundings.",
    KERNEL_LOG,
    Severity.FATAL,
    Action.DRAIN_RESET,
    "gpud, awslabs gpu-cluster-healthcheck",
    limits=DAY,
)
def _gpu(log: KernelRecords, asked: Asked) -> Iterator[Trouble]:
    yield from _xids(log, asked, lambda verdict: verdict.blame is not Scope.APP and not _has_own_check(verdict))


@check(
    "xid_fatal_repeated",
    "The same GPU had fatal XIDs again and again.",
    KERNEL_LOG,
    Severity.FATAL,
    Action.RMA,
    "NVSentinel",
    limits={"count": 5, **DAY},
)
def _fatal_repeated(log: KernelRecords, asked: Asked) -> Iterator[Trouble]:
    counts: dict[str, list[int]] = defaultdict(list)
    for one in _faults(log, asked, FaultKind.XID):
        if one.verdict.severity is Severity.FATAL:
            counts[one.address].append(one.verdict.code)
    for address, codes in counts.items():
        if len(codes) >= asked.limits["count"]:
            numbers = ", ".join(map(str, sorted(set(codes))))
            yield Trouble(f"{len(codes)} fatal XIDs ({numbers})", address, {"count": len(codes), "xids": numbers})


def _bursts(log: KernelRecords, asked: Asked) -> dict[int, dict[str, int]]:
    """Count XIDs of PROGRAM by number and GPU; those that come close together are one burst."""
    counts: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    last: dict[tuple[int, str], float] = {}
    for one in _faults(log, asked, FaultKind.XID):
        key = (one.verdict.code, one.address)
        if one.verdict.code not in PROGRAM or one.age_seconds is None:
            continue
        if key not in last or last[key] - one.age_seconds > asked.limits["burst_seconds"]:
            counts[one.verdict.code][one.address] += 1
        last[key] = one.age_seconds
    return counts


@check(
    "xid_program_repeated",
    "Programs fail again and again on one GPU and on no other (XID 13, 31): perhaps it is the GPU.",
    KERNEL_LOG,
    Severity.WARNING,
    Action.INSPECT,
    "NVSentinel",
    limits={"bursts": 2, "burst_seconds": 180, **DAY},
)
def _program_repeated(log: KernelRecords, asked: Asked) -> Iterator[Trouble]:
    for code, by_gpu in _bursts(log, asked).items():
        for address, count in by_gpu.items():
            if len(by_gpu) == 1 and count >= asked.limits["bursts"]:
                yield Trouble(f"XID {code} came {count} times, on this GPU alone", address, {"bursts": count})


@check(
    "xid_program_spread",
    "Programs fail with the same XID on several GPUs (13, 31): it is the program.",
    KERNEL_LOG,
    Severity.WARNING,
    Action.RESTART_APP,
    "NVSentinel",
    limits={"gpus": 2, "burst_seconds": 180, **DAY},
    problem=Problem.USER,
)
def _program_spread(log: KernelRecords, asked: Asked) -> Iterator[Trouble]:
    for code, by_gpu in _bursts(log, asked).items():
        if len(by_gpu) >= asked.limits["gpus"]:
            evidence = {"gpus": ", ".join(sorted(by_gpu))}
            yield Trouble(f"XID {code} came on {len(by_gpu)} GPUs", evidence=evidence)


@check(
    "sxid",
    "An NVSwitch told of a fault (SXid).",
    KERNEL_LOG,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gpud, awslabs gpu-cluster-healthcheck",
    limits=DAY,
)
def _sxid(log: KernelRecords, asked: Asked) -> Iterator[Trouble]:
    yield from _told(log, _faults(log, asked, FaultKind.SXID))


CHECKS = (
    _off_bus,
    _memory,
    _nvlink,
    _recovery,
    _program,
    _gpu,
    _fatal_repeated,
    _program_repeated,
    _program_spread,
    _sxid,
)
