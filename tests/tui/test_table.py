"""The one table: its cursor stays with its row, and only what is visible is ever formatted."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from fleetward.tui.widgets.columns import Column, layout
from fleetward.tui.widgets.table import LineTable

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Row:
    name: str
    size: int


def rows(count: int) -> tuple[Row, ...]:
    return tuple(Row(f"row{number:05}", number % 7) for number in range(count))


class TableApp(App[None]):
    """One table."""

    def __init__(self, items: Sequence[Row] = (), *, top_until_moved: bool = False) -> None:
        super().__init__()
        self.formatted: list[str] = []
        self.opened: list[str] = []
        self.table = LineTable(
            (
                Column("NAME", 10, self._formatted_name, grows=True),
                Column("SIZE", 6, lambda row: str(row.size), right=True),
            ),
            lambda row: row.name,
            top_until_moved=top_until_moved,
        )
        self._items = items

    def _formatted_name(self, row: Row) -> str:
        self.formatted.append(row.name)
        return row.name

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.show(self._items)
        self.table.focus()

    def on_line_table_opened(self, event: LineTable.Opened) -> None:
        if type(event) is LineTable.Opened:
            self.opened.append(event.key)


def lines(pilot: Pilot[None]) -> list[str]:
    app = pilot.app
    assert isinstance(app, TableApp)
    return [app.table.render_line(y).text for y in range(app.table.size.height)]


async def test_of_many_rows_only_the_visible_are_formatted() -> None:
    app = TableApp(rows(50_000))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert lines(pilot)[1].startswith(" row00000")
        assert set(app.formatted) == {row.name for row in rows(23)}


async def test_the_cursor_follows_its_row_through_a_refresh() -> None:
    app = TableApp(rows(100))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("down", "down", "down")
        app.table.show((Row("first", 1), Row("second", 1), *rows(100)))
        await pilot.pause()
        assert app.table.cursor_key == "row00003"
        await pilot.press("enter")
        assert app.opened == ["row00003"]


async def test_a_row_that_is_gone_leaves_the_cursor_in_its_place() -> None:
    app = TableApp(rows(10))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("end")
        app.table.show(rows(4))
        assert app.table.cursor_key == "row00003"
        app.table.show(())
        assert app.table.cursor_item is None
        await pilot.press("enter", "space", "down")
        assert app.opened == []


async def test_until_it_is_moved_a_cursor_may_stay_at_the_top() -> None:
    app = TableApp(rows(3), top_until_moved=True)
    async with app.run_test(size=(80, 24)) as pilot:
        app.table.show((Row("worse", 1), *rows(3)))
        assert app.table.cursor_key == "worse"
        await pilot.press("down")
        app.table.show((Row("worst", 1), Row("worse", 1), *rows(3)))
        assert app.table.cursor_key == "row00000"


async def test_the_cursor_stays_in_sight() -> None:
    app = TableApp(rows(1000))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("end")
        await pilot.pause()
        assert "row00999" in lines(pilot)[-1]
        await pilot.press("pageup", "pageup")
        await pilot.pause()
        assert app.table.cursor_key == "row00955"
        assert any("row00955" in line for line in lines(pilot))


async def test_sorting_keeps_the_cursor_and_shows_its_direction() -> None:
    app = TableApp(rows(20))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("down", "o", "o")
        assert [row.size for row in app.table.rows] == sorted(row.size for row in rows(20))
        assert "SIZE▲" in lines(pilot)[0]
        assert app.table.cursor_key == "row00001"
        await pilot.press("O")
        assert [row.size for row in app.table.rows] == sorted((row.size for row in rows(20)), reverse=True)
        assert "SIZE▼" in lines(pilot)[0]
        await pilot.press("o")
        assert list(app.table.rows) == list(rows(20))


async def test_a_filter_finds_text_in_any_case_and_goes_on_through_refreshes() -> None:
    app = TableApp(rows(100))
    async with app.run_test(size=(80, 24)):
        app.table.narrow("ROW0001")
        assert [row.name for row in app.table.rows] == [f"row0001{digit}" for digit in range(10)]
        app.table.show(rows(15))
        assert [row.name for row in app.table.rows] == [f"row0001{digit}" for digit in range(5)]
        app.table.narrow("")
        assert len(app.table.rows) == 15


async def test_marks_stay_with_their_rows_and_go_with_them() -> None:
    app = TableApp(rows(5))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("space", "space")
        assert app.table.marks == {"row00000", "row00001"}
        assert lines(pilot)[1].startswith("*row00000")
        app.table.show(rows(5)[1:])
        assert app.table.marks == {"row00001"}


async def test_text_from_outside_is_drawn_as_it_stands() -> None:
    app = TableApp((Row("a\x1b[31mb[bold]c", 1),))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert r"a\x1b[31mb[bold]c" in lines(pilot)[1]


async def test_a_click_moves_the_cursor_and_a_second_opens() -> None:
    app = TableApp(rows(5))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.click(app.table, offset=(3, 3))
        assert (app.table.cursor_key, app.opened) == ("row00002", [])
        await pilot.click(app.table, offset=(3, 3))
        await pilot.pause()
        assert app.opened == ["row00002"]


def test_where_it_is_narrow_columns_of_the_highest_rank_go_first() -> None:
    columns: tuple[Column[Row], ...] = (
        Column("A", 10, lambda row: row.name, grows=True),
        Column("B", 10, lambda row: row.name, rank=1),
        Column("C", 10, lambda row: row.name, rank=2),
    )
    assert [(column.title, size) for column, size in layout(columns, 40)] == [("A", 16), ("B", 10), ("C", 10)]
    assert [column.title for column, _ in layout(columns, 33)] == ["A", "B"]
    assert [column.title for column, _ in layout(columns, 12)] == ["A"]
    assert [column.title for column, _ in layout(columns, 5)] == ["A"]
