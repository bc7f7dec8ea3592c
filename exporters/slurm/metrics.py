"""The metrics of a Slurm cluster, as a pure function of a picture.

Nodes are in the label `node` of these series, so the target itself must have no such label.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fleetward.exporters.slurm.sampler import Picture
from fleetward.exporters.slurm.states import STATES, drain_owner, node_state

FORGOTTEN_AFTER_SECONDS = 300.0
"""Nodes and jobs of a picture this old are no longer served: what nobody knows must not look like knowledge."""

_COMMON_JOB_STATES = ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED")


def render(picture: Picture, now: float) -> Iterator[Metric]:
    """Yield every metric; `now` is of the clock of `picture.taken_at`."""
    yield GaugeMetricFamily("slurm_up", "1 where slurmctld answered when it was last asked.", value=float(picture.up))
    ends = CounterMetricFamily(
        "slurm_job_ends_total", "Attempts of jobs that ended since this exporter began.", labels=("outcome",)
    )
    for outcome, count in picture.ends.items():
        ends.add_metric([outcome], count)
    yield ends
    yield GaugeMetricFamily(
        "slurm_exporter_snapshot_duration_seconds",
        "Time that the last question to Slurm took.",
        picture.duration_seconds,
    )
    yield GaugeMetricFamily(
        "slurm_exporter_unread_entries", "Nodes and jobs of the last answer that could not be read.", picture.unread
    )
    if picture.taken_at is None:
        return
    age = max(0.0, now - picture.taken_at)
    yield GaugeMetricFamily("slurm_exporter_snapshot_age_seconds", "Age of what the other metrics show.", value=age)
    if age <= FORGOTTEN_AFTER_SECONDS:
        yield from _nodes(picture)
        yield _jobs(picture)


def _nodes(picture: Picture) -> Iterator[Metric]:
    number = GaugeMetricFamily("slurm_nodes", "Nodes by state.", labels=("state",))
    state = GaugeMetricFamily("slurm_node_state", "The state that a node is in; always 1.", labels=("node", "state"))
    drained = GaugeMetricFamily(
        "slurm_node_drained", "Who drained a node that is drained or draining; always 1.", labels=("node", "owner")
    )
    gpus = GaugeMetricFamily("slurm_node_gpus", "GPUs that Slurm hands out on a node.", labels=("node",))
    states = {node.name: node_state(node) for node in picture.nodes}
    counts = Counter(states.values())
    for name in STATES:
        number.add_metric([name], counts[name])
    for node in picture.nodes:
        state.add_metric([node.name, states[node.name]], 1)
        gpus.add_metric([node.name], sum(node.gpus.values()))
        if owner := drain_owner(node):
            drained.add_metric([node.name, owner], 1)
    yield from (number, state, drained, gpus)


def _jobs(picture: Picture) -> Metric:
    jobs = GaugeMetricFamily("slurm_jobs", "Jobs that have not ended, by state.", labels=("state",))
    for state in dict.fromkeys((*_COMMON_JOB_STATES, *sorted(picture.jobs))):
        jobs.add_metric([state.lower()], picture.jobs.get(state, 0))
    return jobs
