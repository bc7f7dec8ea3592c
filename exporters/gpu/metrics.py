"""The metrics of one node's GPUs, as a pure function of a snapshot.

Every series of a GPU has the labels `gpu` (NVML's index) and `uuid`, and nothing else that a target could have:
`cluster`, `node` and `rack` are target labels that Prometheus adds from the rendered target file, so that the exporter
needs no configuration and `honor_labels` stays off. What a GPU is (model, serial, bus id) is in `gpu_info`
alone, to be joined on (node, uuid).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fleetward.exporters.gpu.readings import GpuIdentity, Snapshot
from fleetward.model.gpu_fault_files import read_catalogue

GPU_LABELS = ("gpu", "uuid")


@dataclass(frozen=True)
class Family:
    """One metric: the fields of `GpuValues` that it shows, by the value of the label that tells them apart."""

    name: str
    help: str
    fields: Mapping[str, str]
    """Label value to field; a metric without such a label has the one label value ''."""
    label: str = ""
    counter: bool = False


def _gauge(name: str, help_text: str, field: str) -> Family:
    return Family(name, help_text, {"": field})


def _counter(name: str, help_text: str, field: str) -> Family:
    return Family(name, help_text, {"": field}, counter=True)


def _errors(name: str, help_text: str, corrected: str, uncorrected: str) -> Family:
    return Family(name, help_text, {"corrected": corrected, "uncorrected": uncorrected}, label="type", counter=True)


FAMILIES = (
    _gauge("gpu_utilization_ratio", "Share of the time in which a kernel ran.", "utilization_ratio"),
    _gauge(
        "gpu_memory_utilization_ratio",
        "Share of the time in which memory was read or written.",
        "memory_utilization_ratio",
    ),
    _gauge("gpu_temperature_celsius", "Temperature of the core.", "temperature_celsius"),
    _gauge("gpu_memory_temperature_celsius", "Temperature of the memory.", "memory_temperature_celsius"),
    _gauge("gpu_power_watts", "Power drawn.", "power_watts"),
    _gauge("gpu_power_limit_watts", "Power limit in force.", "power_limit_watts"),
    _counter("gpu_energy_joules_total", "Energy taken since the driver was loaded.", "energy_joules"),
    _gauge("gpu_memory_total_bytes", "Size of the memory.", "memory_total_bytes"),
    _gauge("gpu_memory_used_bytes", "Memory that programs hold.", "memory_used_bytes"),
    _gauge("gpu_memory_reserved_bytes", "Memory that the driver keeps for itself.", "memory_reserved_bytes"),
    _gauge("gpu_sm_clock_hertz", "Clock of the multiprocessors.", "sm_clock_hertz"),
    _gauge("gpu_sm_clock_max_hertz", "Highest clock of the multiprocessors.", "sm_clock_max_hertz"),
    _gauge("gpu_memory_clock_hertz", "Clock of the memory.", "memory_clock_hertz"),
    _errors("gpu_ecc_errors_total", "ECC errors since the driver was loaded.", "ecc_corrected", "ecc_uncorrected"),
    _errors(
        "gpu_ecc_lifetime_errors_total",
        "ECC errors over the life of the GPU.",
        "ecc_lifetime_corrected",
        "ecc_lifetime_uncorrected",
    ),
    Family(
        "gpu_remapped_rows",
        "Memory rows replaced by spare ones, by the kind of error that caused it.",
        {"corrected": "remapped_rows_corrected", "uncorrected": "remapped_rows_uncorrected"},
        label="type",
    ),
    _gauge("gpu_row_remap_pending", "1 where a row waits for a reset to be replaced.", "row_remap_pending"),
    _gauge("gpu_row_remap_failed", "1 where a row could not be replaced.", "row_remap_failed"),
    _counter("gpu_pcie_replay_total", "Packets sent again on the PCIe link.", "pcie_replays"),
    _gauge("gpu_pcie_link_generation", "PCIe generation in use.", "pcie_link_generation"),
    _gauge("gpu_pcie_link_generation_max", "PCIe generation that GPU and slot allow.", "pcie_link_generation_max"),
    _gauge("gpu_pcie_link_width", "PCIe lanes in use.", "pcie_link_width"),
    _gauge("gpu_pcie_link_width_max", "PCIe lanes that GPU and slot allow.", "pcie_link_width_max"),
    _gauge("gpu_nvlinks_active", "NVLinks that are up.", "nvlinks_active"),
    Family(
        "gpu_nvlink_errors_total",
        "Errors on all NVLinks together.",
        {"replay": "nvlink_replay_errors", "recovery": "nvlink_recovery_errors", "crc": "nvlink_crc_errors"},
        label="type",
        counter=True,
    ),
    _gauge("gpu_ecc_enabled", "1 where ECC is on.", "ecc_enabled"),
    _gauge("gpu_mig_enabled", "1 where the GPU is cut into MIG instances.", "mig_enabled"),
    _gauge("gpu_persistence_enabled", "1 where the driver stays loaded without programs.", "persistence_enabled"),
    _gauge(
        "gpu_recovery_action",
        "What the driver asks for: 0 nothing, 1 GPU reset, 2 node reboot, 3 drain of peers, 4 drain and reset.",
        "recovery_action",
    ),
)
"""What is a number of `GpuValues` as it stands."""

CLOCK_EVENT_REASONS = {
    "gpu_idle": 0x1,
    "application_clocks": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake": 0x80,
}
"""Bits of NVML's mask (nvml.h, nvmlClocksEventReason*)."""

