"""Plain lines that scroll: a page's text, a step's output, a timeline."""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fleetward.tui.text import Line, wrapped
from fleetward.tui.widgets.paint import paint

MOST = 5000
"""Lines that are kept; of a longer text the last ones."""


class Lines(ScrollView, can_focus=True):
    """Shows lines as they are; those of one span are wrapped, the others (tables) are cut."""

    DEFAULT_CSS = "Lines { scrollbar-size-vertical: 1; overflow-x: hidden; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("up,k", "scroll_up", "up"),
        ("down", "scroll_down", "down"),
        ("pageup", "page_up", "page up"),
        ("pagedown,space", "page_down", "page down"),
        ("home,g", "scroll_home", "begin"),
        ("end,G", "scroll_end", "end"),
    ]

    def __init__(self, *, follow: bool = False, id: str | None = None, focusable: bool = True) -> None:
        """With `follow` the end stays in sight while text is added, unless a person scrolled away from it."""
        super().__init__(id=id)
        self.can_focus = focusable
        self._follow = follow
        self._lines: tuple[Line, ...] = ()
        self._drawn: list[Line] = []
        self._wrapped_at = -1

    @property
    def lines(self) -> tuple[Line, ...]:
        """Return what is shown, before it is fitted to the width."""
        return self._lines

    def show(self, lines: Sequence[Line], *, top: bool = False) -> None:
        """Show these lines from now on; with `top` from their begin, for it is another text."""
        kept = tuple(lines[-MOST:])
        if kept == self._lines and not top:
            return
        at_end = self.scroll_offset.y >= self.max_scroll_y
        self._lines, self._wrapped_at = kept, -1
        self._fit()
        if self._follow and (at_end or top):
            self.scroll_to(y=max(0, len(self._drawn) - self.size.height), animate=False)
        elif top:
            self.scroll_to(y=0, animate=False)
        self.refresh()

    def on_resize(self, _: events.Resize) -> None:
        """Wrap anew."""
        self._fit()

    def _fit(self) -> None:
        width = self.size.width
        if width == self._wrapped_at or width < 1:
            return
        self._wrapped_at = width
        self._drawn = []
        for line in self._lines:
            if len(line) == 1:
                self._drawn += [((piece, line[0][1]),) for piece in wrapped(line[0][0], width)]
            else:
                self._drawn.append(line)
        self.virtual_size = Size(width, len(self._drawn))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return how many lines there are at a width, for a box that is as high as its text."""
        return sum(len(wrapped(line[0][0], width)) if len(line) == 1 else 1 for line in self._lines)

    def render_line(self, y: int) -> Strip:
        """Draw the line that stands here."""
        base, width, index = self.rich_style, self.size.width, self.scroll_offset.y + y
        if index >= len(self._drawn):
            return Strip.blank(width, base)
        segments = [Segment(text, paint(self, base, style)) for text, style in self._drawn[index]]
        return Strip(segments).adjust_cell_length(width, base)
