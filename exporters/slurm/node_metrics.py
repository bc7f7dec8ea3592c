"""What the exporter tells of nodes and of the GPUs that Slurm hands out.

Nodes are in the label `node` of these series, so the target itself must have no such label.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from fleetward.exporters.slurm.states import STATES, drain_class, drain_owner, node_state
from fleetward.slurm.answers import Node, Partition

GPU_STATES = ("allocated", "idle", "drained", "down")
"""What a GPU can be for Slurm: one that a job has is allocated, whatever its node is."""
_DOWN = frozenset({"down", "not_responding", "rebooting", "powered_down", "unknown", "maintenance"})
_DRAINED = frozenset({"drained", "draining"})


def render(nodes: Iterable[Node], partitions: Iterable[Partition]) -> Iterator[Metric]:
    """Yield every metric of nodes."""
    nodes = tuple(nodes)
    states = {node.name: node_state(node) for node in nodes}
    yield from _states(nodes, states)
    yield from _drains(nodes)
    yield from _gpus(nodes, states)
    yield from _partitions(nodes, states, partitions)


def _states(nodes: tuple[Node, ...], states: dict[str, str]) -> Iterator[Metric]:
    number = GaugeMetricFamily("slurm_nodes", "Nodes by state.", labels=("state",))
    state = GaugeMetricFamily("slurm_node_state", "The state that a node is in; always 1.", labels=("node", "state"))
    counts = Counter(states.values())
    for name in STATES:
        number.add_metric([name], counts[name])
    for node in nodes:
        state.add_metric([node.name, states[node.name]], 1)
    yield from (number, state)


def _drains(nodes: tuple[Node, ...]) -> Iterator[Metric]:
    drained = GaugeMetricFamily(
        "slurm_node_drained", "Who drained a node that is drained or draining; always 1.", labels=("node", "owner")
    )
    by_class = GaugeMetricFamily(
        "slurm_nodes_drained",
        "Nodes that are drained or draining, by who drained them and what for.",
        labels=("owner", "reason_class"),
    )
    counts: Counter[tuple[str, str]] = Counter()
    for node in nodes:
        if owner := drain_owner(node):
            drained.add_metric([node.name, owner], 1)
            counts[owner, drain_class(node)] += 1
    for key, count in sorted(counts.items()):
        by_class.add_metric(list(key), count)
    yield from (drained, by_class)


def _gpus(nodes: tuple[Node, ...], states: dict[str, str]) -> Iterator[Metric]:
    of_node = GaugeMetricFamily("slurm_node_gpus", "GPUs that Slurm hands out on a node.", labels=("node",))
    gpus = GaugeMetricFamily("slurm_gpus", "GPUs by model and what Slurm can do with them.", labels=("model", "state"))
    counts: Counter[tuple[str, str]] = Counter()
    for node in nodes:
        of_node.add_metric([node.name], sum(node.gpus.values()))
        counts.update(_counted(node, states[node.name]))
    _add(gpus, counts)
    yield from (of_node, gpus)


def _partitions(nodes: tuple[Node, ...], states: dict[str, str], partitions: Iterable[Partition]) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "slurm_partition_up", "1 where a partition takes jobs and starts them.", labels=("partition",)
    )
    gpus = GaugeMetricFamily(
        "slurm_partition_gpus",
        "GPUs of a partition's nodes, by model and what Slurm can do with them; a node may be in several partitions.",
        labels=("partition", "model", "state"),
    )
    for partition in partitions:
        up.add_metric([partition.name], float(partition.state == "UP"))
    by_partition: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for node in nodes:
        counted = _counted(node, states[node.name])
        for name in node.partitions:
            by_partition[name].update(counted)
    for name, counts in sorted(by_partition.items()):
        _add(gpus, counts, name)
    yield from (up, gpus)


def _counted(node: Node, state: str) -> Counter[tuple[str, str]]:
    """Count a node's GPUs by model and one of GPU_STATES."""
    free = "down" if state in _DOWN else "drained" if state in _DRAINED else "idle"
    counts: Counter[tuple[str, str]] = Counter()
    for model, count in node.gpus.items():
        held = min(count, node.gpus_allocated.get(model, 0))
        counts[model, "allocated"] += held
        counts[model, free] += count - held
    return counts


def _add(family: GaugeMetricFamily, counts: Counter[tuple[str, str]], *labels: str) -> None:
    for model in sorted({model for model, _ in counts}):
        for state in GPU_STATES:
            family.add_metric([*labels, model, state], counts[model, state])