FATAL_XIDS = read_catalogue().fatal_xids()
"""XIDs that take a GPU out; they are counted from 0, so that the first one is an increase."""


def render(snapshot: Snapshot, now: float) -> Iterator[Metric]:
    """Yield every metric; `now` is of the clock of `snapshot.taken_at`."""
    yield from _state(snapshot)
    for family in FAMILIES:
        yield _family(family, snapshot)
    yield _clock_events(snapshot)
    yield _xids(snapshot)
    yield from _exporter(snapshot, now)


def _labels(identity: GpuIdentity) -> list[str]:
    return [str(identity.index), identity.uuid]


def _state(snapshot: Snapshot) -> Iterator[Metric]:
    up = GaugeMetricFamily("gpu_up", "1 where the GPU answers, 0 where it is lost.", labels=GPU_LABELS)
    processes = GaugeMetricFamily("gpu_processes", "Processes that compute on the GPU.", labels=GPU_LABELS)
    info = GaugeMetricFamily(
        "gpu_info",
        "What the GPU is; always 1.",
        labels=(*GPU_LABELS, "model", "serial", "pci_bus_id", "minor", "vbios_version", "nvlinks"),
    )
    for reading in snapshot.sweep.gpus:
        identity = reading.identity
        up.add_metric(_labels(identity), float(reading.up))
        if not reading.up:
            continue
        processes.add_metric(_labels(identity), len(reading.process_ids))
        minor = "" if identity.minor_number is None else str(identity.minor_number)
        about = [identity.model, identity.serial, identity.pci_bus_id, minor, identity.vbios_version]
        info.add_metric([*_labels(identity), *about, str(identity.nvlinks)], 1)
    versions = snapshot.sweep.versions
    driver = GaugeMetricFamily(
        "gpu_driver_info",
        "What runs below the GPUs; always 1.",
        labels=("driver_version", "nvml_version", "cuda_version"),
    )
    if versions.driver:
        driver.add_metric([versions.driver, versions.nvml, versions.cuda], 1)
    yield from (up, info, processes, driver)


def _new(family: Family) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if family.counter else GaugeMetricFamily
    return kind(family.name, family.help, labels=(*GPU_LABELS, family.label) if family.label else GPU_LABELS)


def _family(family: Family, snapshot: Snapshot) -> Metric:
    metric = _new(family)
    for reading in snapshot.sweep.gpus:
        for label, field in family.fields.items():
            value = getattr(reading.values, field, None)
            if value is not None:
                labels = _labels(reading.identity)
                metric.add_metric([*labels, label] if family.label else labels, value)
    return metric


def _clock_events(snapshot: Snapshot) -> Metric:
    metric = GaugeMetricFamily(
        "gpu_clock_event_active",
        "1 for each reason why the clocks are now below their highest.",
        labels=(*GPU_LABELS, "reason"),
    )
    for reading in snapshot.sweep.gpus:
        mask = reading.values.clock_event_reasons if reading.values else None
        if mask is not None:
            for reason, bit in CLOCK_EVENT_REASONS.items():
                metric.add_metric([*_labels(reading.identity), reason], float(bool(mask & bit)))
    return metric


def _xids(snapshot: Snapshot) -> Metric:
    metric = CounterMetricFamily(
        "gpu_xid_total", "XIDs that the driver reported since this exporter began.", labels=(*GPU_LABELS, "xid")
    )
    counts = {
        (str(reading.identity.index), reading.identity.uuid, str(xid)): 0
        for reading in snapshot.sweep.gpus
        if reading.identity.uuid
        for xid in FATAL_XIDS
    }
    counts |= {(str(event.index), event.uuid, str(event.xid)): count for event, count in snapshot.xids.items()}
    for labels, count in counts.items():
        metric.add_metric(labels, count)
    return metric


def _exporter(snapshot: Snapshot, now: float) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "gpu_exporter_sample_age_seconds",
        "Age of what the other metrics show.",
        value=max(0.0, now - snapshot.taken_at),
    )
    yield GaugeMetricFamily(
        "gpu_exporter_sweep_duration_seconds", "Time that the last look at all GPUs took.", snapshot.duration_seconds
    )
    yield CounterMetricFamily("gpu_exporter_sweeps_total", "Looks at all GPUs so far.", snapshot.sweeps)
    errors = CounterMetricFamily(
        "gpu_exporter_errors_total", "NVML calls that failed, by function and return code.", labels=("function", "code")
    )
    for error, count in snapshot.errors.items():
        errors.add_metric([error.function, str(error.code)], count)
    yield errors
    yield GaugeMetricFamily(
        "gpu_exporter_kernel_log_readable",
        "1 where XIDs are read from the kernel's log too.",
        value=float(snapshot.kernel_log_readable),
    )
    yield CounterMetricFamily(
        "gpu_exporter_strange_xids_total",
        "XIDs in the kernel's log of an address at which no GPU has been seen.",
        value=snapshot.strange_xids,
    )
