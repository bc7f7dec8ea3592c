"""The app: which screen is in front, the one picture they all show, and what happens to a person's wishes."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from fleetward.model.errors import FleetwardError
from fleetward.tui.background import Answered, Arrived, Background, Broken
from fleetward.tui.picture import Picture
from fleetward.tui.source import Source
from fleetward.tui.view import View

if TYPE_CHECKING:
    from fleetward.tui.desk import Desk, Hardware

T = TypeVar("T")
EVERY = 2.0
"""Seconds between two pictures."""
NOTICE_SECONDS = 12.0
TOLD, WORRIED = "bold green", "bold red"


def _fleet() -> Screen[Any]:
    from fleetward.tui.screens.fleet import FleetScreen

    return FleetScreen()


def _jobs() -> Screen[Any]:
    from fleetward.tui.screens.jobs import JobsScreen

    return JobsScreen()


def _nodes() -> Screen[Any]:
    from fleetward.tui.screens.nodes import NodesScreen

    return NodesScreen()


def _submit() -> Screen[Any]:
    from fleetward.tui.screens.submit import SubmitScreen

    return SubmitScreen()


def _incidents() -> Screen[Any]:
    from fleetward.tui.screens.incidents import IncidentsScreen

    return IncidentsScreen()


class FleetApp(App[None]):
    """Fleetward's screen."""

    TITLE = "Fleetward"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    SCREENS: ClassVar[dict[str, Callable[[], Screen[Any]]]] = {
        "fleet": _fleet,
        "jobs": _jobs,
        "nodes": _nodes,
        "submit": _submit,
        "incidents": _incidents,
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1,f", "goto('fleet')", "Fleet"),
        Binding("2,j", "goto('jobs')", "Jobs"),
        Binding("3,n", "goto('nodes')", "Nodes"),
        Binding("4,s", "goto('submit')", "Submit"),
        Binding("5,i", "goto('incidents')", "Incidents"),
        # With alt also out of a field that letters are typed into: a terminal tells Escape and j at once as alt+j.
        Binding("alt+1,alt+f", "goto('fleet')", "Fleet", priority=True),
        Binding("alt+2,alt+j", "goto('jobs')", "Jobs", priority=True),
        Binding("alt+3,alt+n", "goto('nodes')", "Nodes", priority=True),
        Binding("alt+4,alt+s", "goto('submit')", "Submit", priority=True),
        Binding("alt+5,alt+i", "goto('incidents')", "Incidents", priority=True),
        Binding("question_mark", "help", "help"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(
        self,
        open_source: Callable[[], Source],
        *,
        user: str,
        folder: Path,
        read_only: bool = False,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        hardware: "Hardware" = lambda _job, _note: None,
        every: float = EVERY,
    ) -> None:
        """Show what `open_source` (called in a thread) tells, to `user`, who works in `folder`."""
        super().__init__()
        self.user, self.folder, self.read_only, self.now, self.wall = user, folder, read_only, now, wall
        self.hardware = hardware
        self.picture = Picture()
        self._background = Background(self, open_source, now, every)
        self.notice = ("", "")
        """The sentence above the keys and its style."""
        self._told_at = -NOTICE_SECONDS

    def on_mount(self) -> None:
        """Open the first screen, and begin to ask only once it is drawn."""
        self.push_screen("fleet")
        self.call_after_refresh(self._background.start)
        self.set_interval(1.0, self._tick)

    def on_unmount(self) -> None:
        """End what runs in the background."""
        self._background.stop()

    def _tick(self) -> None:
        if self.notice[0] and self.now() - self._told_at > NOTICE_SECONDS:
            self._notice("", "")
        for view in self._views():
            view.tick()

    def _views(self) -> list[View]:
        return [screen for screen in self.screen_stack if isinstance(screen, View) and screen.stands]

    def on_arrived(self, message: Arrived) -> None:
        """Show a new picture."""
        self.picture = message.picture
        for view in self._views():
            view.renew()

    def on_broken(self, message: Broken) -> None:
        """End the screen with the error, as any other that nobody foresaw."""
        raise message.error

    def on_answered(self, message: Answered) -> None:
        """Hand an answer to who waits for it."""
        message.tell(message.answer)

    def ask(self, wish: Callable[[Source], T], tell: Callable[[T | FleetwardError], None]) -> None:
        """Carry out a wish outside the thread that draws, and tell its answer in it."""
        self._background.ask(wish, tell)

    def change(self, wish: Callable[[Source], T], done: Callable[[T], str]) -> None:
        """Carry out a wish that changes something; `done` turns its answer into the sentence that is shown."""
        if self.read_only:
            self.worry("this screen is read-only; start it without --read-only to change anything")
            return

        def tell(answer: T | FleetwardError) -> None:
            if isinstance(answer, FleetwardError):
                self.worry(str(answer))
            else:
                self.tell(done(answer))
            self.action_hurry()

        self.ask(wish, tell)

    def tell(self, text: str) -> None:
        """Show a sentence above the keys for a while."""
        self._told_at = self.now()
        self._notice(text, TOLD)

    def worry(self, text: str) -> None:
        """Show a sentence about what went wrong, above the keys."""
        self._told_at = self.now()
        self._notice(text, WORRIED)

    def _notice(self, text: str, style: str) -> None:
        self.notice = (" ".join(text.split()), style)
        for view in self._views():
            view.tell(*self.notice)

    async def action_goto(self, name: str) -> None:
        """Bring a screen to the front, and be done only when it takes keys: what is typed next belongs to it."""
        while len(self.screen_stack) > 2:
            await self.pop_screen()
        await self.switch_screen(name)
        if isinstance(self.screen, View):
            self.screen.enter()

    def action_hurry(self) -> None:
        """Take the next picture now."""
        self._background.hurry()

    def action_help(self) -> None:
        """Show every key of this screen, and what its signs mean."""
        from fleetward.tui.screens.help import HelpScreen

        if isinstance(self.screen, View):
            self.push_screen(HelpScreen(self.screen))


if TYPE_CHECKING:
    _fits: type[Desk] = FleetApp
