"""All jobs as a table; one's own can be cancelled."""

from typing import ClassVar

from textual.binding import BindingType

from fleetward.model.errors import FleetwardError
from fleetward.model.fleet_view import JobView
from fleetward.printable import length
from fleetward.slurm.answers import ENDED
from fleetward.tui.picture import Picture
from fleetward.tui.screens.details import job_lines
from fleetward.tui.screens.dialog import Question, Reading
from fleetward.tui.source import Source
from fleetward.tui.states import job_look
from fleetward.tui.table_view import TableView
from fleetward.tui.text import Line, plain
from fleetward.tui.view import Keys
from fleetward.tui.widgets.columns import Column
from fleetward.tui.widgets.table import LineTable


def where(job: JobView) -> str:
    """Return the nodes of a job, or why it waits."""
    return ",".join(job.nodes) if job.nodes else f"({job.reason})" if job.reason else ""


def by_id(job: JobView) -> tuple[int, str]:
    """Return by what jobs are sorted: number, then task."""
    task = job.id.lstrip("0123456789")
    return int(job.id[: len(job.id) - len(task)] or 0), task


_COLUMNS: tuple[Column[JobView], ...] = (
    Column("JOB", 8, lambda job: job.id, order=by_id),
    Column("NAME", 10, lambda job: job.name, grows=True),
    Column("USER", 10, lambda job: job.user),
    Column("PARTITION", 9, lambda job: job.partition, rank=3),
    Column("STATE", 12, lambda job: str(job_look(job.state)), style=lambda job: job_look(job.state).style),
    Column("TIME", 10, lambda job: length(job.elapsed), right=True, order=lambda job: job.elapsed),
    Column(
        "LIMIT", 10, lambda job: length(job.time_limit), right=True, order=lambda job: job.time_limit or 10**9, rank=2
    ),
    Column("NODES", 5, lambda job: str(job.node_count), right=True, order=lambda job: job.node_count),
    Column("GPUS", 4, lambda job: str(job.gpus), right=True, order=lambda job: job.gpus),
    Column("RESTARTS", 8, lambda job: str(job.restarts), right=True, order=lambda job: job.restarts, rank=4),
    Column("WHERE", 12, where, grows=True),
)


class JobsScreen(TableView[JobView]):
    """The queue, of everyone or of this user."""

    TAB = "jobs"
    KEYS: ClassVar[Keys] = (
        ("enter", "open"),
        ("/", "filter"),
        ("m", "mine"),
        ("e", "ended"),
        ("x", "cancel"),
        ("o", "sort"),
        ("space", "mark"),
        ("r", "refresh"),
    )
    MORE_KEYS: ClassVar[Keys] = (("O", "turn the order around"), ("home end", "first, last"), ("1-5", "screens"))
    BINDINGS: ClassVar[list[BindingType]] = [
        ("m", "mine", "mine"),
        ("e", "ended", "ended"),
        ("x", "cancel", "cancel"),
    ]
    DEFAULT_CSS = "JobsScreen LineTable { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self._mine = self._ended = False

    def make_table(self) -> LineTable[JobView]:
        """Return the table of jobs."""
        return LineTable(_COLUMNS, lambda job: job.id, empty="no job; m: mine or everyone's, e: those that ended")

    def show(self, picture: Picture) -> None:
        """Show a new picture."""
        if picture.fleet is None:
            return
        jobs = picture.fleet.jobs
        if self._mine:
            jobs = tuple(job for job in jobs if job.user == self.desk.user)
        if not self._ended:
            jobs = tuple(job for job in jobs if job.state not in ENDED)
        self.table.show(jobs)

    def open_row(self, item: JobView) -> None:
        """Show everything that is known of a job."""
        self.app.push_screen(Reading(f"Job {plain(item.id)}", lambda: job_lines(self.desk.picture, item.id)))

    def action_mine(self) -> None:
        """Show one's own jobs only, or everyone's."""
        self._mine = not self._mine
        self.desk.tell("only your jobs" if self._mine else "everyone's jobs")
        self.show(self.desk.picture)

    def action_ended(self) -> None:
        """Show jobs that ended a short while ago too, or not."""
        self._ended = not self._ended
        self.desk.tell("also jobs that ended a short while ago" if self._ended else "no jobs that have ended")
        self.show(self.desk.picture)

    def action_cancel(self) -> None:
        """Cancel the marked jobs, or the one under the cursor, once that is confirmed."""
        jobs = [job for job in self.chosen if job.user == self.desk.user and job.state not in ENDED]
        if not jobs:
            self.desk.worry("only your own jobs that have not ended can be cancelled here")
            return
        lines: list[Line] = [((f"{plain(job.id)}  {plain(job.name)}  {job_look(job.state)}", ""),) for job in jobs]

        def answered(key: str | None) -> None:
            if key == "y":
                self.desk.change(lambda source: cancel(source, jobs), lambda text: text)

        self.app.push_screen(Question("Cancel these jobs?", lines, {"y": "cancel them"}), answered)


def cancel(source: Source, jobs: list[JobView]) -> str:
    """Cancel jobs one after another; the error of the first that fails says how many were cancelled before."""
    for count, job in enumerate(jobs):
        try:
            source.cancel(job.id)
        except FleetwardError as error:
            raise type(error)(f"job {job.id}: {error} ({count} cancelled before)") from error
    return f"cancelled {', '.join(job.id for job in jobs)}"
