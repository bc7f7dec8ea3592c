"""What stands around every screen: header, tabs, the sentence about trouble, the last answer, and the keys."""

from collections.abc import Mapping, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from fleetward.tui.picture import Picture
from fleetward.tui.text import Line, Span, ago, cut, plain, wrapped
from fleetward.tui.widgets.paint import paint

STALE = 15.0
"""Seconds after which an age is drawn in amber."""
SELDOM: Mapping[str, float] = {"partitions": 90.0}
"""Seconds from which on the age of what is asked for once a minute is shown at all."""
TABS = (
    ("fleet", "1 Fleet"),
    ("jobs", "2 Jobs"),
    ("nodes", "3 Nodes"),
    ("submit", "4 Submit"),
    ("incidents", "5 Incidents"),
)


class OneLine(Widget):
    """One line of spans, cut to the width."""

    DEFAULT_CSS = "OneLine { height: 1; }"

    def __init__(self, spans: Line = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._spans = spans

    def show(self, spans: Line) -> None:
        """Show these spans from now on."""
        if spans != self._spans:
            self._spans = spans
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw the line."""
        base = self.rich_style
        segments = [Segment(text, paint(self, base, style)) for text, style in self._spans]
        return Strip(segments if y == 0 else []).adjust_cell_length(self.size.width, base)


class Header(OneLine):
    """The fleet's name, how old each part is, and how much Fleetward holds."""

    def picture(self, picture: Picture, now: float, read_only: bool) -> None:
        """Show what a picture says, as of `now` (the clock that the picture was taken by)."""
        spans: list[Span] = [(" Fleetward ", "bold reverse"), (" ", "")]
        if picture.fleet is not None:
            spans.append((plain(picture.fleet.cluster) + " ", "bold"))
            for part, age in sorted(picture.ages(now).items()):
                if age >= SELDOM.get(part, 0.0):
                    spans.append((f" {plain(part)} {ago(age)}", "yellow" if age > STALE else "dim"))
        else:
            spans.append(("asking Slurm ...", "dim"))
        if picture.status is not None:
            held = f"  held {picture.status.drained}/{picture.status.drained_allowed}"
            spans.append((held, "yellow" if picture.status.drained >= picture.status.drained_allowed else "dim"))
        if picture.fleet is not None and not picture.has_daemon:
            spans.append(("  no daemon", "yellow"))
        if read_only:
            spans.append(("  read-only", "bold yellow"))
        self.show(tuple(spans))


class Tabs(OneLine):
    """The names of the screens, with the key of each."""

    def open(self, chosen: str, incidents: int) -> None:
        """Show which one is open, and how many incidents are."""
        spans: list[Span] = [(" ", "")]
        for name, title in TABS:
            text = f" {title} ({incidents}) " if name == "incidents" and incidents else f" {title} "
            style = "reverse bold" if name == chosen else "bold red" if name == "incidents" and incidents else ""
            spans += [(text, style), (" ", "")]
        self.show(tuple(spans))


class Sentences(Widget):
    """Up to three lines of wrapped text; not there while there is nothing to tell."""

    DEFAULT_CSS = "Sentences { height: auto; max-height: 3; display: none; }"
    MOST = 3

    def __init__(self) -> None:
        super().__init__()
        self._sentences: tuple[str, ...] = ()
        self._style = Style.null()

    @property
    def text(self) -> str:
        """Return what is told."""
        return "\n".join(self._sentences)

    def show(self, sentences: Sequence[str], style: str = "") -> None:
        """Tell these from now on."""
        shown = tuple(plain(sentence) for sentence in sentences if sentence)
        if (shown, Style.parse(style)) != (self._sentences, self._style):
            self._sentences, self._style = shown, Style.parse(style)
            self.display = bool(shown)
            self.refresh(layout=True)

    def _lines(self, width: int) -> list[str]:
        lines = [piece for sentence in self._sentences for piece in wrapped(sentence, max(1, width - 2))]
        return (
            lines
            if len(lines) <= self.MOST
            else [*lines[: self.MOST - 1], cut(lines[self.MOST - 1], width - 6) + " ..."]
        )

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return how many lines the sentences take."""
        return len(self._lines(width))

    def render_line(self, y: int) -> Strip:
        """Draw one line of them."""
        width = self.size.width
        lines = self._lines(width)
        text = cut(f" {lines[y]}" if y < len(lines) else "", width)
        return Strip([Segment(text, paint(self, self.rich_style, self._style))], width)


class Banner(Sentences):
    """What is out of reach, in red."""

    DEFAULT_CSS = "Banner { background: darkred; color: white; }"


class Notice(Sentences):
    """What became of the last thing that a person did."""


class KeyLine(OneLine):
    """The keys that matter here; where there is no room for all, those named last give way to help and quit."""

    ALWAYS = (("?", "help"), ("q", "quit"))

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__(id="keys")
        self._keys = tuple(keys)

    def render_line(self, y: int) -> Strip:
        """Draw the keys that fit."""
        width = self.size.width
        self._spans = key_spans(self._keys, self.ALWAYS, width)
        return super().render_line(y)


def key_spans(keys: Sequence[tuple[str, str]], always: Sequence[tuple[str, str]], width: int) -> Line:
    """Return keys and their words, as many of the first as fit beside those that are always there."""
    kept = list(keys)
    while kept and 1 + sum(len(key) + len(word) + 3 for key, word in [*kept, *always]) > width + 2:
        kept.pop()
    spans: list[Span] = [(" ", "")]
    for key, word in [*kept, *always]:
        spans += [(key, "bold cyan"), (f" {word}  ", "")]
    return tuple(spans)
