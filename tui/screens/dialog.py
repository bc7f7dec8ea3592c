"""Boxes over a screen: a question that is answered by a key, and lines to read."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from fleetward.tui.text import Line
from fleetward.tui.widgets.lines import Lines


class Question(ModalScreen[str]):
    """Asks, and ends with the key that was pressed of those that answer; with an empty text at escape."""

    def __init__(self, title: str, lines: Sequence[Line], answers: Mapping[str, str]) -> None:
        """`answers` maps each key to what it means."""
        super().__init__(classes="dialog")
        self._title, self._lines, self._answers = title, tuple(lines), answers

    def compose(self) -> ComposeResult:
        """Put the box together."""
        with Vertical(classes="box") as box:
            box.border_title = self._title.replace("[", r"\[")
            lines = Lines()
            lines.show(self._lines)
            yield lines
            answers = {**self._answers, "esc": "leave it"}
            box.border_subtitle = "  ".join(rf"\[{key}] {word}" for key, word in answers.items())

    def on_key(self, event: events.Key) -> None:
        """End at a key that answers; any other does nothing but scroll."""
        if event.key == "escape":
            event.stop()
            self.dismiss("")
        elif event.character is not None and event.character in self._answers:
            event.stop()
            self.dismiss(event.character)
        elif event.character is not None:
            event.stop()  # no key of the screen below, and none of the app, may act behind a question


class Prompt(ModalScreen[str]):
    """Asks for a sentence, and ends with it; with an empty text at escape."""

    def __init__(self, title: str, lines: Sequence[Line], hint: str) -> None:
        super().__init__(classes="dialog")
        self._title, self._lines, self._hint = title, tuple(lines), hint

    def compose(self) -> ComposeResult:
        """Put the box together."""
        with Vertical(classes="box") as box:
            box.border_title = self._title.replace("[", r"\[")
            box.border_subtitle = r"\[enter] do it  \[esc] leave it"
            lines = Lines(focusable=False)
            lines.show(self._lines)
            yield lines
            yield Input(placeholder=self._hint, compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """End with what was typed; nothing happens while that is empty."""
        event.stop()
        if text := event.value.strip():
            self.dismiss(text)

    def on_key(self, event: events.Key) -> None:
        """Leave it at escape."""
        if event.key == "escape":
            event.stop()
            self.dismiss("")


class Reading(ModalScreen[None]):
    """Lines to read, renewed every second by asking for them again."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,enter,question_mark", "dismiss", "close")]

    def __init__(self, title: str, lines: Callable[[], Sequence[Line]]) -> None:
        super().__init__(classes="dialog")
        self._title, self._source = title, lines

    def compose(self) -> ComposeResult:
        """Put the box together."""
        with Vertical(classes="box") as box:
            box.border_title = self._title.replace("[", r"\[")
            self._lines = Lines()
            self._lines.show(self._source())
            yield self._lines
            box.border_subtitle = r"\[esc] close  \[up down] scroll"

    def on_mount(self) -> None:
        """Renew while it is open."""
        self._lines.focus()
        self.set_interval(1.0, lambda: self._lines.show(self._source()))
