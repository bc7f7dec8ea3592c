"""The line that `/` opens: what is typed narrows the table at once."""

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from fleetward.tui.widgets.chrome import OneLine


class FilterLine(Horizontal):
    """A text field behind a slash; hidden until it is asked for."""

    class Changed(Message):
        """Another text is to be looked for; empty for everything."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The person goes back to the rows."""

    def compose(self) -> ComposeResult:
        """Put the slash before the field."""
        yield OneLine(((" /", "bold cyan"),)).add_class("label")
        yield Input(placeholder="text in any column; enter keeps it, escape shows all", compact=True)

    def open(self) -> None:
        """Take what is typed."""
        self.display = True
        self.screen.set_focus(self.query_one(Input))  # at once: what is typed next belongs to it

    def clear(self) -> None:
        """Look for nothing, and hide."""
        self.query_one(Input).value = ""
        self.display = False

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow at once."""
        event.stop()
        self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep what is looked for."""
        event.stop()
        self.display = bool(event.value)
        self.post_message(self.Left())

    def on_key(self, event: events.Key) -> None:
        """Show everything again at escape, and go to the rows at down."""
        if event.key == "escape":
            event.stop()
            self.clear()
            self.post_message(self.Left())
        elif event.key == "down":
            event.stop()
            self.post_message(self.Left())
