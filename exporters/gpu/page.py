"""The page of one node's GPUs, as a pure function of a snapshot: Prometheus' text format, or OpenMetrics.

Every series of a GPU has the labels `gpu` (NVML's index) and `uuid`, and nothing else that a target could have:
`cluster`, `node` and `rack` are target labels that Prometheus adds from the rendered target file, so that the exporter
needs no configuration and `honor_labels` stays off. What a GPU is (model, serial, bus id) is in `gpu_info`
alone, to be joined on (node, uuid); whose work it does in `gpu_job_info` alone. The job is `job_id` there, since `job`
is a label of Prometheus' own.

It is written here rather than by prometheus_client: a page has some 1,400 lines, and this takes a tenth of the time.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import groupby

from fleetward.exporters.gpu.faults_page import FaultsPage
from fleetward.exporters.gpu.leftovers import leftovers
from fleetward.exporters.gpu.mig_page import MigPage
from fleetward.exporters.gpu.page_writer import Writer, labelled, labels_of
from fleetward.exporters.gpu.readings import GpuIdentity, GpuJob, GpuProcess, GpuReading, Snapshot
from fleetward.exporters.gpu.series import Family, Series
from fleetward.exporters.gpu.series_list import SERIES

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_FAMILIES: tuple[tuple[Family, tuple[tuple[int, Series], ...]], ...] = tuple(
    (family, tuple(members)) for family, members in groupby(enumerate(SERIES), key=lambda one: one[1].family)
)


@dataclass(frozen=True)
class OwnCost:
    """What the exporter takes itself, all its processes together."""

    started_at: float
    """Unix time."""
    cpu_seconds: float
    resident_bytes: float
    """Memory that its processes share is counted once."""
    open_files: int


class Page:
    """Renders snapshots; it keeps the labels of GPUs that it has seen."""

    def __init__(self, xids_from_zero: tuple[int, ...]) -> None:
        """Count these XIDs from 0 on every GPU, so that the first one is an increase."""
        self._begins: dict[GpuIdentity, list[str]] = {}
        self._faults = FaultsPage(xids_from_zero)
        self._mig = MigPage()

    def render(self, snapshot: Snapshot, now: float, own: OwnCost, *, openmetrics: bool = False) -> str:
        """Return the page; `now` is of the clock of GpuReading.taken_at."""
        writer = Writer(openmetrics=openmetrics)
        if snapshot.released_until is None:
            _state(writer, snapshot, now)
            self._numbers(writer, snapshot.gpus)
            self._mig.write(writer, snapshot.gpus)
            _driver(writer, snapshot)
        self._faults.write(writer, snapshot.faults, (one.identity for one in snapshot.gpus))
        _jobs(writer, snapshot)
        _leftovers(writer, snapshot)
        _exporter(writer, snapshot, now, own)
        return writer.text()

    def _numbers(self, writer: Writer, gpus: tuple[GpuReading, ...]) -> None:
        up = [(self._begin(one.identity), one.values) for one in gpus if one.values is not None]
        for family, members in _FAMILIES:
            lines = [
                f"{begins[place]}{value!r}\n"
                for place, _ in members
                for begins, values in up
                if (value := values[place]) is not None
            ]
            if lines:
                writer.head(family)
                writer.lines += lines

    def _begin(self, identity: GpuIdentity) -> list[str]:
        """Return each line's beginning, up to the value."""
        begins = self._begins.get(identity)
        if begins is None:
            begins = self._begins[identity] = [
                f"{one.family.name}{labelled({**labels_of(identity), **dict(one.labels)})} " for one in SERIES
            ]
        return begins


def _state(writer: Writer, snapshot: Snapshot, now: float) -> None:
    gpus = snapshot.gpus
    seen = [one for one in gpus if one.values is not None]
    writer.family(
        Family("gpu_up", "1 where the GPU answers, 0 where it does not."),
        ((labels_of(one.identity), float(one.up)) for one in gpus),
    )
    writer.family(Family("gpu_info", "What the GPU is; always 1."), ((_about(one.identity), 1) for one in seen))
    writer.family(
        Family("gpu_processes", "Processes that compute on the GPU."),
        ((labels_of(one.identity), len(one.processes)) for one in seen if one.processes_told),
    )
    writer.family(
        Family("gpu_sample_age_seconds", "Age of what is shown of the GPU."),
        ((labels_of(one.identity), max(0.0, now - one.taken_at)) for one in seen),
    )
    writer.family(
        Family("gpu_sample_duration_seconds", "Time that the last look at the GPU took."),
        ((labels_of(one.identity), one.seconds) for one in gpus if one.taken_at),
    )


def _about(identity: GpuIdentity) -> dict[str, str]:
    return {
        **labels_of(identity),
        "model": identity.model,
        "serial": identity.serial,
        "pci_bus_id": identity.pci_bus_id,
        "minor": "" if identity.minor_number is None else str(identity.minor_number),
        "vbios_version": identity.vbios_version,
        "nvlinks": str(identity.nvlinks),
    }


