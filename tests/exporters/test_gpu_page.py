"""The page: what each series is called, what stands on it for a GPU that answers and for one that does not."""

import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pynvml
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fleetward.exporters.events.faults import XidEvent
from fleetward.exporters.gpu.page import OwnCost, Page
from fleetward.exporters.gpu.readings import GpuIdentity, GpuJob, GpuReading, Snapshot
from fleetward.exporters.gpu.series import Call, Family, FieldValue, Gpm, Series
from fleetward.exporters.gpu.series_list import SERIES
from fleetward.exporters.gpu.series_load import CLOCK_EVENT_REASONS
from fleetward.exporters.gpu.series_mig import MIG_SERIES

if TYPE_CHECKING:
    from conftest import Recorded

FROM_ZERO = (48, 79)
OWN = OwnCost(started_at=1.7e9, cpu_seconds=12.5, resident_bytes=3e7, open_files=12)
FAMILIES = {one.family.name: one.family for one in SERIES}
MIG_FAMILIES = {one.family.name: one.family for one in MIG_SERIES}


def page(snapshot: Snapshot, now: float = 101.0, *, openmetrics: bool = False) -> str:
    return Page(FROM_ZERO).render(snapshot, now, OWN, openmetrics=openmetrics)


def samples(snapshot: Snapshot, now: float = 101.0) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for metric in parse_text(page(snapshot, now)):
        for sample in metric.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def value(snapshot: Snapshot, name: str, **labels: str) -> float:
    return samples(snapshot)[name, tuple(sorted(labels.items()))]


def test_a_gpu_that_answers(recorded: "Recorded") -> None:
    snapshot = recorded.snapshot()
    gpu = {"gpu": "1", "uuid": "GPU-1"}
    assert value(snapshot, "gpu_up", **gpu) == 1
    assert value(snapshot, "gpu_utilization_ratio", **gpu) == 0.9
    assert value(snapshot, "gpu_power_watts", **gpu) == 600
    assert value(snapshot, "gpu_energy_joules_total", **gpu) == 12.5
    assert value(snapshot, "gpu_processes", **gpu) == 2
    assert value(snapshot, "gpu_ecc_errors_total", **gpu, type="uncorrected") == 2
    assert value(snapshot, "gpu_nvlink_up", **gpu, link="1") == 0
    assert value(snapshot, "gpu_sample_age_seconds", **gpu) == 1


def test_what_a_gpu_does_not_have_is_not_shown_as_zero(recorded: "Recorded") -> None:
    found = samples(recorded.snapshot())
    assert "gpu_temperature_celsius" not in {name for name, _ in found}
    assert ("gpu_ecc_errors_total", (("gpu", "1"), ("type", "corrected"), ("uuid", "GPU-1"))) not in found
    assert "gpu_temperature_celsius" not in page(recorded.snapshot()), "nor is there a heading without series"


def test_a_lost_gpu_costs_only_its_own_series(recorded: "Recorded") -> None:
    whole = samples(recorded.snapshot())
    broken = samples(recorded.snapshot(lost=frozenset({1})))
    kept = {"gpu_up", "gpu_xid_total", "gpu_sample_duration_seconds"}
    of_lost = {key for key in whole if ("uuid", "GPU-1") in key[1] and key[0] not in kept}
    assert len(of_lost) > 8
    assert set(broken) == set(whole) - of_lost
    assert broken["gpu_up", (("gpu", "1"), ("uuid", "GPU-1"))] == 0
    assert broken["gpu_up", (("gpu", "2"), ("uuid", "GPU-2"))] == 1


def test_xids_that_take_a_gpu_out_are_there_at_zero_before_the_first(recorded: "Recorded") -> None:
    before = recorded.snapshot()
    for xid in FROM_ZERO:
        assert value(before, "gpu_xid_total", gpu="2", uuid="GPU-2", xid=str(xid)) == 0
    after = recorded.snapshot(xids={XidEvent(2, "GPU-2", 79): 1, XidEvent(0, "GPU-0", 31): 5})
    assert value(after, "gpu_xid_total", gpu="2", uuid="GPU-2", xid="79") == 1
    assert value(after, "gpu_xid_total", gpu="0", uuid="GPU-0", xid="31") == 5
    assert value(after, "gpu_xid_total", gpu="0", uuid="GPU-0", xid="79") == 0


