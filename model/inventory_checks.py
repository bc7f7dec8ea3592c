"""What has to agree within a fleet: addresses, partitions, GPUs, QOS, accounts and parameters."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fleetward.model.adopted import adopted_problems, hardware_gaps, is_adopted
from fleetward.model.fleet import CONTROLLER_GROUP, NODE_HEALTH_GROUP, SLURM_NODE_GROUP, Fleet, HardwareProfile
from fleetward.model.host_ranges import expand, fold
from fleetward.model.inventory_schema import SLURM_PARAMETER_NAME, nearest

OWNED_SLURM_PARAMETERS: Mapping[str, str] = {
    "ClusterName": "set fleet_cluster",
    "SlurmctldHost": f"put hosts into the group {CONTROLLER_GROUP}",
    "NodeName": f"put hosts into the group {SLURM_NODE_GROUP}",
    "NodeSet": "use groups in fleet_partitions",
    "PartitionName": "use fleet_partitions",
    "AccountingStorageHost": "put a host into the group slurm_database",
    "TopologyPlugin": "set fleet_leaf_switch on groups",
    "Include": "write the parameters themselves",
}
"""Parameters that follow from other facts, each with what to do instead."""


Refused = Mapping[str, Collection[str]]
"""By variable, entries that are declared but not valid: nothing is said to lack because of them."""


def check_fleet(fleet: Fleet, refused: Refused = MappingProxyType({})) -> Iterator[str]:
    """Yield a sentence for everything in the fleet that does not agree, saying what to change."""
    yield from _duplicate_addresses(fleet)
    yield from _profiles(fleet)
    yield from hardware_gaps(fleet)
    if not refused.get("fleet_partitions"):
        yield from _nodes_without_partition(fleet)
    known = _Known(
        qos={qos.name for qos in fleet.qos} | {"normal", *refused.get("fleet_qos", ())},
        accounts={account.name for account in fleet.accounts} | {"root", *refused.get("fleet_accounts", ())},
    )
    yield from _partitions(fleet, known)
    yield from _switches(fleet)
    yield from _accounting(fleet, known)
    yield from _slurm_parameters(fleet)
    yield from adopted_problems(fleet) if is_adopted(fleet) else _controllers(fleet)
    yield from _health_checks(fleet)


@dataclass(frozen=True)
class _Known:
    """Names that others may refer to; slurmdbd makes the QOS `normal` and the account `root` by itself."""

    qos: set[str]
    accounts: set[str]


def _controllers(fleet: Fleet) -> Iterator[str]:
    controllers = fleet.members(CONTROLLER_GROUP)
    if not controllers:
        yield f"no host is in the group {CONTROLLER_GROUP}; put the head there"
    if len(controllers) > 1 and "statesavelocation" not in {name.lower() for name in fleet.slurm_parameters}:
        yield (
            f"group {CONTROLLER_GROUP} has {len(controllers)} hosts, which must share their state; "
            "set StateSaveLocation in fleet_slurm_parameters to a folder of a shared file system"
        )


def _health_checks(fleet: Fleet) -> Iterator[str]:
    checked = {node.name for node in fleet.members(NODE_HEALTH_GROUP)}
    computing = {node.name for node in fleet.members(SLURM_NODE_GROUP)}
    if checked and (left_out := computing - checked):
        yield (
            f"{fold(left_out)}: not in the group {NODE_HEALTH_GROUP}, though others are; Slurm has one "
            f"HealthCheckProgram for all nodes: put all of {SLURM_NODE_GROUP} there, or none"
        )
    if others := checked - computing:
        yield f"{fold(others)}: in {NODE_HEALTH_GROUP}, but only nodes of {SLURM_NODE_GROUP} run it; leave it out there"


def _duplicate_addresses(fleet: Fleet) -> Iterator[str]:
    by_address: dict[str, list[str]] = {}
    for node in fleet.nodes.values():
        named = fleet.nodes.get(node.address, node)  # an address may be another host's name
        by_address.setdefault(named.address, []).append(node.name)
    for address, names in by_address.items():
        if len(names) > 1:
            yield f"duplicate address {address}: {fold(names)} share it; give each its own ansible_host"


def _profiles(fleet: Fleet) -> Iterator[str]:
    profiles: dict[str, HardwareProfile] = {}
    for node in fleet.nodes.values():
        if node.profile is not None:
            profiles.setdefault(node.profile.name, node.profile)
    for profile in profiles.values():
        gpu = profile.gpu
        if gpu is not None and gpu.device_files and len(files := expand(gpu.device_files)) != gpu.count:
            yield (
                f"hardware profile {profile.name}: gpu.count is {gpu.count}, but gpu.device_files "
                f"{gpu.device_files} names {len(files)}; make the two agree"
            )


def _nodes_without_partition(fleet: Fleet) -> Iterator[str]:
    placed = {name for partition in fleet.partitions for name in partition.nodes}
    left_out = [node.name for node in fleet.members(SLURM_NODE_GROUP) if node.name not in placed]
    if left_out:
        yield f"{fold(left_out)}: in no partition; add it to one in fleet_partitions"


def _partitions(fleet: Fleet, known: _Known) -> Iterator[str]:
    defaults = [
        partition.name
        for partition in fleet.partitions
        if any(key.lower() == "default" and value.upper() == "YES" for key, value in partition.parameters.items())
    ]
    if len(defaults) > 1:
        yield f"partitions {', '.join(defaults)} all have Default=YES; leave it on one"
    for partition in fleet.partitions:
        place = f"partition {partition.name}"
        if partition.name.upper() in ("DEFAULT", "ALL"):
            yield f"{place}: Slurm keeps this name for itself; choose another"
        yield from _parameter_names(place, partition.parameters, {"PartitionName": "use the key of the map"})
        for key, value in partition.parameters.items():
            if key.lower() in ("qos", "allowqos", "denyqos") and value.upper() != "ALL":
                yield from _unknown(f"{place}: {key}", "QOS", value.split(","), known.qos)
            elif key.lower() in ("allowaccounts", "denyaccounts") and value.upper() != "ALL":
                yield from _unknown(f"{place}: {key}", "account", value.split(","), known.accounts)


def _switches(fleet: Fleet) -> Iterator[str]:
    spines: dict[str, str | None] = {}
    for node in fleet.members(SLURM_NODE_GROUP):
        if node.leaf_switch is None:
            if node.spine_switch is not None:
                yield f"{node.name}: has a fleet_spine_switch but no fleet_leaf_switch; name its leaf switch"
            continue
        spine = spines.setdefault(node.leaf_switch, node.spine_switch)
        if spine != node.spine_switch:
            yield (
                f"{node.name}: leaf switch {node.leaf_switch} hangs on {node.spine_switch} here and on {spine} "
                "elsewhere; give all its nodes one fleet_spine_switch"
            )
    both = sorted(set(spines) & {spine for spine in spines.values() if spine})
    if both:
        yield f"switch {', '.join(both)}: is a leaf and a spine at once; give the two different names"


def _accounting(fleet: Fleet, known: _Known) -> Iterator[str]:
    accounts = {account.name: account for account in fleet.accounts}
    if "root" in accounts:
        yield "fleet_accounts: root is Slurm's own account; choose another name"
    for account in fleet.accounts:
        place = f"account {account.name}"
        yield from _unknown(f"{place}: parent", "account", [account.parent], known.accounts)
        yield from _unknown(f"{place}: qos", "QOS", account.qos, known.qos)
        if account.default_qos is not None and account.default_qos not in account.qos:
            yield f"{place}: default_qos {account.default_qos} is not among its qos; add it there"
        if _is_below_itself(account.name, {name: item.parent for name, item in accounts.items()}):
            yield f"{place}: is its own ancestor; give one of its parents another parent"
        yield from _parameter_names(f"{place}: limits", account.limits, {})
    for qos in fleet.qos:
        yield from _parameter_names(f"QOS {qos.name}", qos.limits, {})
        for key, value in qos.limits.items():
            if key.lower() == "preempt":
                yield from _unknown(f"QOS {qos.name}: {key}", "QOS", value.split(","), known.qos)


def _is_below_itself(name: str, parents: Mapping[str, str]) -> bool:
    at: str | None = parents.get(name)
    for _ in parents:
        if at is None or at == name:
            break
        at = parents.get(at)
    return at == name


def _slurm_parameters(fleet: Fleet) -> Iterator[str]:
    place = "fleet_slurm_parameters"
    yield from _parameter_names(place, fleet.slurm_parameters, OWNED_SLURM_PARAMETERS)
    yield from _parameter_names("fleet_cgroup_parameters", fleet.cgroup_parameters, {})
    for key, value in fleet.slurm_parameters.items():
        if key.lower() == "slurmctldparameters" and "enable_configless" not in value.split(","):
            yield f"{place}.{key}: lacks enable_configless, by which nodes get their configuration; add it"


def _parameter_names(place: str, parameters: Iterable[str], owned: Mapping[str, str]) -> Iterator[str]:
    instead = {name.lower(): advice for name, advice in owned.items()}
    seen: set[str] = set()
    for name in parameters:
        lower = name.lower()
        if not SLURM_PARAMETER_NAME.fullmatch(name):
            yield f"{place}: {name!r} is not a name of a parameter; use letters, digits and underscores"
        elif lower in instead:
            yield f"{place}: {name} follows from other facts; {instead[lower]}"
        elif lower in seen:
            yield f"{place}: {name} is there twice (Slurm does not mind the case); remove one"
        seen.add(lower)


def _unknown(place: str, kind: str, names: Iterable[str], known: set[str]) -> Iterator[str]:
    for name in names:
        bare = name.strip().lstrip("+-")
        if bare not in known:
            yield f"{place}: unknown {kind} {bare}; {nearest(bare, known)}"
