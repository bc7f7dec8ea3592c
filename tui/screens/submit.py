"""A form over the job's specification: fields with their errors, the script as it would run, and the way in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from textual import events
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Input

from fleetward.model.errors import FleetwardError, UsageError
from fleetward.slurm.jobs.script import render
from fleetward.slurm.jobs.spec import JobSpec, UnfitJobError, check_job, read_job_document
from fleetward.tui.job_form import FIELDS, document_of, texts_of
from fleetward.tui.picture import Picture
from fleetward.tui.screens.dialog import Reading
from fleetward.tui.source import Source
from fleetward.tui.text import Line, plain, plain_lines
from fleetward.tui.view import Keys, View
from fleetward.tui.widgets.chrome import OneLine

T = TypeVar("T")
USUAL = "job.yaml"
"""The file that is loaded where it lies in the user's folder."""
_PATH = "path"


class FormRow(Horizontal):
    """A label, a field to type into, and what is wrong with it."""

    DEFAULT_CSS = """
    FormRow { height: 1; }
    FormRow .label { width: 20; }
    FormRow Input { height: 1; width: 1fr; border: none; padding: 0; }
    FormRow .wrong { width: 2fr; display: none; }
    """

    def __init__(self, name: str, hint: str) -> None:
        super().__init__(id=f"row-{name}")
        self.field = name
        self.kept: object = None
        """The document's own value where its text cannot be typed; the field is locked then."""
        self.wrong = ""
        self._hint = hint

    def compose(self) -> Iterable[Widget]:
        """Put label, field and complaint beside each other."""
        yield OneLine(self._label("")).add_class("label")
        yield Input(placeholder=self._hint, compact=True)
        yield OneLine().add_class("wrong")

    @property
    def input(self) -> Input:
        """Return the field."""
        return self.query_one(Input)

    def fill(self, text: str, value: object) -> None:
        """Put a text in; one with signs that no terminal should see is shown harmless, and locked."""
        harmless = plain(text)
        locked = harmless != text
        self.kept = value if locked else None
        self.input.value = harmless
        self.input.disabled = locked

    def complain(self, why: str) -> None:
        """Show what is wrong, or nothing for an empty sentence."""
        self.wrong = why
        self.query_one(".label", OneLine).show(self._label(why))
        wrong = self.query_one(".wrong", OneLine)
        wrong.display = bool(why)
        wrong.show(((f" {plain(why)}", "bold red"),))

    def _label(self, why: str) -> Line:
        name = "file" if self.field == _PATH else self.field
        return ((f"{'✗' if why else ' '} {name}", "bold red" if why else "bold" if self.field == _PATH else ""),)


