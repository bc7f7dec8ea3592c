"""A job's specification from a file or from the keyboard, shown as a script, submitted as this user."""

from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events

from fleetward.model.fleet import GpuProfile, HardwareProfile
from fleetward.slurm.client import SlurmRefusedError
from fleetward.slurm.jobs.script import render
from fleetward.slurm.jobs.spec import UnfitJobError, read_job_spec
from fleetward.tui.app import FleetApp
from fleetward.tui.recorded_source import RecordedSource
from fleetward.tui.screens.submit import SubmitScreen

pytestmark = pytest.mark.anyio

OpenApp = Callable[..., FleetApp]
Shown = Callable[..., object]
JOB = "name: digits\nnodes: 2\ngpus_per_node: h100:8\ncommand: [./venv/bin/python, train.py, --steps, '50']\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "slow.yaml").write_text(JOB.replace("digits", "slow-digits"))
    return tmp_path


async def test_the_usual_file_is_loaded_and_submitted(
    open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path
) -> None:
    source.answers["submit"] = lambda *_: "44"
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await shown(pilot, "digits", "h100:8", "./venv/bin/python train.py --steps 50")
        await pilot.press("ctrl+s")
        await shown(pilot, "submitted job 44", "digits-44.log")
        assert source.wishes == [("submit", render(read_job_spec(folder / "job.yaml")), folder)]
        await pilot.press("j")
        await shown(pilot, "WHERE")


async def test_keys_that_follow_at_once_go_into_the_form(
    open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path
) -> None:
    source.answers["submit"] = lambda *_: "45"
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s", *"slow.yaml", "enter", "ctrl+s", "escape", "i")
        await shown(pilot, "GpuOffBus", "submitted job 45")
        assert source.wishes == [("submit", render(read_job_spec(folder / "slow.yaml")), folder)]


