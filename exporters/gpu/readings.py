"""What one look at a node's GPUs found, as values: no NVML and no Prometheus in here."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class GpuIdentity:
    """What a GPU is; it outlives the GPU's answers, so that a lost GPU is still called by its name."""

    index: int
    """NVML's index, which Slurm and `nvidia-smi` use too."""
    uuid: str
    """Empty where the GPU has not answered since this program began."""
    model: str = ""
    serial: str = ""
    pci_bus_id: str = ""
    """As the kernel writes it, lower case with a four-digit domain: `0000:1b:00.0`."""
    minor_number: int | None = None
    """The N of /dev/nvidiaN."""
    vbios_version: str = ""
    nvlinks: int = 0
    """How many NVLinks it has, in use or not."""


@dataclass(frozen=True)
class GpuValues:
    """The numbers of one GPU in base units; None for one that this GPU or driver does not have."""

    utilization_ratio: float | None = None
    memory_utilization_ratio: float | None = None
    """Share of the time in which the memory was read or written, not how full it is."""
    temperature_celsius: float | None = None
    memory_temperature_celsius: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    energy_joules: float | None = None
    memory_total_bytes: float | None = None
    memory_used_bytes: float | None = None
    """By programs: what the driver reserves is not in it."""
    memory_reserved_bytes: float | None = None
    sm_clock_hertz: float | None = None
    sm_clock_max_hertz: float | None = None
    memory_clock_hertz: float | None = None
    clock_event_reasons: int | None = None
    """NVML's bit mask of why clocks are below their highest."""
    ecc_corrected: float | None = None
    """Since the driver was loaded, as is the next one."""
    ecc_uncorrected: float | None = None
    ecc_lifetime_corrected: float | None = None
    ecc_lifetime_uncorrected: float | None = None
    remapped_rows_corrected: float | None = None
    remapped_rows_uncorrected: float | None = None
    row_remap_pending: float | None = None
    row_remap_failed: float | None = None
    pcie_replays: float | None = None
    pcie_link_generation: float | None = None
    pcie_link_generation_max: float | None = None
    pcie_link_width: float | None = None
    pcie_link_width_max: float | None = None
    nvlinks_active: float | None = None
    nvlink_replay_errors: float | None = None
    nvlink_recovery_errors: float | None = None
    nvlink_crc_errors: float | None = None
    ecc_enabled: float | None = None
    mig_enabled: float | None = None
    persistence_enabled: float | None = None
    recovery_action: float | None = None
    """0 none, 1 GPU reset, 2 node reboot, 3 drain of peers, 4 drain and reset, and later ones."""


@dataclass(frozen=True)
class GpuReading:
    """One GPU in one sweep."""

    identity: GpuIdentity
    values: GpuValues | None
    """None for a GPU that did not answer."""
    process_ids: tuple[int, ...] = ()
    failure: str = ""
    """Why it did not answer, in NVML's words."""

    @property
    def up(self) -> bool:
        """Return whether the GPU answered."""
        return self.values is not None


@dataclass(frozen=True)
class DriverVersions:
    """What runs below the GPUs."""

    driver: str = ""
    nvml: str = ""
    cuda: str = ""
    """The newest CUDA that the driver serves, such as `12.8`."""


@dataclass(frozen=True)
class CallError:
    """A call to the driver that failed, as it is counted."""

    function: str
    """Without the prefix `nvml`."""
    code: int
    """NVML's return code."""


@dataclass(frozen=True)
class Sweep:
    """One look at all GPUs of the node."""

    gpus: tuple[GpuReading, ...]
    versions: DriverVersions = DriverVersions()
    errors: tuple[CallError, ...] = ()


@dataclass(frozen=True)
class XidEvent:
    """A fault that the driver reported on one GPU; events that are equal are counted together."""

    index: int
    uuid: str
    xid: int


@dataclass(frozen=True)
class Snapshot:
    """What a scrape is answered from: the last sweep, the counts since the start, and when the sweep was made."""

    sweep: Sweep
    taken_at: float
    """Seconds of the monotonic clock, at the sweep's end."""
    duration_seconds: float
    sweeps: int
    xids: Mapping[XidEvent, int] = field(default_factory=dict)
    errors: Mapping[CallError, int] = field(default_factory=dict)
    kernel_log_readable: bool = False
    """Whether XIDs are read from the kernel's log too."""
    strange_xids: int = 0
    """XIDs in the kernel's log of an address at which no GPU has been seen."""
