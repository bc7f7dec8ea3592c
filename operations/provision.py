"""Bringing hosts to what the inventory declares, by the same playbook for a lab and for a fleet."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fleetward.model.compatibility import Incompatibility
from fleetward.model.compatibility_files import incompatibilities
from fleetward.model.errors import FleetwardError, OutOfReachError, RefusedError
from fleetward.model.fleet import CONTROLLER_GROUP, DATABASE_GROUP, Fleet
from fleetward.operations.playbook import ROOT, PlaybookResult, PlaybookRun, run_playbook


class ProvisionError(FleetwardError):
    """A task failed; the message names host, task and reason."""


class IncompatibleFleetError(RefusedError):
    """What an inventory declares does not go together; `found` has each thing of which that is so."""

    def __init__(self, inventory: Path, found: tuple[Incompatibility, ...]) -> None:
        self.found = found
        listed = "".join(f"\n  {one}" for one in found)
        super().__init__(f"what the inventory {inventory} declares does not go together; nothing was touched:{listed}")


def refuse_incompatible(inventory: Path, fleet: Fleet) -> None:
    """Raise IncompatibleFleetError where software that a fleet declares does not go together, on whichever host."""
    if found := incompatibilities(fleet):
        raise IncompatibleFleetError(inventory, found)


def provision(wanted: PlaybookRun, on_task: Callable[[str], None] = lambda _: None) -> PlaybookResult:
    """Run site.yml and raise where it did not end well.

    Raises OutOfReachError where hosts did not answer, ProvisionError where a task failed.
    """
    return judged(run_playbook(wanted, on_task), f"; the whole output is in {wanted.log}" if wanted.log else "")


def judged(result: PlaybookResult, where: str = "") -> PlaybookResult:
    """Return the result of a run that ended well; raises as `provision` does, with `where` to read more."""
    if result.status == 0:
        return result
    if not result.failures:
        raise ProvisionError(f"Ansible ended with status {result.status} before any task failed{where}")
    first, others = result.failures[0], len(result.failures) - 1
    more = f" (and {others} more)" if others else ""
    kind = OutOfReachError if first.unreachable else ProvisionError
    raise kind(f"{first}{more}{where}")


def control_plane(fleet: Fleet) -> tuple[str, ...]:
    """Return the hosts whose files list every node: a new node is unknown until those are rendered again."""
    groups = (CONTROLLER_GROUP, DATABASE_GROUP, "prometheus", "fleetward_server")
    return tuple(dict.fromkeys(node.name for group in groups for node in fleet.members(group)))


def with_control_plane(wanted: PlaybookRun, hosts: tuple[str, ...]) -> PlaybookRun:
    """Widen a limit by those hosts; a run without a limit has them anyway."""
    if wanted.limit is None:
        return wanted
    return replace(wanted, limit=",".join([wanted.limit, *hosts]))


def default_inventory() -> Path:
    """Return the inventory that comes with the distribution and declares the lab."""
    return ROOT / "inventories/lab"
