"""What the exporter tells of reservations, fair shares, and of slurmctld itself."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fleetward.exporters.slurm.bounded import largest
from fleetward.exporters.slurm.picture import OwnCalls
from fleetward.slurm.answers import Diagnostics, Reservation, Share

MOST_SHARES = 200
"""Accounts and users of which the fair share is shown: those that used most."""


def of_reservations(reservations: Iterable[Reservation]) -> Iterator[Metric]:
    """Yield how many nodes each keeps, and when."""
    nodes = GaugeMetricFamily(
        "slurm_reservation_nodes", "Nodes that a reservation keeps.", labels=("reservation", "state")
    )
    starts = GaugeMetricFamily(
        "slurm_reservation_start_timestamp_seconds", "When a reservation begins.", labels=("reservation",)
    )
    ends = GaugeMetricFamily(
        "slurm_reservation_end_timestamp_seconds", "When a reservation ends.", labels=("reservation",)
    )
    for one in reservations:
        nodes.add_metric([one.name, "active" if one.active else "inactive"], len(one.nodes))
        for family, moment in ((starts, one.starts_at), (ends, one.ends_at)):
            if moment is not None:
                family.add_metric([one.name], moment.timestamp())
    yield from (nodes, starts, ends)


def of_shares(shares: Iterable[Share]) -> Iterator[Metric]:
    """Yield what each account may have and has had, and how its users stand."""
    due = GaugeMetricFamily(
        "slurm_account_shares_ratio", "The part of its parent's that an account is due.", labels=("account",)
    )
    used = GaugeMetricFamily(
        "slurm_account_usage_ratio", "The part of all usage, decayed, that an account had.", labels=("account",)
    )
    fair = GaugeMetricFamily(
        "slurm_user_fair_share_ratio",
        "Fair share of a user in an account, from 0 to 1: the higher, the sooner their jobs start.",
        labels=("account", "user"),
    )
    # A user may be in an account once for each partition, and no series may come twice: the most used holds.
    told: dict[tuple[str, str], Share] = {}
    for one in sorted(shares, key=lambda one: -one.usage):
        told.setdefault((one.account, one.user), one)
    kept = largest({key: float(one.usage) for key, one in told.items()}, MOST_SHARES)
    for one in (one for key, one in told.items() if key in kept):
        if one.user and one.fair_share is not None:
            fair.add_metric([one.account, one.user], one.fair_share)
        elif not one.user:
            due.add_metric([one.account], one.normalized_shares)
            used.add_metric([one.account], one.effective_usage)
    yield from (due, used, fair)


def of_controller(told: Diagnostics, own: OwnCalls | None) -> Iterator[Metric]:
    """Yield how slurmctld is, what it spends on calls, and how much of that is due to this exporter."""
    for name, help, value in (
        ("slurm_controller_threads", "Threads of slurmctld that serve calls now.", told.threads),
        ("slurm_controller_agent_queue", "Messages of slurmctld to nodes that wait.", told.agent_queue),
        ("slurm_database_queue", "Messages of slurmctld that slurmdbd has not taken yet.", told.database_queue),
        ("slurm_scheduler_cycle_seconds", "The last cycle of the main scheduler.", told.scheduler_cycle),
        ("slurm_backfill_cycle_seconds", "The last cycle of the backfill scheduler.", told.backfill_cycle),
    ):
        yield GaugeMetricFamily(name, help, value)
    for name, help, count in (
        (
            "slurm_scheduler_cycles",
            "Cycles of the main scheduler; slurmctld begins anew each midnight.",
            told.scheduler_cycles,
        ),
        (
            "slurm_backfill_cycles",
            "Cycles of the backfill scheduler; slurmctld begins anew each midnight.",
            told.backfill_cycles,
        ),
        ("slurm_backfilled_jobs", "Jobs that backfill started since slurmctld began.", told.backfilled_jobs),
    ):
        yield CounterMetricFamily(name, help, count)
    calls = CounterMetricFamily("slurm_rpc_calls", "Calls that slurmctld served, by type.", labels=("type",))
    seconds = CounterMetricFamily("slurm_rpc_seconds", "Time that slurmctld spent on calls, by type.", labels=("type",))
    for name in dict.fromkeys(one.name for one in told.calls_by_type):  # types that Slurm cannot name share one
        of_type = [one for one in told.calls_by_type if one.name == name]
        calls.add_metric([name], sum(one.count for one in of_type))
        seconds.add_metric([name], sum(one.seconds for one in of_type))
    yield from (calls, seconds)
    if own is not None:
        yield CounterMetricFamily(
            "slurm_exporter_rpc_calls", "Calls of the user that this exporter runs as.", own.count
        )
        yield CounterMetricFamily(
            "slurm_exporter_rpc_seconds", "Time that slurmctld spent on calls of this exporter's user.", own.seconds
        )
        if own.ratio is not None:
            yield GaugeMetricFamily(
                "slurm_exporter_rpc_time_ratio",
                "The part of slurmctld's time that calls of this exporter's user took lately.",
                own.ratio,
            )
