"""What stands around every screen: nothing of it is ever clipped, and what does not fit gives way in order."""

from textual.geometry import Size

from fleetward.tui.widgets.chrome import Banner, Sentences, key_spans

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
