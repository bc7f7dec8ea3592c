"""What is wrong now, worst first, with the timeline of the incident under the cursor."""

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from fleetward.model.daemon_views import IncidentView
from fleetward.model.errors import FleetwardError
from fleetward.model.incidents import Incident, IncidentState, Severity, TimelineEntry
from fleetward.tui.picture import Picture
from fleetward.tui.screens.dialog import Prompt
from fleetward.tui.source import Source
from fleetward.tui.states import INCIDENTS, RUNS, SEVERITIES, Look
from fleetward.tui.table_view import TableView
from fleetward.tui.text import Line, ago, clock, plain
from fleetward.tui.view import Keys
from fleetward.tui.widgets.columns import Column
from fleetward.tui.widgets.lines import Lines
from fleetward.tui.widgets.table import LineTable

_ORDER = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}
_NO_RUN = Look("", "", "")


class IncidentsScreen(TableView[Incident]):
    """Incidents that are not closed, over the timeline of one."""

    TAB = "incidents"
    KEYS: ClassVar[Keys] = (
        ("enter", "runbook"),
        ("a", "ack"),
        ("c", "close"),
        ("e", "ended"),
        ("/", "filter"),
        ("tab", "timeline"),
        ("space", "mark"),
        ("r", "refresh"),
    )
    MORE_KEYS: ClassVar[Keys] = (("o O", "sort, turn the order around"), ("1-5", "screens"))
    BINDINGS: ClassVar[list[BindingType]] = [
        ("a", "acknowledge", "acknowledge"),
        ("c", "close", "close"),
        ("e", "ended", "ended"),
    ]
    DEFAULT_CSS = """
    IncidentsScreen LineTable { height: 1fr; }
    IncidentsScreen #timeline { height: 1fr; border-top: solid $primary; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._over: tuple[Incident, ...] = ()
        self._with_closed = False

    def make_table(self) -> LineTable[Incident]:
        """Return the table of incidents; until the cursor is moved it stands on the worst and newest."""
        columns: tuple[Column[Incident], ...] = (
            Column("ID", 4, lambda incident: incident.owner, order=lambda incident: incident.id),
            Column(
                "SEVERITY",
                10,
                lambda incident: str(SEVERITIES[incident.severity]),
                style=lambda incident: SEVERITIES[incident.severity].style,
                order=lambda incident: _ORDER[incident.severity],
            ),
            Column("ALERT", 12, lambda incident: incident.alert_name, grows=True),
            Column("NODE", 8, lambda incident: incident.node),
            Column("GPU", 3, lambda incident: incident.gpu, right=True),
            Column(
                "STATE",
                8,
                lambda incident: str(INCIDENTS[incident.state]),
                style=lambda incident: INCIDENTS[incident.state].style,
            ),
            Column(
                "RUN", 10, lambda incident: str(self._run(incident)).strip(), style=lambda one: self._run(one).style
            ),
            Column(
                "OPEN FOR",
                8,
                lambda incident: ago((self.desk.wall() - incident.opened_at).total_seconds()),
                right=True,
                order=lambda incident: -incident.opened_at.timestamp(),
                rank=2,
            ),
            Column("SUMMARY", 24, lambda incident: incident.summary, grows=True, rank=3),
        )
        return LineTable(
            columns,
            lambda incident: incident.owner,
            empty="no incident: nothing is known to be wrong",
            top_until_moved=True,
        )

    def below(self) -> Iterable[Widget]:
        """Return the timeline."""
        yield Lines(id="timeline", follow=True)

    def _run(self, incident: Incident) -> Look:
        run = self.desk.picture.run_of(incident.id)
        return RUNS[run.state] if run else _NO_RUN

    def show(self, picture: Picture) -> None:
        """Show a new picture, worst and newest first."""
        self.table.empty = (
            "no incident: nothing is known to be wrong"
            if picture.has_daemon
            else "the daemon keeps the incidents, and it does not answer"
        )
        known = {incident.id: incident for incident in (*self._over, *picture.incidents)}
        self.table.show(sorted(known.values(), key=_worst_first))
        self._fetch_timeline()

    def open_row(self, item: Incident) -> None:
        """Open the incident's page beside its run."""
        from fleetward.tui.screens.runbook import RunbookScreen

        self.app.push_screen(RunbookScreen(item))

    def on_line_table_moved(self, _: LineTable.Moved) -> None:
        """Show the timeline of the incident under the cursor."""
        if not self.stands:
            return
        self.query_one("#timeline", Lines).show(self._head(), top=True)
        self._fetch_timeline()

    def _head(self) -> list[Line]:
        incident = self.table.cursor_item
        return [((f"{incident.owner} {plain(incident.summary)}", "bold"),)] if incident else []

    def _fetch_timeline(self) -> None:
        incident = self.table.cursor_item
        if incident is None:
            self.query_one("#timeline", Lines).show([])
            return
        key = incident.id

        def tell(answer: IncidentView | FleetwardError) -> None:
            if not self.stands:
                return
            chosen = self.table.cursor_item
            if isinstance(answer, IncidentView) and chosen is not None and chosen.id == key:
                self.query_one("#timeline", Lines).show([*self._head(), *map(entry_line, answer.timeline)])

        self.desk.ask(lambda source: source.incident(key), tell)

    def action_acknowledge(self) -> None:
        """Say that this user looks after the marked incidents, or the one under the cursor."""
        incidents = [incident.id for incident in self.chosen]
        if incidents:
            self.desk.change(lambda source: acknowledge(source, incidents), lambda text: text)
            self.table.unmark()

    def action_close(self) -> None:
        """Close the marked incidents, or the one under the cursor, once it is said why."""
        incidents = [incident for incident in self.chosen if incident.state is not IncidentState.CLOSED]

        def answered(why: str | None) -> None:
            if why:
                self.desk.change(lambda source: close(source, incidents, why), lambda text: text)
                self.table.unmark()

        if incidents:
            lines: list[Line] = [
                ((f"{one.owner} {plain(one.alert_name)} {plain(one.node)}", "bold"),) for one in incidents
            ]
            lines.append((("Its run ends where it stands, and what it holds is released.", "dim"),))
            self.app.push_screen(Prompt("Close", lines, "why?"), answered)

    def action_ended(self) -> None:
        """Show incidents that are closed too, or not."""
        self._with_closed = not self._with_closed
        self._over = ()
        if self._with_closed:
            self.desk.ask(lambda source: source.closed_incidents(), self._show_closed)
        else:
            self.desk.tell("no incidents that are closed")
            self.show(self.desk.picture)

    def _show_closed(self, answer: tuple[Incident, ...] | FleetwardError) -> None:
        if isinstance(answer, FleetwardError):
            self.desk.worry(str(answer))
        elif self._with_closed and self.stands:
            self._over = answer
            self.desk.tell("also incidents that are closed")
            self.show(self.desk.picture)


def _worst_first(incident: Incident) -> tuple[bool, int, int]:
    return incident.state is IncidentState.CLOSED, _ORDER[incident.severity], -incident.id


def close(source: Source, incidents: list[Incident], why: str) -> str:
    """Close incidents one after another."""
    for incident in incidents:
        source.close_incident(incident.id, why)
    return f"closed {', '.join(incident.owner for incident in incidents)}"


def acknowledge(source: Source, incidents: list[int]) -> str:
    """Acknowledge incidents one after another."""
    for incident in incidents:
        source.acknowledge(incident)
    return f"acknowledged {', '.join(f'i{incident}' for incident in incidents)}"


def entry_line(entry: TimelineEntry) -> Line:
    """Return one entry of a timeline."""
    return ((f"{clock(entry.at)} {entry.kind:<6} {plain(entry.who)}: {plain(entry.text)}", ""),)
