"""What the exporter tells of jobs: counts, GPUs and waits, with users and accounts within a budget of series."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from fleetward.exporters.slurm.bounded import OTHER, folded, largest
from fleetward.exporters.slurm.waits import BOUNDS, Histogram
from fleetward.slurm.answers import Job

MOST_ACCOUNTS, MOST_USERS, MOST_REASONS = 100, 100, 30
"""Series of each state; the rest is one series more, called `other`."""
_COMMON_STATES = ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED")
_UNAVAILABLE = "Nodes required for job are DOWN"
"""Where slurmctld has a sentence in the place of a word."""
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def render(jobs: Iterable[Job], waits: Mapping[str, Histogram], now: datetime) -> Iterator[Metric]:
    """Yield every metric of jobs that have not ended; `now` is the time at which Slurm was asked."""
    live = tuple(job for job in jobs if not job.ended)
    pending = tuple(job for job in live if job.state == "PENDING")
    yield _states(live)
    yield _reasons(pending)
    yield from _owners(live)
    yield from _waiting(pending, now)
    yield _waits(waits)


def reason_of(job: Job) -> str:
    """Return why a job waits in one word, as Slurm's documentation lists them."""
    if job.reason.startswith(_UNAVAILABLE):
        return "ReqNodeNotAvail"
    match = _REASON.match(job.reason)
    return match[0] if match else "None"


def _states(live: tuple[Job, ...]) -> Metric:
    family = GaugeMetricFamily("slurm_jobs", "Jobs that have not ended, by state.", labels=("state",))
    counts = Counter(job.state for job in live)
    for state in dict.fromkeys((*_COMMON_STATES, *sorted(counts))):
        family.add_metric([state.lower()], counts[state])
    return family


def _reasons(pending: tuple[Job, ...]) -> Metric:
    family = GaugeMetricFamily("slurm_jobs_pending", "Waiting jobs, by what they wait for.", labels=("reason",))
    counts: Mapping[str, float] = Counter(reason_of(job) for job in pending)
    for reason, count in sorted(folded(counts, largest(counts, MOST_REASONS), OTHER).items()):
        family.add_metric([reason], count)
    return family


def _owners(live: tuple[Job, ...]) -> Iterator[Metric]:
    for of, most, help in (("account", MOST_ACCOUNTS, "an account"), ("user", MOST_USERS, "a user")):
        weights: Counter[str] = Counter()
        jobs: defaultdict[str, Counter[str]] = defaultdict(Counter)
        gpus: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for job in live:
            name, held = getattr(job, of), sum(job.gpus.values())
            weights[name] += 1 + held
            jobs[job.state.lower()][name] += 1
            gpus[job.state.lower()][name] += held
        kept = largest(weights, most)
        for what, counted in (("jobs", jobs), ("gpus", gpus)):
            noun = "Jobs" if what == "jobs" else "GPUs that jobs have, or wait for,"
            family = GaugeMetricFamily(
                f"slurm_{of}_{what}", f"{noun} of {help}, by state of the job.", labels=(of, "state")
            )
            for state in sorted(counted):
                for name, count in sorted(folded(counted[state], kept, OTHER).items()):
                    family.add_metric([name, state], count)
            yield family


def _waiting(pending: tuple[Job, ...], now: datetime) -> Iterator[Metric]:
    oldest = GaugeMetricFamily(
        "slurm_pending_oldest_seconds",
        "For how long the job that waits longest has waited since it was submitted or requeued.",
        labels=("partition",),
    )
    gpu_seconds = GaugeMetricFamily(
        "slurm_pending_gpu_seconds",
        "GPUs that waiting jobs ask for, times their time limits; those without a limit are left out.",
        labels=("partition",),
    )
    ages: dict[str, float] = {}
    asked: Counter[str] = Counter()
    for job in pending:
        age = (now - job.submitted_at).total_seconds() if job.submitted_at else 0.0
        ages[job.partition] = max(ages.get(job.partition, 0.0), age)
        asked[job.partition] += sum(job.gpus.values()) * (job.time_limit or 0)
    for partition in sorted(ages):
        oldest.add_metric([partition], ages[partition])
        gpu_seconds.add_metric([partition], asked[partition])
    yield from (oldest, gpu_seconds)


def _waits(waits: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(
        "slurm_job_wait_seconds",
        "From a job's submission or requeue to its start, of starts since this exporter began, by its GPUs.",
        labels=("gpus",),
    )
    for size, one in waits.items():
        bounds = (*(str(float(bound)) for bound in BOUNDS), "+Inf")
        family.add_metric([size], list(zip(bounds, one.counts, strict=True)), one.total)
    return family
