"""A screen around one table: what `/`, marks and `enter` do is the same for jobs, nodes and incidents."""

from collections.abc import Iterable
from typing import Any, ClassVar, Generic, TypeVar

from textual.binding import BindingType
from textual.widget import Widget

from fleetward.tui.view import View
from fleetward.tui.widgets.filter_line import FilterLine
from fleetward.tui.widgets.table import LineTable

T = TypeVar("T")


class TableView(View, Generic[T]):
    """A screen whose table has a filter line below it."""

    BINDINGS: ClassVar[list[BindingType]] = [("slash", "filter", "filter"), ("escape", "show_all", "show all")]

    def make_table(self) -> LineTable[T]:
        """Return the table, made anew."""
        raise NotImplementedError

    def below(self) -> Iterable[Widget]:
        """Return what stands under the table."""
        return ()

    def open_row(self, item: T) -> None:
        """Open what stands under the cursor."""
        raise NotImplementedError

    def body(self) -> Iterable[Widget]:
        """Return table, filter and what stands below."""
        self._table = self.make_table()
        yield self._table
        yield FilterLine()
        yield from self.below()

    @property
    def table(self) -> LineTable[T]:
        """Return the table."""
        return self._table

    @property
    def chosen(self) -> list[T]:
        """Return the marked items in the order they are shown; without marks the one under the cursor."""
        if self.table.marks:
            return [item for item in self.table.rows if self.table.key_of(item) in self.table.marks]
        item = self.table.cursor_item
        return [] if item is None else [item]

    def action_filter(self) -> None:
        """Let a text be typed that rows must have."""
        self.query_one(FilterLine).open()

    def action_show_all(self) -> None:
        """Drop filter and marks."""
        self.query_one(FilterLine).clear()
        self.table.unmark()
        self.set_focus(self.table)

    def on_filter_line_changed(self, event: FilterLine.Changed) -> None:
        """Narrow the table."""
        self.table.narrow(event.text)

    def on_filter_line_left(self) -> None:
        """Give the keys back to the table."""
        self.set_focus(self.table)

    def on_line_table_opened(self, event: LineTable.Opened) -> None:
        """Open the row."""
        table: LineTable[Any] = event.table
        if table is self._table and (item := self.table.cursor_item) is not None:
            self.open_row(item)
