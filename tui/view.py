"""What all screens share: the lines around them, the keys that lead elsewhere, and how a new picture reaches them."""

from collections.abc import Iterable
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widget import Widget

from fleetward.tui.desk import Desk
from fleetward.tui.picture import Picture
from fleetward.tui.widgets.chrome import Banner, Header, KeyLine, Notice, Tabs

Keys = tuple[tuple[str, str], ...]
"""Keys with a word each, the most needed first."""


class View(Screen[None]):
    """A screen with header, tabs, banner, notice and keys around its body."""

    TAB: ClassVar[str] = ""
    KEYS: ClassVar[Keys] = ()
    MORE_KEYS: ClassVar[Keys] = ()
    """Told by `?` only."""
    BINDINGS: ClassVar[list[BindingType]] = [("r", "app.hurry", "refresh")]
    _put_up = False

    @property
    def desk(self) -> Desk:
        """Return the app, as its screens see it."""
        return cast("Desk", self.app)

    @property
    def stands(self) -> bool:
        """Say whether all parts are there: an answer may come while a screen is being put up or taken down."""
        return self._put_up and self.is_running and self.app.is_running and not self._pruning

    def body(self) -> Iterable[Widget]:
        """Return what stands between tabs and keys."""
        raise NotImplementedError

    def show(self, picture: Picture) -> None:
        """Show a new picture; called again whenever the screen comes to the front."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        """Put the lines around the body."""
        yield Header()
        yield Tabs()
        yield Banner()
        yield from self.body()
        yield Notice()
        yield KeyLine(self.KEYS)

    def on_mount(self) -> None:
        """Show what is known already."""
        self._put_up = True
        self.renew()

    def on_screen_resume(self) -> None:
        """Show what came while another screen stood in front."""
        if self.stands:
            self.renew()

    def renew(self) -> None:
        """Show the app's picture, and what stands around it."""
        picture = self.desk.picture
        self.query_one(Tabs).open(self.TAB, len(picture.incidents))
        self.query_one(Banner).show([f"✗ {problem}" for problem in picture.problems])
        self.tell(*self.desk.notice)
        self.tick()
        self.show(picture)

    def enter(self) -> None:
        """Make ready for keys; called when a person comes to this screen, before the next key is read."""

    def tick(self) -> None:
        """Show how old everything is by now."""
        self.query_one(Header).picture(self.desk.picture, self.desk.now(), self.desk.read_only)

    def tell(self, text: str, style: str) -> None:
        """Show what became of the last thing that was done."""
        self.query_one(Notice).show([text], style)
