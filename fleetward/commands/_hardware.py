"""Which hardware a job will get, by the inventory: NCCL's variables follow from it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fleetward.commands._daemon import settings
from fleetward.model.errors import FleetwardError

if TYPE_CHECKING:
    from fleetward.model.fleet import Fleet, HardwareProfile
    from fleetward.slurm.jobs.spec import JobSpec


def hardware_of(job: "JobSpec", inventory: Path | None, note: Callable[[str], None]) -> "HardwareProfile | None":
    """Return the hardware that an inventory declares for a job; None where it is not one kind, or not known.

    An inventory that was typed must be readable; the one that is set (daemon.inventory) may be gone.
    """
    from fleetward.model.inventory import read_fleet

    if inventory is not None:
        return profile_of_nodes(job, read_fleet(inventory))
    usual = settings().daemon.inventory
    if not job.nccl or not usual or not Path(usual).exists():
        return None
    try:
        return profile_of_nodes(job, read_fleet(Path(usual)))
    except FleetwardError as error:
        note(f"NCCL's variables are not set: {error}")
        return None


def profile_of_nodes(spec: "JobSpec", fleet: "Fleet") -> "HardwareProfile | None":
    """Return the hardware of the nodes that a job will get; None where that is not one kind, or not known."""
    named = [one for one in fleet.partitions if spec.partition in (None, one.name)]
    chosen = [one for one in named if spec.partition or one.parameters.get("Default", "").upper() == "YES"]
    profiles = {node.profile for one in chosen for name in one.nodes if (node := fleet.nodes.get(name)) is not None}
    kind, colon, _ = (spec.gpus_per_node or "").partition(":")
    fitting = {one for one in profiles if one is not None and one.gpu and (not colon or one.gpu.model == kind)}
    return fitting.pop() if len(fitting) == 1 else None