async def test_keys_that_wait_while_the_screen_opens_go_into_the_form(
    open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that is slow: the usual file is loaded and told of, and the screen does not yet take keys."""
    source.answers["submit"] = lambda *_: "46"
    app = open_app(source)
    load = SubmitScreen._load

    def load_and_type(screen: SubmitScreen, text: str) -> None:
        load(screen, text)
        if text == "job.yaml":
            for key in ("s", "l", "o", "w", "full_stop", "y", "a", "m", "l"):
                app.post_message(events.Key(key, "." if key == "full_stop" else key if len(key) == 1 else None))

    monkeypatch.setattr(SubmitScreen, "_load", load_and_type)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await shown(pilot, "slow.yaml")
        await pilot.press("enter", "ctrl+s")
        await shown(pilot, "submitted job 46")
        assert source.wishes == [("submit", render(read_job_spec(folder / "slow.yaml")), folder)]


async def test_alt_leads_out_of_a_field(open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path) -> None:
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await shown(pilot, "h100:8")
        app.post_message(events.Key("alt+i", "i"))  # as a terminal's bytes are read: with its letter
        await shown(pilot, "GpuOffBus")


async def test_the_script_is_shown_and_nothing_submitted(
    open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path
) -> None:
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await shown(pilot, "h100:8")
        await pilot.press("ctrl+r")
        await shown(pilot, "#SBATCH --gpus-per-node=h100:8", "nothing is submitted")
        await pilot.press("escape")
        await shown(pilot, "working_directory")
        assert source.wishes == []


async def test_a_field_that_was_changed_is_what_is_submitted(
    open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path
) -> None:
    source.answers["submit"] = lambda *_: "46"
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await shown(pilot, "h100:8")
        await pilot.press(*["tab"] * 5, "3", "ctrl+s")
        await shown(pilot, "submitted job 46")
        (_, script, _), *_ = source.wishes
        assert "#SBATCH --nodes=3\n" in str(script)


async def test_errors_stand_beside_their_fields(
    open_app: OpenApp, source: RecordedSource, shown: Shown, tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text("name: two words\nnodes: many\ncommand: [x]\n")
    app = open_app(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("s")
        await shown(pilot, "✗ name", "'two words' is not allowed", "✗ nodes", "valid integer", "2 fields are wrong")
        await pilot.press("ctrl+s")
        await shown(pilot, "✗ name")
        assert source.wishes == []


async def test_an_empty_form_holds_nothing_that_looks_like_a_job(
    open_app: OpenApp, source: RecordedSource, shown: Shown
) -> None:
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        text = str(await shown(pilot, "working_directory"))
        assert "digits" not in text
        assert (
            sum("such as" in line or "default" in line or "account that pays" in line for line in text.splitlines())
            == 20
        )
        await pilot.press("ctrl+s")
        await shown(pilot, "✗ name", "✗ command", "2 fields are wrong; name: is missing")
        await pilot.press("tab")
        await shown(pilot, "name: is missing, and a job must have it")
        assert source.wishes == []


async def test_a_field_that_no_job_has_is_not_dropped_in_silence(
    open_app: OpenApp, source: RecordedSource, shown: Shown, tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text(JOB + "nodse: 4\n")
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await shown(pilot, "nodse: there is no such field")
        await pilot.press("ctrl+s")
        await shown(pilot, "nodse: there is no such field")
        assert source.wishes == []


@pytest.mark.parametrize(("name", "text"), [("none.yaml", "cannot be read"), ("job.txt", "a .yaml, .yml or")])
async def test_a_file_that_cannot_be_loaded_leaves_nothing_to_submit(
    open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path, name: str, text: str
) -> None:
    (folder / "job.txt").write_text(JOB)
    app = open_app(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("s")
        await shown(pilot, "h100:8")
        await pilot.press(*name, "enter", "ctrl+s")
        await shown(pilot, text, "✗ file")
        assert source.wishes == []


async def test_signs_that_no_terminal_should_see_are_kept_and_never_drawn(
    open_app: OpenApp, source: RecordedSource, shown: Shown, tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text('name: a\ncommand: [echo, "\\e[31mred\\n[bold]"]\n')
    source.answers["submit"] = lambda *_: "47"
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        text = str(await shown(pilot, r"\x1b[31mred\n[bold]"))
        assert "\x1b" not in text
        await pilot.press("ctrl+s")
        await shown(pilot, "submitted job 47")
        assert "echo '\x1b[31mred\n[bold]'" in str(source.wishes[0][1])


async def test_what_slurm_refuses_is_told_and_can_be_tried_again(
    open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path
) -> None:
    source.trouble["submit"] = SlurmRefusedError("sbatch: error: invalid account")
    source.answers["submit"] = lambda *_: "48"
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await shown(pilot, "h100:8")
        await pilot.press("ctrl+s")
        await shown(pilot, "invalid account")
        del source.trouble["submit"]
        await pilot.press("ctrl+s")
        await shown(pilot, "submitted job 48")


async def test_what_the_cluster_does_not_allow_stands_beside_its_field_and_nothing_is_submitted(
    open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path
) -> None:
    source.trouble["check"] = UnfitJobError([("nodes", "partition gpu has 1"), ("time", "partition gpu allows 1")])
    source.answers["submit"] = lambda *_: "49"
    app = open_app(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("s")
        await shown(pilot, "h100:8")
        await pilot.press("ctrl+s")
        await shown(pilot, "✗ nodes", "✗ time", "2 fields are wrong; nodes: partition gpu has 1")
        assert source.wishes == []
        del source.trouble["check"]
        await pilot.press("ctrl+s")
        await shown(pilot, "submitted job 49")


async def test_a_check_tells_what_the_job_would_meet_and_submits_nothing(
    open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path
) -> None:
    asked: list[object] = []
    source.answers["check"] = lambda *words: (asked.append(words), ("would start now with \x1b[2J1 node",))[1]
    app = open_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await shown(pilot, "h100:8")
        await pilot.press("ctrl+t")
        assert "\x1b" not in str(await shown(pilot, "would start now with", "1 node"))
        job = read_job_spec(folder / "job.yaml")
        assert (asked, source.wishes) == ([(job, render(job), folder)], [])


async def test_the_script_has_nccls_variables_of_the_hardware_or_says_why_not(
    open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path
) -> None:
    gpus = GpuProfile("h100", 8, "NVIDIA H100 80GB HBM3", 81559, "/dev/nvidia[0-7]")
    profile = HardwareProfile("hgx", 2, 56, 2, 2_000_000, gpus)
    app = open_app(source, hardware=lambda _job, note: (note("its links are not known"), profile)[1])
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("s")
        await shown(pilot, "h100:8")
        await pilot.press("ctrl+r")
        await shown(pilot, "its links are not known", "NCCL_DEBUG=WARN")


async def test_read_only_submits_nothing(open_app: OpenApp, source: RecordedSource, shown: Shown, folder: Path) -> None:
    app = open_app(source, read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await shown(pilot, "h100:8")
        await pilot.press("ctrl+s")
        await shown(pilot, "this screen is read-only")
        assert source.wishes == []
