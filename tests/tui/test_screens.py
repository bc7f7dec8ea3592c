"""What a person sees: every screen at the smallest terminal and at a wide one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from textual.geometry import Region

from fleetward.model.errors import OutOfReachError
from fleetward.tui.app import FleetApp
from fleetward.tui.recorded_source import RecordedSource

pytestmark = pytest.mark.anyio

OpenApp = Callable[..., FleetApp]
SMALL, WIDE = (80, 24), (120, 40)
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a picture with its file; `pytest tests/golden tests/tui --renew-golden` writes the files."""
    renew = request.config.getoption("--renew-golden", default=False)

    def compare(name: str, text: str) -> None:
        file, whole = GOLDEN / name, "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
        if renew:
            file.parent.mkdir(exist_ok=True)
            file.write_text(whole, encoding="utf-8")
        assert whole == file.read_text(encoding="utf-8")

    return compare


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=["80x24", "120x40"])
@pytest.mark.parametrize(
    ("keys", "name", "texts"),
    [
        ((), "fleet", ("gpu004", "✗ 1 lost")),
        (("j",), "jobs", ("digits", "◌ pending")),
        (("3",), "nodes", ("▼ draining", "gpu003")),
        (("i",), "incidents", ("GpuOffBus fires", "? proposed")),
        (("i", "enter"), "runbook", ("slurm.requeue", "Meaning", "journalctl")),
        (("i", "enter", "p"), "approve", ("[y] yes, approve", "Fleetward holds 0 of the 1")),
    ],
    ids=["fleet", "jobs", "nodes", "incidents", "runbook", "approve"],
)
async def test_the_picture(
    open_app: OpenApp, source: RecordedSource, shown: Callable[..., object], golden: Callable[[str, str], None],
    size: tuple[int, int], keys: tuple[str, ...], name: str, texts: tuple[str, ...],
) -> None:  # fmt: skip
    app = open_app(source)
    async with app.run_test(size=size) as pilot:
        await shown(pilot, "gpu004")
        for key in keys:
            await pilot.press(key)
            await shown(pilot, *(("Meaning", "r7 ?") if key == "enter" else ()))
        golden(f"{name}-{size[0]}x{size[1]}.txt", await shown(pilot, *texts))


@pytest.mark.parametrize("key", ["f", "j", "n", "s", "i", "1", "2", "3", "4", "5"])
async def test_the_keys_at_the_foot_are_whole_and_lead_out(
    open_app: OpenApp, source: RecordedSource, shown: Callable[..., object], key: str
) -> None:
    app = open_app(source)
    async with app.run_test(size=SMALL) as pilot:
        await shown(pilot, "gpu004")
        await pilot.press(key)
        text = str(await shown(pilot, "? help"))
        assert text.splitlines()[23].rstrip().endswith("? help  q quit")
        await pilot.press("escape", "question_mark")
        await shown(pilot, "Everywhere")


async def test_nothing_from_outside_reaches_the_terminal_as_it_is(
    open_app: OpenApp, source: RecordedSource, shown: Callable[..., object]
) -> None:
    app = open_app(source)
    async with app.run_test(size=(200, 50)) as pilot:
        for keys in (
            ("f", "down"),
            ("j",),
            ("j", "down", "enter"),
            ("escape", "n"),
            ("down", "enter"),
            ("escape", "i"),
        ):
            await pilot.press(*keys)
            text = str(await shown(pilot))
            assert "\x1b" not in text
            assert "\u202e" not in text
        assert r"ev\x1b[31mil\x9b2J [bold]red[/] \u202egpj" in text


async def test_the_header_tells_how_old_the_data_is(
    open_app: OpenApp, source: RecordedSource, shown: Callable[..., object], sample: ModuleType, clock: object
) -> None:
    app = open_app(source)
    async with app.run_test(size=SMALL) as pilot:
        await shown(pilot, "jobs 1 s", "nodes 1 s", "prometheus 2 s")
        source.trouble["fleet"] = OutOfReachError("slurmctld does not answer")
        await shown(pilot, "slurmctld does not answer")
        clock.seconds += 30  # type: ignore[attr-defined]
        text = await shown(pilot, "jobs 31 s", "nodes 31 s", "prometheus 32 s", "gpu001")
        header = app.screen.query_one("Header")
        assert {span[1] for span in header._spans if "nodes" in span[0]} == {"yellow"}, text  # type: ignore[attr-defined]


async def test_without_a_daemon_the_screen_says_so_and_stays_usable(
    open_app: OpenApp, source: RecordedSource, shown: Callable[..., object]
) -> None:
    daemon, source.daemon = source.daemon, None
    app = open_app(source)
    async with app.run_test(size=SMALL) as pilot:
        await shown(pilot, "no daemon there", "gpu001")
        await pilot.press("i")
        await shown(pilot, "it does not answer")
        await pilot.press("j")
        await shown(pilot, "digits")
        source.daemon = daemon
        text = str(await shown(pilot, "held 0/1"))
        assert "no daemon" not in text


async def test_what_the_daemon_cannot_reach_stands_in_red(
    open_app: OpenApp, source: RecordedSource, shown: Callable[..., object]
) -> None:
    assert source.daemon is not None
    source.daemon = replace(source.daemon, reaches={"prometheus": "since 03:10: connection refused", "store": ""})
    app = open_app(source)
    async with app.run_test(size=SMALL) as pilot:
        await shown(pilot, "✗ prometheus: since 03:10: connection refused", "gpu001")


async def test_mine_and_ended_choose_jobs(
    open_app: OpenApp, source: RecordedSource, shown: Callable[..., object]
) -> None:
    app = open_app(source)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("j")
        text = str(await shown(pilot, "digits", "other"))
        assert "over" not in text
        await pilot.press("m")
        text = str(await shown(pilot, "only your jobs"))
        assert "bob" not in text
        await pilot.press("e")
        await shown(pilot, "over", "✓ completed")


async def test_a_filter_is_typed_kept_and_dropped(
    open_app: OpenApp, source: RecordedSource, shown: Callable[..., object]
) -> None:
    app = open_app(source)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("j")
        await shown(pilot, "digits")
        await pilot.press("slash", *"BOB", "enter")
        text = str(await shown(pilot, "other"))
        assert "digits" not in text
        await pilot.press("escape")
        await shown(pilot, "digits", "other")


async def test_a_node_opens_with_its_gpus_jobs_and_incidents(
    open_app: OpenApp, source: RecordedSource, shown: Callable[..., object]
) -> None:
    app = open_app(source)
    async with app.run_test(size=WIDE) as pilot:
        await shown(pilot, "gpu004")
        await pilot.press("n")
        await shown(pilot, "REASON")
        await pilot.press("down", "enter")
        await shown(pilot, "LOST", "job        41 ▶ running digits of alice", "incident   i12")
        await pilot.press("escape")
        await shown(pilot, "REASON")


async def test_without_colours_all_is_as_bright_as_plain_text_or_dimmed(
    open_app: OpenApp, source: RecordedSource, shown: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = open_app(source)
    async with app.run_test(size=SMALL) as pilot:
        await shown(pilot, "✗ 1 lost", "▼ draining")
        strips = app.screen.query_one("HeatMap").render_lines(Region(0, 0, 80, 4))
        colours = {segment.style.color.triplet for strip in strips for segment in strip if segment.style}
        assert all(red == green == blue >= 150 for red, green, blue in colours)
        lost = [segment for strip in strips for segment in strip if segment.text == "✗"]
        assert all(segment.style is not None and segment.style.reverse for segment in lost)
        assert lost
