"""dcgm-exporter's page: its names, types, units and labels, so that a dashboard made for it shows the same."""

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
from played_nvml import PlayedNode
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fleetward.exporters.events.faults import FaultTally
from fleetward.exporters.gpu.dcgm_names import DCGM_NAMES
from fleetward.exporters.gpu.dcgm_page import nvml_bus_id, render
from fleetward.exporters.gpu.readings import Census, GpuIdentity, GpuJob, GpuReading, Snapshot
from fleetward.exporters.gpu.series_list import BY_KEY, SERIES

if TYPE_CHECKING:
    from conftest import Recorded

GPU = 3
SCENARIO = {
    "sm_clock_mhz": 1202,
    "memory_clock_mhz": 1593,
    "memory_temperature": 97,
    "temperature": 91,
    "power_watts": 432.5,
    "energy_joules": 123456,
    "pcie_replays": 16,
    "utilization_percent": 37,
    "memory_utilization_percent": 21,
    "encoder_percent": 11,
    "decoder_percent": 12,
    "memory_used_mib": 1008,
    "memory_reserved_mib": 100,
    "gpm_nvlink_rx_mib_per_second": 53,
    "gpm_nvlink_tx_mib_per_second": 54,
    "remapped_rows_uncorrected": 15,
    "remapped_rows_corrected": 14,
    "remapped_rows_failed": 1,
    "gpm_graphics_percent": 31,
    "gpm_tensor_percent": 35,
    "gpm_dram_percent": 36,
    "gpm_pcie_tx_mib_per_second": 51,
    "gpm_pcie_rx_mib_per_second": 52,
}
"""What the GPU is played to be."""
SHOWN = {
    "DCGM_FI_DEV_SM_CLOCK": ("gauge", 1202),
    "DCGM_FI_DEV_MEM_CLOCK": ("gauge", 1593),
    "DCGM_FI_DEV_MEMORY_TEMP": ("gauge", 97),
    "DCGM_FI_DEV_GPU_TEMP": ("gauge", 91),
    "DCGM_FI_DEV_POWER_USAGE": ("gauge", 432.5),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": ("counter", 123456000),
    "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": ("counter", 16),
    "DCGM_FI_DEV_GPU_UTIL": ("gauge", 37),
    "DCGM_FI_DEV_MEM_COPY_UTIL": ("gauge", 21),
    "DCGM_FI_DEV_ENC_UTIL": ("gauge", 11),
    "DCGM_FI_DEV_DEC_UTIL": ("gauge", 12),
    "DCGM_FI_DEV_XID_ERRORS": ("gauge", 43),
    "DCGM_FI_DEV_FB_FREE": ("gauge", 81559 - 1008 - 100),
    "DCGM_FI_DEV_FB_USED": ("gauge", 1008),
    "DCGM_FI_DEV_FB_RESERVED": ("gauge", 100),
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL": ("counter", (53 + 54) * 1024 / 1000),
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": ("counter", 15),
    "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": ("counter", 14),
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": ("gauge", 1),
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": ("gauge", 0.31),
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": ("gauge", 0.35),
    "DCGM_FI_PROF_DRAM_ACTIVE": ("gauge", 0.36),
    "DCGM_FI_PROF_PCIE_TX_BYTES": ("gauge", 51 * 1024**2),
    "DCGM_FI_PROF_PCIE_RX_BYTES": ("gauge", 52 * 1024**2),
}
"""The default set of dcgm-exporter 4.5.3 but the licence of virtual GPUs, in its units."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[tuple[PlayedNode, Exporter]]:
    played = PlayedNode(tmp_path_factory.mktemp("dcgm"), library)
    (played.folder / "jobs").mkdir()
    played.play("".join(f"gpu.{GPU}.{key}={value}\n" for key, value in SCENARIO.items()))
    with running(played, "--dcgm-names", "--job-map", str(played.folder / "jobs")) as exporter:
        wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 3)
        for xid in (31, 43):
            played.raise_xid(GPU, xid)
        yield played, exporter


def page(snapshot: Snapshot) -> str:
    return render(snapshot, "gpu001", lambda xid: f"meaning of {xid}")


def rows(text: str, name: str) -> list[tuple[dict[str, str], float]]:
    return [
        (sample.labels, sample.value) for metric in parse_text(text) for sample in metric.samples if sample.name == name
    ]


def test_the_table_is_the_default_set() -> None:
    assert {one.name: "counter" if one.counter else "gauge" for one in DCGM_NAMES} == {
        name: kind for name, (kind, _) in SHOWN.items()
    }
    assert len({one.field for one in DCGM_NAMES}) == len(DCGM_NAMES)


@pytest.mark.parametrize("name", SHOWN)
def test_each_is_there_once_a_gpu_in_their_unit(shared: tuple[PlayedNode, Exporter], name: str) -> None:
    _, exporter = shared
    kind, expected = SHOWN[name]
    wait_until(lambda: exporter.value(name, gpu=str(GPU)) == pytest.approx(expected, abs=1e-6))
    text = exporter.scrape()
    assert text.count(f"# TYPE {name} {kind}\n") == 1
    assert sorted(re.findall(rf'^{name}\{{gpu="(\d)"', text, re.MULTILINE)) == list("01234567")


def test_labels_are_theirs(shared: tuple[PlayedNode, Exporter]) -> None:
    _, exporter = shared
    line = re.search(r'^DCGM_FI_DEV_GPU_TEMP\{gpu="0",.*', exporter.scrape(), re.MULTILINE)
    assert line
    assert re.fullmatch(
        r'DCGM_FI_DEV_GPU_TEMP\{gpu="0",UUID="GPU-[0-9a-f-]{36}",pci_bus_id="00000000:1B:00\.0",device="nvidia0",'
        r'modelName="NVIDIA H100 80GB HBM3",Hostname="[^"]+",DCGM_FI_DRIVER_VERSION="570\.133\.20"\} [\d.]+',
        line[0],
    )


def test_our_own_page_is_there_too_and_a_job_stands_on_both(shared: tuple[PlayedNode, Exporter]) -> None:
    played, exporter = shared
    assert exporter.value("DCGM_FI_DEV_GPU_UTIL", gpu="1", hpc_job="4711") is None
    (played.folder / "jobs" / "1").write_text("4711\tuser=ada\n")
    assert exporter.value("DCGM_FI_DEV_GPU_UTIL", gpu="1", hpc_job="4711") == 0
    assert exporter.value("gpu_job_info", gpu="1", job_id="4711", user="ada") == 1
    assert exporter.value("gpu_allocated_idle", gpu="1") == 1
    assert exporter.value("gpu_temperature_celsius", gpu=str(GPU)) == 91
    played.device(1)
    with (played.folder / "nvidia1").open():
        wait_until(lambda: exporter.value("gpu_allocated_idle", gpu="1") == 0)
    (played.folder / "jobs" / "1").unlink()
    assert exporter.value("gpu_allocated_idle", gpu="1") is None


def test_it_is_in_the_text_format_also_for_who_prefers_openmetrics(shared: tuple[PlayedNode, Exporter]) -> None:
    _, exporter = shared
    kind, text = exporter.asked("application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("text/plain; version=0.0.4")
    names = [metric.name for metric in parse_text(text)]
    assert len(names) == len(set(names)) > len(SHOWN) + 60
    assert "# EOF" not in text


def test_promtool_reads_the_page_and_finds_nothing_but_their_names(shared: tuple[PlayedNode, Exporter]) -> None:
    _, exporter = shared
    promtool = shutil.which("promtool") or str(Path(sys.executable).with_name("promtool"))
    text = exporter.scrape()
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert checked.returncode == 3, "3 is what it says of names, 1 of a page that it cannot read"
    said = (checked.stdout + checked.stderr).splitlines()
    counters = {name for name, (kind, _) in SHOWN.items() if kind == "counter"}
    assert {line.split()[0] for line in said if "_total" in line} == counters
    assert [line for line in said if line.split()[0] not in SHOWN] == []


def test_a_gpu_has_a_series_for_each_of_its_jobs_and_an_instance_is_no_gpu(recorded: "Recorded") -> None:
    jobs = (
        GpuJob(0, "1", uuid="GPU-0"),
        GpuJob(0, "2", uuid="GPU-0"),
        GpuJob(1, "3", 5),
        GpuJob(2, "4", uuid="GPU-gone"),
    )
    found = rows(page(replace(recorded.snapshot(), jobs=jobs)), "DCGM_FI_DEV_GPU_UTIL")
    assert [(labels["gpu"], labels.get("hpc_job")) for labels, _ in found] == [
        ("0", "1"),
        ("0", "2"),
        ("1", None),
        ("2", None),
    ]
    assert [value for _, value in found] == [90] * 4


def test_the_last_xid_is_told_with_its_meaning_also_of_a_lost_gpu(recorded: "Recorded") -> None:
    snapshot = replace(recorded.snapshot(lost=frozenset({1})), faults=FaultTally(last_xids={"GPU-1": 79}))
    found = {
        labels["gpu"]: (value, labels["err_code"], labels["err_msg"])
        for labels, value in rows(page(snapshot), "DCGM_FI_DEV_XID_ERRORS")
    }
    assert found == {
        "0": (0, "0", "no XID so far"),
        "1": (79, "79", "meaning of 79"),
        "2": (0, "0", "no XID so far"),
    }
    assert {labels["gpu"] for labels, _ in rows(page(snapshot), "DCGM_FI_DEV_GPU_UTIL")} == {"0", "2"}


def test_what_a_gpu_does_not_have_is_not_shown(recorded: "Recorded") -> None:
    one_way = recorded.reading(0, values={"gpu_traffic_bytes_per_second.nvlink_tx": 1e9})
    assert set(re.findall(r"^(DCGM\w+)", page(Snapshot((one_way,))), re.MULTILINE)) == {"DCGM_FI_DEV_XID_ERRORS"}


def test_a_gpu_that_has_not_told_its_name_is_left_out() -> None:
    assert page(Snapshot((GpuReading(GpuIdentity(0, ""), None),))) == ""


def test_labels_that_somebody_made_up_cannot_break_the_page() -> None:
    odd = GpuIdentity(0, 'GPU-"}\n1', 'a\\b"c\nd{e="f"} 1', "42")
    snapshot = Snapshot((GpuReading(odd, [1.0] * len(SERIES)),), Census(driver='5"7'), jobs=(GpuJob(0, 'j"\\\n'),))
    text = render(snapshot, 'h"\\\n', lambda _: 'm"\\\n')
    labels, _ = rows(text, "DCGM_FI_DEV_GPU_TEMP")[0]
    assert labels["modelName"] == odd.model
    assert labels["UUID"] == odd.uuid
    assert (labels["Hostname"], labels["hpc_job"]) == ('h"\\\n', 'j"\\\n')
    assert labels["DCGM_FI_DRIVER_VERSION"] == '5"7'


@pytest.mark.parametrize(
    ("kernel", "nvml"),
    [("0000:1b:00.0", "00000000:1B:00.0"), ("00010000:1b:00.0", "00010000:1B:00.0"), ("", "")],
)
def test_the_bus_id_is_written_as_nvml_does(kernel: str, nvml: str) -> None:
    assert nvml_bus_id(kernel) == nvml


def test_every_key_is_of_the_list() -> None:
    assert {key for one in DCGM_NAMES for key in one.keys} <= set(BY_KEY)
