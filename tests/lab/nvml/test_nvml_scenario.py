"""The scenario as a value: what it renders, what it reads back, and what it refuses."""

import pytest

from fleetward.lab.scenario import Scenario, xid_event
from fleetward.model.errors import UsageError


def test_settings_are_rendered_in_the_order_in_which_they_win() -> None:
    scenario = Scenario().with_gpu(3, temperature=91).with_driver(version="535.1").with_gpu(None, temperature=50)
    assert scenario.render() == "gpu.3.temperature=91\ndriver.version=535.1\nall.temperature=50\n"


def test_a_setting_made_again_takes_the_place_of_the_old_one_and_goes_last() -> None:
    scenario = Scenario().with_gpu(3, lost=1).with_gpu(None, lost=0).with_gpu(3, lost=1)
    assert scenario.render() == "all.lost=0\ngpu.3.lost=1\n"


def test_what_was_rendered_is_read_back() -> None:
    text = "all.power_limit_watts=500\ngpu.3.lost=1\ngpu.0.clock_event_reasons=0x48\n"
    text += "gpu.3.nvlink.7.state=0\nall.nvlink.all.crc_errors=2\ngpu.0.mig=1g.10gb,3g.40gb\n"
    text += "gpu.3.call.nvmlDeviceGetTemperature.error=999\ndriver.call.nvmlDeviceGetCount.hang=1\n"
    assert Scenario.parse(text).render() == text
    assert Scenario.parse("# a remark\n\n" + text).render() == text


def test_one_gpu_or_all_can_be_forgotten() -> None:
    scenario = (
        Scenario().with_driver(cuda_version=12040).with_gpu(None, lost=0).with_gpu(1, lost=1).with_gpu(11, lost=1)
    )
    assert scenario.without_gpu(1).render() == "driver.cuda_version=12040\nall.lost=0\ngpu.11.lost=1\n"
    assert scenario.without_gpu(None).render() == "driver.cuda_version=12040\n"


def test_a_scenario_never_changes() -> None:
    before = Scenario().with_gpu(0, lost=1)
    before.with_gpu(1, lost=1)
    assert before.render() == "gpu.0.lost=1\n"
    with pytest.raises(TypeError):
        before.settings["gpu.2.lost"] = 1  # type: ignore[index]  # that it cannot be set is what is tested


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gpu.16.lost=1", "GPU '16'"),
        ("gpu.x.lost=1", "GPU 'x'"),
        ("gpu.0.colour=red", "no such name"),
        ("node.lost=1", "gpu.N.NAME, all.NAME or driver.NAME"),
        ("driver.lost=1", "no such name"),
        ("gpu.0.lost=maybe", "'maybe' is no number"),
        ("gpu.0.lost=nan", "'nan' is no number"),
        ("all.name=" + "x" * 96, "1 to 95 printable"),
        ("all.name=", "1 to 95 printable"),
        ("gpu.0.lost", "line 1"),
        ("gpu.0.lost=2", "not from 0 to 1"),
        ("gpu.0.pcie_width=0", "not from 1 to 32"),
        ("all.tlimit_slowdown=-201", "not from -200 to 200"),
        ("gpu.0.nvlink.36.state=0", "NVLink '36'"),
        ("gpu.0.nvlink.x.state=0", "NVLink 'x'"),
        ("gpu.0.nvlink.3.temperature=0", "no such name"),
        ("gpu.0.nvlink.3=0", "no such name"),
        ("driver.nvlink.3.state=0", "no such name"),
        ("gpu.0.call.nvmlDeviceGetTemprature.error=15", "no function 'nvmlDeviceGetTemprature'"),
        ("gpu.0.call.malloc.error=15", "no function 'malloc'"),
        ("gpu.0.call.nvmlDeviceGetTemperature.colour=15", "no such name"),
        ("gpu.0.call.nvmlDeviceGetTemperature=15", "no such name"),
        ("gpu.0.call.nvmlDeviceGetTemperature.hang=2", "not from 0 to 1"),
    ],
)
def test_what_the_library_would_ignore_is_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Scenario.parse(text)


def test_a_name_cannot_smuggle_in_a_line() -> None:
    with pytest.raises(UsageError, match="printable"):
        Scenario().with_gpu(0, name="H100\nall.lost=1")


def test_an_xid_is_one_line() -> None:
    assert xid_event(3, 79) == "xid 3 79\n"


@pytest.mark.parametrize(("gpu", "code"), [(-1, 79), (16, 79), (0, 0), (0, -1), (0, 2**32)])
def test_an_xid_that_cannot_be_is_refused(gpu: int, code: int) -> None:
    with pytest.raises(UsageError):
        xid_event(gpu, code)
