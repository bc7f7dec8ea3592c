"""MIG instances: what the page shows of each, that it follows the layout, and what a GPU without MIG pays for it."""

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from played_exporter import Exporter, running, wait_until
from played_nvml import PlayedNode, build
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fleetward.exporters.gpu.dcgm_page import render as render_dcgm
from fleetward.exporters.gpu.page import OwnCost, Page
from fleetward.exporters.gpu.readings import GpuInstance, GpuJob, GpuProcess, GpuReading, Snapshot, Values
from fleetward.exporters.gpu.series import Series
from fleetward.exporters.gpu.series_mig import MIG_BY_KEY, MIG_SERIES
from fleetward.exporters.gpu.table import document, table

if TYPE_CHECKING:
    from conftest import Recorded

MIB = 1024.0**2
GPU = 3
WHOLE = "gpu.3.mig=1g.10gb,3g.40gb\n"
"""GPU instances 7 and 2."""
OWN = OwnCost(started_at=1.7e9, cpu_seconds=12.5, resident_bytes=3e7, open_files=12)
MIG_CALLS = re.compile(r"nvml\w*Mig(?!Mode)|nvmlDeviceGet(Attributes|GpuInstanceId|ComputeInstanceId)")

Shared = tuple[PlayedNode, Exporter]
Change = tuple[str, str, float]
"""Lines of the scenario, the GPU instance that is looked at, and the number that it shows then."""


def changed(line: str, value: float, instance: str = "7") -> Change:
    return f"{WHOLE}gpu.{GPU}.{line}\n", instance, value


def cut_as(layout: str, instance: str, value: float) -> Change:
    return f"gpu.{GPU}.mig={layout}\n", instance, value


