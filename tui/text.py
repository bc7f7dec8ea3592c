"""Text on its way to the screen: made harmless, cut or wrapped to terminal cells, and amounts written for people."""

from datetime import datetime

from rich.cells import cell_len, get_character_cell_size, set_cell_size

from fleetward.printable import printable

Span = tuple[str, str]
"""A text and its Rich style (`bold red`; empty for none); the text is drawn as it stands, never read as markup."""
Line = tuple[Span, ...]
"""One line as it was written, before it is fitted to a width."""


def plain(text: str) -> str:
    """Return text from outside with nothing in it that a terminal would act on."""
    return text if text.isascii() and text.isprintable() else printable(text)


def plain_lines(text: str) -> list[str]:
    """Return the lines of a text from outside, each made harmless; tabs become spaces."""
    return [plain(line.expandtabs(4)) for line in text.replace("\r\n", "\n").split("\n")]


def cut(text: str, width: int) -> str:
    """Return exactly `width` cells: padded, or cut with an ellipsis."""
    length = len(text) if text.isascii() else cell_len(text)
    if length <= width:
        return text + " " * (width - length)
    return set_cell_size(text, width - 1) + "…" if width > 1 else set_cell_size(text, width)


def wrapped(text: str, width: int) -> list[str]:
    """Return the pieces of a line, none wider than `width` cells; broken at a space where one is near."""
    if width < 1 or (len(text) if text.isascii() else cell_len(text)) <= width:
        return [text]
    pieces, start, used, space = [], 0, 0, -1
    for at, char in enumerate(text):
        size = get_character_cell_size(char)
        if used + size > width and at > start:
            stop = space + 1 if space >= start + (at - start) // 2 else at
            pieces.append(text[start:stop].rstrip())
            start, used = stop, cell_len(text[stop:at])
        if char == " ":
            space = at
        used += size
    pieces.append(text[start:])
    return pieces


def ago(seconds: float) -> str:
    """Return an age for people: `8 s`, `12 min`, `3 h`, `2 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and unit != "min"):
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def clock(at: datetime | None) -> str:
    """Return a moment in the terminal's own time zone, `14:03:59`; empty for None."""
    return at.astimezone().strftime("%H:%M:%S") if at else ""


def moment(at: datetime | None) -> str:
    """Return a moment with its day, in the terminal's own time zone; empty for None."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else ""
