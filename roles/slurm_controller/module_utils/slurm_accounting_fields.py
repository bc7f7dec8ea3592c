"""The limits that Slurm keeps for QOS and accounts: their names, how their values compare, and how they are lifted.

sacctmgr writes a value in another way than it was given (`90` comes back as `01:30:00`, `mem=1500` as `mem=1500M`), so
values are compared in a canonical form. Names and forms were tried on Slurm 24.11 and 26.05.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a field's values are written and compared."""

    COUNT = "a whole number"
    NUMBER = "a number"
    WALL = "minutes, or [D-]HH:MM:SS"
    SECONDS = "seconds, or HH:MM:SS"
    TRES = "NAME=COUNT,NAME=COUNT"
    NAMES = "a list of names"
    WORD = "a word"


@dataclass(frozen=True)
class Field:
    """One limit or property."""

    name: str
    """As sacctmgr lists it."""
    kind: Kind
    option: str
    """As sacctmgr sets it."""
    unset: str = ""
    """The canonical value where nobody has set one."""
    lifted: str = "-1"
    """What sets it back to that."""


def _field(name: str, kind: Kind, *, option: str | None = None, unset: str = "", lifted: str | None = None) -> Field:
    return Field(name, kind, option or name, unset, (unset or "-1") if lifted is None else lifted)


QOS_FIELDS = (
    _field("Flags", Kind.NAMES),
    _field("GraceTime", Kind.SECONDS, unset="0"),
    _field("GrpJobs", Kind.COUNT),
    _field("GrpJobsAccrue", Kind.COUNT),
    _field("GrpSubmitJobs", Kind.COUNT),
    _field("GrpTRES", Kind.TRES),
    _field("GrpTRESMins", Kind.TRES),
    _field("GrpTRESRunMins", Kind.TRES),
    _field("GrpWall", Kind.WALL),
    _field("LimitFactor", Kind.NUMBER),
    _field("MaxJobsAccruePA", Kind.COUNT),
    _field("MaxJobsAccruePU", Kind.COUNT),
    _field("MaxJobsPA", Kind.COUNT),
    _field("MaxJobsPU", Kind.COUNT),
    _field("MaxSubmitPA", Kind.COUNT, option="MaxSubmitJobsPA"),
    _field("MaxSubmitPU", Kind.COUNT, option="MaxSubmitJobsPU"),
    _field("MaxTRES", Kind.TRES),
    _field("MaxTRESMins", Kind.TRES),
    _field("MaxTRESPA", Kind.TRES),
    _field("MaxTRESPU", Kind.TRES),
    _field("MaxTRESPerNode", Kind.TRES),
    _field("MaxTRESRunMinsPA", Kind.TRES),
    _field("MaxTRESRunMinsPU", Kind.TRES),
    _field("MaxWall", Kind.WALL),
    _field("MinPrioThres", Kind.COUNT),
    _field("MinTRES", Kind.TRES),
    _field("Preempt", Kind.NAMES, lifted=""),
    _field("PreemptExemptTime", Kind.WALL),
    _field("PreemptMode", Kind.WORD, unset="cluster"),
    _field("Priority", Kind.COUNT, unset="0"),
    _field("UsageFactor", Kind.NUMBER, unset="1"),
    _field("UsageThreshold", Kind.NUMBER),
)

ACCOUNT_FIELDS = (
    _field("QOS", Kind.NAMES, lifted=""),
    _field("DefaultQOS", Kind.WORD),
    _field("Fairshare", Kind.WORD, unset="1"),  # a number, or `parent`
    _field("Priority", Kind.COUNT),
    _field("GrpJobs", Kind.COUNT),
    _field("GrpJobsAccrue", Kind.COUNT),
    _field("GrpSubmitJobs", Kind.COUNT),
    _field("GrpTRES", Kind.TRES),
    _field("GrpTRESMins", Kind.TRES),
    _field("GrpTRESRunMins", Kind.TRES),
    _field("GrpWall", Kind.WALL),
    _field("MaxJobs", Kind.COUNT),
    _field("MaxJobsAccrue", Kind.COUNT),
    _field("MaxSubmitJobs", Kind.COUNT),
    _field("MaxTRES", Kind.TRES),
    _field("MaxTRESMins", Kind.TRES),
    _field("MaxTRESPerNode", Kind.TRES),
    _field("MaxWall", Kind.WALL),
)

