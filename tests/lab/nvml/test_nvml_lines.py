"""Which lines of which file count, and that a bad one changes nothing."""

from typing import TYPE_CHECKING

import pytest

from fleetward.lab import scenario

if TYPE_CHECKING:
    from conftest import Nvml
    from played_nvml import PlayedNode


def test_a_value_of_all_gpus(played: "PlayedNode", nvml: "Nvml") -> None:
    played.play("all.temperature=77\ngpu.1.temperature=33\n")
    assert nvml("[n.nvmlDeviceGetTemperature(h(i), 0) for i in range(8)]") == [77, 33, 77, 77, 77, 77, 77, 77]


def test_the_scenario_goes_over_the_defaults_and_its_end_brings_them_back(played: "PlayedNode", nvml: "Nvml") -> None:
    played.play_defaults("driver.gpu_count=4\nall.power_limit_watts=350\n")
    played.play("gpu.0.power_limit_watts=300\n")
    limits = "[n.nvmlDeviceGetEnforcedPowerLimit(h(i)) for i in range(n.nvmlDeviceGetCount())]"
    assert nvml(limits) == [300000, 350000, 350000, 350000]
    (played.folder / "scenario.conf").unlink()
    assert nvml(limits) == [350000] * 4


@pytest.mark.parametrize(
    "bad",
    [
        "gpu.2.temperature=hot",
        "gpu.2.temperature=",
        "gpu.2.temperature=1e999",
        "gpu.2.temperature=-5",
        "gpu.2.temperature=nan",
        "gpu.99.temperature=1",
        "gpu..temperature=1",
        "gpu.2.nothing=1",
        "nonsense",
        "gpu.2.nvlink.99.state=0",
        "gpu.2.nvlink.1.colour=0",
        "gpu.2.nvlink.=0",
        "gpu.2.call.nvmlDeviceGetTemperature.error=x",
        "gpu.2.call.nvmlDeviceGetTemperature=15",
        "gpu.2.call..error=15",
        "all.call.nvml" + "X" * 90 + ".error=15",
        "gpu.2.mig=9g.1gb,gigantic",
        "=",
        "gpu.2.name=" + "x" * 5000,
        "gpu.2.name=" + "x" * 200,
        "\x00\x01\x02=\xff",
    ],
)
def test_a_bad_line_changes_nothing_and_the_others_count(played: "PlayedNode", nvml: "Nvml", bad: str) -> None:
    played.play("gpu.2.temperature=55\n")
    name = nvml("n.nvmlDeviceGetName(h(2))")
    assert nvml("n.nvmlDeviceGetTemperature(h(2), 0)") == 55
    kept = "" if bad.startswith("gpu.2.temperature") else "gpu.2.temperature=55\n"
    played.play(f"{bad}\n{kept}gpu.3.temperature=66\n")
    assert nvml("n.nvmlDeviceGetTemperature(h(2), 0)") == 55
    assert nvml("n.nvmlDeviceGetTemperature(h(3), 0)") == 66
    assert nvml("n.nvmlDeviceGetName(h(2))") == name


def test_a_scenario_that_python_renders_is_one_that_the_library_reads(played: "PlayedNode", nvml: "Nvml") -> None:
    asked = scenario.Scenario().with_gpu(None, temperature=40).with_gpu(6, temperature=88, name="NVIDIA H200")
    played.play(asked.with_driver(version="560.1").render())
    assert nvml("[n.nvmlDeviceGetTemperature(h(i), 0) for i in (5, 6)]") == [40, 88]
    assert nvml("[n.nvmlDeviceGetName(h(6)), n.nvmlSystemGetDriverVersion()]") == ["NVIDIA H200", "560.1"]
