"""What a screen may ask of the app it stands in, so that screens know no app and the app may know its screens."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from fleetward.model.errors import FleetwardError
from fleetward.tui.picture import Picture
from fleetward.tui.source import Source

if TYPE_CHECKING:
    from fleetward.model.fleet import HardwareProfile
    from fleetward.slurm.jobs.spec import JobSpec

T = TypeVar("T")
Hardware = Callable[["JobSpec", Callable[[str], None]], "HardwareProfile | None"]
"""Which hardware a job will get, telling what it could not find out; reads files, so never in the thread that draws."""


class Desk(Protocol):
    """The app, as its screens see it."""

    user: str
    folder: Path
    read_only: bool
    picture: Picture
    notice: tuple[str, str]
    """The sentence above the keys and its style."""
    now: Callable[[], float]
    wall: Callable[[], datetime]
    hardware: Hardware

    def ask(self, wish: Callable[[Source], T], tell: Callable[[T | FleetwardError], None]) -> None:
        """Carry out a wish outside the thread that draws, and tell its answer in it."""

    def change(self, wish: Callable[[Source], T], done: Callable[[T], str]) -> None:
        """Carry out a wish that changes something; `done` turns its answer into the sentence that is shown."""

    def tell(self, text: str) -> None:
        """Show a sentence above the keys for a while."""

    def worry(self, text: str) -> None:
        """Show a sentence about what went wrong, above the keys."""

    def action_hurry(self) -> None:
        """Take the next picture now."""
