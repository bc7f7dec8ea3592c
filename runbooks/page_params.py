"""Parameters of a page: where their values come from, and what a value may be.

A value can come from an alert's labels, so it is untrusted: it is used only where all of it matches its parameter's
pattern, it is never taken for an option (no leading dash), and it holds no control characters.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fleetward.model.errors import UsageError
from fleetward.model.incidents import Incident

PATTERNS: Mapping[str, str] = MappingProxyType(
    {"node": r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", "gpu": r"[0-9]{1,3}"}
)
"""By name of the parameter: a host name as Slurm has it, NVML's index."""
DEFAULT_PATTERN = r"[A-Za-z0-9._:][A-Za-z0-9._:-]{0,127}"
MAX_VALUE = 256

_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")
_SOURCE = re.compile(r"labels\.[A-Za-z_][A-Za-z0-9_]{0,99}")
_KEYS = frozenset({"from", "default", "pattern"})


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter; `default` None where a run needs a value."""

    source: str = ""
    """`labels.NAME` of the incident's alert; empty where only a person gives it."""
    default: str | None = None
    pattern: str = DEFAULT_PATTERN


def read_params(value: object) -> tuple[Mapping[str, Param], list[str]]:
    """Return the parameters that a front matter declares, and a sentence for each thing wrong with them."""
    if not isinstance(value, dict):
        return {}, ["params is to be a mapping, such as {node: {from: labels.node}}"]
    params: dict[str, Param] = {}
    wrong: list[str] = []
    for name, declared in value.items():
        if not _NAME.fullmatch(name):
            wrong.append(f"params: {name!r} is no name of a parameter; use small letters, digits and underscores")
        elif not isinstance(declared, dict) or not all(isinstance(one, str) for one in declared.values()):
            wrong.append(f"params: {name} is to be a mapping of texts, such as {{from: labels.{name}}}")
        else:
            params[name] = _param(name, declared)
            wrong += _wrong(name, declared, params[name])
    return params, wrong


def _param(name: str, declared: Mapping[str, str]) -> Param:
    pattern = declared.get("pattern", PATTERNS.get(name, DEFAULT_PATTERN))
    return Param(declared.get("from", ""), declared.get("default"), pattern)


def _wrong(name: str, declared: Mapping[str, str], param: Param) -> list[str]:
    wrong = [
        f"params: {name}: {key!r} is no key of it; there are default, from, pattern" for key in declared.keys() - _KEYS
    ]
    if param.source and not _SOURCE.fullmatch(param.source):
        wrong.append(f"params: {name}: from is to be a label of the alert, such as labels.{name}")
    try:
        re.compile(param.pattern)
    except (re.error, OverflowError, RecursionError) as error:
        wrong.append(f"params: {name}: its pattern is no regular expression: {error}")
    else:
        if param.default and (problem := _unfit(param.default, param)):
            wrong.append(f"params: {name}: its default {problem}")
    return wrong


def resolve(params: Mapping[str, Param], given: Mapping[str, str], incident: Incident | None) -> Mapping[str, str]:
    """Return a value for every parameter: as given, else from the incident, else the default.

    UsageError naming every parameter that has no value, whose value is not fit, or that is not one.
    """
    wrong = [f"{name} is no parameter of this page" for name in given.keys() - params.keys()]
    values: dict[str, str] = {}
    for name, param in params.items():
        value = given.get(name) or _from_incident(param, incident)
        if value:
            values[name] = value
            if problem := _unfit(value, param):
                wrong.append(f"{name}={value[:40]!r} {problem}")
        elif param.default is None:
            wrong.append(f"{name} has no value; give {name}=VALUE")
        else:
            values[name] = param.default
    if wrong:
        raise UsageError("parameters: " + "; ".join(wrong))
    return values


def _from_incident(param: Param, incident: Incident | None) -> str:
    if incident is None or not param.source:
        return ""
    label = param.source.removeprefix("labels.")
    return incident.labels.get(label) or {"node": incident.node, "gpu": incident.gpu}.get(label, "")


def _unfit(value: str, param: Param) -> str:
    """Say what is wrong with a value; empty where it may be used."""
    if len(value) > MAX_VALUE:
        return f"is longer than {MAX_VALUE} characters"
    if value.startswith("-"):
        return "begins with a dash, as an option would"
    if not value.isprintable():
        return "holds characters that cannot be printed"
    return "" if re.fullmatch(param.pattern, value) else f"does not match {param.pattern}"
