"""The job specification that people write, in YAML or TOML, and how it is read.

The text below each field is its documentation; docs/guides/jobs.md has the same as a table, with examples.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from fleetward.model.errors import UsageError
from fleetward.model.yaml_files import read_yaml
from fleetward.slurm.jobs.spec_checks import Complaint, contradictions
from fleetward.slurm.jobs.spec_fields import (
    Arguments,
    Constraint,
    Count,
    Gpus,
    Memory,
    MpiType,
    Name,
    NodeCount,
    NodeNames,
    Output,
    OwnVariable,
    Text,
    TextOrNumber,
    TimeLimit,
    Truth,
    gpu_count,
)
from fleetward.slurm.jobs.spec_parts import Container, Dependency, Mount, Part, Survive
from fleetward.slurm.jobs.sweep import Sweep


class ContradictionError(ValueError):
    """Fields that are right by themselves and cannot be together; `complaints` are field and sentence of each."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("; ".join(f"{field}: {why}" for field, why in complaints))


class JobSpec(Part):
    """A training job: what to run, on how much of the fleet, and what is done so that it gets to its end."""

    name: Name
    """The job's name, as it is shown in the queue."""
    account: Name | None = None
    """The account that pays; by default the user's own default."""
    partition: Name | None = None
    """By default the cluster's default partition."""
    qos: Name | None = None
    """The quality of service; by default the account's."""
    nodes: NodeCount = 1
    """How many nodes, all of them for one task of a sweep."""
    gpus_per_node: Gpus | None = None
    """A count or TYPE:COUNT, as in 8 or h100:8."""
    tasks_per_node: Count = 1
    """Processes that srun starts on each node; `torchrun` has one, `deepspeed` one for each GPU."""
    cpus_per_task: Count = 1
    """CPUs of each task; with `torchrun`, of all processes of a node together."""
    memory_per_node: Memory | None = None
    """A whole number and K, M, G or T, as in 4G; by default the partition's."""
    time: TimeLimit | None = None
    """The limit, as in "00:30:00" or "2-12" (two days and twelve hours); by default the partition's."""
    exclude: NodeNames | None = None
    """Nodes that the job must not run on, as in [gpu003, "gpu[010-012]"]."""
    nodelist: NodeNames | None = None
    """Nodes that must be among those of the job."""
    constraint: Constraint | None = None
    """Features that the nodes must have, as in h100&infiniband."""
    reservation: Name | None = None
    """The reservation whose nodes are taken."""
    exclusive: Truth = False
    """Whether no other job may be on the job's nodes."""
    requeue: Truth = False
    """Whether Slurm may start the job again after a node failed or it was preempted; `survive` says so by itself."""
    output: Output = "%x-%j.log"
    """The log, with Slurm's patterns; for a sweep %x-%A_%a.log. Each attempt adds to it."""
    label_ranks: Truth | None = None
    """Whether each line of the log begins with its task's number; by default where there is more than one task. It
    tells which rank failed first, and spoils progress bars."""
    environment: dict[OwnVariable, TextOrNumber] = Field(default_factory=dict)
    """Variables for `setup` and the command; they win over those that Fleetward sets."""
    nccl: Truth = True
    """Whether NCCL's variables are set as the nodes' hardware profile has it, where it is known."""
    setup: tuple[Arguments, ...] = ()
    """Programs with their arguments that run once, on the first node, before the tasks."""
    launcher: Literal["srun", "torchrun", "deepspeed", "mpi"] = "srun"
    """Who makes a distributed program of the tasks: nobody (srun), torchrun, DeepSpeed's variables, or MPI."""
    mpi_type: MpiType = "pmix"
    """What `srun --mpi` is told, with `launcher: mpi`."""
    container: Container | None = None
    """The container that the tasks run in, where the cluster has Pyxis."""
    command: Arguments
    """The program of each task and its arguments, word by word: no shell reads them."""
    sweep: Sweep | None = None
    """Many tasks with parameters of their own, which `{parameter}` in the command stands for."""
    depends_on: tuple[Dependency, ...] = ()
    """Jobs that this one waits for; all of them must be as they are asked to be."""
    kill_on_invalid_dependency: Truth | None = None
    """Whether Slurm cancels the job once `depends_on` can no longer come true; by default as the cluster has it."""
    survive: Survive | None = None
    """A warning before the time limit, attempts that are counted and bounded, and a requeue by the job itself."""
    working_directory: Text | None = None
    """The folder that all of it runs in, seen from that of the specification, which is the default."""

    @property
    def gpus_on_a_node(self) -> int:
        """Return the number of GPUs on each node."""
        return gpu_count(self.gpus_per_node)

    @property
    def gpus_of_a_task(self) -> int:
        """Return the number of GPUs of the job, or of one task of its sweep."""
        return self.nodes * self.gpus_on_a_node

    @property
    def tasks_on_a_node(self) -> int:
        """Return the number of processes that srun starts on each node."""
        return self.gpus_on_a_node if self.launcher == "deepspeed" else self.tasks_per_node

    @property
    def requeues(self) -> bool:
        """Return whether the job may be started again."""
        return self.survive.attempts > 1 if self.survive else self.requeue

    @property
    def labels(self) -> bool:
        """Return whether lines of the log begin with their task's number."""
        return self.nodes * self.tasks_on_a_node > 1 if self.label_ranks is None else self.label_ranks

    @model_validator(mode="before")
    @classmethod
    def _log_of_each_task(cls, document: Any) -> Any:  # noqa: ANN401  whatever a file may hold
        if isinstance(document, Mapping) and document.get("sweep") is not None and document.get("output") is None:
            return {**document, "output": "%x-%A_%a.log"}
        return document

    @model_validator(mode="after")
    def _contradicts_itself_nowhere(self) -> Self:
        found = list(contradictions(self))
        if found:
            raise ContradictionError(found)
        return self