CHANGES: dict[str, Change] = {
    "gpu_mig_memory_total_bytes": changed("memory_total_mib=90000", 90000 / 8 * MIB),
    "gpu_mig_memory_used_bytes": changed("memory_used_mib=1000", 800 * MIB, "2"),
    "gpu_mig_memory_free_bytes": changed("memory_used_mib=1000", (40779.5 - 275.5 - 800) * MIB, "2"),
    "gpu_mig_memory_reserved_bytes": changed("memory_reserved_mib=800", 100 * MIB),
    "gpu_mig_active_ratio.graphics": changed("gpm_graphics_percent=31", 0.31),
    "gpu_mig_active_ratio.sm": changed("gpm_sm_percent=32", 0.32),
    "gpu_mig_active_ratio.sm_occupancy": changed("gpm_sm_occupancy_percent=33", 0.33),
    "gpu_mig_active_ratio.integer": changed("gpm_integer_percent=34", 0.34),
    "gpu_mig_active_ratio.tensor": changed("gpm_tensor_percent=35", 0.35),
    "gpu_mig_active_ratio.dram": changed("gpm_dram_percent=36", 0.36),
    "gpu_mig_active_ratio.fp64": changed("gpm_fp64_percent=38", 0.38),
    "gpu_mig_active_ratio.fp32": changed("gpm_fp32_percent=39", 0.39),
    "gpu_mig_active_ratio.fp16": changed("gpm_fp16_percent=41", 0.41),
    "gpu_mig_multiprocessors": cut_as("2g.20gb", "3", 32),
    "gpu_mig_slices.gpu_instance": cut_as("4g.40gb", "1", 4),
    "gpu_mig_slices.compute_instance": cut_as("2g.20gb", "3", 2),
    "gpu_mig_engines.copy": cut_as("7g.80gb", "0", 7),
    "gpu_mig_engines.encoder": changed("mig_encoders=1", 1),
    "gpu_mig_engines.decoder": cut_as("2g.20gb", "3", 2),
    "gpu_mig_engines.jpeg": cut_as("4g.40gb", "1", 4),
    "gpu_mig_engines.optical_flow": cut_as("1g.10gb+me", "7", 1),
    "gpu_mig_sram_ecc_errors_total.uncorrected": changed("ecc_sram_uncorrected=24", 24),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[Shared]:
    played = PlayedNode(tmp_path_factory.mktemp("mig"), library)
    played.play(WHOLE)
    (played.folder / "jobs").mkdir()
    with running(played, "--dcgm-names", "--job-map", str(played.folder / "jobs")) as exporter:
        yield played, exporter


def instances(exporter: Exporter, gpu: int = GPU) -> set[tuple[str, str]]:
    """Return number and profile of each instance of a GPU."""
    text = exporter.scrape()
    return set(
        re.findall(rf'^gpu_mig_info\{{gpu="{gpu}",.*gpu_instance="(\d+)".*profile="(\S+)"\}} 1', text, re.MULTILINE)
    )


def test_the_table_has_every_number_of_the_list() -> None:
    assert sorted(CHANGES) == sorted(one.key for one in MIG_SERIES)


@pytest.mark.parametrize("series", MIG_SERIES, ids=lambda one: one.key)
def test_a_change_is_seen_on_the_page_in_the_right_unit(shared: Shared, series: Series) -> None:
    played, exporter = shared
    scenario, instance, expected = CHANGES[series.key]
    labels = {"gpu": str(GPU), "gpu_instance": instance, "compute_instance": "0", **dict(series.labels)}

    def is_there() -> bool:
        value = exporter.value(series.family.name, **labels)
        return value is not None and math.isclose(value, expected)

    played.play(WHOLE)
    wait_until(lambda: instances(exporter) == {("7", "1g.10gb"), ("2", "3g.40gb")} and not is_there())
    played.play(scenario)
    wait_until(is_there)


def test_each_instance_is_shown_with_the_labels_of_its_gpu_and_its_own(shared: Shared) -> None:
    played, exporter = shared
    played.play(WHOLE)
    wait_until(lambda: instances(exporter) == {("7", "1g.10gb"), ("2", "3g.40gb")})
    text = exporter.scrape()
    uuid = re.findall(rf'^gpu_up\{{gpu="{GPU}",uuid="([^"]+)"', text, re.MULTILINE)[0]
    info = re.findall(r"^gpu_mig_info\{(.*)\} 1\.0$", text, re.MULTILINE)
    assert re.fullmatch(
        rf'gpu="{GPU}",uuid="{uuid}",gpu_instance="2",compute_instance="0",mig_uuid="MIG-[0-9a-f-]{{36}}",'
        r'profile="3g\.40gb"',
        info[0],
    )
    assert len(info) == 2
    lines = re.findall(r"^gpu_mig_(?!enabled)\w+\{.*", text, re.MULTILINE)
    assert len(lines) >= 2 * len(MIG_SERIES)
    for line in lines:
        assert re.search(rf'\{{gpu="{GPU}",uuid="{uuid}",gpu_instance="[27]",compute_instance="0"', line)


def test_what_a_cut_gpu_no_longer_has_is_not_shown_as_zero(shared: Shared) -> None:
    played, exporter = shared
    played.play("")
    wait_until(lambda: exporter.value("gpu_utilization_ratio", gpu=str(GPU)) == 0)
    assert exporter.value("gpu_ecc_location_errors_total", gpu=str(GPU), location="sram", type="uncorrected") == 0
    played.play(WHOLE)
    wait_until(lambda: exporter.value("gpu_mig_enabled", gpu=str(GPU)) == 1)
    wait_until(lambda: exporter.value("gpu_utilization_ratio", gpu=str(GPU)) is None)
    assert exporter.value("gpu_memory_utilization_ratio", gpu=str(GPU)) is None
    assert exporter.value("gpu_ecc_location_errors_total", gpu=str(GPU), location="sram", type="uncorrected") is None
    assert exporter.value("gpu_temperature_celsius", gpu=str(GPU)) is not None
    assert exporter.value("gpu_utilization_ratio", gpu="4") == 0
    assert not re.search(r"^gpu_mig_\w*(utilization|temperature|power|clock)", exporter.scrape(), re.MULTILINE)
    played.play("")
    wait_until(lambda: exporter.value("gpu_utilization_ratio", gpu=str(GPU)) == 0)


def test_the_layout_is_followed_and_an_instance_that_is_gone_has_no_series(shared: Shared) -> None:
    played, exporter = shared
    for layout, expected in (
        ("1g.10gb,3g.40gb", {("7", "1g.10gb"), ("2", "3g.40gb")}),
        ("3g.40gb", {("2", "3g.40gb")}),
        ("2g.20gb,2g.20gb", {("3", "2g.20gb"), ("4", "2g.20gb")}),
        ("1g.10gb," * 7, {(str(number), "1g.10gb") for number in range(7, 14)}),
    ):
        played.play(f"gpu.{GPU}.mig={layout}\n")
        wait_until(lambda expected=expected: instances(exporter) == expected)  # type: ignore[misc]  # bound at once
        numbers = re.findall(r'^gpu_mig_(?!enabled).*gpu_instance="(\d+)"', exporter.scrape(), re.MULTILINE)
        assert set(numbers) == {number for number, _ in expected}
    played.play(f"gpu.{GPU}.mig=1g.10gb\ngpu.{GPU}.mig_mode=0\n")
    wait_until(lambda: instances(exporter) == set())
    assert not re.search(r"^(# \w+ )?gpu_mig_(?!enabled)", exporter.scrape(), re.MULTILINE)
    played.play(f"gpu.{GPU}.mig=1g.10gb\n")
    wait_until(lambda: instances(exporter) == {("7", "1g.10gb")})
    wait_until(lambda: exporter.value("gpu_mig_active_ratio", gpu_instance="7", unit="sm") is not None)


def test_another_profile_under_the_same_number_is_seen(shared: Shared) -> None:
    played, exporter = shared
    played.play(f"gpu.{GPU}.mig=1g.10gb\n")
    wait_until(lambda: instances(exporter) == {("7", "1g.10gb")})
    played.play(f"gpu.{GPU}.mig=1g.10gb+me\n")
    wait_until(lambda: instances(exporter) == {("7", "1g.10gb+me")})
    wait_until(lambda: exporter.value("gpu_mig_engines", gpu_instance="7", engine="optical_flow") == 1)


def test_a_lost_gpu_takes_its_instances_with_it_and_no_other(shared: Shared) -> None:
    played, exporter = shared
    played.play(f"{WHOLE}gpu.5.mig=7g.80gb\n")
    wait_until(lambda: len(instances(exporter)) == 2 and len(instances(exporter, 5)) == 1)
    played.play(f"{WHOLE}gpu.5.mig=7g.80gb\ngpu.{GPU}.lost=1\n")
    wait_until(lambda: instances(exporter) == set())
    assert exporter.value("gpu_up", gpu=str(GPU)) == 0
    assert instances(exporter, 5) == {("0", "7g.80gb")}


def test_a_call_about_instances_that_fails_does_not_take_the_gpu_down(shared: Shared) -> None:
    played, exporter = shared
    played.play(WHOLE)
    wait_until(lambda: len(instances(exporter)) == 2)
    played.play(f"{WHOLE}gpu.{GPU}.call.nvmlDeviceGetMaxMigDeviceCount.error=999\n")
    wait_until(lambda: instances(exporter) == set())
    assert exporter.value("gpu_up", gpu=str(GPU)) == 1
    wait_until(lambda: (exporter.value("gpu_exporter_errors_total", function="DeviceGetMaxMigDeviceCount") or 0) > 0)
    played.play(WHOLE)
    wait_until(lambda: len(instances(exporter)) == 2)


def test_a_place_without_an_instance_is_no_error(shared: Shared) -> None:
    played, exporter = shared
    played.play(WHOLE)
    wait_until(lambda: len(instances(exporter)) == 2)
    assert exporter.value("gpu_exporter_errors_total", function="DeviceGetMigDeviceHandleByIndex") is None


def test_processes_and_load_are_of_the_instance_that_has_them(shared: Shared) -> None:
    played, exporter = shared
    played.play(WHOLE)
    path = played.device(GPU)
    held = os.open(path, os.O_RDONLY)
    try:
        wait_until(lambda: exporter.value("gpu_mig_processes", gpu_instance="7") == 1)
        assert exporter.value("gpu_mig_processes", gpu_instance="2") == 0
        assert exporter.value("gpu_processes", gpu=str(GPU)) == 1
        wait_until(lambda: (exporter.value("gpu_mig_active_ratio", gpu_instance="7", unit="sm") or 0) > 0.1)
        assert exporter.value("gpu_mig_active_ratio", gpu_instance="2", unit="sm") == 0
    finally:
        os.close(held)
    wait_until(lambda: exporter.value("gpu_mig_processes", gpu_instance="7") == 0)


def test_processes_that_the_driver_does_not_tell_of_are_not_zero(shared: Shared) -> None:
    played, exporter = shared
    refused = f"gpu.{GPU}.call.nvmlDeviceGetComputeRunningProcesses_v3.error=4\n"
    (played.folder / "jobs" / f"{GPU}.7").write_text("4711\n")
    played.play(WHOLE)
    wait_until(lambda: exporter.value("gpu_allocated_idle", gpu=str(GPU), gpu_instance="7") == 1)
    played.play(WHOLE + refused)
    wait_until(lambda: exporter.value("gpu_processes", gpu=str(GPU)) is None)
    assert exporter.value("gpu_mig_processes", gpu_instance="7") is None
    assert exporter.value("gpu_allocated_idle", gpu=str(GPU)) is None
    assert exporter.value("gpu_processes", gpu="4") == 0
    (played.folder / "jobs" / f"{GPU}.7").unlink()


def test_an_instance_that_belongs_to_a_job_and_has_no_process_is_allocated_idle(shared: Shared) -> None:
    played, exporter = shared
    played.play(WHOLE)
    jobs = played.folder / "jobs"
    for name, job in ((f"{GPU}.7", "4711\tuser=ada\n"), (f"{GPU}.2", "4712\n"), (f"{GPU}.9", "4713\n")):
        (jobs / name).write_text(job)

    def idle(instance: str) -> float | None:
        return exporter.value("gpu_allocated_idle", gpu=str(GPU), gpu_instance=instance)

    wait_until(lambda: (idle("7"), idle("2"), idle("9")) == (1, 1, None))
    assert exporter.value("gpu_job_info", gpu=str(GPU), gpu_instance="7", job_id="4711", user="ada") == 1
    with played.device(GPU).open():
        wait_until(lambda: (idle("7"), idle("2")) == (0, 1))
    for name in (f"{GPU}.7", f"{GPU}.2", f"{GPU}.9"):
        (jobs / name).unlink()
    wait_until(lambda: exporter.value("gpu_allocated_idle", gpu=str(GPU)) is None)


def test_dcgm_exporters_rows_of_a_cut_gpu_are_those_of_its_instances(shared: Shared) -> None:
    played, exporter = shared
    (played.folder / "jobs" / f"{GPU}.2").write_text("4712\n")
    played.play(f"{WHOLE}gpu.{GPU}.memory_used_mib=1000\ngpu.{GPU}.temperature=71\ngpu.{GPU}.gpm_tensor_percent=35\n")
    row = {"gpu": str(GPU), "GPU_I_ID": "2", "GPU_I_PROFILE": "3g.40gb", "hpc_job": "4712"}
    wait_until(lambda: exporter.value("DCGM_FI_DEV_FB_USED", **row) == 800)
    wait_until(lambda: exporter.value("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", **row) == 0.35)
    assert exporter.value("DCGM_FI_DEV_GPU_TEMP", **row) == 71
    assert exporter.value("DCGM_FI_DEV_XID_ERRORS", **row) == 0
    assert exporter.value("DCGM_FI_DEV_GPU_UTIL", gpu=str(GPU)) is None
    assert exporter.value("DCGM_FI_PROF_PCIE_TX_BYTES", gpu=str(GPU)) is None
    text = exporter.scrape()
    assert not re.search(rf'^DCGM_\w+\{{gpu="{GPU}",(?!.*GPU_I_ID)', text, re.MULTILINE), "no row of the whole GPU"
    assert not re.search(r'^DCGM_\w+\{gpu="4",.*GPU_I_', text, re.MULTILINE)
    assert re.search(r'modelName="[^"]+",GPU_I_PROFILE="1g\.10gb",GPU_I_ID="7",Hostname="', text)
    (played.folder / "jobs" / f"{GPU}.2").unlink()


def test_promtool_reads_the_page(shared: Shared) -> None:
    played, exporter = shared
    played.play(WHOLE)
    wait_until(lambda: exporter.value("gpu_mig_active_ratio", gpu_instance="7", unit="sm") is not None)
    promtool = shutil.which("promtool") or str(Path(sys.executable).with_name("promtool"))
    text = exporter.scrape()
    ours = "".join(line + "\n" for line in text.splitlines() if "DCGM" not in line)
    checked = subprocess.run([promtool, "check", "metrics"], input=ours, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def calls_of_a_look(played: PlayedNode, exporter: Exporter) -> list[str]:
    """Return what some looks call; a process that is replaced meanwhile, as on a busy machine, begins anew."""
    killed: float | None = -1
    while killed != exporter.value("gpu_exporter_killed_total"):
        killed = exporter.value("gpu_exporter_killed_total")
        (played.folder / "trace").unlink(missing_ok=True)
        before = exporter.value("gpu_exporter_sweeps_total") or 0
        wait_until(lambda start=before: (exporter.value("gpu_exporter_sweeps_total") or 0) > start + 3)
        calls = played.calls()
    return calls


def test_a_gpu_without_mig_pays_nothing_for_it(played: PlayedNode) -> None:
    with running(played) as exporter:
        wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 3)
        calls = calls_of_a_look(played, exporter)
        assert [call for call in calls if MIG_CALLS.match(call)] == []
        looks = calls.count("nvmlDeviceGetHandleByIndex_v2")
        assert abs(calls.count("nvmlDeviceGetMigMode") - looks) <= 1, "the mode is asked for once a look, as ever"
        assert "nvmlGpmSampleAlloc" not in calls, "samples are used again"


def test_samples_of_instances_that_are_gone_are_given_back(played: PlayedNode) -> None:
    played.play(WHOLE)
    with running(played) as exporter:
        wait_until(lambda: exporter.value("gpu_mig_active_ratio", gpu_instance="7", unit="sm") is not None)
        assert "nvmlGpmSampleFree" not in played.calls()
        played.play("")
        wait_until(lambda: played.calls().count("nvmlGpmSampleFree") == 4)


def test_a_gpu_before_hopper_has_instances_without_activity(played: PlayedNode) -> None:
    played.play(f"{WHOLE}gpu.{GPU}.architecture=7\n")
    with running(played) as exporter:
        wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 3)
        assert len(instances(exporter)) == 2
        assert exporter.value("gpu_mig_active_ratio") is None
        assert exporter.value("gpu_mig_memory_total_bytes", gpu_instance="2") is not None
        assert exporter.value("gpu_exporter_errors_total", function="GpmMigSampleGet") is None