def test_a_lost_gpu_keeps_its_xid_counters(recorded: "Recorded") -> None:
    snapshot = recorded.snapshot(lost=frozenset({2}), xids={XidEvent(2, "GPU-2", 79): 1})
    assert value(snapshot, "gpu_xid_total", gpu="2", uuid="GPU-2", xid="79") == 1


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
        ("display_clock", "DisplayClockSetting"),
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


def test_the_exporter_says_how_old_its_samples_are_what_failed_and_what_it_costs(recorded: "Recorded") -> None:
    snapshot = recorded.snapshot()
    assert samples(snapshot, now=142.5)["gpu_exporter_sample_age_seconds", ()] == 42.5
    assert value(snapshot, "gpu_exporter_sweeps_total") == 7
    assert value(snapshot, "gpu_exporter_killed_total") == 1
    assert value(snapshot, "gpu_exporter_errors_total", function="DeviceGetHandleByIndex", code="15") == 4
    assert value(snapshot, "process_cpu_seconds_total") == 12.5
    assert value(snapshot, "process_resident_memory_bytes") == 3e7


def test_labels_that_a_gpu_or_its_firmware_made_up_cannot_break_the_page() -> None:
    odd = GpuIdentity(0, 'GPU-"}\n1', 'a\\b"c\nd{e="f"} 1', "42")
    found = samples(Snapshot((GpuReading(odd, [None] * len(SERIES), taken_at=100.0),)))
    info = next(dict(labels) for name, labels in found if name == "gpu_info")
    assert (info["uuid"], info["model"]) == (odd.uuid, odd.model)


def test_no_series_has_a_label_that_its_target_has(recorded: "Recorded") -> None:
    target_labels = {"cluster", "node", "rack", "hardware_profile", "instance", "job"}
    for _, labels in samples(recorded.snapshot()):
        assert not target_labels & {name for name, _ in labels}


def test_whose_job_a_gpu_works_for_stands_in_one_metric(recorded: "Recorded") -> None:
    jobs = (
        GpuJob(0, "4711", None, "ada", "physics", "gpu", "7", "2"),
        GpuJob(0, "4712"),
        GpuJob(1, "4713", 5, 'o"dd\\'),
        GpuJob(9, "4714"),
    )
    found = samples(replace(recorded.snapshot(), jobs=jobs, job_map_errors=3))
    known = {"user": "ada", "account": "physics", "partition": "gpu", "array_task": "7", "attempt": "2"}
    rest = dict.fromkeys(known, "")
    assert [(dict(labels), number) for (name, labels), number in found.items() if name == "gpu_job_info"] == [
        ({"gpu": "0", "uuid": "GPU-0", "job_id": "4711", **known}, 1),
        ({"gpu": "0", "uuid": "GPU-0", "job_id": "4712", **rest}, 1),
        ({"gpu": "1", "uuid": "GPU-1", "job_id": "4713", "gpu_instance": "5", **rest, "user": 'o"dd\\'}, 1),
    ]
    assert found["gpu_exporter_job_map_errors_total", ()] == 3
    assert {name for name, labels in found if {"job_id", "user"} & set(dict(labels))} == {"gpu_job_info"}


def test_a_gpu_that_belongs_to_a_job_and_has_no_process_is_allocated_idle(recorded: "Recorded") -> None:
    busy, idle, free = recorded.gpus()
    gpus = (busy, replace(idle, processes=()), replace(free, processes=()), recorded.reading(3, lost=True))
    jobs = tuple(GpuJob(index, "5") for index in (0, 1, 3))
    found = samples(Snapshot(gpus, jobs=jobs))
    shown = {dict(labels)["gpu"]: number for (name, labels), number in found.items() if name == "gpu_allocated_idle"}
    assert shown == {"0": 0, "1": 1}, "neither one without a job, nor one that does not answer"
    assert {dict(labels)["gpu"] for name, labels in found if name == "gpu_job_info"} == {"0", "1", "3"}


def test_where_nobody_tells_of_processes_a_gpu_is_neither_idle_nor_without_any(recorded: "Recorded") -> None:
    told, untold, _ = recorded.gpus()
    untold = replace(untold, processes=(), processes_told=False)
    found = samples(Snapshot((told, untold), jobs=(GpuJob(0, "5"), GpuJob(1, "6"))))
    for metric in ("gpu_processes", "gpu_allocated_idle"):
        assert [dict(labels)["gpu"] for name, labels in found if name == metric] == ["0"]
    assert GpuReading.unpacked(untold.packed()) == untold


