"""A Slurm that others configure: its nodes are watched from here, and nothing of it is rendered or set up.

Being in the group ADOPTED_GROUP is what says so. `fleetward adopt` writes such inventories.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from fleetward.model.fleet import CONTROLLER_GROUP, DATABASE_GROUP, SLURM_NODE_GROUP, Fleet, GpuProfile
from fleetward.model.host_ranges import fold

ADOPTED_GROUP = "slurm_adopted"
_OWNING_GROUPS = (CONTROLLER_GROUP, DATABASE_GROUP, SLURM_NODE_GROUP, "slurm_client", "gpu_simulator")
"""Groups whose roles set something of Slurm up."""
_OWNED_FILES = frozenset(
    {"slurm.conf", "gres.conf", "cgroup.conf", "topology.conf", "accounting.json", "prolog.sh", "epilog.sh"}
)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
ADOPTED_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*", re.ASCII)
"""A node's name as others chose it: a DNS name, of whichever case."""


def is_adopted(fleet: Fleet) -> bool:
    """Say whether the fleet's Slurm is one that others configure."""
    return bool(fleet.members(ADOPTED_GROUP))


def may_compute(groups: Collection[str]) -> bool:
    """Say whether a host of these groups may be in a partition."""
    return SLURM_NODE_GROUP in groups or ADOPTED_GROUP in groups


def adopted_problems(fleet: Fleet) -> Iterator[str]:
    """Yield a sentence for everything in an adopted fleet that would set up Slurm, or that nobody would read."""
    for group in _OWNING_GROUPS:
        if members := fleet.groups.get(group, ()):
            yield (
                f"{fold(members)}: in {group}, but others configure the Slurm of the group {ADOPTED_GROUP}: nothing "
                f"here may set it up; empty {group}, or {ADOPTED_GROUP} where Slurm is to be yours"
            )
    parameters = {
        "fleet_slurm_parameters": fleet.slurm_parameters,
        "fleet_cgroup_parameters": fleet.cgroup_parameters,
    }
    for variable, given in parameters.items():
        if given:
            yield f"{variable}: others configure the Slurm of the group {ADOPTED_GROUP}; remove it, nobody reads it"


def hardware_gaps(fleet: Fleet) -> Iterator[str]:
    """Yield what GPUs of hosts that are not adopted lack: only of adopted ones nobody here has to know it."""
    owned = {
        node.profile.name: node.profile.gpu
        for node in fleet.nodes.values()
        if node.profile is not None and ADOPTED_GROUP not in node.groups
    }
    for name, gpu in owned.items():
        for key in _unknown(gpu) if gpu is not None else ():
            yield f"fleet_hardware_profiles.{name}.gpu.{key}: is missing; add it"


def rendered_here(fleet: Fleet, files: Mapping[str, str]) -> dict[str, str]:
    """Return the files without those that are for others to write."""
    return {name: text for name, text in files.items() if not (name in _OWNED_FILES and is_adopted(fleet))}


def _unknown(gpu: GpuProfile) -> Iterator[str]:
    facts = {"product_name": gpu.product_name, "memory_mib": gpu.memory_mib, "device_files": gpu.device_files}
    return (key for key, value in facts.items() if not value)