@pytest.mark.parametrize("driver", ["535", "550"])
def test_an_older_driver_shows_its_instances(tmp_path: Path, driver: str) -> None:
    played = PlayedNode(tmp_path, build(tmp_path, driver))
    played.play(WHOLE)
    with running(played) as exporter:
        wait_until(lambda: exporter.value("gpu_mig_active_ratio", gpu_instance="7", unit="sm") is not None)
        assert instances(exporter) == {("7", "1g.10gb"), ("2", "3g.40gb")}


def part(number: int, within: int = 0, profile: str = "3g.40gb", **known: float) -> GpuInstance:
    values: Values = [None] * len(MIG_SERIES)
    for key, value in known.items():
        values[MIG_BY_KEY[key]] = value
    return GpuInstance(number, within, f"MIG-{number}-{within}", profile, values, (GpuProcess(7, 1 << 20),))


def cut(recorded: "Recorded", *parts: GpuInstance) -> GpuReading:
    return replace(recorded.reading(0), instances=parts)


def samples(snapshot: Snapshot) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = Page(()).render(snapshot, 101.0, OWN, openmetrics=True)
    found = [sample for metric in parse_openmetrics(text) for sample in metric.samples]
    assert len({(one.name, tuple(sorted(one.labels.items()))) for one in found}) == len(found), "none is there twice"
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for one in found}


