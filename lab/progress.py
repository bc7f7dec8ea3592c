"""What `lab up` shows while it works: a live line on a terminal, plain lines elsewhere; always on stderr."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol


class Progress(Protocol):
    """Told of every step as it begins and ends."""

    def step(self, title: str) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """Show a step while its block runs; what it yields takes a detail to show beside it."""
        ...


class PlainProgress:
    """One line when a step begins being worth telling and one when it has ended; for logs and pipes."""

    def __init__(self) -> None:
        """Count seconds from here."""
        self._began = time.monotonic()

    def _say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:5.0f} s] {text}", file=sys.stderr, flush=True)  # noqa: T201

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Print the title, and its details as they change."""
        self._say(title)
        last = ""

        def detail(text: str) -> None:
            nonlocal last
            if text != last:
                last = text
                self._say(f"  {text}")

        yield detail


class LiveProgress:
    """A spinner with the current detail, and a mark for each step that has ended."""

    def __init__(self) -> None:
        """Draw on stderr."""
        from rich.console import Console

        self._console = Console(stderr=True)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Spin while the block runs, then leave one line."""
        from rich.markup import escape

        began = time.monotonic()
        try:
            with self._console.status(escape(title)) as status:
                yield lambda text: status.update(f"{escape(title)}  [dim]{escape(text)}[/dim]")
        except BaseException:
            self._console.print(f"[red]✗[/red] {escape(title)}")
            raise
        self._console.print(f"[green]✓[/green] {escape(title)}  [dim]{time.monotonic() - began:.0f} s[/dim]")


def for_stderr() -> Progress:
    """Return the display that fits where stderr goes."""
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()
