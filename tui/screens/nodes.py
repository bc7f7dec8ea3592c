"""All nodes as a table."""

from typing import ClassVar

from fleetward.model.fleet_view import NodeView
from fleetward.tui.picture import Picture
from fleetward.tui.screens.details import node_lines
from fleetward.tui.screens.dialog import Reading
from fleetward.tui.states import node_look
from fleetward.tui.table_view import TableView
from fleetward.tui.text import plain
from fleetward.tui.view import Keys
from fleetward.tui.widgets.columns import Column
from fleetward.tui.widgets.table import LineTable


def gpus(node: NodeView) -> str:
    """Return how many of a node's GPUs are up, or only how many there are."""
    if all(gpu.up is None for gpu in node.gpus):
        return str(len(node.gpus))
    return f"{sum(gpu.up is True for gpu in node.gpus)}/{len(node.gpus)}"


_COLUMNS: tuple[Column[NodeView], ...] = (
    Column("NODE", 8, lambda node: node.name, grows=True),
    Column("STATE", 12, lambda node: str(node_look(node.state)), style=lambda node: node_look(node.state).style),
    Column("GPUS", 7, gpus, right=True, order=lambda node: len(node.gpus)),
    Column(
        "CPUS",
        7,
        lambda node: f"{node.cpus_allocated}/{node.cpus}",
        right=True,
        order=lambda node: node.cpus_allocated,
        rank=2,
    ),
    Column("JOBS", 4, lambda node: str(len(node.jobs)), right=True, order=lambda node: len(node.jobs)),
    Column("HELD BY", 8, lambda node: " ".join(node.claims), style=lambda _: "yellow"),
    Column("INCIDENTS", 9, lambda node: " ".join(f"i{one}" for one in node.incidents), style=lambda _: "bold red"),
    Column("RACK", 6, lambda node: node.rack, rank=4),
    Column("PARTITIONS", 10, lambda node: ",".join(node.partitions), rank=3),
    Column("REASON", 14, lambda node: node.reason, grows=True, style=lambda _: "yellow"),
)


class NodesScreen(TableView[NodeView]):
    """Every node with its state, load, claims and reason."""

    TAB = "nodes"
    KEYS: ClassVar[Keys] = (("enter", "open"), ("/", "filter"), ("o", "sort"), ("r", "refresh"), ("1-5", "screens"))
    MORE_KEYS: ClassVar[Keys] = (("O", "turn the order around"), ("home end", "first, last"))
    DEFAULT_CSS = "NodesScreen LineTable { height: 1fr; }"

    def make_table(self) -> LineTable[NodeView]:
        """Return the table of nodes."""
        return LineTable(_COLUMNS, lambda node: node.name, empty="no node")

    def show(self, picture: Picture) -> None:
        """Show a new picture."""
        if picture.fleet is not None:
            self.table.show(picture.fleet.nodes)

    def open_row(self, item: NodeView) -> None:
        """Show everything that is known of a node."""
        self.app.push_screen(Reading(plain(item.name), lambda: node_lines(self.desk.picture, item.name)))