def test_two_compute_instances_of_one_gpu_instance_are_two_rows_and_one_of_dcgm(recorded: "Recorded") -> None:
    parts = [
        part(2, 0, "1c.3g.40gb", gpu_mig_memory_used_bytes=5 * MIB, gpu_mig_multiprocessors=16),
        part(2, 1, "2c.3g.40gb", gpu_mig_memory_used_bytes=5 * MIB, gpu_mig_multiprocessors=32),
    ]
    snapshot = Snapshot((cut(recorded, *parts),), jobs=(GpuJob(0, "9", 2),))
    found = samples(snapshot)
    own = {
        dict(labels)["compute_instance"]: value
        for (name, labels), value in found.items()
        if name == "gpu_mig_multiprocessors"
    }
    assert own == {"0": 16, "1": 32}
    assert [value for (name, _), value in found.items() if name == "gpu_allocated_idle"] == [0]
    text = render_dcgm(snapshot, "gpu001", str)
    rows = [one for metric in parse_text(text) for one in metric.samples if one.name == "DCGM_FI_DEV_FB_USED"]
    assert [(one.labels["GPU_I_PROFILE"], one.labels["hpc_job"], one.value) for one in rows] == [("3g.40gb", "9", 5)]


def test_an_instance_whose_processes_are_not_told_is_neither_idle_nor_busy(recorded: "Recorded") -> None:
    told, not_told = part(1), replace(part(2), processes=None)
    jobs = (GpuJob(0, "1", 1), GpuJob(0, "2", 2), GpuJob(0, "3", 3))
    found = samples(Snapshot((cut(recorded, told, not_told),), jobs=jobs))
    idle = {
        dict(labels).get("gpu_instance"): value
        for (name, labels), value in found.items()
        if name == "gpu_allocated_idle"
    }
    assert idle == {"1": 0}
    assert [dict(labels)["gpu_instance"] for name, labels in found if name == "gpu_mig_processes"] == ["1"]


