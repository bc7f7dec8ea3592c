"""One incident's page beside the steps of its run: what was done, what it waits for, and what a person must decide."""

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from fleetward.model.daemon_views import IncidentView, RunbookView
from fleetward.model.errors import FleetwardError
from fleetward.model.incidents import Incident
from fleetward.model.runs import Run, RunState, Step
from fleetward.tui.picture import Picture
from fleetward.tui.screens.dialog import Question
from fleetward.tui.screens.run_lines import (
    asks,
    current_step,
    decision_lines,
    page_lines,
    run_heading,
    step_lines,
    what_approval_does,
)
from fleetward.tui.states import STEPS
from fleetward.tui.text import Line, plain
from fleetward.tui.view import Keys, View
from fleetward.tui.widgets.chrome import OneLine
from fleetward.tui.widgets.columns import Column
from fleetward.tui.widgets.lines import Lines
from fleetward.tui.widgets.table import LineTable

EVERY = 1.0
"""Seconds between two looks at the run."""
_COLUMNS: tuple[Column[Step], ...] = (
    Column("STATE", 9, lambda step: str(STEPS[step.state]), style=lambda step: STEPS[step.state].style),
    Column("STEP", 10, lambda step: step.name, grows=True),
    Column("ACTION", 17, lambda step: step.action),
)


