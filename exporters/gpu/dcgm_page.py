"""The page as dcgm-exporter would write it, as a pure function of a snapshot, for dashboards that were made for it.

Prometheus' text format only, as theirs is: OpenMetrics would want `_total` behind the name of each counter. Theirs has
series for each MIG instance too; instances are not read here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from fleetward.exporters.gpu.dcgm_names import DCGM_NAMES, XID_ERRORS, DcgmName
from fleetward.exporters.gpu.page import Row, Writer, labelled
from fleetward.exporters.gpu.readings import GpuIdentity, GpuReading, Snapshot, Values
from fleetward.exporters.gpu.series import Family
from fleetward.exporters.gpu.series_list import BY_KEY

DIGITS = 6
"""Behind the point, as theirs has."""

_PLACES = {one.name: tuple(BY_KEY[key] for key in one.keys) for one in DCGM_NAMES}

Labels = Mapping[str, str]
Gpu = tuple[GpuReading, Labels, list[Labels]]
"""With the labels of all its series, and one more for each of its jobs."""


def render(snapshot: Snapshot, hostname: str, meaning: Callable[[int], str]) -> str:
    """Return the page; `meaning` tells what an XID means."""
    writer = Writer(openmetrics=False)
    jobs: dict[int, list[str]] = defaultdict(list)
    for job in snapshot.jobs:
        if job.instance is None:
            jobs[job.index].append(job.job)
    gpus = [
        (reading, _labels(reading.identity, hostname, snapshot.census.driver), _by_job(jobs[reading.identity.index]))
        for reading in snapshot.gpus
        if reading.identity.uuid
    ]
    begins = [
        (reading.values, [labelled({**labels, **of_job}) for of_job in its_jobs]) for reading, labels, its_jobs in gpus
    ]
    for one in DCGM_NAMES:
        family = Family(one.name, one.help, one.counter)
        if one is XID_ERRORS:
            writer.family(family, _last_xids(gpus, snapshot.last_xids, meaning))
            continue
        lines = [
            f"{one.name}{begin} {number!r}\n"
            for values, its_begins in begins
            if (number := _number(values, one)) is not None
            for begin in its_begins
        ]
        if lines:
            writer.head(family)
            writer.lines += lines
    return writer.text()


def nvml_bus_id(bus_id: str) -> str:
    """Turn the kernel's `0000:1b:00.0` into NVML's `00000000:1B:00.0`."""
    domain, colon, rest = bus_id.partition(":")
    return f"{domain:0>8}{colon}{rest}".upper() if colon else bus_id


def _labels(identity: GpuIdentity, hostname: str, driver: str) -> Labels:
    return {
        "gpu": str(identity.index),
        "UUID": identity.uuid,
        "pci_bus_id": nvml_bus_id(identity.pci_bus_id),
        "device": f"nvidia{identity.index}",
        "modelName": identity.model,
        "Hostname": hostname,
        **({"DCGM_FI_DRIVER_VERSION": driver} if driver else {}),
    }


def _by_job(jobs: list[str]) -> list[Labels]:
    """Return one label for each job of a GPU, as theirs has a series for each; no label where it has none."""
    return [{"hpc_job": job} for job in jobs] or [{}]


def _number(values: Values | None, one: DcgmName) -> float | None:
    """Return nothing where the GPU does not answer, or lacks what it is made of."""
    if values is None:
        return None
    there = [number for place in _PLACES[one.name] if (number := values[place]) is not None]
    return round(sum(there) * one.factor, DIGITS) if len(there) == len(one.keys) else None


def _last_xids(gpus: Iterable[Gpu], xids: Mapping[str, int], meaning: Callable[[int], str]) -> Iterator[Row]:
    """Yield a lost GPU's too: the XID is then all that tells of it."""
    for reading, labels, its_jobs in gpus:
        xid = xids.get(reading.identity.uuid, 0)
        said = {"err_code": str(xid), "err_msg": meaning(xid) if xid else "no XID so far"}
        for of_job in its_jobs:
            yield {**labels, **said, **of_job}, float(xid)