class SubmitScreen(View):
    """The job's specification, from a file or typed, and its submission as this user."""

    TAB = "submit"
    AUTO_FOCUS = ""
    KEYS: ClassVar[Keys] = (
        ("ctrl+s", "submit"),
        ("ctrl+r", "show script"),
        ("ctrl+t", "check"),
        ("enter", "load file"),
        ("tab", "next field"),
        ("esc", "leave field"),
    )
    MORE_KEYS: ClassVar[Keys] = (("alt+1-5", "another screen, out of a field"), ("up down", "previous, next field"))
    BINDINGS: ClassVar[list[BindingType]] = [
        ("ctrl+s", "submit", "submit"),
        ("ctrl+r", "script", "show script"),
        ("ctrl+t", "check", "check against the cluster"),
        ("escape", "leave", "leave field"),
        ("up", "app.focus_previous", "previous field"),
        ("down", "app.focus_next", "next field"),
    ]
    DEFAULT_CSS = """
    SubmitScreen VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    SubmitScreen #row-path { margin-bottom: 0; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._loaded = ""
        """The text of the path that the fields came from; empty where they were typed."""
        self._unknown: Mapping[str, Any] = {}
        """Fields of the file that no specification has; they are complained of until another file is loaded."""
        self._sending = False

    def body(self) -> Iterable[Widget]:
        """Return the file's path, the fields, and the sentence about the field that has the cursor."""
        yield FormRow(_PATH, f"path of a job's specification (.yaml, .toml), such as {USUAL}")
        form = VerticalScroll(*(FormRow(field.name, field.hint) for field in FIELDS))
        form.can_focus = False
        yield form
        yield OneLine(id="about")

    def on_mount(self) -> None:
        """Load the usual file where there is one, and where nobody has begun to type another."""
        super().on_mount()
        if not self._typed and (self.desk.folder / USUAL).is_file():
            self._row(_PATH).input.value = USUAL
            self._load(USUAL)

    def enter(self) -> None:
        """Take what is typed as a path, in place of the one that stands there."""
        if self.focused is None:
            self.set_focus(self._row(_PATH).input)  # at once: `focus` would come behind keys that wait already

    def show(self, picture: Picture) -> None:
        """Nothing here follows from the fleet."""

    def _row(self, name: str) -> FormRow:
        return self.query_one(f"#row-{name}", FormRow)

    @property
    def _typed(self) -> str:
        return self._row(_PATH).input.value.strip()

    def _file(self, text: str) -> Path:
        return self.desk.folder / Path(text).expanduser()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Load the file that was named; in any other field go on to the next."""
        if event.input is self._row(_PATH).input:
            if self._typed:
                self._load(self._typed)
        else:
            self.focus_next()

    def _load(self, text: str) -> None:
        path = self._file(text)
        try:
            document = read_job_document(path)
        except UsageError as error:
            self._complain([(_PATH, str(error).removeprefix(f"{path}: "))])  # the row names the file
            self.desk.worry(str(error))
            return
        texts, names = texts_of(document), [field.name for field in FIELDS]
        self._unknown = {name: value for name, value in document.items() if name not in names}
        for name in names:
            self._row(name).fill(texts.get(name, ""), document.get(name))
        self._loaded = text
        if self._job() is not None:
            self.desk.tell(f"loaded {text}")

    def _job(self) -> JobSpec | None:
        """Return the specification that the fields make; where they make none, every field that is wrong says so."""
        rows = [self._row(field.name) for field in FIELDS]
        document, complaints = document_of({row.field: row.input.value for row in rows if row.kept is None})
        document |= {row.field: row.kept for row in rows if row.kept is not None} | dict(self._unknown)
        if not complaints:
            try:
                job = check_job(document)
            except UnfitJobError as error:
                complaints = list(error.complaints)
            else:
                self._complain([])
                return job
        self._complain_and_tell(complaints)
        return None

    def _complain_and_tell(self, complaints: Sequence[tuple[str, str]]) -> None:
        self._complain(complaints)
        field, why = complaints[0]
        self.desk.worry((f"{len(complaints)} fields are wrong; " if complaints[1:] else "") + f"{field}: {why}")

    def _complain(self, complaints: Iterable[tuple[str, str]]) -> None:
        wrong = {field.partition(".")[0]: why for field, why in reversed(list(complaints))}
        rows = [self._row(name) for name in (_PATH, *(field.name for field in FIELDS))]
        for row in rows:
            row.complain(wrong.get(row.field, ""))
        self._tell_about(self.focused)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Tell about the field that has the cursor."""
        self._tell_about(event.widget)

    def _tell_about(self, widget: Widget | None) -> None:
        row = widget.parent if widget is not None else None
        if isinstance(row, FormRow):
            hint = row.wrong or (row.input.placeholder if row.field != _PATH else "enter loads it")
            self.query_one("#about", OneLine).show(
                ((f" {row.field}: {plain(hint)}", "bold red" if row.wrong else "dim"),)
            )

    def _ready(self) -> JobSpec | None:
        """Return what would be submitted; nothing where another file was named and not loaded."""
        if self._typed and self._typed != self._loaded:
            self._load(self._typed)
            if self._typed != self._loaded:
                return None
        return self._job()

    def action_leave(self) -> None:
        """Leave the field, so that letters are keys again."""
        self.set_focus(None)

    def action_script(self) -> None:
        """Show the batch script as it would run; nothing is submitted."""
        job = self._ready()
        if job is None:
            return
        head = f"would run in {self._folder(job)}; nothing is submitted"

        def show(found: tuple[str, tuple[str, ...]]) -> None:
            script, notes = found
            self._read("Batch script", (head, *notes), script)

        self.desk.ask(lambda _: self._script(job), lambda answer: self._answered(answer, show))

    def action_check(self) -> None:
        """Hold the job against the cluster and show what it would meet; nothing is submitted."""
        job = self._ready()
        if job is None:
            return
        folder = self._folder(job)
        self.desk.tell("asking Slurm ...")

        def check(source: Source) -> tuple[str, ...]:
            script, notes = self._script(job)
            return (*source.check(job, script, folder), *notes)

        def show(told: tuple[str, ...]) -> None:
            self._read("Check", told or ("nothing speaks against it",))

        self.desk.ask(check, lambda answer: self._answered(answer, show))

    def _script(self, job: JobSpec) -> tuple[str, tuple[str, ...]]:
        """Return the batch script, and what is not in it; reads the inventory, so not in the thread that draws."""
        notes: list[str] = []
        return render(job, self.desk.hardware(job, notes.append)), tuple(notes)

    def _read(self, title: str, head: Iterable[str], text: str = "") -> None:
        lines: list[Line] = [*(((plain(one), "bold"),) for one in head), *(((line, ""),) for line in plain_lines(text))]
        self.app.push_screen(Reading(title, lambda: lines))

    def _answered(self, answer: T | FleetwardError, done: Callable[[T], None]) -> None:
        """Go on with an answer; what speaks against the job stands beside its fields."""
        if isinstance(answer, UnfitJobError):
            self._complain_and_tell(answer.complaints)
        elif isinstance(answer, FleetwardError):
            self.desk.worry(str(answer))
        else:
            done(answer)

    def _folder(self, job: JobSpec) -> Path:
        """Return where the job runs: the specification's own folder seen from its file, else the file's."""
        folder = self._file(self._loaded).absolute().parent if self._loaded else self.desk.folder
        return folder / job.working_directory if job.working_directory else folder

    def action_submit(self) -> None:
        """Hand the job to Slurm as this user."""
        if self.desk.read_only:
            self.desk.worry("this screen is read-only; start it without --read-only to submit")
            return
        job = None if self._sending else self._ready()
        if job is None:
            return
        self.desk.tell("handing it to Slurm ...")
        folder = self._folder(job)

        def submit(source: Source) -> str:
            script, _ = self._script(job)
            source.check(job, script, folder)
            return source.submit(script, folder)

        def done(answer: str) -> None:
            log = job.output.replace("%j", answer).replace("%A", answer).replace("%x", job.name)
            self.desk.tell(f"submitted job {answer}; its log: {log}; j shows it")
            self.set_focus(None)
            self.desk.action_hurry()

        def tell(answer: str | FleetwardError) -> None:
            self._sending = False
            self._answered(answer, done)

        self._sending = True
        self.desk.ask(submit, tell)
