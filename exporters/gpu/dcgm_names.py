"""The names that dcgm-exporter gives to what is read of a GPU: its default set, with its types and units.

Source: dcgm-exporter 4.5.3, etc/default-counters.csv; units from DCGM 4.6, dcgm_fields.h and DcgmCacheManager.cpp. DCGM
renames fields from time to time and keeps their numbers. DCGM_FI_DEV_VGPU_LICENSE_STATUS (526) is left out: nothing
that is read here tells of licences for virtual GPUs.
"""

from dataclasses import dataclass

_MEGAHERTZ = 1e-6
_MIB = 1 / 1024**2
_PERCENT = 100.0
_MILLIJOULES = 1e3
_MEGABYTES = 1 / (1024 * 1000)
"""Megabytes as DCGM has them here: it divides NVML's KiB by 1000."""


@dataclass(frozen=True, slots=True)
class DcgmName:
    """One metric of dcgm-exporter."""

    name: str
    field: int
    """DCGM's number of it."""
    keys: tuple[str, ...]
    """Which of SERIES are added up for it, by their keys; empty for the last XID, which is none of them."""
    help: str
    factor: float = 1.0
    """What base units are multiplied with to get theirs."""
    counter: bool = False
    instance_keys: tuple[str, ...] | None = None
    """Which of MIG_SERIES it is made of for a MIG instance, empty where it has none; where it is None, the number of
    the whole GPU stands for each of its instances, as DCGM resolves it (DcgmCacheManager.cpp, practical entities)."""


XID_ERRORS = DcgmName("DCGM_FI_DEV_XID_ERRORS", 230, (), "Number of the last XID, 0 before the first.")

DCGM_NAMES: tuple[DcgmName, ...] = (
    DcgmName("DCGM_FI_DEV_SM_CLOCK", 100, ("gpu_sm_clock_hertz",), "Clock of the SMs in MHz.", _MEGAHERTZ),
    DcgmName("DCGM_FI_DEV_MEM_CLOCK", 101, ("gpu_memory_clock_hertz",), "Clock of the memory in MHz.", _MEGAHERTZ),
    DcgmName(
        "DCGM_FI_DEV_MEMORY_TEMP", 140, ("gpu_memory_temperature_celsius",), "Temperature of the memory in Celsius."
    ),
    DcgmName("DCGM_FI_DEV_GPU_TEMP", 150, ("gpu_temperature_celsius",), "Temperature of the core in Celsius."),
    DcgmName("DCGM_FI_DEV_POWER_USAGE", 155, ("gpu_power_watts",), "Power drawn in watts."),
    DcgmName(
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        156,
        ("gpu_energy_joules_total",),
        "Energy taken since the driver was loaded, in millijoules.",
        _MILLIJOULES,
        counter=True,
    ),
    DcgmName(
        "DCGM_FI_DEV_PCIE_REPLAY_COUNTER",
        202,
        ("gpu_pcie_replay_total",),
        "Packets sent again on the PCIe link.",
        counter=True,
    ),
    DcgmName(
        "DCGM_FI_DEV_GPU_UTIL", 203, ("gpu_utilization_ratio",), "Time in which a kernel ran, in percent.", _PERCENT
    ),
    DcgmName(
        "DCGM_FI_DEV_MEM_COPY_UTIL",
        204,
        ("gpu_memory_utilization_ratio",),
        "Time in which memory was read or written, in percent.",
        _PERCENT,
    ),
    DcgmName(
        "DCGM_FI_DEV_ENC_UTIL",
        206,
        ("gpu_engine_utilization_ratio.encoder",),
        "Time in which the encoder ran, in percent.",
        _PERCENT,
    ),
    DcgmName(
        "DCGM_FI_DEV_DEC_UTIL",
        207,
        ("gpu_engine_utilization_ratio.decoder",),
        "Time in which the decoder ran, in percent.",
        _PERCENT,
    ),
    XID_ERRORS,
    DcgmName(
        "DCGM_FI_DEV_FB_FREE",
        251,
        ("gpu_memory_free_bytes",),
        "Memory that is free, in MiB.",
        _MIB,
        instance_keys=("gpu_mig_memory_free_bytes",),
    ),
    DcgmName(
        "DCGM_FI_DEV_FB_USED",
        252,
        ("gpu_memory_used_bytes",),
        "Memory that programs hold, in MiB.",
        _MIB,
        instance_keys=("gpu_mig_memory_used_bytes",),
    ),
    DcgmName(
        "DCGM_FI_DEV_FB_RESERVED",
        253,
        ("gpu_memory_reserved_bytes",),
        "Memory that the driver keeps for itself, in MiB.",
        _MIB,
        instance_keys=("gpu_mig_memory_reserved_bytes",),
    ),
    DcgmName(
        "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
        449,
        ("gpu_traffic_bytes_per_second.nvlink_tx", "gpu_traffic_bytes_per_second.nvlink_rx"),
        "Traffic over all NVLinks, both ways, in MB/s: a rate, though its type says otherwise.",
        _MEGABYTES,
        counter=True,
    ),
    DcgmName(
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
        393,
        ("gpu_remapped_rows.uncorrected",),
        "Memory rows replaced after uncorrectable errors.",
        counter=True,
    ),
    DcgmName(
        "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS",
        394,
        ("gpu_remapped_rows.corrected",),
        "Memory rows replaced after correctable errors.",
        counter=True,
    ),
    DcgmName("DCGM_FI_DEV_ROW_REMAP_FAILURE", 395, ("gpu_row_remap_failed",), "1 where a row could not be replaced."),
    DcgmName(
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        1001,
        ("gpu_active_ratio.graphics",),
        "Share of time the engines worked.",
        instance_keys=("gpu_mig_active_ratio.graphics",),
    ),
    DcgmName(
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
        1004,
        ("gpu_active_ratio.tensor",),
        "Share of time the tensor cores worked.",
        instance_keys=("gpu_mig_active_ratio.tensor",),
    ),
    DcgmName(
        "DCGM_FI_PROF_DRAM_ACTIVE",
        1005,
        ("gpu_active_ratio.dram",),
        "Share of time the memory was at work.",
        instance_keys=("gpu_mig_active_ratio.dram",),
    ),
    DcgmName(
        "DCGM_FI_PROF_PCIE_TX_BYTES",
        1009,
        ("gpu_traffic_bytes_per_second.pcie_tx",),
        "Bytes per second sent over PCIe.",
        instance_keys=(),
    ),
    DcgmName(
        "DCGM_FI_PROF_PCIE_RX_BYTES",
        1010,
        ("gpu_traffic_bytes_per_second.pcie_rx",),
        "Bytes per second received over PCIe.",
        instance_keys=(),
    ),
)
"""In the order of their page."""
