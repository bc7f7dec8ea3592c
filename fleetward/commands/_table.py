"""What commands print: aligned tables with untrusted text made harmless, and JSON."""

import dataclasses
import json
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime

import click

from fleetward.printable import printable


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns, two spaces apart; every cell is made harmless first."""
    cells = [[printable(cell) or "-" for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(headers, *cells, strict=True)]
    return "\n".join(_line(row, widths) for row in [list(headers), *cells])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Return the number of terminal cells; wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def echo_json(document: Mapping[str, object]) -> None:
    """Print one JSON document; dataclasses become objects, times ISO 8601."""
    click.echo(json.dumps(document, indent=2, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"no JSON for {type(value).__name__}")


def note(text: str) -> None:
    """Tell the person something, on stderr; each line is made harmless."""
    for line in text.split("\n"):
        click.echo(f"fleetward: {printable(line)}", err=True)


def mebibytes(amount: int) -> str:
    """Return an amount of memory for people: 16000 is `15.6G`."""
    if amount < 1024:
        return f"{amount}M"
    return f"{amount / 1024:.1f}".removesuffix(".0") + "G"
