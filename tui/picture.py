"""What the screens show at one moment: everything that was fetched last, with when, and what could not be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fleetward.model.errors import FleetwardError, OutOfReachError
from fleetward.model.fleet_view import DaemonStatus, FleetView
from fleetward.model.incidents import Incident
from fleetward.model.runs import Run
from fleetward.tui.source import NoDaemonError, Source


@dataclass(frozen=True, slots=True)
class Picture:
    """One immutable snapshot; what could not be fetched this time is kept from the time before, and grows old."""

    fleet: FleetView | None = None
    fleet_at: float = 0.0
    """When the fleet was fetched, by the clock that the app was given, in seconds."""
    status: DaemonStatus | None = None
    incidents: tuple[Incident, ...] = ()
    runs: tuple[Run, ...] = ()
    """The newest ones."""
    has_daemon: bool = False
    problems: tuple[str, ...] = ()

    def ages(self, now: float) -> Mapping[str, float]:
        """Return how old each part of the fleet is at `now`, in seconds."""
        if self.fleet is None:
            return {}
        return {part: age + max(0.0, now - self.fleet_at) for part, age in self.fleet.ages.items()}

    def run_of(self, incident: int) -> Run | None:
        """Return the newest run of an incident, of those that are known."""
        return max((run for run in self.runs if run.incident == incident), key=lambda run: run.id, default=None)


def take(source: Source, before: Picture, now: Callable[[], float]) -> Picture:
    """Fetch what can be fetched; an error of one part leaves that part as it was and becomes a sentence."""
    problems: list[str] = []
    picture = replace(before, problems=())
    try:
        fleet = source.fleet()
        picture = replace(picture, fleet=fleet, fleet_at=now())
        problems += fleet.problems
    except FleetwardError as error:
        problems.append(str(error))
    try:
        status, incidents, runs = source.status(), source.incidents(), source.runs()
        picture = replace(picture, status=status, incidents=incidents, runs=runs, has_daemon=True)
        problems += [f"{name}: {why}" for name, why in status.reaches.items() if why and not _told(problems, name, why)]
    except NoDaemonError as error:
        picture = replace(picture, has_daemon=False)
        problems.append(str(error))
    except OutOfReachError as error:
        picture = replace(picture, has_daemon=False)
        problems.append(f"the daemon is out of reach: {error}")
    except FleetwardError as error:
        problems.append(str(error))
    return replace(picture, problems=tuple(dict.fromkeys(" ".join(problem.split()) for problem in problems)))


def _told(problems: list[str], name: str, why: str) -> bool:
    """Say whether a fleet's problems tell already that a source is out of reach."""
    return any(why in problem or problem.lower().startswith(f"{name} ") for problem in problems)
