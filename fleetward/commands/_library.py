"""The pages as they lie in files: what a command shows and checks where no daemon is asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import fleetward
from fleetward.commands._daemon import not_installed, settings
from fleetward.model.daemon_views import RunbookStepView, RunbookView

if TYPE_CHECKING:
    from fleetward.runbooks.library import Library
    from fleetward.runbooks.page import Finding, Page

RULES = Path(fleetward.__file__).parent / "alerting" / "rules"


def pages() -> "Library":
    """Return the shipped pages and those of the site's folders."""
    try:
        from fleetward.runbooks.library import library
    except ModuleNotFoundError as error:
        raise not_installed(error) from error
    return library(map(Path, settings().runbooks.folders))


def view(page: "Page") -> RunbookView:
    """Return a page as the daemon would show it, in the mode that it names itself."""
    return RunbookView(
        id=page.id,
        title=page.title,
        severity=str(page.severity),
        mode=page.mode,
        alerts=page.alerts,
        blast=str(page.blast),
        params=tuple(page.params),
        steps=tuple(RunbookStepView(step.name, step.section, step.action) for step in page.steps),
        problems=tuple(map(str, _findings(page))),
        text=page.text,
        digest=page.digest,
    )


def check_library() -> "tuple[int, list[Finding]]":
    """Return how many pages there are, and what is wrong with them and with the alerts that lead to them."""
    from fleetward.runbooks.lint import alerts_of_rules, lint_alerts

    found = pages()
    problems = [*found.problems, *(finding for page in found.values() for finding in _findings(page))]
    return len(found), [*problems, *lint_alerts(found, alerts_of_rules(RULES))]


def check_files(files: Sequence[Path]) -> "tuple[int, list[Finding]]":
    """Return how many files there are, and what is wrong with them."""
    try:
        from fleetward.runbooks.page import read_file
    except ModuleNotFoundError as error:
        raise not_installed(error) from error
    problems: list[Finding] = []
    for file in files:
        reading = read_file(file)
        problems += reading.findings
        if reading.page is not None:
            problems += _findings(reading.page)
    return len(files), problems


def _findings(page: "Page") -> "list[Finding]":
    from fleetward.runbooks.actions.registry import kinds
    from fleetward.runbooks.lint import lint

    return lint(page, kinds())
