"""Text from outside never acts on the terminal, and takes exactly the cells it is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fleetward.printable import length
from fleetward.tui.text import ago, cut, plain, plain_lines, wrapped


@given(st.text())
def test_nothing_that_a_terminal_acts_on_is_left(text: str) -> None:
    assert all(char.isprintable() or char == " " for char in plain(text)) or not any(
        ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in plain(text)
    )
    assert "\x1b" not in plain(text)


def test_lines_are_parted_and_each_is_made_harmless() -> None:
    assert plain_lines("a\tb\r\nc\x1b[31m\rd") == ["a   b", r"c\x1b[31m\rd"]


@given(st.text(alphabet="ab 日é"), st.integers(2, 12))
def test_a_cut_text_takes_exactly_its_cells(text: str, width: int) -> None:
    assert cell_len(cut(text, width)) == width


@given(st.text(alphabet="ab 日"), st.integers(2, 12))
def test_wrapped_pieces_fit_and_hold_every_sign(text: str, width: int) -> None:
    pieces = wrapped(text, width)
    assert all(cell_len(piece) <= width for piece in pieces)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


def test_a_line_is_broken_at_a_space_where_one_is_near() -> None:
    assert wrapped("drained by a person long ago", 16) == ["drained by a", "person long ago"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (3600, "1 h"), (86400 * 3, "3 d"), (-5, "0 s")]
)
def test_ages_are_for_people(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_lengths_are_as_slurm_writes_them() -> None:
    assert [length(None), length(75), length(93784)] == ["-", "00:01:15", "1-02:03:04"]
