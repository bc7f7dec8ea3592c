"""The GPUs of this node as NVML shows them, within one process: use it where a driver that hangs may be waited for."""

import time
from collections import Counter
from itertools import chain

import pynvml

from fleetward.exporters.gpu.nvml_calls import Calls, GpuGoneError, NvmlObject
from fleetward.exporters.gpu.questions import processes_on
from fleetward.exporters.gpu.readings import CallError, Census, GpuIdentity, GpuInstance, GpuProcess, GpuReading
from fleetward.exporters.gpu.sampling import GpuLook
from fleetward.model.errors import OutOfReachError

WHAT_TO_DO = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        "libnvidia-ml.so.1 is not on this host: install NVIDIA's driver (in the lab, run the role gpu_simulator)"
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the kernel has no NVIDIA driver: load it with `modprobe nvidia`",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA library and the kernel driver are of different versions: reboot the node or reload the driver"
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not open /dev/nvidiactl: run as a user who may",
}


class Nvml:
    """Asks NVML from one thread; raises OutOfReachError where the library or the driver is not there at the start."""

    def __init__(self) -> None:
        """Open NVML."""
        self.errors: Counter[CallError] = Counter()
        self._missing: set[str] = set()
        self._known: dict[str, GpuIdentity] = {}
        self._at: dict[int, GpuIdentity] = {}
        self._looks: dict[str, GpuLook] = {}
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            todo = WHAT_TO_DO.get(error.value, "see `dmesg` for what the driver says")
            raise OutOfReachError(f"NVML does not answer ({error}): {todo}") from error

    def census(self) -> Census:
        """Ask how many GPUs there are, and which driver."""
        calls = Calls(self._missing)
        try:
            cuda = int(calls.get("nvmlSystemGetCudaDriverVersion") or 0)
            return Census(
                count=int(calls.get("nvmlDeviceGetCount") or 0),
                driver=str(calls.get("nvmlSystemGetDriverVersion") or ""),
                nvml=str(calls.get("nvmlSystemGetNVMLVersion") or ""),
                cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
            )
        except GpuGoneError as gone:
            return Census(failure=f"NVML does not answer ({gone}): {WHAT_TO_DO.get(gone.code, 'see `dmesg`')}")
        finally:
            self.errors.update(calls.errors)

    def look(self, index: int) -> GpuReading:
        """Look at one GPU; one that does not answer has no values, and nothing is raised for it."""
        calls = Calls(self._missing)
        begun = time.monotonic()
        reading = self._look(calls, index, begun)
        self.errors.update(calls.errors)
        return reading

    def look_at_all(self) -> tuple[Census, tuple[GpuReading, ...]]:
        """Look at every GPU that the driver lists."""
        census = self.census()
        return census, tuple(self.look(index) for index in range(census.count))

    def close(self) -> None:
        """Shut NVML down."""
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            return  # the driver is gone: there is nothing left to let go of

    def _look(self, calls: Calls, index: int, begun: float) -> GpuReading:
        try:
            handle = calls.get("nvmlDeviceGetHandleByIndex", index)
            uuid = None if handle is None else calls.get("nvmlDeviceGetUUID", handle)
            if uuid is None:
                return self._unanswered(index, "the driver gives no handle for it", begun)
            identity = self._identity(calls, handle, index, str(uuid))
            if identity.uuid not in self._looks:
                self._looks[identity.uuid] = GpuLook(identity.nvlinks)
            look = self._looks[identity.uuid]
            values, processes = look.values(calls, handle), processes_on(calls, handle)
            instances = look.instances(calls, handle)
        except GpuGoneError as gone:
            return self._unanswered(index, str(gone), begun)
        if processes is None:
            processes = _of_all(instances)
        ended = time.monotonic()
        return GpuReading(
            identity,
            values,
            processes or (),
            taken_at=ended,
            seconds=ended - begun,
            instances=instances,
            processes_told=processes is not None,
        )

    def _identity(self, calls: Calls, handle: NvmlObject, index: int, uuid: str) -> GpuIdentity:
        known = self._known.get(uuid)
        if known is None or known.index != index:
            known = _read_identity(calls, handle, index, uuid)
        self._known[uuid] = self._at[index] = known
        return known

    def _unanswered(self, index: int, failure: str, begun: float) -> GpuReading:
        identity, ended = self._at.get(index) or GpuIdentity(index, ""), time.monotonic()
        return GpuReading(identity, None, failure=failure, taken_at=ended, seconds=ended - begun)


def kernel_bus_id(bus_id: str) -> str:
    """Turn NVML's `00000000:1B:00.0` into the kernel's `0000:1b:00.0`."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain[-4:]}:{rest}" if len(domain) == 8 and domain.startswith("0000") else bus_id.lower()


def _read_identity(calls: Calls, handle: NvmlObject, index: int, uuid: str) -> GpuIdentity:
    """Ask what a GPU is; one that lacks a serial number, say, has an empty one."""
    bus = calls.get("nvmlDeviceGetPciInfo", handle)
    links = calls.get("nvmlDeviceGetFieldValues", handle, [pynvml.NVML_FI_DEV_NVLINK_LINK_COUNT])
    return GpuIdentity(
        index=index,
        uuid=uuid,
        model=str(calls.get("nvmlDeviceGetName", handle) or ""),
        serial=str(calls.get("nvmlDeviceGetSerial", handle) or ""),
        pci_bus_id=kernel_bus_id(str(bus.busId)) if bus is not None else "",
        minor_number=calls.get("nvmlDeviceGetMinorNumber", handle),
        vbios_version=str(calls.get("nvmlDeviceGetVbiosVersion", handle) or ""),
        nvlinks=int(links[0].value.uiVal) if links is not None and links[0].nvmlReturn == pynvml.NVML_SUCCESS else 0,
    )


def _of_all(instances: tuple[GpuInstance, ...]) -> tuple[GpuProcess, ...] | None:
    """Return the processes of a GPU that tells of them by instance alone; None where one of these does not either."""
    by_instance = [one.processes for one in instances if one.processes is not None]
    return tuple(chain.from_iterable(by_instance)) if by_instance and len(by_instance) == len(instances) else None