class UnfitJobError(UsageError):
    """A specification that says something it cannot; `complaints` are field and sentence of each."""

    def __init__(self, complaints: Sequence[Complaint], where: str = "") -> None:
        self.complaints = tuple(complaints)
        super().__init__("\n".join(f"{where}{field or 'the job'}: {why}" for field, why in complaints))


def read_job_spec(path: Path) -> JobSpec:
    """Read a specification from a .yaml, .yml or .toml file; UsageError names file, field and what is allowed."""
    document = read_job_document(path)
    try:
        return check_job(document)
    except UnfitJobError as error:
        raise UnfitJobError(error.complaints, f"{path}: ") from error


def read_job_document(path: Path) -> dict[str, Any]:
    """Read what a file says, its fields not yet checked; UsageError where it is no mapping of fields."""
    document = _document(path)
    if not isinstance(document, dict):
        raise UsageError(f"{path}: holds no job; write fields such as `name:` and `command:`")
    return document


def check_job(document: Mapping[str, Any]) -> JobSpec:
    """Return the specification that a mapping of fields makes; UnfitJobError tells of every field that is wrong."""
    try:
        return JobSpec.model_validate(document)
    except ValidationError as error:
        raise UnfitJobError(list(_complaints(error))) from error


def _document(path: Path) -> object:
    if path.suffix in (".yaml", ".yml"):
        problems: list[str] = []
        document = read_yaml(path, problems.append)
        if problems:
            raise UsageError("\n".join(problems))
        return document
    if path.suffix != ".toml":
        raise UsageError(f"{path}: a job's specification is a .yaml, .yml or .toml file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: is not valid TOML: {error}") from error


_PARTS: Mapping[str, type[BaseModel]] = {
    "container": Container,
    "mounts": Mount,
    "depends_on": Dependency,
    "survive": Survive,
    "sweep": Sweep,
}


def _complaints(error: ValidationError) -> Iterator[Complaint]:
    for problem in error.errors(include_url=False):
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, ContradictionError):
            yield from cause.complaints
            continue
        place = [str(part) for part in problem["loc"] if part != "[key]"]
        yield ".".join(place), _why(problem, place)


def _why(problem: Any, place: Sequence[str]) -> str:  # noqa: ANN401  pydantic's ErrorDetails is known to type checkers only
    kind, message = problem["type"], str(problem["msg"])
    if kind == "extra_forbidden":
        parts = [part for part in place[:-1] if not part.isdigit()]
        return _no_such_field(place[-1], _PARTS[parts[-1]] if parts else JobSpec)
    if kind == "missing":
        return "is missing, and a job must have it" if len(place) == 1 else "is missing"
    if kind == "string_type":
        return f"{problem['input']!r} is not text; write it in quotes"
    if kind == "model_type":
        known = ", ".join(_PARTS[[part for part in place if not part.isdigit()][-1]].model_fields)
        return f"{problem['input']!r} has no fields; there are {known}"
    return message.removeprefix("Value error, ")


def _no_such_field(name: str, part: type[BaseModel]) -> str:
    known = list(part.model_fields)
    near = difflib.get_close_matches(name, known, n=1) or [field for field in known if field.startswith(name)]
    meant = f"did you mean {near[0]}? There" if near else "there"
    return f"there is no such field; {meant} are {', '.join(known)}"
