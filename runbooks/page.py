"""A runbook page: one Markdown file, readable as it stands and runnable step by step.

    ---
    id: gpu-off-bus                              # also the file's name
    title: A GPU fell off the PCIe bus
    alerts: [GpuOffBus]                          # rules that open it
    severity: critical
    params: {node: {from: labels.node}}          # see runbooks/page_params.py
    blast: node                                  # what it may take out: none, gpu, node, fleet
    mode: propose                                # how far it goes by itself until a person says otherwise
    ---
    ## Meaning
    ...
    ## Mitigation
    ```step drain
    slurm.drain: "{{ node }}"                    # the action and what it acts on
    why: "GPU off the bus"                       # its options
    undo: slurm.resume                           # for people: what takes it back
    ```

What every step may say beside its action's own options is in STEP_OPTIONS. Reading does not stop at the first problem:
all of them are found, each with its line.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleetward.model.errors import UsageError
from fleetward.model.incidents import Severity
from fleetward.model.runs import Mode
from fleetward.runbooks.page_front import Blast, read_front
from fleetward.runbooks.page_params import Param
from fleetward.runbooks.page_yaml import Block, PageYamlError, read_block

SECTIONS = ("Meaning", "Impact", "Diagnosis", "Mitigation", "Verification", "Escalation", "History")
"""Headings that every page has, in this order."""

STEP_OPTIONS = ("undo", "optional")
"""What any step may say: `undo`, the action that takes it back; `optional: true`, the run goes on without it."""

WORD_ACTIONS = ("approve", "wait")
"""Actions whose name has no dot; every other key without one is an option."""

MAX_BYTES = 256 * 1024
MAX_STEPS = 50

_STEP_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_FENCE = re.compile(r"(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>.*)")
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something wrong on a page, or between pages and rules; line 0 where it is about the whole file."""

    source: str
    line: int
    sentence: str

    def __str__(self) -> str:
        """Write it as compilers do."""
        return f"{self.source}:{self.line}: {self.sentence}" if self.line else f"{self.source}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class PageStep:
    """One step as it stands on the page, placeholders still in it."""

    name: str
    section: str
    action: str
    argument: object
    options: Mapping[str, object]
    line: int
    """Of its fence on the page."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Of each key in it."""

    @property
    def arguments(self) -> Mapping[str, object]:
        """What a run's step carries: the action's own argument under the empty key, options beside it."""
        return {"": self.argument, **self.options}

    @property
    def optional(self) -> bool:
        """Whether the run goes on where it fails or cannot be tried."""
        return self.options.get("optional") is True


@dataclass(frozen=True, slots=True)
class Section:
    """One heading of the page with the line it stands on."""

    title: str
    line: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page."""

    id: str
    title: str
    alerts: tuple[str, ...]
    severity: Severity
    params: Mapping[str, Param]
    blast: Blast
    mode: Mode
    sections: tuple[Section, ...]
    steps: tuple[PageStep, ...]
    text: str
    source: str
    digest: str
    """SHA-256 of the text."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line of each key of the front matter."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading a page: the page where one could be made of it, and all that is wrong with its form."""

    page: Page | None
    findings: tuple[Finding, ...]


def digest_of(text: str) -> str:
    """Return the digest that stands for a page's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse(text: str, source: str) -> Page:
    """Return the page that a text is; UsageError naming every problem of its form where it is none."""
    reading = read(text, source)
    if reading.page is None or reading.findings:
        raise UsageError("\n".join(map(str, reading.findings)))
    return reading.page


def read_file(path: Path) -> Reading:
    """Read a page from a file, which may be anything at all."""
    source = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        return Reading(None, (Finding(source, 0, f"cannot be read: {error.strerror}"),))
    if len(content) > MAX_BYTES:
        return Reading(None, (Finding(source, 0, f"is larger than {MAX_BYTES // 1024} KiB; shorten the page"),))
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return Reading(None, (Finding(source, line, "is not text in UTF-8; a page is a Markdown file"),))
    reading = read(text.replace("\r\n", "\n"), source)
    if reading.page and reading.page.id != path.stem:
        said = f"has the id {reading.page.id!r}; name the file {reading.page.id}.md, or change the id to {path.stem}"
        return Reading(reading.page, (Finding(source, reading.page.lines.get("id", 1), said), *reading.findings))
    return reading


def read(text: str, source: str) -> Reading:
    """Read a page from its text."""
    return _Reader(text, source).reading()


