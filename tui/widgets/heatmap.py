"""Every GPU of the fleet as one cell: how busy it is, and which are lost; one widget for any number of nodes."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fleetward.model.fleet_view import GpuView, NodeView
from fleetward.tui.states import node_look
from fleetward.tui.text import cut, plain
from fleetward.tui.widgets.paint import paint

LOST, UNKNOWN, IDLE = "✗", "?", "·"
BARS = "▁▂▃▄▅▆▇█"
_HEAT = ("#3a6ea5", "#3f8f8f", "#4f9d5d", "#86b04a", "#c9b53c", "#d99a35", "#de7a33", "#e0562f")
LEGEND = f"{IDLE} idle  {BARS[0]}..{BARS[-1]} busy  {LOST} lost  {UNKNOWN} not known"
_NAME_MOST = 24
_WORD = 12


class HeatMap(ScrollView, can_focus=True):
    """Nodes with a cell a GPU, as many beside each other as fit; the cursor stands on a node."""

    DEFAULT_CSS = "HeatMap { scrollbar-size-vertical: 1; overflow-x: hidden; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("left", "move(-1)", "left"),
        ("right", "move(1)", "right"),
        ("up,k", "line(-1)", "up"),
        ("down", "line(1)", "down"),
        ("pageup", "page(-1)", "page up"),
        ("pagedown", "page(1)", "page down"),
        ("home,g", "edge(-1)", "first"),
        ("end,G", "edge(1)", "last"),
        ("enter", "open", "open"),
    ]

    class Opened(Message):
        """A person opened a node."""

        def __init__(self, node: str) -> None:
            super().__init__()
            self.node = node

    class Moved(Opened):
        """The cursor stands on another node now."""

    def __init__(self, *, empty: str = "no nodes yet", id: str | None = None) -> None:
        super().__init__(id=id)
        self.empty = empty
        self._fleet: tuple[NodeView, ...] = ()
        self._cursor = 0
        self._told = ""
        self._strips: dict[int, Strip] = {}
        self._name_width, self._gpus_most = 4, 1

    @property
    def cursor_node(self) -> NodeView | None:
        """Return the node under the cursor."""
        return self._fleet[self._cursor] if self._fleet else None

    @property
    def across(self) -> int:
        """Return how many nodes stand beside each other."""
        return 1 if self._roomy else max(1, (self.size.width - 1) // self._block)

    @property
    def _roomy(self) -> bool:
        """Say whether every node can have a line of its own."""
        return len(self._fleet) <= self.size.height

    @property
    def _block(self) -> int:
        return self._name_width + 1 + self._gpus_most + 1 + 1 + _WORD + 2

    def show(self, nodes: Sequence[NodeView]) -> None:
        """Show these nodes; the cursor stays with its node's name."""
        before = self.cursor_node
        self._fleet = tuple(nodes)
        self._name_width = min(_NAME_MOST, max((len(plain(node.name)) for node in nodes), default=4))
        self._gpus_most = max((len(node.gpus) for node in nodes), default=1) or 1
        names = [node.name for node in self._fleet]
        if before is not None and before.name in names:
            self._cursor = names.index(before.name)
        self._cursor = min(self._cursor, max(0, len(names) - 1))
        self._fit()
        self._tell()

    def _fit(self) -> None:
        self._strips.clear()
        self.virtual_size = Size(self.size.width, -(-len(self._fleet) // self.across))
        self.refresh()

    def on_resize(self, _: events.Resize) -> None:
        """Wrap anew."""
        self._fit()
        self._stand(self._cursor)

    def _stand(self, index: int) -> None:
        across = self.across
        for line in {self._cursor // across, index // across}:
            self._strips.pop(line, None)
        self._cursor = min(max(0, index), max(0, len(self._fleet) - 1))
        self._strips.pop(self._cursor // across, None)
        line, top, page = self._cursor // across, self.scroll_offset.y, self.size.height
        if page and not top <= line < top + page:
            self.scroll_to(y=line if line < top else line - page + 1, animate=False)
        self.refresh()
        self._tell()

    def _tell(self) -> None:
        name = node.name if (node := self.cursor_node) else ""
        if name != self._told:
            self._told = name
            self.post_message(self.Moved(name))

    def action_move(self, nodes: int) -> None:
        """Move the cursor by so many nodes."""
        self._stand(self._cursor + nodes)

    def action_line(self, lines: int) -> None:
        """Move the cursor by so many lines."""
        to = self._cursor + lines * self.across
        if 0 <= to < len(self._fleet):
            self._stand(to)

    def action_page(self, pages: int) -> None:
        """Move the cursor by so many pages."""
        self._stand(self._cursor + pages * self.across * max(1, self.size.height - 1))

    def action_edge(self, where: int) -> None:
        """Move the cursor to the first node (-1) or the last (1)."""
        self._stand(self._cursor + where * len(self._fleet))

    def action_open(self) -> None:
        """Tell that the node under the cursor is wanted."""
        if (node := self.cursor_node) is not None:
            self.post_message(self.Opened(node.name))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor onto a node; a second click opens it."""
        at = event.get_content_offset(self)
        if at is None or at.x >= self.across * self._block:
            return
        index = (self.scroll_offset.y + at.y) * self.across + at.x // self._block
        if index < len(self._fleet):
            again = index == self._cursor
            self._stand(index)
            if again:
                self.action_open()

    def on_focus(self) -> None:
        """Show the cursor as the one that keys move."""
        self._fit()

    def on_blur(self) -> None:
        """Show the cursor as one that rests."""
        self._fit()

    def render_line(self, y: int) -> Strip:
        """Draw the nodes that stand on this line."""
        line, width, base = self.scroll_offset.y + y, self.size.width, self.rich_style
        if not self._fleet:
            return Strip([Segment(cut(f" {self.empty}" if y == 0 else "", width), base)], width)
        strip = self._strips.get(line)
        if strip is None:
            across = self.across
            segments = [Segment(" ", base)]
            for index in range(line * across, min((line + 1) * across, len(self._fleet))):
                segments += self._node(self._fleet[index], base, index == self._cursor)
            if self._roomy and line < len(self._fleet):
                segments.append(Segment(plain(about(self._fleet[line])), base))
            strip = self._strips[line] = Strip(segments).adjust_cell_length(width, base)
        return strip

    def _node(self, node: NodeView, base: Style, cursor: bool) -> list[Segment]:
        look = node_look(node.state)
        name = base + (Style(reverse=self.has_focus, bold=True, underline=not self.has_focus) if cursor else Style())
        segments = [Segment(cut(plain(node.name), self._name_width), name), Segment(" ", base)]
        for style, cells in groupby(map(cell, node.gpus), key=itemgetter(1)):  # few segments are painted sooner
            segments.append(Segment("".join(glyph for glyph, _ in cells), paint(self, base, style)))
        missing = " " * (self._gpus_most - len(node.gpus))
        segments.append(Segment(missing + " ", base))
        segments.append(Segment(cut(f"{look.glyph} {plain(look.word)}", _WORD + 2), paint(self, base, look.style)))
        segments.append(Segment(" ", base))
        return segments


def about(node: NodeView) -> str:
    """Return what is said of a node where it has a line of its own."""
    parts = [f"jobs {' '.join(node.jobs)}"] if node.jobs else []
    parts += [f"held by {' '.join(node.claims)}"] if node.claims else []
    parts += [" ".join(f"i{incident}" for incident in node.incidents)] if node.incidents else []
    parts += [node.reason] if node.reason and not node.claims else []
    return "  ".join(parts)


_LOST_STYLE = Style.parse("bold reverse red")
_UNKNOWN_STYLE = Style.parse("dim")
_IDLE_STYLE = Style.parse("bright_black")
_BAR_STYLES = tuple(Style.parse(colour) for colour in _HEAT)


def cell(gpu: GpuView) -> tuple[str, Style]:
    """Return how one GPU is drawn: lost, not known, idle, or how busy in eighths."""
    if gpu.up is False:
        return LOST, _LOST_STYLE
    if gpu.up is None or gpu.utilization is None:
        return UNKNOWN, _UNKNOWN_STYLE
    if gpu.utilization < 0.01:
        return IDLE, _IDLE_STYLE
    level = min(len(BARS) - 1, int(gpu.utilization * len(BARS)))
    return BARS[level], _BAR_STYLES[level]
