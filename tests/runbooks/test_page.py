"""Reading a page: what it says, and every way in which a file can be none."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.errors import UsageError
from fleetward.model.incidents import Severity
from fleetward.model.runs import Mode
from fleetward.runbooks.page import Blast, parse, read, read_file

FRONT = """---
id: gpu-off-bus
title: A GPU fell off the bus
alerts: [GpuOffBus]
severity: critical
params: {node: {from: labels.node}, gpu: {from: labels.gpu, default: "0"}}
blast: node
mode: propose
---
"""
BODY = """## Diagnosis

```step look
node.run: [journalctl, --dmesg]
on: "{{ node }}"
expect: {exit: 0}
optional: true
```

## Mitigation

```sh
## no heading, and
```

~~~step drain
slurm.drain: "{{ node }}"
why: "GPU {{ gpu }}"
undo: slurm.resume
~~~
"""


def problems(text: str) -> list[str]:
    return [str(finding) for finding in read(text, "p.md").findings]


def step(body: str, name: str = "step drain") -> str:
    return f"{FRONT}## Mitigation\n```{name}\n{body}\n```\n"


class TestWhatItSays:
    def test_front_matter(self) -> None:
        page = parse(FRONT + BODY, "p.md")
        assert (page.id, page.title, page.alerts) == ("gpu-off-bus", "A GPU fell off the bus", ("GpuOffBus",))
        assert (page.severity, page.blast, page.mode) == (Severity.CRITICAL, Blast.NODE, Mode.PROPOSE)
        assert {name: param.source for name, param in page.params.items()} == {
            "node": "labels.node",
            "gpu": "labels.gpu",
        }
        assert (page.params["node"].default, page.params["gpu"].default) == (None, "0")

    def test_steps_in_order_with_their_sections_and_arguments(self) -> None:
        look, drain = parse(FRONT + BODY, "p.md").steps
        assert (look.name, look.section, look.action, look.optional) == ("look", "Diagnosis", "node.run", True)
        assert look.arguments == {
            "": ["journalctl", "--dmesg"],
            "on": "{{ node }}",
            "expect": {"exit": 0},
            "optional": True,
        }
        assert (drain.name, drain.section, drain.action, drain.optional) == (
            "drain",
            "Mitigation",
            "slurm.drain",
            False,
        )
        assert drain.arguments == {"": "{{ node }}", "why": "GPU {{ gpu }}", "undo": "slurm.resume"}

    def test_lines_are_those_of_the_file(self) -> None:
        text = FRONT + BODY
        page = parse(text, "p.md")
        lines = text.split("\n")
        assert lines[page.steps[0].line - 1] == "```step look"
        assert lines[page.steps[1].lines["why"] - 1].startswith("why:")
        assert [lines[section.line - 1] for section in page.sections] == ["## Diagnosis", "## Mitigation"]
        assert lines[page.lines["mode"] - 1] == "mode: propose"

    def test_the_digest_is_of_every_character(self) -> None:
        assert parse(FRONT, "a.md").digest == parse(FRONT, "b.md").digest
        assert parse(FRONT, "a.md").digest != parse(FRONT + " ", "a.md").digest

    def test_on_off_and_times_are_words(self) -> None:
        (only,) = parse(step("wait: 30s\non: on\nfor: 1:30\nsince: 2026-01-01\nexit: 0"), "p.md").steps
        assert only.options == {"on": "on", "for": "1:30", "since": "2026-01-01", "exit": 0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "p.md:1: does not begin with front matter"),
        ("# Title\n", "p.md:1: does not begin with front matter"),
        ("---\nid: a\n", "p.md:1: its front matter has no end"),
        (FRONT.replace("id: gpu-off-bus\n", ""), "p.md:1: front matter: id is missing"),
        (FRONT.replace("gpu-off-bus", "GPU off"), "p.md:2: front matter: id is to be words of small letters"),
        (FRONT.replace("critical", "bad"), "p.md:5: front matter: severity is to be one of critical, info, warning"),
        (FRONT.replace("[GpuOffBus]", "GpuOffBus"), "p.md:4: front matter: alerts is to be a list"),
        (FRONT.replace("blast:", "radius:"), "p.md:7: front matter: 'radius' is no key of it"),
        (FRONT.replace("blast: node", "blast: [node]"), "p.md:7: front matter: blast is to be one of"),
        (FRONT.replace("{from: labels.node}", "labels.node"), "p.md:6: front matter: params: node is to be a mapping"),
        (FRONT.replace("labels.node", "env.HOME"), "p.md:6: front matter: params: node: from is to be a label"),
        (
            FRONT.replace('default: "0"', 'default: "x"'),
            "p.md:6: front matter: params: gpu: its default does not match",
        ),
        (FRONT.replace('default: "0"', 'pattern: "("'), "p.md:6: front matter: params: gpu: its pattern is no regular"),
        (FRONT.replace("mode: propose", "mode: propose\nmode: auto"), "p.md:9: front matter: has the key 'mode' twice"),
        (FRONT.replace("title: A", "title: [A"), "p.md:4: front matter: is not valid YAML"),
        (step("slurm.drain: {{ node }}"), "p.md:12: step drain: has a key that is no word; quote placeholders"),
        (
            step("slurm.drain: a\nslurm.resume: a"),
            "p.md:11: step drain names slurm.drain, slurm.resume; a step does one",
        ),
        (step("- a"), "p.md:12: step drain: is no mapping"),
        (step(""), "p.md:12: step drain: is no mapping"),
        (step("slurm.drain: a", "step"), "p.md:11: a step needs one name"),
        (step("slurm.drain: a", "step two words"), "p.md:11: a step needs one name"),
        (step("slurm.drain: a", "step Drain!"), "p.md:11: a step needs one name"),
        (FRONT + "```step a\nwait: 1s\n```", "p.md:10: step a stands before the first section"),
        (FRONT + "## A\n```step a\nwait: 1s\n", "p.md:11: this block has no end"),
    ],
)
def test_a_page_that_is_wrong_is_refused_with_its_line(text: str, said: str) -> None:
    assert any(problem.startswith(said) for problem in problems(text)), problems(text)
    with pytest.raises(UsageError, match=r"p\.md"):
        parse(text, "p.md")


class TestHostile:
    def test_a_yaml_bomb_is_not_built(self) -> None:
        doubled = (f"{new}: &{new} [*{old},*{old}]\n" for old, new in itertools.pairwise("abcdefghi"))
        bomb = "a: &a [x]\n" + "".join(doubled)
        assert "anchor or alias" in problems(step(bomb))[0]

    def test_nesting_is_bounded(self) -> None:
        assert "nested deeper" in problems(step("wait: " + "[" * 5000))[0]

    def test_tags_are_refused(self) -> None:
        assert "uses the tag" in problems(step("wait: !!python/object/apply:os.system [id]"))[0]

    def test_a_huge_block_is_refused(self) -> None:
        assert "characters" in problems(step("wait: " + "x" * 20_000))[0]

    def test_very_many_steps_are_refused(self) -> None:
        text = FRONT + "## A\n" + "".join(f"```step s{number}\nwait: 1s\n```\n" for number in range(60))
        assert "more than 50 steps" in problems(text)[0]

    def test_what_a_terminal_would_mind_is_refused(self) -> None:
        assert problems(FRONT + "## A\x1b]0;owned\x07\n") == [
            "p.md:10: has the character \\x1b, which a terminal would mind; remove it"
        ]

    def test_a_huge_file_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "p.md"
        path.write_bytes(b"x" * 1_000_000)
        assert "is larger than 256 KiB" in str(read_file(path).findings[0])

    def test_a_binary_file_is_refused_with_its_line(self, tmp_path: Path) -> None:
        path = tmp_path / "p.md"
        path.write_bytes(b"---\nid: a\n\xff\xfe\x00")
        assert str(read_file(path).findings[0]) == f"{path}:3: is not text in UTF-8; a page is a Markdown file"

    def test_a_folder_or_nothing_is_refused(self, tmp_path: Path) -> None:
        assert "cannot be read" in str(read_file(tmp_path).findings[0])
        assert "cannot be read" in str(read_file(tmp_path / "none.md").findings[0])

    @given(st.text(max_size=400))
    def test_any_text_after_the_front_matter_is_a_page_or_has_findings(self, text: str) -> None:
        reading = read(FRONT + text, "p.md")
        assert reading.page is not None or reading.findings

    @given(st.text(alphabet="ab:{}[]&*!-'\"|>#%@ \n0", max_size=60))
    def test_any_step_body_is_a_step_or_a_finding(self, body: str) -> None:
        reading = read(step(body), "p.md")
        assert reading.findings or (reading.page and len(reading.page.steps) == 1)


def test_a_page_is_found_under_its_id(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text(FRONT)
    assert "name the file gpu-off-bus.md" in str(read_file(tmp_path / "other.md").findings[0])


def test_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "gpu-off-bus.md"
    path.write_bytes((FRONT + BODY).replace("\n", "\r\n").encode())
    reading = read_file(path)
    assert reading.findings == ()
    assert reading.page is not None
    assert [step.name for step in reading.page.steps] == ["look", "drain"]
