"""The page as dcgm-exporter would write it, as a pure function of a snapshot, for dashboards that were made for it.

Prometheus' text format only, as theirs is: OpenMetrics would want `_total` behind the name of each counter.

A GPU that MIG has cut has a row for each GPU instance in place of its own, as dcgm-exporter has by default
(`--devices f`; dcgm-exporter 4.5.3, internal/pkg/devicemonitoring, and its rows in internal/pkg/rendermetrics).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from fleetward.exporters.gpu.dcgm_names import DCGM_NAMES, XID_ERRORS, DcgmName
from fleetward.exporters.gpu.page_writer import Row, Writer, labelled
from fleetward.exporters.gpu.readings import GpuIdentity, GpuInstance, GpuJob, GpuReading, Snapshot, Values
from fleetward.exporters.gpu.series import Family
from fleetward.exporters.gpu.series_list import BY_KEY
from fleetward.exporters.gpu.series_mig import MIG_BY_KEY

DIGITS = 6
"""Behind the point, as theirs has."""

_PLACES = {one.name: tuple(BY_KEY[key] for key in one.keys) for one in DCGM_NAMES}
_MIG_PLACES = {
    one.name: tuple(MIG_BY_KEY[key] for key in one.instance_keys) for one in DCGM_NAMES if one.instance_keys is not None
}

Labels = Mapping[str, str]


@dataclass(frozen=True)
class _Entity:
    """A GPU that is whole, or a GPU instance of one that is cut."""

    reading: GpuReading
    instance: GpuInstance | None
    labels: Labels
    jobs: tuple[Labels, ...]
    """One more label for each job, as theirs has a series for each; one without a label where there is none."""

    def number(self, one: DcgmName) -> float | None:
        """Return nothing where the GPU does not answer, or lacks what it is made of."""
        places, values = _PLACES[one.name], self.reading.values
        if self.instance is not None and one.name in _MIG_PLACES:
            places, values = _MIG_PLACES[one.name], self.instance.values
        return None if values is None else _sum(values, places, one.factor)


def render(snapshot: Snapshot, hostname: str, meaning: Callable[[int], str]) -> str:
    """Return the page; `meaning` tells what an XID means."""
    writer = Writer(openmetrics=False)
    entities = list(_entities(snapshot, hostname))
    begins = [(entity, [labelled({**entity.labels, **of_job}) for of_job in entity.jobs]) for entity in entities]
    for one in DCGM_NAMES:
        family = Family(one.name, one.help, one.counter)
        if one is XID_ERRORS:
            writer.family(family, _last_xids(entities, snapshot.faults.last_xids, meaning))
            continue
        lines = [
            f"{one.name}{begin} {number!r}\n"
            for entity, its_begins in begins
            if (number := entity.number(one)) is not None
            for begin in its_begins
        ]
        if lines:
            writer.head(family)
            writer.lines += lines
    return writer.text()


def _entities(snapshot: Snapshot, hostname: str) -> Iterator[_Entity]:
    jobs: dict[tuple[str | int, int | None], list[GpuJob]] = defaultdict(list)
    for job in snapshot.jobs:
        jobs[job.uuid or job.index, job.instance].append(job)
    for reading in snapshot.gpus:
        identity = reading.identity
        if not identity.uuid:
            continue
        first = {one.gpu_instance: one for one in reversed(reading.instances)}
        numbers: list[int | None] = [*sorted(first)] or [None]
        for number in numbers:
            instance = None if number is None else first[number]
            labels = _labels(identity, instance, hostname, snapshot.census.driver)
            its_jobs = jobs[identity.uuid, number] + jobs[identity.index, number]
            of_jobs = tuple({"hpc_job": job.job} for job in its_jobs)
            yield _Entity(reading, instance, labels, of_jobs or ({},))


def nvml_bus_id(bus_id: str) -> str:
    """Turn the kernel's `0000:1b:00.0` into NVML's `00000000:1B:00.0`."""
    domain, colon, rest = bus_id.partition(":")
    return f"{domain:0>8}{colon}{rest}".upper() if colon else bus_id


def _labels(identity: GpuIdentity, instance: GpuInstance | None, hostname: str, driver: str) -> Labels:
    profile = {} if instance is None else {"GPU_I_PROFILE": _size(instance), "GPU_I_ID": str(instance.gpu_instance)}
    return {
        "gpu": str(identity.index),
        "UUID": identity.uuid,
        "pci_bus_id": nvml_bus_id(identity.pci_bus_id),
        "device": f"nvidia{identity.index}",
        "modelName": identity.model,
        **profile,
        "Hostname": hostname,
        **({"DCGM_FI_DRIVER_VERSION": driver} if driver else {}),
    }


def _size(instance: GpuInstance) -> str:
    """Return the profile of the GPU instance: `3g.40gb` of `1c.3g.40gb`."""
    return instance.profile.partition("c.")[2] or instance.profile


def _sum(values: Values, places: tuple[int, ...], factor: float) -> float | None:
    there = [number for place in places if (number := values[place]) is not None]
    return round(sum(there) * factor, DIGITS) if there and len(there) == len(places) else None


def _last_xids(entities: Iterable[_Entity], xids: Mapping[str, int], meaning: Callable[[int], str]) -> Iterator[Row]:
    """Yield a lost GPU's too: the XID is then all that tells of it."""
    for entity in entities:
        xid = xids.get(entity.reading.identity.uuid, 0)
        said = {"err_code": str(xid), "err_msg": meaning(xid) if xid else "no XID so far"}
        for of_job in entity.jobs:
            yield {**entity.labels, **said, **of_job}, float(xid)