def test_a_job_is_of_the_gpu_that_has_the_index_now(recorded: "Recorded") -> None:
    gone = GpuReading(GpuIdentity(0, "GPU-gone"), None, failure="the driver no longer lists it")
    found = samples(Snapshot((recorded.reading(0), gone), jobs=(GpuJob(0, "5"),)))
    assert [dict(labels)["uuid"] for name, labels in found if name == "gpu_job_info"] == ["GPU-0"]


def test_a_job_of_a_gpu_that_is_gone_is_not_shown_on_the_one_that_took_its_index(recorded: "Recorded") -> None:
    gone = GpuReading(GpuIdentity(0, "GPU-gone"), None, failure="the driver no longer lists it")
    jobs = (GpuJob(0, "5", uuid="GPU-gone"), GpuJob(0, "6", uuid="GPU-0"), GpuJob(0, "7", uuid="GPU-elsewhere"))
    found = samples(Snapshot((recorded.reading(0), gone), jobs=jobs))
    at_work = [dict(labels) for name, labels in found if name == "gpu_job_info"]
    assert {(one["uuid"], one["job_id"]) for one in at_work} == {("GPU-gone", "5"), ("GPU-0", "6")}


UNIT_OR_COUNT = re.compile(
    r"_(ratio|celsius|watts|bytes|hertz|bytes_per_second|up|active|max|pending|failed|enabled|state|mode|action"
    r"|rows|banks|pages|generation|width|code|multiprocessors|slices|engines)$"
)


@pytest.mark.parametrize("name", sorted({**FAMILIES, **MIG_FAMILIES}))
def test_names_follow_prometheus_rules(name: str) -> None:
    family = {**FAMILIES, **MIG_FAMILIES}[name]
    assert re.fullmatch(r"gpu_[a-z0-9_]+", name)
    assert name.endswith("_total") == family.counter
    assert family.counter or UNIT_OR_COUNT.search(name)
    assert family.help.endswith(".")


@pytest.mark.parametrize(("series", "families"), [(SERIES, FAMILIES), (MIG_SERIES, MIG_FAMILIES)], ids=["gpu", "mig"])
def test_every_series_is_there_once_and_stands_with_its_family(
    series: tuple[Series, ...], families: dict[str, Family]
) -> None:
    assert len({(one.family.name, one.labels) for one in series}) == len(series)
    order = [one.family.name for one in series]
    assert [name for place, name in enumerate(order) if place == 0 or order[place - 1] != name] == list(families)
    by_name: dict[str, set[tuple[str, ...]]] = {}
    for one in series:
        by_name.setdefault(one.family.name, set()).add(tuple(name for name, _ in one.labels))
    assert [name for name, labels in by_name.items() if len(labels) != 1] == []


@pytest.mark.parametrize("series", [*SERIES, *MIG_SERIES], ids=lambda one: one.key)
def test_every_source_is_known_to_pynvml(series: Series) -> None:
    source = series.source
    if isinstance(source, Call):
        assert callable(getattr(pynvml, source.function))
    elif isinstance(source, FieldValue):
        ids = {number for name, number in vars(pynvml).items() if name.startswith("NVML_FI_DEV_")}
        assert source.id in ids
    else:
        assert isinstance(source, Gpm)
        ids = {number for name, number in vars(pynvml).items() if name.startswith("NVML_GPM_METRIC_")}
        assert source.id in ids


def test_both_formats_say_the_same_and_are_valid(recorded: "Recorded") -> None:
    snapshot = replace(recorded.snapshot(), jobs=(GpuJob(0, "5", user='o"dd'), GpuJob(1, "5", 2)))
    plain = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in parse_openmetrics(page(snapshot, openmetrics=True))
        for sample in metric.samples
    }
    assert plain == samples(snapshot)
    assert not any(math.isnan(number) for number in plain.values())


def test_promtool_has_nothing_to_say_of_the_page(recorded: "Recorded") -> None:
    promtool = shutil.which("promtool") or str(Path(sys.executable).with_name("promtool"))
    text = page(replace(recorded.snapshot(), jobs=(GpuJob(0, "5", user="ada"), GpuJob(1, "5", 2))))
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
