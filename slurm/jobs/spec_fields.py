"""The kinds of text and number that a job specification is made of, each with what it may hold.

What becomes part of an #SBATCH line has no blank, quote, backslash or `#`, so that it can neither end the line nor
begin another option. Everything else is text of any kind, and quoted where it stands in the script.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from fleetward.model.yaml_files import Sexagesimal

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_GPUS = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*:)?[1-9][0-9]{0,3}")
_MEMORY = re.compile(r"[1-9][0-9]{0,9}[KMGT]")
_TIME = re.compile(r"[0-9]{1,4}-[0-9]{1,2}(:[0-9]{1,2}){0,2}|[0-9]{1,5}(:[0-9]{1,2}){1,2}")
_OUTPUT = re.compile(r"(?:[A-Za-z0-9._/+=@-]|%%|%[0-9]{0,2}[AaJjNnstuxb])+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_JOB_ID = re.compile(r"[1-9][0-9]{0,9}(_[0-9]{1,7})?")
_NODES = re.compile(r"[A-Za-z][A-Za-z0-9.-]*(\[[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*\][A-Za-z0-9.-]*)*")
_CONSTRAINT = re.compile(r"[A-Za-z0-9_.:&|*()\[\]-]+")
_MPI = re.compile(r"[a-z][a-z0-9_]{0,31}")
_IMAGE = re.compile(r"[A-Za-z0-9./][A-Za-z0-9._/#:@+-]*")
# Pyxis parts a list of mounts by commas and each mount by colons, and knows no way to write either as itself.
_PATH = re.compile(r"/[^,:\x00-\x1f\x7f]*")

# fmt: off
BASH_VARIABLES = frozenset(
    {
        "_", "BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0", "BASH_CMDS",
        "BASH_COMMAND", "BASH_COMPAT", "BASH_LINENO", "BASH_REMATCH", "BASH_SOURCE", "BASH_SUBSHELL",
        "BASH_VERSINFO", "BASH_XTRACEFD", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME",
        "FUNCNEST", "GROUPS", "HISTCMD", "LINENO", "OPTIND", "PIPESTATUS", "POSIXLY_CORRECT", "PPID", "RANDOM",
        "SECONDS", "SHELLOPTS", "SHLVL", "SRANDOM", "UID",
    }
)
# fmt: on
"""What bash refuses to export word for word, or what would change how it reads the rest of the script."""


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


def _as_value(value: object) -> object:
    """Return a number as Python writes it: `0.1` is as good as `"0.1"` here."""
    return repr(value) if isinstance(value, float) else _as_text(value)


def _as_job_id(value: object) -> object:
    """Refuse a bare number: nobody can tell any more whether it was 123 or 12_3."""
    if isinstance(value, int):
        raise ValueError('YAML and TOML read 12_3 as the number 123; write it in quotes, as in "12" or "12_3"')
    return value


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _utf8(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character cannot be part of it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair cannot be part of it, since no UTF-8 can say it") from error
    return value


def _begins_with_a_program(arguments: tuple[str, ...]) -> tuple[str, ...]:
    if not arguments[0] or arguments[0].startswith("-"):
        raise ValueError(f"{arguments[0]!r} is no program; it comes first, its options after it")
    return arguments


def _of_the_users(name: str) -> str:
    if name in BASH_VARIABLES:
        raise ValueError(f"bash keeps {name} for itself; take another name")
    if name == "FLEETWARD_ATTEMPT" or name.startswith(("FLEETWARD_SWEEP_", "fleetward_")):
        raise ValueError(f"the script itself sets {name}; take another name")
    return name


Count = Annotated[int, Field(ge=1, le=10_000, strict=True)]
NodeCount = Annotated[int, Field(ge=1, le=100_000, strict=True)]
Seconds = Annotated[int, Field(ge=1, le=65_535, strict=True)]
"""As many as `--signal` can say."""
Truth = Annotated[bool, Field(strict=True)]
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
OwnVariable = Annotated[Variable, AfterValidator(_of_the_users)]
Text = Annotated[str, AfterValidator(_utf8)]
TextOrNumber = Annotated[str, BeforeValidator(_as_text), AfterValidator(_utf8)]
SweptValue = Annotated[str, BeforeValidator(_as_value), AfterValidator(_utf8)]
Arguments = Annotated[tuple[TextOrNumber, ...], Field(min_length=1), AfterValidator(_begins_with_a_program)]
JobId = Annotated[str, BeforeValidator(_as_job_id), _matching(_JOB_ID, '"12", or "12_3" for one task of an array')]
NodeNames = Annotated[
    tuple[Annotated[str, _matching(_NODES, "one name or range in each entry, as in gpu003 or gpu[001-004,007]")], ...],
    BeforeValidator(_as_tuple),
    Field(min_length=1),
]
Constraint = Annotated[
    str,
    StringConstraints(max_length=255),
    _matching(_CONSTRAINT, "features with & | * ( ) [ ] between them and no blank, as in h100&infiniband"),
]
MpiType = Annotated[str, _matching(_MPI, "a type that `srun --mpi=list` shows, as in pmix, pmix_v5 or pmi2")]
Image = Annotated[
    str,
    StringConstraints(max_length=1024),
    _matching(_IMAGE, "a path or [REGISTRY#]IMAGE[:TAG] without blanks, as in nvcr.io#nvidia/pytorch:25.05-py3"),
]
PathInList = Annotated[
    Text,
    StringConstraints(max_length=4096),
    _matching(_PATH, "a whole path that begins with / and has no `,` and no `:`, which would part the list of mounts"),
]


def seconds_of(time: str) -> int:
    """Return the seconds that a time limit in one of Slurm's formats says; it must be one that TimeLimit accepts."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # days are followed by hours, and what is left out is at the end
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    else:
        hours, minutes, seconds = (0, 0, *parts)[-3:]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def gpu_count(gpus: str | None) -> int:
    """Return how many GPUs `8` or `h100:8` stands for; 0 for None."""
    return int(gpus.rpartition(":")[2]) if gpus else 0
