"""One run of checks: each probe that they need is read once, nearly all at the same time, then everything is judged."""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any

from fleetward.model.errors import UsageError
from fleetward.model.gpu_fault_files import read_catalogue
from fleetward.node.check_list import BY_ID, CHECKS
from fleetward.node.checking import AnyCheck, CatalogueReader, Probe
from fleetward.node.children import Child, begun, take
from fleetward.node.profile import Profile
from fleetward.node.results import Context, Finding, ProbeError, Status
from fleetward.node.surroundings import Surroundings

PATIENCE_SECONDS = 1.0
"""How long the probes that are last wait for others: where a driver hangs, the kernel's log is worth most."""


def chosen(context: Context, only: Iterable[str] = (), left_out: Iterable[str] = ()) -> tuple[AnyCheck, ...]:
    """Return the checks of a context without those that are left out, or those that are named.

    Raises UsageError for a name that is none.
    """
    names = list(only)
    for name in names:
        if name not in BY_ID:
            raise UsageError(f"there is no check {name!r}; `fleetward check --list` has them all")
    if names:
        return tuple(BY_ID[name] for name in names)
    unwanted = frozenset(left_out)
    return tuple(one for one in CHECKS if context in one.contexts and one.id not in unwanted)


def run_checks(
    checks: Sequence[AnyCheck],
    profile: Profile,
    surroundings: Surroundings,
    catalogue: CatalogueReader = read_catalogue,
    within_seconds: float = inf,
) -> tuple[Finding, ...]:
    """Return what all checks say, the worst first; takes no longer than the longest limit of a probe, or than said."""
    probes = {one.reads.name: one.reads for one in checks}.values()
    return judged(checks, read_probes(probes, surroundings, within_seconds), profile, catalogue)


def read_probes(
    probes: Iterable[Probe[Any]], surroundings: Surroundings, within_seconds: float = inf
) -> dict[str, Any]:
    """Return by name what each probe read, or the ProbeError that says why it did not."""
    since = time.monotonic()

    def start(chosen: Iterable[Probe[Any]]) -> dict[str, Child[Any] | ProbeError]:
        left = max(0.0, within_seconds - (time.monotonic() - since))
        return {one.name: begun(partial(one.read, surroundings), min(one.limit_seconds, left)) for one in chosen}

    wanted = tuple(probes)
    working = start(one for one in wanted if not one.last)
    answers = take(working, min(PATIENCE_SECONDS, within_seconds / 2))
    working |= start(one for one in wanted if one.last)
    return answers | take(working)


def judged(
    checks: Iterable[AnyCheck],
    readings: Mapping[str, Any],
    profile: Profile,
    catalogue: CatalogueReader = read_catalogue,
) -> tuple[Finding, ...]:
    """Judge what was read, and put the worst first."""
    found = [
        finding
        for one in checks
        for finding in one.findings(readings.get(one.reads.name, ProbeError("it was not read")), profile, catalogue)
    ]
    order = list(Status)
    return tuple(sorted(found, key=lambda one: (order.index(one.status), -(one.severity.rank if one.severity else 0))))