class RunbookScreen(View):
    """What `enter` on an incident opens."""

    TAB = "incidents"
    KEYS: ClassVar[Keys] = (
        ("p", "approve"),
        ("d", "decide"),
        ("x", "abort"),
        ("a", "ack"),
        ("tab", "pane"),
        ("esc", "back"),
    )
    MORE_KEYS: ClassVar[Keys] = (
        ("up down", "choose a step; its output is below"),
        ("tab", "from steps to page to output"),
        ("1-5", "screens"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "back", "back"),
        ("p", "approve", "approve"),
        ("d", "decide", "decide"),
        ("x", "abort", "abort"),
        ("a", "acknowledge", "acknowledge"),
    ]
    DEFAULT_CSS = """
    RunbookScreen #heading { height: 2; }
    RunbookScreen Horizontal { height: 2fr; }
    RunbookScreen #steps { width: 1fr; max-width: 64; }
    RunbookScreen #page { width: 1fr; border-left: solid $primary; padding-left: 1; }
    RunbookScreen #output { height: 1fr; min-height: 6; border-top: solid $primary; }
    """

    def __init__(self, incident: Incident) -> None:
        super().__init__()
        self._incident = incident
        self._run: Run | None = None
        self._page: RunbookView | None = None
        self._asking = self._fetched = False
        self._trouble = ""
        self._by_hand = ""
        """The step that a person put the cursor on; empty while the cursor follows the run."""

    def body(self) -> Iterable[Widget]:
        """Return heading, steps beside page, and output."""
        yield Lines(id="heading", focusable=False)
        steps: LineTable[Step] = LineTable(_COLUMNS, lambda step: str(step.index), empty="no run yet", id="steps")
        yield Horizontal(steps, Lines(id="page"))
        yield OneLine(id="about")
        yield Lines(id="output", follow=True)

    @property
    def steps(self) -> "LineTable[Step]":
        """Return the table of steps."""
        return self.query_one("#steps", LineTable)

    def on_mount(self) -> None:
        """Look now, and then again and again."""
        super().on_mount()
        self.steps.focus()
        self._look()
        self.set_interval(EVERY, self._look)
        if self._incident.runbook:
            self.desk.ask(lambda source: source.runbook(self._incident.runbook), self._show_page)
        else:
            self.query_one("#page", Lines).show([(("no page names this alert", "dim"),)])

    def _look(self) -> None:
        if not self._asking and self.stands:
            self._asking = True
            self.desk.ask(lambda source: source.incident(self._incident.id), self._show_incident)

    def _show_incident(self, answer: IncidentView | FleetwardError) -> None:
        self._asking, self._fetched = False, True
        if isinstance(answer, FleetwardError):
            self._trouble = str(answer)
        else:
            self._trouble, self._incident = "", answer.incident
            self._run = max(answer.runs, key=lambda run: run.id, default=None)
        if self.stands:
            self._draw()

    def _show_page(self, answer: RunbookView | FleetwardError) -> None:
        if isinstance(answer, FleetwardError):
            lines: list[Line] = [((f"the page cannot be shown: {plain(str(answer))}", "red"),)]
        else:
            incident = self._incident
            values = {**incident.labels, "node": incident.node, "gpu": incident.gpu}
            self._page, lines = answer, page_lines(answer.text, values)
        if self.stands:
            self.query_one("#page", Lines).show(lines, top=True)

    def show(self, picture: Picture) -> None:
        """Show a new picture: what approval will do may be another thing now."""
        self._draw()

    def _draw(self) -> None:
        run = self._run
        self.query_one("#heading", Lines).show(run_heading(self._incident, run, self._trouble, fetched=self._fetched))
        self.steps.empty = "no run yet: p plans one" if self._incident.runbook else "no page names this alert"
        self.steps.show(run.steps if run else ())
        if run is not None and not self._by_hand and (step := current_step(run)) is not None:
            self.steps.choose(str(step.index))
        self._draw_output()

    def _draw_output(self) -> None:
        step = self.steps.cursor_item
        about = f" {step.name}: {step.action} " if step else " "
        self.query_one("#about", OneLine).show(((plain(about), "bold"),))
        self.query_one("#output", Lines).show(step_lines(self._run, step) if self._run and step else [])

    def on_line_table_moved(self, _: LineTable.Moved) -> None:
        """Show the output of the step under the cursor; where a person moved it, it stays there."""
        if not self.stands:
            return
        step = self.steps.cursor_item
        following = current_step(self._run) if self._run else None
        self._by_hand = "" if step is None or step == following else step.name
        self._draw_output()

    def action_back(self) -> None:
        """Go back to the incidents."""
        self.app.pop_screen()

    def action_acknowledge(self) -> None:
        """Say that this user looks after the incident."""
        incident = self._incident
        self.desk.change(
            lambda source: source.acknowledge(incident.id), lambda answer: f"{answer.owner} is acknowledged"
        )

    def action_approve(self) -> None:
        """Approve what the run waits for, once a person has read what that will do; without a run, plan one."""
        run, incident = self._run, self._incident
        if not self._fetched or self._trouble:  # there may be a run already
            self.desk.worry(f"nothing can be approved: {self._trouble or 'the daemon has not answered yet'}")
            return
        if run is None or run.state is RunState.PLANNED or run.state.ended:
            self._plan(incident)
            return
        if not asks(run):
            self.desk.worry(f"r{run.id} is {run.state}: nothing waits for an approval")
            return

        def answered(key: str | None) -> None:
            if key == "y":
                self.desk.change(
                    lambda source: source.approve(run.id, run.digest), lambda answer: f"approved r{answer.id}"
                )
                self._look()

        lines = what_approval_does(run, incident, self.desk.picture)
        self.app.push_screen(Question(f"Approve r{run.id}?", lines, {"y": "yes, approve"}), answered)

    def _plan(self, incident: Incident) -> None:
        page = self._page
        if page is None:
            self.desk.worry("no page: nothing can be planned")
            return
        params = {name: incident.labels[name] for name in page.params if name in incident.labels}
        self.desk.change(
            lambda source: source.propose(page.id, params, incident.id),
            lambda run: f"planned r{run.id}; p approves it",
        )
        self._look()

    def action_decide(self) -> None:
        """Tell a stopped run what became of the step it stopped at."""
        run = self._run
        step = current_step(run) if run else None
        if run is None or run.state is not RunState.STOPPED or step is None:
            self.desk.worry("nothing to decide: no run has stopped")
            return
        index = step.index
        decisions = {"d": "done", "a": "again", "x": "abort"}

        def answered(key: str | None) -> None:
            if key in decisions:
                decision = decisions[key]
                self.desk.change(
                    lambda source: source.decide(run.id, index, decision),
                    lambda answer: f"r{answer.id}: {step.name} {decision}",
                )
                self._look()

        words = {"d": "it is done", "a": "do it again", "x": "abort the run"}
        self.app.push_screen(Question(f"r{run.id} asks", decision_lines(run, step), words), answered)

    def action_abort(self) -> None:
        """End the run where it stands, once that is confirmed."""
        run = self._run
        if run is None or run.state.ended:
            self.desk.worry("no run to abort")
            return

        def answered(key: str | None) -> None:
            if key == "y":
                self.desk.change(lambda source: source.abort(run.id), lambda answer: f"r{answer.id} is aborted")
                self._look()

        text = f"r{run.id} ends where it stands; what it did is not undone, and its claims stay."
        self.app.push_screen(Question("Abort the run?", [((text, ""),)], {"y": "yes, abort"}), answered)
