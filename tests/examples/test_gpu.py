"""A rank holds its GPU's device file open, and learns of the loss of the GPU from what it sees."""

import os
import time
from pathlib import Path

import gpu
import pytest
from ends import GpuLostError, SetupError
from gpu import DeviceFile, GpuWatch


class PlayedReader:
    """Answers until it is told that the GPU is lost, or to hang."""

    def __init__(self) -> None:
        self.lost = False
        self.hangs_for = 0.0

    def uuid(self) -> str:
        return "GPU-1"

    def ask(self) -> None:
        time.sleep(self.hangs_for)
        if self.lost:
            raise GpuLostError("GPU 0 is lost: NVML says GPU is lost")


@pytest.fixture
def device(tmp_path: Path) -> DeviceFile:
    (tmp_path / "nvidia0").touch()
    return DeviceFile(0, f"{tmp_path}/nvidia")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "WATCH_SECONDS", 0.01)


def never(reason: str) -> None:
    raise AssertionError(reason)


def test_the_device_is_held_open_until_the_end(device: DeviceFile) -> None:
    def held() -> bool:
        links = [Path(link) for link in os.scandir("/proc/self/fd")]
        return any(link.is_symlink() and link.readlink() == device.path for link in links)

    with GpuWatch(device, PlayedReader(), never):
        assert held()
    assert not held()


def test_a_loss_wakes_a_rank_that_sleeps(device: DeviceFile) -> None:
    reader = PlayedReader()
    with GpuWatch(device, reader, never) as watch:
        watch.sleep(0.05)
        reader.lost = True
        began = time.monotonic()
        with pytest.raises(GpuLostError, match="NVML says GPU is lost"):
            watch.sleep(30)
        assert time.monotonic() - began < 5
        with pytest.raises(GpuLostError):
            watch.check()


def test_a_gpu_lost_before_the_start_is_refused(device: DeviceFile) -> None:
    reader = PlayedReader()
    reader.lost = True
    with pytest.raises(GpuLostError), GpuWatch(device, reader, never):
        pass


def test_a_vanished_or_replaced_device_file_is_a_loss(device: DeviceFile) -> None:
    device.check()
    device.path.rename(device.path.with_name("aside"))
    with pytest.raises(GpuLostError, match="nvidia0 has vanished"):
        device.check()
    device.path.touch()
    with pytest.raises(GpuLostError, match="nvidia0 has been replaced"):
        device.check()


def test_a_rank_that_does_not_leave_is_ended(device: DeviceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LEAVE_SECONDS", 0.1)
    reader, ended = PlayedReader(), list[str]()
    with GpuWatch(device, reader, ended.append):
        reader.lost = True
        time.sleep(0.5)  # stands for a call that never returns
    assert ended == ["GPU 0 is lost: NVML says GPU is lost"]


def test_a_driver_that_never_answers_counts_as_lost(device: DeviceFile) -> None:
    reader, now = PlayedReader(), [0.0]
    with GpuWatch(device, reader, never, clock=lambda: now[0]) as watch:
        reader.hangs_for = 0.2
        time.sleep(0.1)
        now[0] = 29.0
        watch.check()
        now[0] = 31.0
        with pytest.raises(GpuLostError, match="has not answered for"):
            watch.check()


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"/nvidia7 cannot be opened: No such file"):
        DeviceFile(7, f"{tmp_path}/nvidia")
