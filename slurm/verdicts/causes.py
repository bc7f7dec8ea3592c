"""Why an attempt of a job ended, in words: the causes, and what each means for who handed it in."""

from dataclasses import dataclass
from enum import StrEnum

from fleetward.model.daemon_views import EventView
from fleetward.slurm.accounting import Step
from fleetward.slurm.answers import Node
from fleetward.slurm.logs.scanning import LogFinding
from fleetward.slurm.logs.signs import LogKind


class Cause(StrEnum):
    """Why an attempt ended, or why there is no end."""

    COMPLETED = "completed"
    RUNNING = "running"
    PENDING = "pending"
    TIME_LIMIT = "time_limit"
    DEADLINE = "deadline"
    PREEMPTED = "preempted"
    NODE_FAILURE = "node_failure"
    GPU_FAULT = "gpu_fault"
    OUT_OF_MEMORY = "out_of_memory"
    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    NCCL_TIMEOUT = "nccl_timeout"
    STORAGE = "storage"
    PROGRAM_ERROR = "program_error"
    SIGNAL = "signal"
    CANCELLED = "cancelled"
    REQUEUED = "requeued"
    LAUNCH_FAILED = "launch_failed"
    UNKNOWN = "unknown"


class Again(StrEnum):
    """Whether a requeue makes sense: the same job, run once more."""

    YES = "yes"
    """The job was not to blame."""
    NO = "no"
    """It would end the same way."""
    PERHAPS = "perhaps"
    """It depends on what the sentence names."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one attempt ended of."""

    cause: Cause
    sentence: str
    evidence: tuple[str, ...]
    again: Again
    advice: str
    nodes: tuple[str, ...] = ()
    """Nodes that are to blame; a job that goes on had better keep off them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one attempt beside its record."""

    steps: tuple[Step, ...] = ()
    faults: tuple[EventView, ...] = ()
    """Those of its nodes while it ran; see `faults_of`."""
    nodes: tuple[Node, ...] = ()
    """Its nodes as they are now."""
    log: tuple[LogFinding, ...] = ()
    """The first error first."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """A cause as it is told."""

    cause: Cause
    again: Again
    sentence: str
    advice: str


BY_STATE = {
    "TIMEOUT": Meaning(
        Cause.TIME_LIMIT,
        Again.PERHAPS,
        "it reached its time limit",
        "it goes on from its last checkpoint if it writes some and resumes; else ask for more time",
    ),
    "DEADLINE": Meaning(Cause.DEADLINE, Again.NO, "its deadline passed", "submit it with a later --deadline"),
    "PREEMPTED": Meaning(
        Cause.PREEMPTED, Again.YES, "a job of higher priority took its place", "a QOS that is not preempted avoids it"
    ),
    "NODE_FAIL": Meaning(Cause.NODE_FAILURE, Again.YES, "a node failed", "Slurm keeps jobs off it until it is back"),
    "BOOT_FAIL": Meaning(
        Cause.NODE_FAILURE, Again.YES, "a node did not come up for it", "Slurm keeps jobs off it until it is back"
    ),
    "OUT_OF_MEMORY": Meaning(
        Cause.OUT_OF_MEMORY,
        Again.NO,
        "it used more memory than it had asked for",
        "ask for more memory, or use less: fewer workers that load data, smaller prefetch",
    ),
    "LAUNCH_FAILED": Meaning(
        Cause.LAUNCH_FAILED, Again.YES, "it could not be started", "the prolog failed: ask who runs the cluster"
    ),
}
"""By the state that Slurm gave it."""

BY_LOG = {
    LogKind.NCCL_TIMEOUT: Meaning(
        Cause.NCCL_TIMEOUT,
        Again.PERHAPS,
        "a collective operation of NCCL timed out: one rank did not take part",
        "look for the rank that came late or died first; where nothing is found, check the fabric of these nodes",
    ),
    LogKind.CUDA_OUT_OF_MEMORY: Meaning(
        Cause.GPU_OUT_OF_MEMORY,
        Again.NO,
        "a GPU's memory was full",
        "use a smaller batch, or spread the model over more GPUs",
    ),
    LogKind.HOST_OUT_OF_MEMORY: Meaning(
        Cause.OUT_OF_MEMORY,
        Again.NO,
        "a process was ended because memory was short",
        "ask for more memory, or use less: fewer workers that load data, smaller prefetch",
    ),
    LogKind.NO_SPACE: Meaning(
        Cause.STORAGE, Again.NO, "a disk or a quota was full", "make room, then hand it in again"
    ),
    LogKind.IO_ERROR: Meaning(
        Cause.STORAGE, Again.PERHAPS, "a file system failed", "see whether the mount is healthy on its nodes"
    ),
}
"""By the first error of its log; other errors are the program's own."""
PROGRAM = Meaning(Cause.PROGRAM_ERROR, Again.NO, "the program failed", "mend what its first error says")
