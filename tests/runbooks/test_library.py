"""The shipped pages, and a site's own beside them."""

import re
import time
from pathlib import Path

import click
import pytest

import fleetward
from fleetward.group import cli
from fleetward.model.errors import UsageError
from fleetward.runbooks.actions.registry import kinds
from fleetward.runbooks.library import SHIPPED, library
from fleetward.runbooks.lint import alerts_of_rules, lint, lint_alerts
from fleetward.runbooks.page import Page, read_file

RULES = Path(fleetward.__file__).parent / "alerting" / "rules"
TO_THE_END = ("gpu-off-bus", "gpu-xid-fatal", "node-down")
JOBS_LEFT_ALONE = "node-unhealthy"
CARRIED_OUT = ("change-driver", "change-reboot", "change-site")
"""By `fleetward change`, on many nodes; no alert leads there."""
THAT_CHANGE = ("ansible.play", "node.reboot")
"""Actions that leave a node otherwise than it was."""


def shipped() -> list[Page]:
    return list(library().values())


def test_every_shipped_page_is_without_a_finding() -> None:
    assert library().problems == ()
    assert [str(finding) for page in shipped() for finding in lint(page, kinds())] == []
    assert len(shipped()) == len(list(SHIPPED.glob("*.md"))) == 19


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    assert [str(finding) for finding in lint_alerts(library(), alerts_of_rules(RULES))] == []


def test_every_section_of_every_page_says_something() -> None:
    for page in shipped():
        lines = page.text.split("\n")
        ends = [section.line for section in page.sections[1:]] + [len(lines) + 1]
        for section, end in zip(page.sections, ends, strict=True):
            said = " ".join(lines[section.line : end - 1]).split()
            assert len(said) >= 8, f"{page.id}: {section.title}"


@pytest.mark.parametrize("page_id", TO_THE_END)
def test_three_pages_take_the_node_out_put_its_jobs_back_and_return_it(page_id: str) -> None:
    page = library().page(page_id)
    actions = [step.action for step in page.steps]
    assert actions.index("slurm.drain") < actions.index("slurm.requeue") < actions.index("slurm.resume")
    assert actions[-1] == "slurm.resume"
    assert page.steps[actions.index("slurm.drain")].options["undo"] == "slurm.resume"
    between = actions[actions.index("slurm.requeue") + 1 : -1]
    assert "prometheus.expect" in between, "it returns without having been looked at"


def test_one_page_takes_the_node_out_leaves_its_jobs_alone_and_returns_it() -> None:
    page = library().page(JOBS_LEFT_ALONE)
    assert [step.action for step in page.steps] == ["node.run", "slurm.drain", "prometheus.expect", "slurm.resume"]
    assert page.steps[1].options["undo"] == "slurm.resume"


def test_the_page_for_a_lost_gpu_has_the_steps_of_the_loop() -> None:
    steps = [step.name for step in library().page("gpu-off-bus").steps]
    assert steps == ["look", "drain", "requeue", "repaired", "back", "resume"]


def test_what_begins_with_change_and_has_no_alert_is_carried_out_by_one() -> None:
    assert tuple(page.id for page in shipped() if page.id.startswith("change-") and not page.alerts) == CARRIED_OUT


@pytest.mark.parametrize("page_id", CARRIED_OUT)
class TestCarriedOut:
    """What holds for a page that is carried out on node after node while nobody looks."""

    def test_it_is_about_one_node_that_only_a_person_names(self, page_id: str) -> None:
        page = library().page(page_id)
        assert (page.params["node"].source, page.params["node"].default) == ("", None)
        assert (str(page.blast), str(page.mode)) == ("node", "propose")
        for step in page.steps:
            assert "{{ node }}" in {str(value) for value in step.arguments.values()} or "$node" in str(step.arguments)

    def test_before_the_drain_it_only_looks(self, page_id: str) -> None:
        steps = library().page(page_id).steps
        before = steps[: [step.action for step in steps].index("slurm.drain")]
        assert [step.name for step in before if step.action != "node.run" or not step.optional] == []
        assert not [step.name for step in before if step.options.get("changes")]

    def test_the_drain_is_planned_work_and_can_be_undone(self, page_id: str) -> None:
        drain = next(step for step in library().page(page_id).steps if step.action == "slurm.drain")
        assert (drain.arguments["class"], drain.options["undo"]) == ("maintenance", "slurm.resume")

    def test_no_job_is_on_the_node_when_anything_of_it_is_changed(self, page_id: str) -> None:
        steps = library().page(page_id).steps
        actions = [step.action for step in steps]
        waits = actions.index("slurm.wait_for_jobs")
        assert actions.index("slurm.drain") == waits - 1
        assert steps[waits].arguments.get("late", "fail") == "fail"
        assert not steps[waits].optional
        assert min(index for index, action in enumerate(actions) if action in THAT_CHANGE) > waits

    def test_it_is_checked_after_the_last_change_and_before_it_takes_jobs_again(self, page_id: str) -> None:
        steps = library().page(page_id).steps
        last = max(index for index, step in enumerate(steps) if step.action in THAT_CHANGE)
        checks = [step for step in steps[last + 1 : -1] if step.arguments.get("") == ["fleetward", "check"]]
        assert len(checks) == 1
        assert not checks[0].optional
        assert "expect" not in checks[0].arguments

    def test_a_boot_is_followed_by_a_look_through_slurm(self, page_id: str) -> None:
        actions = [step.action for step in library().page(page_id).steps]
        if "node.reboot" in actions:
            assert "prometheus.expect" in actions[actions.index("node.reboot") :]

    def test_the_node_is_given_back_last_and_once(self, page_id: str) -> None:
        steps = library().page(page_id).steps
        assert [step.action for step in steps].count("slurm.resume") == 1
        assert (steps[-1].action, steps[-1].options["undo"]) == ("slurm.resume", "slurm.drain")

    def test_no_step_is_left_out_where_it_fails_but_a_look(self, page_id: str) -> None:
        assert {step.name for step in library().page(page_id).steps if step.optional} <= {"look"}


