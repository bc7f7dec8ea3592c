"""What one look at a node's GPUs found, as values: no NVML and no Prometheus in here."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from fleetward.exporters.events.faults import FaultTally

Values = list[float | None]
"""One number for each of SERIES in base units; None for one that this GPU or driver does not have."""


@dataclass(frozen=True)
class GpuIdentity:
    """What a GPU is; it outlives the GPU's answers, so that a lost GPU is still called by its name."""

    index: int
    """NVML's index, which `nvidia-smi` uses too; Slurm's number of a GPU may be another."""
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
class GpuProcess:
    """A process that computes on a GPU."""

    pid: int
    memory_bytes: int | None = None
    """None where the driver does not tell, as in a container of its own."""


@dataclass(frozen=True)
class GpuInstance:
    """A part of a GPU that MIG hands out as a device: a compute instance within a GPU instance."""

    gpu_instance: int
    """NVML's number of it within the GPU."""
    compute_instance: int
    """NVML's number of it within the GPU instance."""
    uuid: str
    profile: str
    """Its size as `nvidia-smi` writes it: `3g.40gb`, or `1c.3g.40gb` for a part of the GPU instance."""
    values: Values
    """One for each of MIG_SERIES."""
    processes: tuple[GpuProcess, ...] | None = None
    """None where the driver does not tell."""

    def packed(self) -> tuple[Any, ...]:
        """Return plain tuples and lists, for another process to unpack."""
        processes = None if self.processes is None else tuple((one.pid, one.memory_bytes) for one in self.processes)
        return (self.gpu_instance, self.compute_instance, self.uuid, self.profile, self.values, processes)

    @staticmethod
    def unpacked(packed: tuple[Any, ...]) -> "GpuInstance":
        """Return what `packed` was made of."""
        gpu_instance, compute_instance, uuid, profile, values, processes = packed
        their = None if processes is None else tuple(GpuProcess(*one) for one in processes)
        return GpuInstance(gpu_instance, compute_instance, uuid, profile, values, their)


@dataclass(frozen=True)
class GpuReading:
    """One look at one GPU."""

    identity: GpuIdentity
    values: Values | None
    """None for a GPU that did not answer."""
    processes: tuple[GpuProcess, ...] = ()
    failure: str = ""
    """Why it did not answer, in NVML's words."""
    taken_at: float = 0.0
    """Seconds of the monotonic clock, at the look's end."""
    seconds: float = 0.0
    """How long the look took."""
    instances: tuple[GpuInstance, ...] = ()
    """The parts into which MIG has cut it, by number."""
    processes_told: bool = True
    """Whether the driver told of processes; of a GPU that MIG has cut it may refuse to."""

    @property
    def up(self) -> bool:
        """Return whether the GPU answered."""
        return self.values is not None

    def packed(self) -> tuple[Any, ...]:
        """Return plain tuples and lists, for another process to unpack."""
        processes = tuple((one.pid, one.memory_bytes) for one in self.processes)
        instances = tuple(one.packed() for one in self.instances)
        end = (self.failure, self.taken_at, self.seconds, instances, self.processes_told)
        return (astuple(self.identity), self.values, processes, *end)

    @staticmethod
    def unpacked(packed: tuple[Any, ...]) -> "GpuReading":
        """Return what `packed` was made of."""
        identity, values, processes, failure, taken_at, seconds, instances, told = packed
        their = tuple(GpuProcess(*one) for one in processes)
        parts = tuple(GpuInstance.unpacked(one) for one in instances)
        return GpuReading(GpuIdentity(*identity), values, their, failure, taken_at, seconds, parts, told)


@dataclass(frozen=True)
class Census:
    """What the driver says of itself and of how many GPUs it has."""

    count: int = 0
    driver: str = ""
    nvml: str = ""
    cuda: str = ""
    """The newest CUDA that the driver serves, such as `12.8`."""
    failure: str = ""
    """Why it does not answer, and what to do about it."""


@dataclass(frozen=True)
class CallError:
    """A call to the driver that failed, as it is counted."""

    function: str
    """Without the prefix `nvml`."""
    code: int
    """NVML's return code."""


@dataclass(frozen=True)
class GpuJob:
    """A job that a GPU, or a part of it, works for; a word that is not known is empty."""

    index: int
    job: str
    """Slurm's number of it."""
    instance: int | None = None
    """NVML's number of the MIG instance; None for the whole GPU."""
    user: str = ""
    account: str = ""
    partition: str = ""
    array_task: str = ""
    attempt: str = ""
    """How often Slurm has put it back into the queue."""
    sluid: str = ""
    """Slurm's name of this attempt, by which cgroups are called from Slurm 26.05 on."""
    uid: str = ""
    """Number of its user."""
    uuid: str = ""
    """Of the GPU; where it is empty, the job is of the one that has the index now."""


@dataclass(frozen=True)
class ProcessOwner:
    """Whose a process is, as the kernel says."""

    uid: int
    """Of the user who started it."""
    job: str = ""
    """Slurm's number of the job in whose control group it is; empty where there is none, or only `sluid` is known."""
    sluid: str = ""
    state: str = ""
    """One letter; D cannot be ended."""


@dataclass(frozen=True)
class Snapshot:
    """What a scrape is answered from."""

    gpus: tuple[GpuReading, ...]
    """By index; a GPU that was seen once stays, without values where it does not answer now."""
    census: Census = Census()
    looks: int = 0
    errors: Mapping[CallError, int] = field(default_factory=dict)
    killed: int = 0
    """Processes that hung in the driver and were killed."""
    faults: FaultTally = field(default_factory=FaultTally)
    jobs: tuple[GpuJob, ...] = ()
    job_map_errors: int = 0
    """What was wrong in the job map so far."""
    released_until: float | None = None
    """The Unix time until which the GPUs are released: `gpus` then tells only which ones are known."""
    owners: Mapping[int, ProcessOwner] | None = None
    """Of the processes on the GPUs, without those that have ended; None where that cannot be seen."""