_ALIASES = {
    "grpsubmit": "GrpSubmitJobs",
    "maxsubmit": "MaxSubmitJobs",
    "maxjobsaccrueperaccount": "MaxJobsAccruePA",
    "maxjobsaccrueperuser": "MaxJobsAccruePU",
    "maxjobsperaccount": "MaxJobsPA",
    "maxjobsperuser": "MaxJobsPU",
    "maxsubmitjobspa": "MaxSubmitPA",
    "maxsubmitjobspu": "MaxSubmitPU",
    "maxsubmitjobsperaccount": "MaxSubmitPA",
    "maxsubmitjobsperuser": "MaxSubmitPU",
    "maxtresminsperjob": "MaxTRESMins",
    "maxtresperaccount": "MaxTRESPA",
    "maxtresperjob": "MaxTRES",
    "maxtresperuser": "MaxTRESPU",
    "maxtresrunminsperaccount": "MaxTRESRunMinsPA",
    "maxtresrunminsperuser": "MaxTRESRunMinsPU",
    "maxwalldurationperjob": "MaxWall",
    "minpriothreshold": "MinPrioThres",
    "mintresperjob": "MinTRES",
}
"""Other names under which sacctmgr's manual has the same limits."""

_WALL = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})")
_COUNT = re.compile(r"(?P<number>\d+)(?P<unit>[KMGTP]?)", re.IGNORECASE)


def field_named(name: str, fields: tuple[Field, ...]) -> Field:
    """Return the field that a name stands for, whatever its case; ValueError where there is none."""
    wanted = _ALIASES.get(name.lower(), name).lower()
    for field in fields:
        if field.name.lower() == wanted:
            return field
    raise ValueError(f"there is no limit {name!r}; there are {', '.join(field.name for field in fields)}")


def canonical(field: Field, text: str) -> str:
    """Return a value in the form in which two that mean the same are equal; ValueError where it is none.

    Empty means that the value is not set; times are in seconds, memory in MiB.
    """
    text = text.strip()
    if text in {"", "-1"}:
        return field.unset
    try:
        return _canonical(field.kind, text)
    except ValueError as error:
        raise ValueError(
            f"{field.name} is {field.kind.value}, not {text!r}{f' ({error})' if str(error) else ''}"
        ) from None


def _canonical(kind: Kind, text: str) -> str:
    match kind:
        case Kind.COUNT:
            result = str(int(_matching(r"\d+", text)))
        case Kind.NUMBER:
            number = float(_matching(r"\d+(\.\d*)?|\.\d+", text))
            result = f"{number:.6f}".rstrip("0").rstrip(".")
        case Kind.WALL:
            result = "" if text.lower() in {"unlimited", "infinite"} else str(_seconds(text, plain=60))
        case Kind.SECONDS:
            result = str(_seconds(text, plain=1))
        case Kind.TRES:
            result = ",".join(f"{name}={count}" for name, count in sorted(tres(text).items()))
        case Kind.NAMES:
            names = {name.strip().lower() for name in text.split(",")} - {""}
            result = ",".join(sorted(_matching(r"[a-z0-9_.-]+", name) for name in names))
        case Kind.WORD:
            result = _matching(r"[A-Za-z0-9_.,-]+", text).lower()
    return result


def _matching(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ValueError
    return text


def tres(text: str) -> dict[str, int]:
    """Return the counts of a TRES list by name, memory in MiB; what is lifted (-1) is not in it."""
    counts: dict[str, int] = {}
    for item in filter(None, text.split(",")):
        name, equals, value = item.strip().lower().rpartition("=")
        if equals and value == "-1":
            continue
        match = _COUNT.fullmatch(value)
        if not equals or not re.fullmatch(r"[a-z]+(/[a-z0-9_.:-]+)?", name) or not match:
            raise ValueError(f"{item.strip()!r} is no NAME=COUNT")
        power = "kmgtp".find(match["unit"].lower()) + 1 if match["unit"] else 0
        in_mib = name == "mem" and power
        counts[name] = int(match["number"]) * 1024**power // (1024**2 if in_mib else 1)
    return counts


def _seconds(text: str, plain: int) -> int:
    """Return a duration in seconds, where a number alone counts units of `plain` seconds."""
    match = _WALL.fullmatch(text)
    if not match:
        raise ValueError
    parts = [int(part) for part in match["clock"].split(":")]
    if match["days"] is not None:  # D-HH, D-HH:MM, D-HH:MM:SS
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return int(match["days"]) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(parts) == 1:
        return parts[0] * plain
    hours, minutes, seconds = (0, *parts)[-3:]
    return hours * 3600 + minutes * 60 + seconds


def setting(field: Field, wanted: str) -> str:
    """Return a canonical value as sacctmgr takes it."""
    if wanted == field.unset:
        return field.lifted
    if field.kind is Kind.WALL:
        seconds = int(wanted)
        days, rest = divmod(seconds, 86400)
        return f"{days}-{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return wanted
