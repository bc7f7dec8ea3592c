"""What nvidia-smi and scontrol say of a node's GPUs, read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

# Ansible ships this file with the module under ansible.module_utils, where only a relative import finds its neighbour.
from .mig_plan import Instance, Profile, Profiles  # noqa: TID252

QUERY = ("--query-gpu=index,mig.mode.current,mig.mode.pending", "--format=csv,noheader")
APPLICATIONS = ("--query-compute-apps=pid,process_name", "--format=csv,noheader")
AGAIN = "run the playbook again"
NOTHING_TO_LIST = ("No MIG-enabled devices found", "No GPU instances found", "No compute instances found")
"""With these nvidia-smi ends with an error, and means that there is none."""

_MODES = re.compile(r"(?P<index>[0-9]+), *(?P<current>[^,]+?), *(?P<pending>[^,]+?) *")
_INSTANCE = re.compile(r"\| +(?P<gpu>[0-9]+) +MIG (?P<profile>\S+) +[0-9]+ +[0-9]+ +(?P<start>[0-9]+):[0-9]+ +\|")
_GPU = re.compile(r"GPU (?P<gpu>[0-9]+): .*")
_DEVICE = re.compile(r" +MIG (?P<profile>\S+) +Device +[0-9]+: .*")
_PLACEMENTS = re.compile(
    r"GPU +(?P<gpu>[0-9]+) Profile ID +(?P<id>[0-9]+) Placements? *: *\{(?P<starts>[0-9,]+)\}:(?P<size>[0-9]+) *"
)
_PROFILE = re.compile(r"\| +(?P<gpu>[0-9]+) +MIG (?P<profile>\S+) +(?P<id>[0-9]+) +[0-9]+/(?P<most>[0-9]+) +[0-9.]+ .*")
_STATE = re.compile(r"(?m)^ *State=(?P<state>\S+)")
_REASON = re.compile(r"(?m)^ *Reason=(?P<reason>.*?)(?: \[[^\[\]]*\])? *$")
_OURS = re.compile(r"fleetward:[A-Za-z0-9._-]+ maintenance: .*")
"""Such as model/claims.py writes it: a claim for planned work."""
_WORKING = {"ALLOCATED", "MIXED", "COMPLETING"}


class AnswerError(Exception):
    """A program said something that cannot be read; the message says which and what."""


@dataclass(frozen=True)
class GpuState:
    """How one GPU is divided now."""

    mig: bool
    pending: bool
    """What becomes of MIG mode at the next reset."""
    instances: tuple[Instance, ...] = ()
    devices: tuple[str, ...] = ()
    """Profiles of the compute instances, which are what a program can use."""


def read_states(modes: str, instances: str, devices: str) -> dict[int, GpuState]:
    """Return the state of every GPU that knows MIG, from the query, `mig -lgi` and `-L`.

    AnswerError names what could not be read.
    """
    found = _instances(instances)
    usable = _devices(devices)
    states: dict[int, GpuState] = {}
    for line in modes.splitlines():
        match = _MODES.fullmatch(line.strip())
        if match is None:
            raise AnswerError(f"nvidia-smi {' '.join(QUERY)} said {line[:80]!r}, which is no GPU with its MIG modes")
        if "Enabled" in (match["current"], match["pending"]) or match["current"] == "Disabled":
            index = int(match["index"])
            states[index] = GpuState(
                match["current"] == "Enabled",
                match["pending"] == "Enabled",
                tuple(sorted(found.get(index, []), key=lambda one: (one.start or 0, one.profile))),
                tuple(sorted(usable.get(index, []))),
            )
    return states


def _instances(text: str) -> dict[int, list[Instance]]:
    found: dict[int, list[Instance]] = {}
    for line in text.splitlines():
        match = _INSTANCE.fullmatch(line.strip())
        if match is not None:
            found.setdefault(int(match["gpu"]), []).append(Instance(match["profile"], int(match["start"])))
        elif re.match(r"\| +[0-9]+ +MIG", line):
            raise AnswerError(
                f"nvidia-smi mig -lgi said {line.strip()[:80]!r}, which is no GPU instance with its placement"
            )
    return found


def _devices(text: str) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    gpu = -1
    for line in text.splitlines():
        if (match := _GPU.fullmatch(line)) is not None:
            gpu = int(match["gpu"])
        elif (match := _DEVICE.fullmatch(line)) is not None and gpu >= 0:
            found.setdefault(gpu, []).append(match["profile"])
    return found


def read_profiles(profiles: str, placements: str, gpu: int) -> dict[str, Profile]:
    """Return what one GPU itself says it can be divided into, from `mig -lgip` and `mig -lgipp`."""
    names: dict[str, tuple[str, int]] = {}
    for line in profiles.splitlines():
        match = _PROFILE.fullmatch(line.strip())
        if match is not None and int(match["gpu"]) == gpu:
            names[match["id"]] = match["profile"], int(match["most"])
    found: dict[str, Profile] = {}
    for line in placements.splitlines():
        match = _PLACEMENTS.fullmatch(line.strip())
        if match is None or int(match["gpu"]) != gpu or match["id"] not in names:
            continue
        name, most = names[match["id"]]
        starts = tuple(int(start) for start in match["starts"].split(",") if start)
        compute = name.partition("g.")[0]
        found[name] = Profile(name, int(compute) if compute.isdigit() else 1, int(match["size"]), most, starts)
    return found


def differs(state: GpuState, wanted: Profiles | None) -> str:
    """Return in which way a GPU is not divided as wanted; empty where it is. None wants no MIG."""
    if wanted is None:
        return "has MIG on, and is to be whole" if state.mig or state.pending else ""
    if not state.mig:
        return f"has MIG off, and is to have {words(wanted)}"
    if not state.pending:
        return f"loses MIG at its next reset, and is to have {words(wanted)}"
    there = Counter(one.profile for one in state.instances)
    if there != Counter(wanted):
        return f"has {words(there) or 'no instance'}, and is to have {words(wanted)}"
    if Counter(state.devices) != Counter(wanted):
        return f"has {words(Counter(state.devices)) or 'none'} that programs can use, and is to have {words(wanted)}"
    return ""


def words(profiles: Mapping[str, int]) -> str:
    """Return a division of a GPU in words, such as `2 3g.40gb`."""
    return ", ".join(f"{many} {name}" for name, many in sorted(profiles.items()) if many)


def blocked(node: str, scontrol: str, applications: str) -> str:
    """Return why a node's GPUs may not be divided anew now, and what to do; empty where they may.

    `scontrol` is what `scontrol show node` said, empty where Slurm does not know the node.
    """
    claim = f'`fleetward drain {node} --reason "MIG layout"`'
    if scontrol:
        state, reason = _STATE.search(scontrol), _REASON.search(scontrol)
        flags = set(re.split(r"[+*~#!%$@^-]", state["state"].upper())) if state else set()
        if "DRAIN" not in flags:
            return f"is not drained: run {claim}, wait for its jobs, and {AGAIN}"
        if reason is None or not _OURS.fullmatch(reason["reason"]):
            why = reason["reason"][:80] if reason else "no reason"
            return f"was drained by somebody else or for another cause ({why}): ask them, then run {claim} and {AGAIN}"
        if flags & _WORKING:
            return f"is drained, and still has jobs: wait for them, and {AGAIN}"
    running = [line.strip() for line in applications.splitlines() if re.match(r" *[0-9]+,", line)]
    if running:
        return f"has programs on its GPUs ({'; '.join(running)[:160]}): end them, and {AGAIN}"
    return ""
