"""Readers of the small languages in Slurm's output: GRES, TRES, states, lengths of time, dates, host lists.

Each raises ValueError for what it does not know, so that nobody reads a wrong value as a right one. What comes in
thousands of lines and in few ways of writing is read once for each way: what these give back is shared.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException
from ClusterShell.RangeSet import RangeSet, RangeSetException

_remembered = lru_cache(maxsize=8192)

UNTYPED = "gpu"
"""The type of GPUs whose gres.conf line names none."""

_NONE = frozenset({"", "(null)", "N/A", "None", "none", "Unknown", "None assigned"})
_GRES = re.compile(r"(?P<body>[^()]+)(?:\((?P<detail>[^()]*)\))?")
_COUNT = re.compile(r"(\d+)([KMGT]?)")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_LENGTH = re.compile(r"(?:(?P<days>\d+)-)?(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+)")
_UNLIMITED = frozenset({"UNLIMITED", "INFINITE", "NOT_SET", "Partition_Limit"})
_STATE_SIGNS = {
    "*": "NOT_RESPONDING",
    "~": "POWERED_DOWN",
    "#": "POWERING_UP",
    "!": "POWER_DOWN",
    "%": "POWERING_DOWN",
    "$": "MAINTENANCE",
    "@": "REBOOT_REQUESTED",
    "^": "REBOOT_ISSUED",
    "-": "PLANNED",
}
_STATE = re.compile(r"[A-Z_]+")


def is_none(text: str) -> bool:
    """Say whether this is one of Slurm's ways of writing that there is no value."""
    return text.strip() in _NONE


@_remembered
def gpus_of_gres(text: str) -> Mapping[str, int]:
    """Return GPUs by type: `gpu:h100:8(S:0-1),nic:1` is {"h100": 8}; other resources are left out."""
    found: dict[str, int] = {}
    for kind, count, _ in _gpu_entries(text):
        found[kind] = found.get(kind, 0) + count
    return found


def gpu_indices_of_gres(text: str) -> dict[str, tuple[int, ...]]:
    """Return indices of GPUs by type: `gpu:h100:3(IDX:0,2-3)` is {"h100": (0, 2, 3)}."""
    found: dict[str, tuple[int, ...]] = {}
    for kind, _, detail in _gpu_entries(text):
        name, _, ranges = detail.partition(":")
        if name == "IDX" and ranges != "N/A":
            found[kind] = found.get(kind, ()) + _indices(ranges)
    return found


@_remembered
def gpus_of_tres(text: str) -> Mapping[str, int]:
    """Return GPUs by type from `cpu=2,mem=1G,gres/gpu=5,gres/gpu:h100=4`: {"h100": 4, "gpu": 1}.

    Slurm counts typed GPUs in the bare `gres/gpu` as well; only the rest of it is of no type.
    """
    typed: dict[str, int] = {}
    everything = 0
    for name, value in tres(text).items():
        if name == "gres/gpu":
            everything = int(value)
        elif name.startswith("gres/gpu:"):
            typed[name.removeprefix("gres/gpu:")] = int(value)
    return with_untyped(typed, everything)


def with_untyped(typed: dict[str, int], everything: int) -> dict[str, int]:
    """Add the GPUs that are in the count of all but in none of the types."""
    rest = everything - sum(typed.values())
    return {**typed, UNTYPED: rest} if rest > 0 else typed


def tres(text: str) -> dict[str, str]:
    """Return trackable resources by name, as written: `cpu=2,mem=1G` is {"cpu": "2", "mem": "1G"}."""
    if is_none(text):
        return {}
    found: dict[str, str] = {}
    for entry in text.strip().split(","):
        name, sign, value = entry.partition("=")
        if not sign or not name or not value:
            raise ValueError(f"not a list of TRES: {text!r}")
        found[name] = value
    return found


def node_state(text: str) -> tuple[str, tuple[str, ...]]:
    """Split a node's state into base and flags: `IDLE+DRAIN*` is ("IDLE", ("DRAIN", "NOT_RESPONDING"))."""
    words = text.strip().split("+")
    flags: list[str] = []
    signs: list[str] = []
    for position, word in enumerate(words):
        bare = word.rstrip("".join(_STATE_SIGNS))
        if not _STATE.fullmatch(bare.upper()):
            raise ValueError(f"not a state: {text!r}")
        signs += [_STATE_SIGNS[sign] for sign in word[len(bare) :]]
        if position:
            flags.append(bare.upper())
        else:
            base = bare.upper()
    flags += [flag for flag in dict.fromkeys(signs) if flag not in flags]
    return base, tuple(flags)


@_remembered
def job_state(text: str) -> str:
    """Return the state of a job without what follows it: `CANCELLED by 1000` is CANCELLED."""
    word = text.strip().partition(" ")[0].rstrip("+")
    if not _STATE.fullmatch(word):
        raise ValueError(f"not a job's state: {text!r}")
    return word


@_remembered
def length(text: str) -> int | None:
    """Return seconds: `1-02:03:04` is 93784, `0:55` is 55; None where there is no limit or no value."""
    text = text.strip()
    if text in _UNLIMITED or is_none(text):
        return None
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise ValueError(f"not a length of time: {text!r}")
    days, hours, minutes, seconds = (int(match[part] or 0) for part in ("days", "hours", "minutes", "seconds"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def moment(text: str) -> datetime | None:
    """Return the time that SLURM_TIME_FORMAT=%s writes as seconds of the epoch; None where there is none."""
    if is_none(text):
        return None
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"not seconds of the epoch: {text!r}") from error


@_remembered
def hosts(text: str) -> tuple[str, ...]:
    """Return the hosts of a list, in order: `gpu[001-002],head` is ("gpu001", "gpu002", "head")."""
    if is_none(text):
        return ()
    try:
        return tuple(NodeSet(text.strip(), resolver=RESOLVER_NOGROUP))
    except NodeSetException as error:
        raise ValueError(f"not a list of hosts: {text!r}") from error


def folded(names: Iterable[str]) -> str:
    """Return the list of these hosts as Slurm writes it: `gpu[001-002],head`."""
    return str(NodeSet.fromlist(names, resolver=RESOLVER_NOGROUP))


def _gpu_entries(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield type, count and what stands in brackets, of `gpu`, `gpu:8`, `gpu:h100`, `gpu:h100:8(IDX:0-7)`."""
    for entry in _outside_brackets(text):
        match = _GRES.fullmatch(entry)
        if match is None:
            raise ValueError(f"not a GRES: {entry!r} in {text!r}")
        name, *rest = match["body"].split(":")
        if name.removeprefix("gres/") != "gpu":
            continue
        number = _COUNT.fullmatch(rest[-1]) if rest else None
        kind = rest[:-1] if number else rest
        if len(kind) > 1 or "" in kind:
            raise ValueError(f"not a GRES: {entry!r} in {text!r}")
        count = int(number[1]) * _UNITS[number[2]] if number else 1
        yield (kind[0] if kind else UNTYPED), count, match["detail"] or ""


def _outside_brackets(text: str) -> list[str]:
    if is_none(text):
        return []
    return re.split(r",(?![^(]*\))", text.strip())


def _indices(ranges: str) -> tuple[int, ...]:
    try:
        return tuple(int(index) for index in RangeSet(ranges))
    except (RangeSetException, ValueError) as error:
        raise ValueError(f"not a list of indices: {ranges!r}") from error
