"""The words of the fleet: nodes, their hardware, partitions, QOS and accounts, as the inventory declares them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetward.model.compatibility_table import SiteRules
from fleetward.model.software import Software

CONTROLLER_GROUP = "slurm_controller"
DATABASE_GROUP = "slurm_database"
SLURM_NODE_GROUP = "slurm_node"
GPU_EXPORTER_GROUP = "gpu_exporter"
NODE_HEALTH_GROUP = "node_health"
NODE_EXPORTER_GROUP = "node_exporter"
SLURM_EXPORTER_GROUP = "slurm_exporter"
ALERTMANAGER_GROUP = "alertmanager"
SERVER_GROUP = "fleetward_server"


@dataclass(frozen=True)
class GpuProfile:
    """The GPUs of a node, all of one model."""

    model: str
    """The type in Slurm's `gpu:TYPE:COUNT`, such as h100."""
    count: int
    product_name: str
    """As NVML says it, such as `NVIDIA H100 80GB HBM3`; empty where nobody has said (see adopted.py)."""
    memory_mib: int
    """Of one GPU; 0 where nobody has said."""
    device_files: str
    """A host-list pattern that expands to `count` paths, such as `/dev/nvidia[0-7]`; empty where nobody has said."""
    power_limit_watts: int | None = None
    nvlinks: int = 0
    """Active links of one GPU; 0 where there is no NVLink."""
    nvswitch: bool = False
    """Whether NVSwitches of the node's own join its GPUs, so that it runs a fabric manager."""
    generation: str = ""
    """Such as hopper; empty where it follows from the model (model/compatibility_rules)."""


@dataclass(frozen=True)
class InfinibandProfile:
    """The InfiniBand devices of a node, all of one rate."""

    devices: tuple[str, ...]
    rate_gbits_per_second: int


@dataclass(frozen=True)
class ExpectedBandwidth:
    """What a healthy node reaches, in GB/s (10^9 bytes per second); None where nothing is expected."""

    nvlink_all_reduce: float | None = None
    """Bus bandwidth of an all-reduce over all GPUs of the node."""
    host_to_device: float | None = None
    """Copies from pinned host memory to one GPU."""
    infiniband: float | None = None
    """One InfiniBand device, one direction."""


@dataclass(frozen=True)
class HardwareProfile:
    """What a kind of node consists of."""

    name: str
    sockets: int
    cores_per_socket: int
    threads_per_core: int
    memory_mib: int
    """What Slurm may hand out: a little below what the kernel reports."""
    gpu: GpuProfile | None = None
    infiniband: InfinibandProfile | None = None
    bandwidth_gbytes_per_second: ExpectedBandwidth = field(default_factory=ExpectedBandwidth)

    @property
    def cpus(self) -> int:
        """Return the number of hardware threads."""
        return self.sockets * self.cores_per_socket * self.threads_per_core


@dataclass(frozen=True)
class Node:
    """One machine of the fleet, whether it computes, controls or watches."""

    name: str
    address: str
    """An IP address, or a name that resolves: the node's own where the inventory gives none."""
    has_ip_address: bool
    groups: frozenset[str]
    """Every inventory group that it is in, `all` included."""
    profile: HardwareProfile | None = None
    rack: str | None = None
    leaf_switch: str | None = None
    spine_switch: str | None = None
    software: Software = field(default_factory=Software)


@dataclass(frozen=True)
class Partition:
    """A partition of Slurm."""

    name: str
    nodes: tuple[str, ...]
    parameters: Mapping[str, str]
    """Any further parameter of a PartitionName line."""


@dataclass(frozen=True)
class Qos:
    """A quality of service of Slurm, with sacctmgr's own names for its limits."""

    name: str
    limits: Mapping[str, str]


@dataclass(frozen=True)
class Account:
    """An account of Slurm and the users in it."""

    name: str
    parent: str
    """`root` at the top."""
    description: str
    organization: str
    users: tuple[str, ...]
    qos: tuple[str, ...]
    default_qos: str | None
    limits: Mapping[str, str]
    """Any further limit under sacctmgr's name, Fairshare included."""


@dataclass(frozen=True)
class Fleet:
    """Everything that the inventory declares about one cluster."""

    cluster: str
    nodes: Mapping[str, Node]
    """By name, in the inventory's order."""
    groups: Mapping[str, tuple[str, ...]]
    """The names of every group's nodes, in Ansible's order: the first controller is the primary one."""
    partitions: tuple[Partition, ...]
    qos: tuple[Qos, ...]
    accounts: tuple[Account, ...]
    slurm_parameters: Mapping[str, str]
    cgroup_parameters: Mapping[str, str]
    site_rules: SiteRules = field(default_factory=SiteRules)
    """What the site says of the rules that its software is held against."""

    def members(self, group: str) -> tuple[Node, ...]:
        """Return the nodes of a group, none where there is no such group."""
        return tuple(self.nodes[name] for name in self.groups.get(group, ()))