def test_a_profile_that_somebody_made_up_cannot_break_the_page(recorded: "Recorded") -> None:
    odd = part(1, profile='3"g}\n\\')
    found = samples(Snapshot((cut(recorded, odd),)))
    assert [dict(labels)["profile"] for name, labels in found if name == "gpu_mig_info"] == [odd.profile]


def test_a_page_forgets_the_labels_of_instances_that_are_gone(recorded: "Recorded") -> None:
    page = Page(())
    for number in range(50):
        page.render(Snapshot((cut(recorded, part(number, gpu_mig_multiprocessors=1)),)), 101.0, OWN)
    assert len(page._mig._begins) == 1


def test_a_reading_with_instances_survives_the_way_between_processes(recorded: "Recorded") -> None:
    reading = replace(cut(recorded, part(1), replace(part(2), processes=None)), processes_told=False)
    assert GpuReading.unpacked(reading.packed()) == reading


def test_the_table_and_the_document_show_instances_below_their_gpu(recorded: "Recorded") -> None:
    reading = cut(recorded, part(2, gpu_mig_memory_used_bytes=5 * MIB), replace(part(7), processes=None))
    lines = table([reading, recorded.reading(1)]).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["0", "0.2.0", "0.7.0", "1"]
    assert "MIG 3g.40gb" in lines[2]
    assert "5/-" in lines[2]
    told = document(Snapshot(()).census, [reading])["gpus"][0]["instances"]
    assert [(one["gpu_instance"], one["profile"], one["values"]) for one in told] == [
        (2, "3g.40gb", {"memory_used_bytes": 5 * MIB}),
        (7, "3g.40gb", {}),
    ]
    assert [one["processes"] for one in told] == [[{"pid": 7, "memory_bytes": 1 << 20}], None]
