"""What guides tell people to type is there to be typed."""

import re
from pathlib import Path

import pytest
from in_process import check_words

pytestmark = pytest.mark.checkout

GUIDES = Path(__file__).parents[2] / "docs/guides"


@pytest.mark.parametrize("guide", sorted(GUIDES.glob("*.md")), ids=lambda path: path.name)
def test_every_command_of_a_guide_exists_and_takes_these_words(guide: Path) -> None:
    text = guide.read_text()
    typed = re.findall(r"^    (?:\$ )?(fleetward .*)$|`(fleetward (?:[a-z]+ )+[^`]*)`", text, re.MULTILINE)
    lines = [block or inline for block, inline in typed]
    assert lines
    for line in lines:
        if not line.endswith("--"):  # what something is put behind
            check_words(line)
