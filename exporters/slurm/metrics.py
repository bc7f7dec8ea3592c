"""The metrics of a Slurm cluster, as a pure function of a picture."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from math import isfinite

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fleetward.exporters.slurm import job_metrics, node_metrics, slow_metrics
from fleetward.exporters.slurm.picture import Picture

FORGOTTEN_AFTER_SECONDS = 300.0
"""What is this old is no longer served: what nobody knows must not look like knowledge."""


Families = tuple[Metric, ...]


def told(picture: Picture, wall: datetime) -> Mapping[str, Families]:
    """Return the metrics that each part of a picture gives, by the part's name; `wall` is when it was taken.

    They are the same for as long as the picture is, so that a scrape finds them made.
    """
    snapshot, diagnostics = picture.snapshot, picture.diagnostics.items
    return {
        "nodes": tuple(node_metrics.render(snapshot.nodes.items, snapshot.partitions.items)),
        "jobs": tuple(job_metrics.render(snapshot.jobs.items, picture.waits, wall)),
        "reservations": tuple(slow_metrics.of_reservations(picture.reservations.items)),
        "shares": tuple(slow_metrics.of_shares(picture.shares.items)),
        "diagnostics": tuple(slow_metrics.of_controller(diagnostics[0], picture.own_calls)) if diagnostics else (),
    }


def render(picture: Picture, made: Mapping[str, Families], now: float) -> Iterator[Metric]:
    """Yield every metric; `made` is what `told` gave, and `now` is of the clock of the picture's parts."""
    yield GaugeMetricFamily("slurm_up", "1 where slurmctld answered when it was last asked.", value=float(picture.up))
    ends = CounterMetricFamily(
        "slurm_job_ends_total", "Attempts of jobs that ended since this exporter began.", labels=("outcome",)
    )
    for outcome, count in picture.ends.items():
        ends.add_metric([outcome], count)
    yield ends
    yield from _own(picture, now)
    for name, part in picture.parts.items():
        if part.age(now) <= FORGOTTEN_AFTER_SECONDS:
            yield from made.get(name, ())


def _own(picture: Picture, now: float) -> Iterator[Metric]:
    snapshot, parts = picture.snapshot, picture.parts
    yield GaugeMetricFamily(
        "slurm_exporter_snapshot_duration_seconds", "Time that the last snapshot took.", snapshot.seconds
    )
    yield GaugeMetricFamily(
        "slurm_exporter_unread_entries",
        "Entries of Slurm's last answers that could not be read.",
        sum(len(part.unread) for part in parts.values()),
    )
    if isfinite(age := snapshot.nodes.age(now)):
        yield GaugeMetricFamily("slurm_exporter_snapshot_age_seconds", "Age of what is told of nodes.", value=age)
    success = GaugeMetricFamily(
        "slurm_exporter_collector_success",
        "1 where Slurm answered when it was last asked for it.",
        labels=("collector",),
    )
    ages = GaugeMetricFamily(
        "slurm_exporter_collector_age_seconds", "Age of what Slurm answered last.", labels=("collector",)
    )
    took = GaugeMetricFamily(
        "slurm_exporter_collector_duration_seconds", "Time that the last question took.", labels=("collector",)
    )
    for name, part in parts.items():
        success.add_metric([name], float(not part.problem))
        took.add_metric([name], part.seconds)
        if isfinite(age := part.age(now)):
            ages.add_metric([name], max(0.0, age))
    yield from (success, ages, took)