class _Reader:
    """One reading of one page; collects what is wrong on the way."""

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source
        self.findings: list[Finding] = []

    def wrong(self, line: int, sentence: str) -> None:
        self.findings.append(Finding(self.source, line, sentence))

    def reading(self) -> Reading:
        if len(self.text) > MAX_BYTES:
            self.wrong(0, f"is larger than {MAX_BYTES // 1024} KiB; shorten the page")
        elif unfit := _UNFIT.search(self.text):
            line = self.text.count("\n", 0, unfit.start()) + 1
            self.wrong(line, f"has the character {ascii(unfit[0])[1:-1]}, which a terminal would mind; remove it")
        else:
            page = self._page(self.text.split("\n"))
            return Reading(page, tuple(sorted(self.findings)))
        return Reading(None, tuple(self.findings))

    def _page(self, lines: list[str]) -> Page | None:
        if lines[0].rstrip() != "---":
            self.wrong(1, "does not begin with front matter; put `---` on its first line, and again after the last key")
            return None
        end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
        if end is None:
            self.wrong(1, "its front matter has no end; put `---` on a line of its own after it")
            return None
        front = self._block("\n".join(lines[1:end]), 2, "front matter")
        sections, steps = self._body(lines, end + 1)
        if front is None:
            return None
        return self._make(front, sections, steps)

    def _block(self, text: str, first_line: int, what: str) -> Block | None:
        try:
            return read_block(text, first_line)
        except PageYamlError as error:
            self.wrong(error.line, f"{what}: {error.sentence}")
            return None

    def _make(self, block: Block, sections: tuple[Section, ...], steps: tuple[PageStep, ...]) -> Page | None:
        front, wrong = read_front(block)
        for line, sentence in wrong:
            self.wrong(line, f"front matter: {sentence}")
        if front is None:
            return None
        return Page(
            id=front.id,
            title=front.title,
            alerts=front.alerts,
            severity=front.severity,
            params=front.params,
            blast=front.blast,
            mode=front.mode,
            sections=sections,
            steps=steps,
            text=self.text,
            source=self.source,
            digest=digest_of(self.text),
            lines=block.lines,
        )

    def _body(self, lines: list[str], start: int) -> tuple[tuple[Section, ...], tuple[PageStep, ...]]:
        """Go through the lines after the front matter; what stands in a fence is no heading."""
        sections: list[Section] = []
        steps: list[PageStep] = []
        index = start
        while index < len(lines):
            line = lines[index]
            if line.startswith("## "):
                sections.append(Section(line[3:].strip(), index + 1))
            elif fence := _FENCE.fullmatch(line):
                end = self._fence_end(lines, index, fence["mark"])
                words = fence["info"].split()
                if words[:1] == ["step"]:
                    steps += self._step(words[1:], lines[index + 1 : end], index + 1, sections)
                index = end
            index += 1
        if len(steps) > MAX_STEPS:
            self.wrong(steps[MAX_STEPS].line, f"has more than {MAX_STEPS} steps; make two pages of it")
        return tuple(sections), tuple(steps)

    def _fence_end(self, lines: list[str], start: int, mark: str) -> int:
        for index in range(start + 1, len(lines)):
            bare = lines[index].strip()
            if len(bare) >= len(mark) and not bare.strip(mark[0]):
                return index
        self.wrong(start + 1, f"this block has no end; put {mark} on a line of its own after it")
        return len(lines)

    def _step(self, words: list[str], body: list[str], line: int, sections: list[Section]) -> list[PageStep]:
        """Return the step of a fence, none where its form is wrong."""
        if len(words) != 1 or not _STEP_NAME.fullmatch(words[0]):
            self.wrong(line, "a step needs one name of small letters, digits and dashes: ```step drain")
            return []
        block = self._block("\n".join(body), line + 1, f"step {words[0]}")
        if block is None:
            return []
        if not sections:
            self.wrong(line, f"step {words[0]} stands before the first section; move it under one")
            return []
        actions = [key for key in block.values if "." in key or key in WORD_ACTIONS] or list(block.values)[:1]
        if len(actions) != 1:
            self.wrong(line, f"step {words[0]} names {', '.join(actions)}; a step does one thing, make a step of each")
            return []
        options = {key: value for key, value in block.values.items() if key != actions[0]}
        argument = block.values[actions[0]]
        return [PageStep(words[0], sections[-1].title, actions[0], argument, options, line, block.lines)]
