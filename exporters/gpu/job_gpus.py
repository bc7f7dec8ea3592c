"""Which GPU is meant by a number of Slurm's, by a UUID, or by a MIG instance's.

Slurm's number of a GPU (SLURM_JOB_GPUS) is its place among the devices that slurmd knows, counted from 0: as gres.conf
lists the files, which is the N of /dev/nvidiaN where it lists them from 0 on, or, with AutoDetect=nvml, in the order of
NVML, which is that of the PCI bus (Slurm 24.11 to 26.05, src/plugins/gres/common/gres_common.c and
src/plugins/gres/gpu/gres_gpu.c). N and NVML's index differ on many boards, and part ways where a GPU is lost.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from fleetward.exporters.gpu.readings import GpuIdentity, GpuReading
from fleetward.model.node_settings import GpuNumbers


@dataclass(frozen=True)
class SlurmDevice:
    """What Slurm gave to a job: a number, and a name where it knows one."""

    number: int | None = None
    instance: int | None = None
    """NVML's number of the MIG instance; None for the whole GPU, or where the name says which."""
    uuid: str = ""
    """Of a GPU (`GPU-...`) or of a MIG instance (`MIG-...`); it says more than the number."""

    def __str__(self) -> str:
        """Return what Slurm calls it: `3`, `3.1`, or the UUID where it has no number."""
        if self.number is None:
            return self.uuid
        return str(self.number) if self.instance is None else f"{self.number}.{self.instance}"


class SlurmGpus:
    """The GPUs of one moment, to be found by what Slurm calls them."""

    def __init__(self, gpus: Iterable[GpuReading], numbers: GpuNumbers) -> None:
        """Prefer a GPU that answers to one that is gone and has left its place to another."""
        known = sorted(gpus, key=lambda one: one.up)
        self._by_index = {one.identity.index: one.identity for one in known}
        self._by_minor = {one.identity.minor_number: one.identity for one in known}
        self._by_uuid = {one.identity.uuid: one.identity for one in known if one.identity.uuid}
        self._instances = {part.uuid: (one.identity, part.gpu_instance) for one in known for part in one.instances}
        self._numbers = numbers

    def find(self, device: SlurmDevice) -> tuple[GpuIdentity, int | None] | None:
        """Return the GPU, and which MIG instance of it; None where it is not there."""
        if device.uuid.startswith("MIG-"):
            return self._instances.get(device.uuid)
        identity = self._by_uuid.get(device.uuid) if device.uuid else self._numbered(device.number)
        return None if identity is None else (identity, device.instance)

    def _numbered(self, number: int | None) -> GpuIdentity | None:
        if number is None:
            return None
        at_index = self._by_index.get(number)
        if self._numbers is GpuNumbers.INDEX:
            return at_index
        unknown = at_index if at_index is not None and at_index.minor_number is None else None
        return self._by_minor.get(number, unknown)
