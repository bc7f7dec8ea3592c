"""The fleet's picture from what Slurm, Prometheus and the store said last: pure functions."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fleetward.model.claims import Claim
from fleetward.model.fleet_view import GpuView, JobView, NodeView
from fleetward.model.incidents import Incident
from fleetward.runbooks.prometheus import Sample
from fleetward.slurm.answers import Job, JobDetail, Node
from fleetward.slurm.snapshot import Snapshot

GPU_QUESTIONS: Mapping[str, str] = {
    "up": "min by (node, gpu) (gpu_up)",
    "utilization": "max by (node, gpu) (gpu_utilization_ratio)",
    "memory": "max by (node, gpu) (gpu_memory_used_bytes / gpu_memory_total_bytes)",
    "temperature": "max by (node, gpu) (gpu_temperature_celsius)",
    "power": "max by (node, gpu) (gpu_power_watts)",
}
"""What Prometheus is asked, by the field of GpuView that it fills; only the labels that are used travel."""

Gpu = tuple[str, int]
"""Node and index."""
Values = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Node to index to field of GpuView."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a picture is made of; empty where a source has not answered yet."""

    nodes: tuple[Node, ...] = ()
    jobs: tuple[Job, ...] = ()
    details: tuple[JobDetail, ...] = ()
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    """Answers to GPU_QUESTIONS."""
    claims: tuple[Claim, ...] = ()
    incidents: tuple[Incident, ...] = ()
    racks: Mapping[str, str] = field(default_factory=dict)


def slurm_problems(snapshot: Snapshot, since: datetime | None = None) -> tuple[str, ...]:
    """Say what Slurm does not tell anew and why, a sentence for each reason, and what of its answers was not read.

    `since` is when it stopped to tell of nodes.
    """
    silent: dict[str, list[str]] = defaultdict(list)
    for name, part in snapshot.parts.items():
        if part.problem:
            silent[part.problem].append(name)
    told = []
    for why, names in silent.items():
        when = f", since {since:%H:%M:%S} UTC" if since and "nodes" in names else ""
        told.append(f"Slurm does not answer about {', '.join(names)}{when}: {why}")
    unread = [text for part in snapshot.parts.values() for text in part.unread]
    return (*told, *(f"Slurm's answer could not be read in part: {text[:200]}" for text in unread[:1]))


def node_views(parts: Parts) -> tuple[NodeView, ...]:
    """Return the nodes with their GPUs, jobs, claims and incidents."""
    values = _by_node(parts.samples)
    holders = gpu_holders(parts.details)
    jobs: dict[str, list[str]] = defaultdict(list)
    for job in parts.jobs:
        for name in () if job.ended else job.nodes:
            jobs[name].append(job.id)
    claims: dict[str, list[str]] = defaultdict(list)
    for claim in parts.claims:
        claims[claim.node].append(claim.owner)
    incidents: dict[str, list[int]] = defaultdict(list)
    for incident in parts.incidents:
        incidents[incident.node].append(incident.id)
    return tuple(
        NodeView(
            name=node.name,
            state="+".join((node.state, *node.flags)).lower(),
            partitions=node.partitions,
            cpus=node.cpus,
            cpus_allocated=node.cpus_allocated,
            memory=node.memory,
            memory_allocated=node.memory_allocated,
            gpus=_gpus(node, values, holders),
            jobs=tuple(jobs[node.name]),
            reason=node.reason,
            reason_by=node.reason_by,
            claims=tuple(claims[node.name]),
            incidents=tuple(incidents[node.name]),
            rack=parts.racks.get(node.name, ""),
        )
        for node in parts.nodes
    )


def job_views(jobs: Iterable[Job]) -> tuple[JobView, ...]:
    """Return jobs as rows."""
    return tuple(
        JobView(
            id=job.id,
            name=job.name,
            user=job.user,
            account=job.account,
            partition=job.partition,
            qos=job.qos,
            state=job.state,
            reason=job.reason,
            nodes=job.nodes,
            node_count=job.node_count,
            gpus=sum(job.gpus.values()),
            elapsed=job.elapsed,
            time_limit=job.time_limit,
            restarts=job.restarts,
            submitted_at=job.submitted_at,
            started_at=job.started_at,
        )
        for job in jobs
    )


def gpu_holders(details: Iterable[JobDetail]) -> dict[Gpu, str]:
    """Return which job holds which GPU."""
    return {
        (held.node, index): detail.job.id
        for detail in details
        if not detail.job.ended
        for held in detail.gpus
        for index in held.indices
    }


def _gpus(node: Node, values: Values, holders: Mapping[Gpu, str]) -> tuple[GpuView, ...]:
    """Return the GPUs that Slurm has on a node, and any more that Prometheus tells of."""
    here = values.get(node.name, {})
    views = []
    for index in sorted({*range(sum(node.gpus.values())), *here}):
        found = dict(here.get(index, {}))
        up = found.pop("up", None)
        job = holders.get((node.name, index), "")
        views.append(GpuView(index=index, up=None if up is None else up > 0, job=job, **found))
    return tuple(views)


def _by_node(samples: Mapping[str, Iterable[Sample]]) -> Values:
    values: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for name, answer in samples.items():
        for sample in answer:
            index = sample.labels.get("gpu", "")
            if index.isascii() and index.isdigit() and math.isfinite(sample.value):
                values[sample.labels.get("node", "")][int(index)][name] = sample.value
    return values