def _jobs(writer: Writer, snapshot: Snapshot) -> None:
    gpus = sorted(snapshot.gpus, key=lambda one: one.up)
    readings: dict[str | int, GpuReading] = {one.identity.index: one for one in gpus}
    readings |= {one.identity.uuid: one for one in gpus if one.identity.uuid}
    at_work = [(reading, job) for job in snapshot.jobs if (reading := readings.get(job.uuid or job.index))]
    writer.family(
        Family("gpu_job_info", "Whose job the GPU works for; always 1."),
        ((_about_job(reading.identity, job), 1) for reading, job in at_work),
    )
    idle = {}
    for reading, job in at_work:
        processes = _processes_of(reading, job.instance)
        if processes is not None:
            idle[reading.identity.index, job.instance] = ({**labels_of(reading.identity), **_part(job)}, not processes)
    writer.family(
        Family("gpu_allocated_idle", "1 where the GPU, or a MIG instance of it, belongs to a job and nobody uses it."),
        ((labels, float(nobody)) for labels, nobody in idle.values()),
    )


def _leftovers(writer: Writer, snapshot: Snapshot) -> None:
    if snapshot.owners is None:
        return
    counts = Counter(one.uuid for one in leftovers(snapshot.gpus, snapshot.jobs, snapshot.owners))
    writer.family(
        Family("gpu_leftover_processes", "Processes on the GPU that are of no job which it belongs to."),
        (
            (labels_of(one.identity), counts[one.identity.uuid])
            for one in snapshot.gpus
            if one.up and one.processes_told
        ),
    )


def _processes_of(reading: GpuReading, instance: int | None) -> list[GpuProcess] | None:
    """Return the processes on a GPU or on a GPU instance of it; None where that is not known."""
    if instance is None:
        return list(reading.processes) if reading.up and reading.processes_told else None
    of_each = [one.processes for one in reading.instances if one.gpu_instance == instance]
    told = [processes for processes in of_each if processes is not None]
    return [one for processes in told for one in processes] if told and len(told) == len(of_each) else None


def _part(job: GpuJob) -> dict[str, str]:
    return {} if job.instance is None else {"gpu_instance": str(job.instance)}


def _about_job(identity: GpuIdentity, job: GpuJob) -> dict[str, str]:
    return {
        **labels_of(identity),
        **_part(job),
        "job_id": job.job,
        "user": job.user,
        "account": job.account,
        "partition": job.partition,
        "array_task": job.array_task,
        "attempt": job.attempt,
    }


def _driver(writer: Writer, snapshot: Snapshot) -> None:
    census = snapshot.census
    versions = {"driver_version": census.driver, "nvml_version": census.nvml, "cuda_version": census.cuda}
    writer.family(
        Family("gpu_driver_info", "What runs below the GPUs; always 1."), [(versions, 1)] if census.driver else []
    )
    writer.family(
        Family("gpu_driver_up", "1 where the driver, or the host engine before it, answers."),
        [({}, float(not census.failure))],
    )


def _exporter(writer: Writer, snapshot: Snapshot, now: float, own: OwnCost) -> None:
    _release(writer, snapshot, now)
    single = (
        ("gpu_exporter_sweeps_total", "Looks at the GPUs so far, over all processes.", snapshot.looks),
        ("gpu_exporter_killed_total", "Processes that hung in the driver and were replaced.", snapshot.killed),
        (
            "gpu_exporter_job_map_errors_total",
            "Files and lines of the job map that were wrong and left out.",
            snapshot.job_map_errors,
        ),
        ("process_start_time_seconds", "When the exporter began, in Unix time.", own.started_at),
        ("process_cpu_seconds_total", "Processor time of all its processes.", own.cpu_seconds),
        ("process_resident_memory_bytes", "Memory of all its processes; shared once.", own.resident_bytes),
        ("process_open_fds", "Files that it has open.", own.open_files),
    )
    for name, help_text, value in single:
        writer.family(Family(name, help_text, counter=name.endswith("_total")), [({}, value)])
    writer.family(
        Family(
            "gpu_exporter_errors_total",
            "Calls to the driver or its host engine that failed, by function and code.",
            counter=True,
        ),
        (
            ({"function": error.function, "code": str(error.code)}, count)
            for error, count in sorted(snapshot.errors.items(), key=lambda one: (one[0].function, one[0].code))
        ),
    )


def _release(writer: Writer, snapshot: Snapshot, now: float) -> None:
    until = snapshot.released_until
    writer.family(
        Family("gpu_exporter_released", "1 while no GPU is looked at, as somebody asked with `fleetward release`."),
        [({}, float(until is not None))],
    )
    writer.family(
        Family("gpu_exporter_released_until_timestamp_seconds", "When the GPUs are looked at again, in Unix time."),
        [({}, until)] if until is not None else [],
    )
    oldest = min((one.taken_at for one in snapshot.gpus if one.taken_at), default=now)
    writer.family(
        Family("gpu_exporter_sample_age_seconds", "Age of the oldest look at a GPU."),
        [({}, max(0.0, now - oldest))] if until is None else [],
    )
