"""What slurmdbd knows: frozen results, the same from every backend. Lengths of time are seconds.

Resources (TRES) are told as Slurm writes them, name to amount: `{"gres/gpu:h100": "16", "mem": "32000M"}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fleetward.slurm.answers import ENDED

REQUEUED = "REQUEUED"
"""The state of an attempt that ended because its job went back into the queue, by hand or by a program."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a job: what ran between two requeues.

    Slurm can give a job's number out again: then attempts of two jobs stand under one number (`verdicts/attempts.py`).
    """

    job_id: str
    name: str
    """As slurmdbd keeps it: a double quote of the job's name is a back quote here."""
    user: str
    account: str
    partition: str
    qos: str
    state: str
    reason: str
    """Why it waited, in Slurm's words."""
    cancelled_by: str
    """Who did, by name or number; empty where nobody cancelled it."""
    exit_code: int
    exit_signal: int
    elapsed: int
    time_limit: int | None
    asked: Mapping[str, str]
    allocated: Mapping[str, str]
    restarts: int
    nodes: tuple[str, ...]
    failed_node: str
    """The node whose failure ended it; empty where none did, or Slurm does not know which."""
    working_directory: str
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    output: str = ""
    """Its log, with Slurm's patterns as they were written; empty where slurmdbd does not know it."""

    @property
    def ended(self) -> bool:
        """Whether the record is final."""
        return self.state in ENDED or self.state == REQUEUED

    @property
    def gpus(self) -> int:
        """How many GPUs it held, of all types."""
        amount = self.allocated.get("gres/gpu", "0")
        return int(amount) if amount.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an attempt: the batch script (`batch`), or what one `srun` began (`0`, `1`, ...)."""

    job_id: str
    step: str
    name: str
    state: str
    exit_code: int
    exit_signal: int
    elapsed: int
    nodes: tuple[str, ...]
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a QOS or an association allows; None is no limit of its own."""

    time: int | None
    """Of one job."""
    tres_per_job: Mapping[str, str]
    jobs: int | None
    """Running at a time, of one user."""
    submitted: int | None
    """Waiting and running at a time, of one user."""
    group_tres: Mapping[str, str]
    """Of all that it holds for, together."""
    group_jobs: int | None


@dataclass(frozen=True, slots=True)
class Qos:
    """One quality of service."""

    name: str
    priority: int
    flags: tuple[str, ...]
    limits: Limits
    tres_per_user: Mapping[str, str]
    preempts: tuple[str, ...]
    """The QOS whose jobs it may end or stop to start its own."""


@dataclass(frozen=True, slots=True)
class Association:
    """What an account, or a user in an account, may do."""

    account: str
    user: str
    """Empty for the account itself."""
    partition: str
    """Empty where it holds in all."""
    qos: tuple[str, ...]
    default_qos: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class Priority:
    """Why a waiting job stands where it does: the weighted parts of its priority in one partition."""

    number: int
    partition: str
    user: str
    total: int
    age: int
    fair_share: int
    job_size: int
    partition_part: int
    qos: int
    nice: int