@pytest.mark.parametrize(
    "page_id", [page.id for page in shipped() if page.id not in {*TO_THE_END, JOBS_LEFT_ALONE, *CARRIED_OUT}]
)
def test_the_other_pages_change_nothing_by_themselves(page_id: str) -> None:
    page = library().page(page_id)
    assert [step.name for step in page.steps if kinds()[step.action].changes] == []
    assert not [step.name for step in page.steps if step.options.get("changes")]


def test_no_page_begins_by_itself_until_a_person_says_so() -> None:
    assert {str(page.mode) for page in shipped()} <= {"observe", "propose"}


def test_pages_that_a_page_names_are_there() -> None:
    ids = set(library())
    named = {name for page in shipped() for name in re.findall(r"[Pp]age `([a-z-]+)`", page.text)}
    assert named
    assert named <= ids


def test_commands_that_pages_name_are_there() -> None:
    named = [
        words.split()
        for page in shipped()
        for words in re.findall(r"(?:^|`)fleetward ((?:[a-z][a-z-]* ?)+)", page.text, re.MULTILINE)
    ]
    assert len(named) > 10
    context = click.Context(cli)
    for noun, *verbs in named:
        command = cli.get_command(context, noun)
        assert command is not None, noun
        if isinstance(command, click.Group) and (verbs or not command.invoke_without_command):
            assert verbs[0] in command.commands, (noun, verbs)


def test_units_of_ours_that_pages_name_are_installed_by_a_role() -> None:
    units = {unit for page in shipped() for unit in re.findall(r"fleetward-[a-z-]+", page.text)}
    roles = Path(fleetward.__file__).parent / "roles"
    assert units
    for unit in units:
        assert list(roles.glob(f"*/templates/{unit}.service.j2")), unit


def test_reading_and_checking_all_pages_takes_no_time() -> None:
    began = time.perf_counter()
    pages = library()
    for page in pages.values():
        lint(page, kinds())
    assert time.perf_counter() - began < 0.2


def test_kinds_that_change_a_node_say_so_and_are_never_optional() -> None:
    for name in THAT_CHANGE:
        assert kinds()[name].changes, name


class TestSite:
    def copy(self, folder: Path, page_id: str, *changes: tuple[str, str]) -> None:
        text = (SHIPPED / f"{page_id}.md").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        name = next((new.removeprefix("id: ") for old, new in changes if old.startswith("id: ")), page_id)
        (folder / f"{name}.md").write_text(text)

    def test_a_page_of_the_same_id_replaces_the_shipped_one(self, tmp_path: Path) -> None:
        self.copy(tmp_path, "watchdog", ("title: The chain", "title: Our chain"))
        pages = library([tmp_path])
        assert pages["watchdog"].title.startswith("Our chain")
        assert set(pages) == set(library())

    def test_a_page_of_its_own_is_found_by_its_alert(self, tmp_path: Path) -> None:
        self.copy(tmp_path, "watchdog", ("id: watchdog", "id: rack-hot"), ("[Watchdog]", "[RackHot]"))
        page = library([tmp_path]).page_for_alert("RackHot")
        assert page is not None
        assert page.id == "rack-hot"

    def test_a_page_that_is_none_is_told_and_takes_no_other_down(self, tmp_path: Path) -> None:
        (tmp_path / "bad.md").write_text("no page")
        pages = library([tmp_path])
        assert set(pages) == set(library())
        assert [str(problem).split(": ")[0] for problem in pages.problems] == [f"{tmp_path}/bad.md:1"]

    def test_a_broken_page_does_not_let_the_shipped_one_run_in_its_place(self, tmp_path: Path) -> None:
        self.copy(tmp_path, "gpu-off-bus", ("mode: propose", "mode: never"))
        pages = library([tmp_path])
        assert "gpu-off-bus" not in pages
        assert pages.page_for_alert("GpuOffBus") is None

    def test_a_folder_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        assert "is no folder" in str(library([tmp_path / "none"]).problems[0])


def test_an_id_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="there are change-driver"):
        library().page("nope")
    assert library().page_for_alert("Nope") is None


def test_a_page_reads_the_same_alone() -> None:
    assert read_file(SHIPPED / "watchdog.md").page == library()["watchdog"]
