"""One run of checks: each probe that they need is read once, all at the same time, then everything is judged."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from fleetward.model.errors import UsageError
from fleetward.node.check_list import BY_ID, CHECKS
from fleetward.node.checking import AnyCheck, Probe
from fleetward.node.children import Child, collect
from fleetward.node.profile import Profile
from fleetward.node.results import Context, Finding, ProbeError, Status
from fleetward.node.surroundings import Surroundings


def chosen(context: Context, only: Iterable[str] = ()) -> tuple[AnyCheck, ...]:
    """Return the checks of a context, or those that are named; raises UsageError for a name that is none."""
    names = list(only)
    for name in names:
        if name not in BY_ID:
            raise UsageError(f"there is no check {name!r}; `fleetward check --list` has them all")
    return tuple(BY_ID[name] for name in names) or tuple(one for one in CHECKS if context in one.contexts)


def run_checks(checks: Sequence[AnyCheck], profile: Profile, surroundings: Surroundings) -> tuple[Finding, ...]:
    """Return what all checks say, the worst first; takes no longer than the longest limit of a probe."""
    return judged(checks, read_probes({one.reads.name: one.reads for one in checks}.values(), surroundings), profile)


def read_probes(probes: Iterable[Probe[Any]], surroundings: Surroundings) -> dict[str, Any]:
    """Return by name what each probe read, or the ProbeError that says why it did not."""
    return collect({one.name: Child(partial(one.read, surroundings), one.limit_seconds) for one in probes})


def judged(checks: Iterable[AnyCheck], readings: dict[str, Any], profile: Profile) -> tuple[Finding, ...]:
    """Judge what was read, and put the worst first."""
    found = [
        finding
        for one in checks
        for finding in one.findings(readings.get(one.reads.name, ProbeError("it was not read")), profile)
    ]
    order = list(Status)
    return tuple(sorted(found, key=lambda one: (order.index(one.status), -(one.severity.rank if one.severity else 0))))
