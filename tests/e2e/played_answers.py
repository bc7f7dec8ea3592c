"""Answers of Slurm for tests to change: an attempt of a job, a partition and its nodes."""

from datetime import UTC, datetime, timedelta

from fleetward.slurm.accounting import Attempt
from fleetward.slurm.answers import Node, Partition

SUBMITTED = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
ATTEMPT = Attempt(
    job_id="12",
    name="digits",
    user="ada",
    account="research",
    partition="gpu",
    qos="normal",
    state="COMPLETED",
    reason="",
    cancelled_by="",
    exit_code=0,
    exit_signal=0,
    elapsed=3600,
    time_limit=7200,
    asked={"gres/gpu": "16", "node": "2"},
    allocated={"gres/gpu": "16", "gres/gpu:h100": "16", "node": "2"},
    restarts=0,
    nodes=("gpu001", "gpu002"),
    failed_node="",
    working_directory="/data",
    submitted_at=SUBMITTED,
    started_at=SUBMITTED + timedelta(seconds=10),
    ended_at=SUBMITTED + timedelta(seconds=3610),
)
GPU = Partition(
    name="gpu",
    state="UP",
    default=True,
    nodes=("gpu001", "gpu002", "gpu003", "gpu004"),
    gpus={"h100": 32},
    time_limit=86400,
    default_time=None,
    least_nodes=0,
    most_nodes=None,
    accounts=(),
    accounts_denied=(),
    allowed_qos=(),
    qos_denied=(),
    qos="",
    tier=1,
    preemption="OFF",
)


def having(name: str, state: str = "IDLE", flags: tuple[str, ...] = (), used: int = 0, kind: str = "h100") -> Node:
    return Node(name, state, flags, ("gpu",), {kind: 8}, {kind: used} if used else {}, 64, 8 * used, 1000, 0)


NODES = (
    having("gpu001"),
    having("gpu002", "MIXED", used=6),
    having("gpu003", "IDLE", ("DRAIN",)),
    having("gpu004", kind="a100"),
)
