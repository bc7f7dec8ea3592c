"""The whole fleet at a glance: every GPU as one cell, and what is known of the node under the cursor."""

from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from fleetward.model.fleet_view import FleetView
from fleetward.tui.picture import Picture
from fleetward.tui.screens.details import gpu_lines, node_head, node_lines
from fleetward.tui.screens.dialog import Reading
from fleetward.tui.states import Look, job_look, node_look
from fleetward.tui.text import Line, Span, plain
from fleetward.tui.view import Keys, View
from fleetward.tui.widgets.chrome import OneLine
from fleetward.tui.widgets.heatmap import LEGEND, HeatMap
from fleetward.tui.widgets.lines import Lines


class FleetScreen(View):
    """Heat map over a panel about one node."""

    TAB = "fleet"
    KEYS: ClassVar[Keys] = (("arrows", "choose node"), ("enter", "open"), ("r", "refresh"), ("1-5", "screens"))
    DEFAULT_CSS = """
    FleetScreen HeatMap { height: 1fr; }
    FleetScreen #node { height: 9; border-top: solid $primary; }
    """

    def body(self) -> Iterable[Widget]:
        """Return the sums, the map, its legend and the node."""
        yield OneLine(id="sums")
        yield HeatMap()
        yield OneLine(((f" {LEGEND}", "dim"),))
        yield Lines(id="node", focusable=False)

    def show(self, picture: Picture) -> None:
        """Show a new picture."""
        if picture.fleet is not None:
            self.query_one("#sums", OneLine).show(sums(picture.fleet))
            self.query_one(HeatMap).show(picture.fleet.nodes)
        self._show_node()

    def _show_node(self) -> None:
        node = self.query_one(HeatMap).cursor_node
        self.query_one("#node", Lines).show([*node_head(node), *gpu_lines(node.gpus)] if node else [])

    def on_heat_map_moved(self, _: HeatMap.Moved) -> None:
        """Show the node under the cursor."""
        if self.stands:
            self._show_node()

    def on_heat_map_opened(self, event: HeatMap.Opened) -> None:
        """Show everything that is known of the node."""
        self.app.push_screen(Reading(plain(event.node), lambda: node_lines(self.desk.picture, event.node)))


def sums(fleet: FleetView) -> Line:
    """Return the fleet in one line; nodes by state come last, for the map under it tells them again."""
    gpus = [gpu for node in fleet.nodes for gpu in node.gpus]
    busy, lost = sum(1 for gpu in gpus if (gpu.utilization or 0) >= 0.01), sum(1 for gpu in gpus if gpu.up is False)
    spans: list[Span] = [(f" {len(gpus)} GPUs:", "bold")]
    spans += [(f" {busy} busy", "")] if any(gpu.up is not None for gpu in gpus) else []
    spans += [(f" ✗ {lost} lost", "bold red")] if lost else []
    spans.append(("  jobs:", "bold"))
    states = Counter(job.state for job in fleet.jobs)
    for state in ("RUNNING", "PENDING"):
        look = job_look(state)
        spans.append((f" {look.glyph} {states[state]} {look.word}", look.style))
    spans.append((f"  {len(fleet.nodes)} nodes:", "bold"))
    for (glyph, word, style), count in _counted(node_look(node.state) for node in fleet.nodes):
        spans.append((f" {glyph} {count} {word}", style))
    return tuple(spans)


def _counted(looks: Iterable[Look]) -> list[tuple[tuple[str, str, str], int]]:
    counts = Counter((look.glyph, plain(look.word), look.style) for look in looks)
    return counts.most_common()
