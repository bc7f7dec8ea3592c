"""What stands around every screen: nothing of it is ever clipped, and what does not fit gives way in order."""

from datetime import UTC, datetime

from textual.geometry import Size

from fleetward.model.fleet_view import FleetView
from fleetward.tui.picture import Picture
from fleetward.tui.widgets.chrome import Banner, Header, Sentences, key_spans

KEYS = (("enter", "open"), ("/", "filter"), ("m", "mine"))
ALWAYS = (("?", "help"), ("q", "quit"))


def text(width: int) -> str:
    return "".join(span for span, _ in key_spans(KEYS, ALWAYS, width)).rstrip()


def test_keys_that_do_not_fit_give_way_to_help_and_quit() -> None:
    assert text(80) == " enter open  / filter  m mine  ? help  q quit"
    assert text(40) == " enter open  / filter  ? help  q quit"
    assert text(20) == " ? help  q quit"
    assert all(len(text(width)) <= width for width in range(15, 90))


def height(sentences: Sentences, width: int) -> int:
    return sentences.get_content_height(Size(width, 24), Size(width, 24), width)


def test_a_banner_is_as_high_as_its_sentences_and_never_higher_than_three_lines() -> None:
    banner = Banner()
    assert not banner.display or height(banner, 80) == 0
    banner.show(["one"])
    assert (banner.display, height(banner, 80)) == (True, 1)
    banner.show(["word " * 100])
    assert height(banner, 80) == 3
    assert banner._lines(80)[-1].endswith(" ...")
    banner.show([])
    assert not banner.display


def test_sentences_are_made_harmless() -> None:
    banner = Banner()
    banner.show(["ev\x1b[2Jil", ""])
    assert banner.text == r"ev\x1b[2Jil"


def header(ages: dict[str, float]) -> list[tuple[str, str]]:
    shown = Header()
    fleet = FleetView("lab", datetime(2026, 11, 21, 3, 0, tzinfo=UTC), (), (), ages)
    shown.picture(Picture(fleet=fleet, fleet_at=5.0, has_daemon=True), 5.0, read_only=False)
    return [span for span in shown._spans if span[0].endswith((" s", "min"))]


def test_each_part_shows_its_age_and_an_old_one_in_amber() -> None:
    found = header({"nodes": 1.0, "jobs": 16.0, "prometheus": 15.0})
    assert found == [(" jobs 16 s", "yellow"), (" nodes 1 s", "dim"), (" prometheus 15 s", "dim")]


def test_what_is_asked_for_once_a_minute_shows_its_age_once_it_is_overdue() -> None:
    assert header({"partitions": 89.0}) == []
    assert header({"partitions": 90.0}) == [(" partitions 90 s", "yellow")]
