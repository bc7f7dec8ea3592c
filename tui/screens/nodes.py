"""All nodes as a table."""

from typing import ClassVar

from textual.binding import BindingType

from fleetward.model.daemon_views import NodeAnswer
from fleetward.model.fleet_view import NodeView
from fleetward.tui.picture import Picture
from fleetward.tui.screens.details import node_lines
from fleetward.tui.screens.dialog import Prompt, Question, Reading
from fleetward.tui.states import node_look
from fleetward.tui.table_view import TableView
from fleetward.tui.text import Line, plain
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
    KEYS: ClassVar[Keys] = (
        ("enter", "open"),
        ("/", "filter"),
        ("d", "drain"),
        ("u", "resume"),
        ("o", "sort"),
        ("space", "mark"),
        ("r", "refresh"),
    )
    MORE_KEYS: ClassVar[Keys] = (("O", "turn the order around"), ("home end", "first, last"), ("1-5", "screens"))
    BINDINGS: ClassVar[list[BindingType]] = [("d", "drain", "drain"), ("u", "resume", "resume")]
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

    def action_drain(self) -> None:
        """Claim the marked nodes, or the one under the cursor, for this user and drain them, once it is said why."""
        names = [node.name for node in self.chosen]

        def answered(why: str | None) -> None:
            if why:
                self.desk.change(lambda source: [source.drain(name, why) for name in names], told)

        if names:
            lines = [*_about(names), (("Their jobs go on; they stay drained until you resume them.", "dim"),)]
            self.app.push_screen(Prompt("Drain", lines, "why? it stands in Slurm's reason"), answered)

    def action_resume(self) -> None:
        """Release this user's claims on the marked nodes, or on the one under the cursor."""
        names = [node.name for node in self.chosen]

        def answered(key: str | None) -> None:
            if key == "y":
                self.desk.change(lambda source: [source.resume(name) for name in names], told)

        if names:
            lines = [*_about(names), (("A node that somebody else holds too stays drained.", "dim"),)]
            self.app.push_screen(Question("Release your claims?", lines, {"y": "yes, release"}), answered)


def _about(names: list[str]) -> list[Line]:
    return [((plain(" ".join(names)), "bold"),)]


def told(answers: list[NodeAnswer]) -> str:
    """Return what became of the nodes."""
    return "; ".join(f"{answer.node}: {answer.result}" for answer in answers)
