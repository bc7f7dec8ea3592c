"""From a snapshot to metrics: names, labels, and what a lost GPU still shows."""

import math
import re
from dataclasses import fields
from typing import TYPE_CHECKING

import pynvml
import pytest
from prometheus_client.core import Metric

from fleetward.exporters.gpu.metrics import CLOCK_EVENT_REASONS, FAMILIES, FATAL_XIDS, render
from fleetward.exporters.gpu.readings import GpuValues, Snapshot, XidEvent

if TYPE_CHECKING:
    from conftest import Recorded

SHOWN_OTHERWISE = {"clock_event_reasons"}


def samples(snapshot: Snapshot, now: float = 101.0) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for metric in render(snapshot, now):
        for sample in metric.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def value(snapshot: Snapshot, name: str, **labels: str) -> float:
    return samples(snapshot)[name, tuple(sorted(labels.items()))]


def test_every_number_of_a_reading_is_shown_once() -> None:
    shown = [field for family in FAMILIES for field in family.fields.values()]
    assert sorted(shown) == sorted({field.name for field in fields(GpuValues)} - SHOWN_OTHERWISE)


def test_a_gpu_that_answers(recorded: "Recorded") -> None:
    snapshot = recorded.snapshot()
    gpu = {"gpu": "1", "uuid": "GPU-1"}
    assert value(snapshot, "gpu_up", **gpu) == 1
    assert value(snapshot, "gpu_utilization_ratio", **gpu) == 0.9
    assert value(snapshot, "gpu_power_watts", **gpu) == 600
    assert value(snapshot, "gpu_energy_joules_total", **gpu) == 12.5
    assert value(snapshot, "gpu_processes", **gpu) == 2
    assert value(snapshot, "gpu_ecc_errors_total", **gpu, type="uncorrected") == 2


def test_what_a_gpu_does_not_have_is_not_shown_as_zero(recorded: "Recorded") -> None:
    names = {name for name, _ in samples(recorded.snapshot())}
    assert "gpu_temperature_celsius" not in names
    assert ("gpu_ecc_errors_total", (("gpu", "1"), ("type", "corrected"), ("uuid", "GPU-1"))) not in samples(
        recorded.snapshot()
    )


def test_a_lost_gpu_costs_only_its_own_series(recorded: "Recorded") -> None:
    whole = samples(recorded.snapshot())
    broken = samples(recorded.snapshot(lost=frozenset({1})))
    of_lost = {key for key in whole if ("uuid", "GPU-1") in key[1] and key[0] not in {"gpu_up", "gpu_xid_total"}}
    assert len(of_lost) > 10
    assert set(broken) == set(whole) - of_lost
    assert broken["gpu_up", (("gpu", "1"), ("uuid", "GPU-1"))] == 0
    assert broken["gpu_up", (("gpu", "2"), ("uuid", "GPU-2"))] == 1


def test_fatal_xids_are_there_at_zero_before_the_first(recorded: "Recorded") -> None:
    before = recorded.snapshot()
    for xid in FATAL_XIDS:
        assert value(before, "gpu_xid_total", gpu="2", uuid="GPU-2", xid=str(xid)) == 0
    after = recorded.snapshot(xids={XidEvent(2, "GPU-2", 79): 1, XidEvent(0, "GPU-0", 31): 5})
    assert value(after, "gpu_xid_total", gpu="2", uuid="GPU-2", xid="79") == 1
    assert value(after, "gpu_xid_total", gpu="0", uuid="GPU-0", xid="31") == 5
    assert value(after, "gpu_xid_total", gpu="0", uuid="GPU-0", xid="79") == 0


def test_a_lost_gpu_keeps_its_xid_counters(recorded: "Recorded") -> None:
    snapshot = recorded.snapshot(lost=frozenset({2}), xids={XidEvent(2, "GPU-2", 79): 1})
    assert value(snapshot, "gpu_xid_total", gpu="2", uuid="GPU-2", xid="79") == 1


