"""What is wrong with a page beyond its form: actions, parameters, steps, sections, and the rules that lead to it."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from fleetward.runbooks.page import SECTIONS, STEP_OPTIONS, Finding, Page, PageStep
from fleetward.runbooks.template import misused, placeholders

_BRACED = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class Kind(Protocol):
    """What lint needs to know of a kind of action; every `Action` is one."""

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""

    def lint(self, arguments: Mapping[str, object]) -> list[str]:
        """Return what is wrong with a step's arguments."""


def lint(page: Page, actions: Mapping[str, Kind]) -> list[Finding]:
    """Return all that is wrong with a page, in order of its lines."""
    found = [*_sections(page), *_names(page), *_params(page)]
    for step in page.steps:
        found += [Finding(page.source, line, f"step {step.name}: {said}") for line, said in _step(step, actions)]
    return sorted(set(found))


def lint_alerts(pages: Mapping[str, Page], rules: Collection[str]) -> list[Finding]:
    """Return what does not fit between pages and the alerts that rules define: each needs the other."""
    found: list[Finding] = []
    owner: dict[str, str] = {}
    for page in pages.values():
        line = page.lines.get("alerts", 1)
        for alert in page.alerts:
            if alert in owner:
                found.append(Finding(page.source, line, f"alert {alert} has a page already: {owner[alert]}; keep one"))
            owner.setdefault(alert, page.id)
            if alert not in rules:
                found.append(Finding(page.source, line, f"no rule is named {alert}; add the rule, or remove it here"))
    found += [
        Finding(alert, 0, "this rule has no page; name it under alerts of one") for alert in rules if alert not in owner
    ]
    return sorted(found)


def alerts_of_rules(folder: Path) -> frozenset[str]:
    """Return the names of all alerts that the rule files (*.yml) of a folder define."""
    names: set[str] = set()
    for path in sorted(folder.glob("*.yml")):
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        groups = document.get("groups", []) if isinstance(document, dict) else []
        names |= {rule["alert"] for group in groups for rule in group.get("rules", []) if "alert" in rule}
    return frozenset(names)


def _sections(page: Page) -> Iterator[Finding]:
    seen: list[str] = []
    for section in page.sections:
        if section.title not in SECTIONS:
            continue
        behind = [title for title in seen if SECTIONS.index(title) > SECTIONS.index(section.title)]
        if section.title in seen:
            yield Finding(page.source, section.line, f"section {section.title} is there twice; keep one")
        elif behind:
            yield Finding(page.source, section.line, f"section {section.title} comes before {behind[0]}; move it up")
        seen.append(section.title)
    for title in SECTIONS:
        if title not in seen:
            yield Finding(page.source, 0, f"section {title} is missing; add `## {title}`")


def _names(page: Page) -> Iterator[Finding]:
    seen: set[str] = set()
    for step in page.steps:
        if step.name in seen:
            yield Finding(page.source, step.line, f"step {step.name} is there twice; give each its own name")
        seen.add(step.name)


def _params(page: Page) -> Iterator[Finding]:
    used: set[str] = set()
    named = [(number, name) for number, line in enumerate(page.text.split("\n"), 1) for name in _BRACED.findall(line)]
    for step in page.steps:
        named += [(_line(step, key), name) for key, name in placeholders(step.arguments, step.action)]
    for line, name in sorted(set(named)):
        used.add(name)
        if name not in page.params:
            yield Finding(page.source, line, f"{name} is no parameter of this page; declare it under params")
    for name in page.params.keys() - used:
        yield Finding(page.source, page.lines.get("params", 1), f"parameter {name} is never used; remove it")


def _step(step: PageStep, actions: Mapping[str, Kind]) -> Iterator[tuple[int, str]]:
    kind = actions.get(step.action)
    if kind is None:
        said = f"{step.action} is no action; there are {', '.join(sorted(actions))}"
        yield step.lines.get(step.action, step.line), said
    else:
        own = {key: value for key, value in step.arguments.items() if key not in STEP_OPTIONS}
        yield from ((_line(step, sentence.split()[0]), sentence) for sentence in kind.lint(own))
        if step.optional and (kind.changes or step.options.get("changes") is True):
            yield _line(step, "optional"), f"{step.action} changes something here, and cannot be optional"
    if "optional" in step.options and not isinstance(step.options["optional"], bool):
        yield _line(step, "optional"), "optional is to be true or false"
    undo = step.options.get("undo")
    if "undo" in step.options and (not isinstance(undo, str) or undo not in actions):
        yield _line(step, "undo"), f"undo: {undo!r} is no action; there are {', '.join(sorted(actions))}"
    yield from ((_line(step, key), sentence) for key, sentence in misused(step.arguments, step.action))


def _line(step: PageStep, key: str) -> int:
    return step.lines.get(key or step.action, step.line)
