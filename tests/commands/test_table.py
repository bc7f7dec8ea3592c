"""What reaches a terminal: aligned, and unable to move its cursor."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from fleetward.commands import _table
from fleetward.printable import length


@given(st.text())
def test_nothing_that_moves_a_terminal_gets_through(text: str) -> None:
    shown = _table.printable(text)
    assert not any(unicodedata.category(char).startswith("C") for char in shown)
    assert len(shown.splitlines()) <= 1


def test_what_is_escaped_can_be_told() -> None:
    assert _table.printable("a\x1b[31m\n\u202eb\x9b\udcff é") == r"a\x1b[31m\n\u202eb\x9b\udcff é"


def test_columns_line_up_with_wide_and_empty_cells() -> None:
    shown = _table.table(("A", "B"), [("日本", "x"), ("", "y"), ("abcde", "z")])
    assert shown.split("\n") == ["A      B", "日本   x", "-      y", "abcde  z"]


def test_no_rows_leave_the_headers() -> None:
    assert _table.table(("A", "B"), []) == "A  B"


def test_lengths_and_amounts_are_for_people() -> None:
    assert [length(s) for s in (0, 62, 93784, None)] == ["00:00:00", "00:01:02", "1-02:03:04", "-"]
    assert [_table.mebibytes(m) for m in (0, 1000, 1024, 16000)] == ["0M", "1000M", "1G", "15.6G"]
