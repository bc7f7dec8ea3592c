"""What one GPU is and does, as NVML tells it: each call, and what its answer means in base units."""

import pynvml

from fleetward.exporters.gpu.nvml_calls import Calls, NvmlObject
from fleetward.exporters.gpu.readings import GpuIdentity, GpuValues

FIELDS = {
    "ecc_corrected": pynvml.NVML_FI_DEV_ECC_SBE_VOL_TOTAL,
    "ecc_uncorrected": pynvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL,
    "ecc_lifetime_corrected": pynvml.NVML_FI_DEV_ECC_SBE_AGG_TOTAL,
    "ecc_lifetime_uncorrected": pynvml.NVML_FI_DEV_ECC_DBE_AGG_TOTAL,
    "memory_temperature_celsius": pynvml.NVML_FI_DEV_MEMORY_TEMP,
    "pcie_replays": pynvml.NVML_FI_DEV_PCIE_REPLAY_COUNTER,
    "remapped_rows_corrected": pynvml.NVML_FI_DEV_REMAPPED_COR,
    "remapped_rows_uncorrected": pynvml.NVML_FI_DEV_REMAPPED_UNC,
    "row_remap_pending": pynvml.NVML_FI_DEV_REMAPPED_PENDING,
    "row_remap_failed": pynvml.NVML_FI_DEV_REMAPPED_FAILURE,
    "recovery_action": pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION,
}
"""Names of `GpuValues` that one batched call fetches, with their field ids."""

LINK_FIELDS = {
    "nvlinks_active": pynvml.NVML_FI_DEV_NVLINK_GET_STATE,
    "nvlink_replay_errors": pynvml.NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY,
    "nvlink_recovery_errors": pynvml.NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY,
    "nvlink_crc_errors": pynvml.NVML_FI_DEV_NVLINK_ERROR_DL_CRC,
}
"""As above, asked for each link and summed up over the links that answer."""

_MEMBER_OF_TYPE = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}


def read_identity(calls: Calls, handle: NvmlObject, index: int, uuid: str) -> GpuIdentity:
    """Ask what a GPU is; one that lacks a serial number, say, has an empty one."""
    bus = calls.get("nvmlDeviceGetPciInfo", handle)
    return GpuIdentity(
        index=index,
        uuid=uuid,
        model=str(calls.get("nvmlDeviceGetName", handle) or ""),
        serial=str(calls.get("nvmlDeviceGetSerial", handle) or ""),
        pci_bus_id=kernel_bus_id(str(bus.busId)) if bus is not None else "",
        minor_number=calls.get("nvmlDeviceGetMinorNumber", handle),
        vbios_version=str(calls.get("nvmlDeviceGetVbiosVersion", handle) or ""),
        nvlinks=int(_fields(calls, handle, [(pynvml.NVML_FI_DEV_NVLINK_LINK_COUNT, 0)])[0] or 0),
    )


def kernel_bus_id(bus_id: str) -> str:
    """Turn NVML's `00000000:1B:00.0` into the kernel's `0000:1b:00.0`."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain[-4:]}:{rest}" if len(domain) == 8 and domain.startswith("0000") else bus_id.lower()


def process_ids(calls: Calls, handle: NvmlObject) -> tuple[int, ...]:
    """Return the ids of the processes that compute on a GPU, in NVML's order."""
    processes = calls.get("nvmlDeviceGetComputeRunningProcesses", handle) or ()
    return tuple(int(process.pid) for process in processes)


def read_values(calls: Calls, handle: NvmlObject, nvlinks: int) -> GpuValues:
    """Ask for every number of one GPU."""
    utilization = calls.get("nvmlDeviceGetUtilizationRates", handle)
    memory = calls.get("nvmlDeviceGetMemoryInfo", handle, pynvml.nvmlMemory_v2)
    ecc_mode = calls.get("nvmlDeviceGetEccMode", handle)
    mig_mode = calls.get("nvmlDeviceGetMigMode", handle)
    return GpuValues(
        utilization_ratio=_scaled(utilization and utilization.gpu, 0.01),
        memory_utilization_ratio=_scaled(utilization and utilization.memory, 0.01),
        temperature_celsius=_scaled(calls.get("nvmlDeviceGetTemperature", handle, pynvml.NVML_TEMPERATURE_GPU), 1),
        power_watts=_scaled(calls.get("nvmlDeviceGetPowerUsage", handle), 1e-3),
        power_limit_watts=_scaled(calls.get("nvmlDeviceGetEnforcedPowerLimit", handle), 1e-3),
        energy_joules=_scaled(calls.get("nvmlDeviceGetTotalEnergyConsumption", handle), 1e-3),
        memory_total_bytes=_scaled(memory and memory.total, 1),
        memory_used_bytes=_scaled(memory and memory.used, 1),
        memory_reserved_bytes=_scaled(memory and memory.reserved, 1),
        sm_clock_hertz=_scaled(calls.get("nvmlDeviceGetClockInfo", handle, pynvml.NVML_CLOCK_SM), 1e6),
        sm_clock_max_hertz=_scaled(calls.get("nvmlDeviceGetMaxClockInfo", handle, pynvml.NVML_CLOCK_SM), 1e6),
        memory_clock_hertz=_scaled(calls.get("nvmlDeviceGetClockInfo", handle, pynvml.NVML_CLOCK_MEM), 1e6),
        clock_event_reasons=calls.get("nvmlDeviceGetCurrentClocksEventReasons", handle),
        pcie_link_generation=_scaled(calls.get("nvmlDeviceGetCurrPcieLinkGeneration", handle), 1),
        pcie_link_generation_max=_scaled(calls.get("nvmlDeviceGetMaxPcieLinkGeneration", handle), 1),
        pcie_link_width=_scaled(calls.get("nvmlDeviceGetCurrPcieLinkWidth", handle), 1),
        pcie_link_width_max=_scaled(calls.get("nvmlDeviceGetMaxPcieLinkWidth", handle), 1),
        ecc_enabled=_scaled(ecc_mode and ecc_mode[0], 1),
        mig_enabled=_scaled(mig_mode and mig_mode[0], 1),
        persistence_enabled=_scaled(calls.get("nvmlDeviceGetPersistenceMode", handle), 1),
        **_batched(calls, handle, nvlinks),
    )


def _batched(calls: Calls, handle: NvmlObject, nvlinks: int) -> dict[str, float | None]:
    asked = [(field, 0) for field in FIELDS.values()]
    asked += [(field, link) for field in LINK_FIELDS.values() for link in range(nvlinks)]
    answers = _fields(calls, handle, asked)
    values = dict(zip(FIELDS, answers, strict=False))
    for place, name in enumerate(LINK_FIELDS):
        begin = len(FIELDS) + place * nvlinks
        answered = [answer for answer in answers[begin : begin + nvlinks] if answer is not None]
        values[name] = sum(answered) if answered else None
    return values


def _fields(calls: Calls, handle: NvmlObject, asked: list[tuple[int, int]]) -> list[float | None]:
    """Return the values of (field, scope) pairs in one call; None for each that this GPU does not have."""
    answers = calls.get("nvmlDeviceGetFieldValues", handle, asked)
    if answers is None:
        return [None] * len(asked)
    return [_field_value(answer) for answer in answers]


def _field_value(answer: NvmlObject) -> float | None:
    member = _MEMBER_OF_TYPE.get(answer.valueType)
    if answer.nvmlReturn != pynvml.NVML_SUCCESS or member is None:
        return None
    return float(getattr(answer.value, member))


def _scaled(value: float | None, factor: float) -> float | None:
    """Return a number in base units; None stays None."""
    return None if value is None else float(value) * factor