def test_reasons_for_lower_clocks_are_told_apart(recorded: "Recorded") -> None:
    active = {
        reason
        for reason in CLOCK_EVENT_REASONS
        if value(recorded.snapshot(), "gpu_clock_event_active", gpu="0", uuid="GPU-0", reason=reason)
    }
    assert active == {"hw_slowdown", "hw_thermal_slowdown"}


@pytest.mark.parametrize(
    ("reason", "constant"),
    [
        ("gpu_idle", "GpuIdle"),
        ("application_clocks", "ApplicationsClocksSetting"),
        ("sw_power_cap", "SwPowerCap"),
        ("hw_slowdown", "HwSlowdown"),
        ("sync_boost", "SyncBoost"),
        ("sw_thermal_slowdown", "SwThermalSlowdown"),
        ("hw_thermal_slowdown", "HwThermalSlowdown"),
        ("hw_power_brake", "HwPowerBrakeSlowdown"),
    ],
)
def test_each_reason_is_the_bit_that_nvml_gives_it(reason: str, constant: str) -> None:
    assert CLOCK_EVENT_REASONS[reason] == getattr(pynvml, f"nvmlClocksEventReason{constant}")


def test_what_a_gpu_and_its_driver_are_stands_in_labels(recorded: "Recorded") -> None:
    found = samples(recorded.snapshot())
    gpus = [(dict(labels), number) for (name, labels), number in found.items() if name == "gpu_info"]
    assert [number for _, number in gpus] == [1, 1, 1]
    assert gpus[2][0] == {
        "gpu": "2",
        "uuid": "GPU-2",
        "model": "NVIDIA H100 80GB HBM3",
        "serial": "42",
        "pci_bus_id": "0000:02:00.0",
        "minor": "2",
        "vbios_version": "1",
        "nvlinks": "18",
    }
    driver = {"driver_version": "570.133.20", "nvml_version": "12.570.133.20", "cuda_version": "12.8"}
    assert value(recorded.snapshot(), "gpu_driver_info", **driver) == 1


def test_the_exporter_says_how_old_its_sample_is_and_which_calls_failed(recorded: "Recorded") -> None:
    snapshot = recorded.snapshot()
    assert samples(snapshot, now=142.5)["gpu_exporter_sample_age_seconds", ()] == 42.5
    assert value(snapshot, "gpu_exporter_sweep_duration_seconds") == 0.002
    assert value(snapshot, "gpu_exporter_sweeps_total") == 7
    assert value(snapshot, "gpu_exporter_errors_total", function="DeviceGetHandleByIndex", code="15") == 4


def test_no_series_has_a_label_that_its_target_has(recorded: "Recorded") -> None:
    target_labels = {"cluster", "node", "rack", "hardware_profile", "instance", "job"}
    for _, labels in samples(recorded.snapshot()):
        assert not target_labels & {name for name, _ in labels}


UNITS = r"(ratio|celsius|watts|bytes|hertz|joules_total|seconds|total|info|up|active|max|pending|failed|enabled)$"


@pytest.mark.parametrize("metric", [pytest.param(family, id=family.name) for family in FAMILIES])
def test_names_follow_prometheus_rules(metric: object) -> None:
    name, counter = getattr(metric, "name"), getattr(metric, "counter")  # noqa: B009
    assert re.fullmatch(r"gpu_[a-z_]+", name)
    assert name.endswith("_total") == counter
    plain = {"gpu_processes", "gpu_remapped_rows", "gpu_pcie_link_generation", "gpu_pcie_link_width"}
    assert re.search(UNITS, name) or name in plain | {"gpu_recovery_action"}


def test_no_metric_is_without_help_and_none_is_not_a_number(recorded: "Recorded") -> None:
    metrics: list[Metric] = list(render(recorded.snapshot(), 101.0))
    assert all(metric.documentation for metric in metrics)
    assert not any(math.isnan(sample.value) for metric in metrics for sample in metric.samples)
