"""The GPU of one rank: held open through its device file, and watched through NVML."""

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ends import Exit, GpuLostError, SetupError

DEVICES = "/dev/nvidia"
"""Path of the device files, without the GPU's number; FLEETWARD_GPU_DEVICES puts another in its place."""
WATCH_SECONDS = 0.5
SILENT_SECONDS = 30.0
"""A driver call that has not returned after so long never will: the GPU's firmware has stopped (XID 119)."""
LEAVE_SECONDS = 5.0


class GpuReader(Protocol):
    """What is asked of NVML about one GPU."""

    def uuid(self) -> str:
        """Return the GPU's UUID."""

    def ask(self) -> None:
        """Ask the GPU something harmless. Raises GpuLostError where it cannot answer any more."""


class NvmlReader:
    """Reads one GPU through pynvml. Raises SetupError where there is no driver or no such GPU."""

    def __init__(self, minor: int) -> None:
        import pynvml

        self._nvml = pynvml
        self._minor = minor
        # What NVML says once a GPU is gone: it names it lost, no longer finds it, or finds only errors.
        self._lost = (
            pynvml.NVML_ERROR_GPU_IS_LOST,
            pynvml.NVML_ERROR_NOT_FOUND,
            pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
            pynvml.NVML_ERROR_RESET_REQUIRED,
            pynvml.NVML_ERROR_UNKNOWN,
        )
        try:
            pynvml.nvmlInit()
            self._handle = self._find(minor)
        except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError) as error:
            raise SetupError(f"NVML does not work here: {error}") from error

    def _find(self, minor: int) -> object:
        """Return the handle of the GPU whose device file has this number: NVML's own order may differ."""
        for index in range(self._nvml.nvmlDeviceGetCount()):
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                if self._nvml.nvmlDeviceGetMinorNumber(handle) == minor:
                    return handle
            except self._nvml.NVMLError as error:
                if error.value not in self._lost:
                    raise
        raise GpuLostError(f"NVML knows no GPU with the number {minor}: it is lost")

    def uuid(self) -> str:
        """Return the GPU's UUID."""
        try:
            uuid: str | bytes = self._nvml.nvmlDeviceGetUUID(self._handle)
        except self._nvml.NVMLError as error:
            raise GpuLostError(f"NVML: {error}") from error
        return uuid if isinstance(uuid, str) else uuid.decode()

    def ask(self) -> None:
        """Read the temperature, which every GPU has."""
        try:
            self._nvml.nvmlDeviceGetTemperature(self._handle, self._nvml.NVML_TEMPERATURE_GPU)
        except self._nvml.NVMLError as error:
            if error.value in self._lost:
                raise GpuLostError(f"GPU {self._minor} is lost: NVML says {error}") from error


class DeviceFile:
    """The device file of one GPU, open from now to `close`."""

    def __init__(self, minor: int, devices: str = DEVICES) -> None:
        self.path = Path(f"{devices}{minor}")
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            raise SetupError(f"{self.path} cannot be opened: {error.strerror}") from error
        self._opened = os.fstat(self._descriptor)

    def check(self) -> None:
        """Raise GpuLostError where the path no longer leads to what is held open."""
        try:
            now = self.path.stat()
        except OSError as error:
            raise GpuLostError(f"{self.path} has vanished: {error.strerror}") from error
        same = now.st_rdev == self._opened.st_rdev if stat.S_ISCHR(now.st_mode) else now.st_ino == self._opened.st_ino
        if not same or stat.S_IFMT(now.st_mode) != stat.S_IFMT(self._opened.st_mode):
            raise GpuLostError(f"{self.path} has been replaced by another device")

    def close(self) -> None:
        """Let the GPU go."""
        os.close(self._descriptor)


class GpuWatch:
    """Looks at the GPU from a thread while the training runs; a context manager.

    `on_stuck` ends the process where the rank does not leave by itself after its GPU is lost.
    """

    def __init__(
        self,
        device: DeviceFile,
        reader: GpuReader,
        on_stuck: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._reader = reader
        self._on_stuck = on_stuck
        self._clock = clock
        self._answered = clock()
        self._reason: str | None = None
        self._lost = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look, name="gpu-watch", daemon=True)

    def __enter__(self) -> Self:
        """Look once, then go on looking in the background."""
        self._device.check()
        self._reader.ask()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop looking and let the GPU go."""
        self._closed.set()
        self._thread.join(timeout=2 * WATCH_SECONDS)
        self._device.close()

    def check(self) -> None:
        """Raise GpuLostError if the GPU has been lost, or its driver has been silent for SILENT_SECONDS."""
        if self._reason is not None:
            raise GpuLostError(self._reason)
        silent = self._clock() - self._answered
        if silent > SILENT_SECONDS:
            raise GpuLostError(f"the driver of {self._device.path} has not answered for {silent:.0f} s")

    def sleep(self, seconds: float) -> None:
        """Sleep, but not past the loss of the GPU. Raises GpuLostError."""
        if seconds > 0:
            self._lost.wait(seconds)
        self.check()

    def _look(self) -> None:
        while not self._closed.wait(WATCH_SECONDS):
            try:
                self._device.check()
                self._reader.ask()
            except GpuLostError as error:
                self._reason = str(error)
                self._lost.set()
                if not self._closed.wait(LEAVE_SECONDS):
                    self._on_stuck(self._reason)
                return
            self._answered = self._clock()


def end_now(reason: str) -> None:
    """End the process at once, as CUDA ends one that waits on a lost GPU."""
    print(f"{reason}; the rank is stuck and ends now", flush=True)
    os._exit(Exit.GPU_LOST)
