"""The one table of all screens: any number of rows, of which only the visible ones are ever formatted or drawn.

Textual's DataTable measures every cell: 50,000 rows took it 8.9 s to fill, and 3.6 s to update.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fleetward.tui.text import cut, plain
from fleetward.tui.widgets.columns import GAP, Column, fitted, layout
from fleetward.tui.widgets.paint import paint

T = TypeVar("T")


class LineTable(ScrollView, Generic[T], can_focus=True):
    """Rows with a cursor that follows its key through every refresh, marks, sorting and a filter."""

    DEFAULT_CSS = "LineTable { scrollbar-size-vertical: 1; overflow-x: hidden; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("up,k", "move(-1)", "up"),
        ("down", "move(1)", "down"),
        ("pageup", "page(-1)", "page up"),
        ("pagedown", "page(1)", "page down"),
        ("home,g", "edge(-1)", "first"),
        ("end,G", "edge(1)", "last"),
        ("enter", "open", "open"),
        ("space", "mark", "mark"),
        ("o", "sort", "sort by the next column"),
        ("O", "turn", "turn the order"),
    ]

    class Opened(Message):
        """A person opened a row."""

        def __init__(self, table: "LineTable[Any]", key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> "LineTable[Any]":
            """Return the table."""
            return self.table

    class Moved(Opened):
        """The cursor stands on another row now, or on none (an empty key)."""

    def __init__(
        self,
        columns: Sequence[Column[T]],
        key: Callable[[T], str],
        *,
        empty: str = "nothing here",
        top_until_moved: bool = False,
        id: str | None = None,
    ) -> None:
        """Without `top_until_moved` the cursor holds on to the first row that was ever shown."""
        super().__init__(id=id)
        self._columns, self._key, self.empty = tuple(columns), key, empty
        self._top_until_moved, self._moved = top_until_moved, False
        self._items: tuple[T, ...] = ()
        self._rows: Sequence[T] = ()
        self._cursor = 0
        self._told = ""
        self._words: dict[str, str] | None = None
        self._strips: dict[tuple[int, bool, bool], Strip] = {}
        self._layout: tuple[tuple[Column[T], int], ...] = ()
        self._layout_width = -1
        self.marks: frozenset[str] = frozenset()
        self.needle = ""
        self.sorted_by: int | None = None
        self.turned = False

    @property
    def rows(self) -> Sequence[T]:
        """Return the items as they are shown: filtered and sorted."""
        return self._rows

    @property
    def cursor_item(self) -> T | None:
        """Return the item under the cursor."""
        return self._rows[self._cursor] if self._rows else None

    @property
    def cursor_key(self) -> str:
        """Return the key of the item under the cursor; empty where there is none."""
        return self._key(self._rows[self._cursor]) if self._rows else ""

    def show(self, items: Sequence[T]) -> None:
        """Show these items from now on; cursor and marks stay with their keys."""
        self._items = tuple(items)
        self._words = None
        if self.marks:
            self.marks &= frozenset(map(self._key, self._items))
        self._arrange()

    def narrow(self, needle: str) -> None:
        """Show only items with this text in a column, in any case; all of them for an empty one."""
        self.needle = needle.casefold()
        self._arrange()

    def choose(self, key: str) -> None:
        """Put the cursor onto an item, if it is shown."""
        if (at := self._find(key)) is not None:
            self._moved = True
            self._stand(at)

    def _find(self, key: str) -> int | None:
        """Return where a key stands: mostly where the cursor is, else one look over all is cheaper than an index."""
        rows, place = self._rows, self._cursor
        if not key or (place < len(rows) and self._key(rows[place]) == key):
            return place if key else None
        return next((at for at, item in enumerate(rows) if self._key(item) == key), None)

    def key_of(self, item: T) -> str:
        """Return the key by which cursor and marks know an item."""
        return self._key(item)

    def unmark(self) -> None:
        """Drop all marks."""
        self.marks = frozenset()
        self.refresh_rows()

    def _arrange(self) -> None:
        key, before, place = self.cursor_key, self._cursor, self._cursor - self.scroll_offset.y
        rows: Sequence[T] = self._items
        if self.needle:
            words = self._haystack()
            rows = [item for item in rows if self.needle in words[self._key(item)]]
        if self.sorted_by is not None:
            column = self._columns[self.sorted_by]
            rows = sorted(rows, key=column.order or column.text, reverse=self.turned)
        self._rows = rows
        if not self._moved and self._top_until_moved:
            self._cursor = 0
        elif (at := self._find(key)) is not None:
            self._cursor = at
        else:
            self._cursor = min(before, max(0, len(rows) - 1))
        self._strips.clear()
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        if self._cursor != before:  # the cursor's row stays where it is on the screen, the others move around it
            self.scroll_to(y=max(0, self._cursor - place), animate=False)
        self._keep_in_sight()
        self.refresh()
        self._tell()

    def _haystack(self) -> dict[str, str]:
        if self._words is None:
            self._words = {
                self._key(item): "\n".join(column.text(item) for column in self._columns).casefold()
                for item in self._items
            }
        return self._words

    def _stand(self, index: int) -> None:
        self._cursor = min(max(0, index), max(0, len(self._rows) - 1))
        self._keep_in_sight()
        self.refresh()
        self._tell()

    def _keep_in_sight(self) -> None:
        page, top = self.size.height - 1, self.scroll_offset.y
        if page < 1:
            return
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False)
        elif self._cursor >= top + page:
            self.scroll_to(y=self._cursor - page + 1, animate=False)

    def _tell(self) -> None:
        if self.cursor_key != self._told:
            self._told = self.cursor_key
            self.post_message(self.Moved(self, self._told))

    def action_move(self, rows: int) -> None:
        """Move the cursor by so many rows."""
        self._moved = True
        self._stand(self._cursor + rows)

    def action_page(self, pages: int) -> None:
        """Move the cursor by so many pages."""
        self.action_move(pages * max(1, self.size.height - 2))

    def action_edge(self, where: int) -> None:
        """Move the cursor to the first row (-1) or the last (1)."""
        self.action_move(where * len(self._rows))

    def action_open(self) -> None:
        """Tell that the row under the cursor is wanted."""
        if self._rows:
            self._moved = True
            self.post_message(self.Opened(self, self.cursor_key))

    def action_mark(self) -> None:
        """Mark the row under the cursor, or unmark it, and go on to the next."""
        if self._rows:
            self.marks ^= {self.cursor_key}
            self.action_move(1)

    def action_sort(self) -> None:
        """Sort by the next of the columns; after the last, in the order the items came in."""
        following = 0 if self.sorted_by is None else self.sorted_by + 1
        self.sorted_by, self.turned = (following if following < len(self._columns) else None), False
        self._arrange()

    def action_turn(self) -> None:
        """Turn the order of the sorted column around."""
        self.turned = not self.turned
        self._arrange()

    def on_resize(self, _: events.Resize) -> None:
        """Lay the columns out anew."""
        self._strips.clear()
        self._keep_in_sight()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor onto the row; a second click opens it."""
        at = event.get_content_offset(self)
        if at is None or at.y < 1 or self.scroll_offset.y + at.y > len(self._rows):
            return
        index = self.scroll_offset.y + at.y - 1
        again, self._moved = index == self._cursor, True
        self._stand(index)
        if again:
            self.action_open()

    def refresh_rows(self) -> None:
        """Draw again what follows from more than the items, such as ages."""
        self._strips.clear()
        self.refresh(Region(0, 0, self.size.width, self.size.height))

    def render_line(self, y: int) -> Strip:
        """Draw the titles, or the row that stands on this line."""
        width = self.size.width
        if width != self._layout_width:
            self._layout, self._layout_width = layout(self._columns, width), width
            self._strips.clear()
        if y == 0:
            return self._titles(width)
        index = self.scroll_offset.y + y - 1
        if index >= len(self._rows):
            text = f" {self.empty}" if index == 0 else ""
            return Strip([Segment(cut(text, width), self.rich_style + Style(dim=True))], width)
        cursor = index == self._cursor
        marked = bool(self.marks) and self._key(self._rows[index]) in self.marks
        strip = self._strips.get((index, cursor, marked))
        if strip is None:
            strip = self._strips[index, cursor, marked] = self._row(self._rows[index], width, cursor, marked)
        return strip

    def _titles(self, width: int) -> Strip:
        chosen = None if self.sorted_by is None else self._columns[self.sorted_by]
        parts = [" "]
        for column, size in self._layout:
            sign = ("▼" if self.turned else "▲") if column is chosen else ""
            parts.append(fitted(column.title + sign, size, column.right) + " " * GAP)
        return Strip([Segment(cut("".join(parts), width), self.rich_style + Style(bold=True, underline=True))], width)

    def _row(self, item: T, width: int, cursor: bool, marked: bool) -> Strip:
        base = self.rich_style
        if cursor:
            base += Style(reverse=True) if self.has_focus else Style(bold=True, underline=True)
        segments = [Segment("*" if marked else " ", base + Style(bold=True))]
        for column, size in self._layout:
            style = column.style(item) if column.style is not None else ""
            text = fitted(plain(column.text(item)), size, column.right)
            segments.append(Segment(text, base if cursor else paint(self, base, style)))
            segments.append(Segment(" " * GAP, base))
        return Strip(segments).adjust_cell_length(width, base)

    def on_focus(self) -> None:
        """Show the cursor as the one that keys move."""
        self.refresh_rows()

    def on_blur(self) -> None:
        """Show the cursor as one that rests."""
        self.refresh_rows()
