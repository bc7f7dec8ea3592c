"""The pages that there are: those shipped in `runbooks/library`, and a site's own, which replace shipped ones by id."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import fleetward
from fleetward.model.errors import UsageError
from fleetward.runbooks.page import Finding, Page, read_file

SHIPPED = Path(fleetward.__file__).parent / "runbooks" / "library"


class Library(Mapping[str, Page]):
    """Pages by id, in order of their ids; `problems` are of the files that are no pages, which are left out."""

    def __init__(self, pages: Mapping[str, Page], problems: Iterable[Finding] = ()) -> None:
        self._pages = dict(sorted(pages.items()))
        self.problems = tuple(problems)

    def __getitem__(self, page_id: str) -> Page:
        """Return the page of this id."""
        return self._pages[page_id]

    def __iter__(self) -> Iterator[str]:
        """Yield the ids."""
        return iter(self._pages)

    def __len__(self) -> int:
        """Count the pages."""
        return len(self._pages)

    @cached_property
    def _by_alert(self) -> Mapping[str, Page]:
        return {alert: page for page in reversed(self._pages.values()) for alert in page.alerts}

    def page_for_alert(self, alert: str) -> Page | None:
        """Return the page that names an alert; the first by id where two do, which lint reports."""
        return self._by_alert.get(alert)

    def page(self, page_id: str) -> Page:
        """Return the page of this id; UsageError naming what there is where there is none."""
        if page_id in self._pages:
            return self._pages[page_id]
        raise UsageError(f"no runbook has the id {page_id[:60]!r}; there are {', '.join(self._pages) or 'none'}")


def library(folders: Iterable[Path] = ()) -> Library:
    """Read the shipped pages, then those of each folder; a later page replaces an earlier one of the same id.

    A file that is no page replaces it too, by its name: what a site has changed is never run as it was shipped.
    """
    pages: dict[str, Page] = {}
    problems: list[Finding] = []
    for folder in (SHIPPED, *folders):
        found, wrong = read_folder(folder)
        for problem in wrong:
            pages.pop(Path(problem.source).stem, None)
        pages |= found
        problems += wrong
    return Library(pages, problems)


def read_folder(folder: Path) -> tuple[dict[str, Page], list[Finding]]:
    """Return the pages of one folder by id, and what is wrong with the others."""
    if not folder.is_dir():
        return {}, [Finding(str(folder), 0, "is no folder; name one that holds pages, or make it")]
    pages: dict[str, Page] = {}
    problems: list[Finding] = []
    for path in sorted(folder.glob("*.md")):
        if path.name == "README.md":
            continue
        reading = read_file(path)
        problems += reading.findings
        if reading.page and not reading.findings:
            pages[reading.page.id] = reading.page
    return pages, problems
