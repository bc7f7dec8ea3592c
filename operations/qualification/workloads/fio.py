"""Writing to and reading from the node's own disk: `fio` with its JSON, in the fields of fio 3 (stat.c)."""

from fleetward.operations.qualification.measuring import (
    Fault,
    Measurement,
    Reading,
    Unit,
    UnreadableError,
    fields,
    items,
    json_object,
    number,
    shown,
)
from fleetward.operations.qualification.workload import Measure, Part, Scope, Setting, Workload

_MEASURES = {"write": "disk_write_bandwidth", "read": "disk_read_bandwidth"}


def parse(text: str) -> Reading:
    """Read what `fio --output-format=json` printed; a job is called as what it does."""
    measured: list[Measurement] = []
    faults: list[Fault] = []
    for one in items(json_object(text, "fio").get("jobs"), "`jobs`"):
        job = fields(one, "a job")
        way = str(job.get("jobname"))
        if way not in _MEASURES:
            continue
        error = job.get("error")
        if not isinstance(error, int):
            raise UnreadableError(f"the job {way} does not say whether it failed")
        if error:
            faults.append(Fault(shown(f"the job {way} ended with error {error}")))
            continue
        speed = number(fields(job.get(way), f"`{way}`").get("bw_bytes"))
        if not speed:
            raise UnreadableError(f"the job {way} moved nothing")
        measured.append(Measurement(_MEASURES[way], speed / 1e9, Unit.GBYTES_PER_SECOND))
    return Reading(tuple(measured), tuple(faults))


def _command(_: Setting) -> list[str]:
    """Return two jobs on one file in the workload's folder, past the page cache, one after the other."""
    file = ["--directory=.", "--filename=qualify.fio", "--size=8G", "--bs=1M"]
    how = ["--direct=1", "--ioengine=libaio", "--iodepth=32", "--output-format=json"]
    jobs = ["--name=write", "--rw=write", "--end_fsync=1", "--name=read", "--stonewall", "--rw=read"]
    return ["fio", *file, *how, *jobs]


FIO = Workload(
    id="fio",
    title="Writing to and reading from the local disk",
    scope=Scope.NODE,
    programs=("fio",),
    command=_command,
    seconds=600,
    uses=frozenset({Part.DISK}),
    parse=parse,
    measures=tuple(Measure(name, Unit.GBYTES_PER_SECOND) for name in _MEASURES.values()),
    look_next="wear and media errors of the drive (`nvme smart-log`), its PCIe width, who else writes to it",
    source="fio; no site that was read ships a limit",
)

WORKLOADS = (FIO,)
