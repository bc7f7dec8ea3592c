"""The job specification that people write, in YAML or TOML, and its checks.

Every value that becomes part of an #SBATCH line is held to characters that cannot end or split it.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from fleetward.model.errors import UsageError
from fleetward.model.yaml_files import Sexagesimal, read_yaml

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_GPUS = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*:)?[1-9][0-9]{0,3}")
_MEMORY = re.compile(r"[1-9][0-9]{0,9}[KMGT]")
_TIME = re.compile(r"\d{1,4}-\d{1,2}(:\d{1,2}){0,2}|\d{1,5}(:\d{1,2}){1,2}")
_OUTPUT = re.compile(r"(?:[A-Za-z0-9._/+=@-]|%%|%[0-9]{0,2}[AaJjNnstuxb])+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _matching(pattern: re.Pattern[str], allowed: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"{value!r} is not allowed; write {allowed}")
        return value

    return AfterValidator(check)


def _as_written(value: object) -> object:
    """Return the text of `00:10:00` where YAML made a number of it; a bare number is refused as a time."""
    if isinstance(value, Sexagesimal):
        return value.text
    if isinstance(value, int):
        raise ValueError(f'{value!r} says no unit; write it in quotes, as in "00:10:00"')
    return value


def _as_text(value: object) -> object:
    """Return a whole number as text; `8` is as good as `"8"` here."""
    if isinstance(value, Sexagesimal):
        return value.text
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character cannot be part of it")
    return value


Name = Annotated[
    str, _matching(_NAME, "1 to 64 of A-Z a-z 0-9 . _ + -, with a letter or a digit first, without spaces")
]
Gpus = Annotated[str, BeforeValidator(_as_text), _matching(_GPUS, "a count or TYPE:COUNT, as in 8 or h100:8")]
Memory = Annotated[str, _matching(_MEMORY, "a whole number and K, M, G or T, as in 4G")]
TimeLimit = Annotated[
    str, BeforeValidator(_as_written), _matching(_TIME, '"MM:SS", "HH:MM:SS", "D-HH", "D-HH:MM" or "D-HH:MM:SS"')
]
Output = Annotated[
    str,
    StringConstraints(max_length=255),
    _matching(_OUTPUT, "a path of A-Z a-z 0-9 . _ / + = @ - with Slurm's patterns, as in train-%j.log"),
]
Variable = Annotated[str, _matching(_VARIABLE, "letters, digits and _, no digit first")]
Text = Annotated[str, AfterValidator(_without_nul)]
EnvironmentText = Annotated[str, BeforeValidator(_as_text), AfterValidator(_without_nul)]
Argument = Annotated[str, BeforeValidator(_as_text), AfterValidator(_without_nul)]


def _begins_with_a_program(arguments: tuple[str, ...]) -> tuple[str, ...]:
    if not arguments[0] or arguments[0].startswith("-"):
        raise ValueError(f"{arguments[0]!r} is no program; it comes first, its options after it")
    return arguments


Arguments = Annotated[tuple[Argument, ...], Field(min_length=1), AfterValidator(_begins_with_a_program)]


class JobSpec(BaseModel):
    """A training job: what to run, and on how much of the fleet."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    name: Name
    account: Name | None = None
    partition: Name | None = None
    qos: Name | None = None
    nodes: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 1
    gpus_per_node: Gpus | None = None
    tasks_per_node: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 1
    cpus_per_task: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 1
    memory_per_node: Memory | None = None
    time: TimeLimit | None = None
    requeue: Annotated[bool, Field(strict=True)] = False
    output: Output = "%x-%j.log"
    environment: dict[Variable, EnvironmentText] = Field(default_factory=dict)
    setup: tuple[Arguments, ...] = ()
    command: Arguments
    working_directory: Text | None = None


class UnfitJobError(UsageError):
    """A specification that says something it cannot; `complaints` are field and sentence of each."""

    def __init__(self, complaints: Sequence[tuple[str, str]], where: str = "") -> None:
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
        raise UnfitJobError(_complaints(error)) from error


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


def _complaints(error: ValidationError) -> list[tuple[str, str]]:
    return [
        (".".join(str(part) for part in problem["loc"] if part != "[key]"), _why(problem))
        for problem in error.errors(include_url=False)
    ]


def _why(problem: Any) -> str:  # noqa: ANN401  pydantic's ErrorDetails is known to type checkers only
    kind, message = problem["type"], str(problem["msg"])
    if kind == "extra_forbidden":
        return f"there is no such field; there are {', '.join(JobSpec.model_fields)}"
    if kind == "missing":
        return "is missing, and a job must have it"
    if kind == "string_type":
        return f"{problem['input']!r} is not text; write it in quotes"
    return message.removeprefix("Value error, ")
