"""An attempt of a job as slurmdbd has it, for tests to change."""

from datetime import UTC, datetime, timedelta

from fleetward.slurm.accounting import Attempt

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
