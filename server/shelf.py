"""The runbook pages as the daemon uses them: read again when a file changes, with lint's findings and their modes."""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from fleetward.model.runs import Mode
from fleetward.runbooks.actions.registry import kinds
from fleetward.runbooks.library import SHIPPED, Library, library
from fleetward.runbooks.lint import lint
from fleetward.runbooks.page import Page
from fleetward.store.modes import Modes

_Stamp = tuple[tuple[str, int, int], ...]


class Shelf:
    """Pages and their modes; safe to use from many threads."""

    def __init__(self, folders: Iterable[Path], modes: Modes) -> None:
        self._folders = tuple(folders)
        self._modes = modes
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._library = Library({})
        self._problems: Mapping[str, tuple[str, ...]] = {}

    def pages(self) -> Library:
        """Return the pages as they stand on disk now."""
        stamp = self._stamp_now()
        with self._lock:
            if stamp != self._stamp:
                self._library = library(self._folders)
                known = kinds()
                self._problems = {page.id: tuple(map(str, lint(page, known))) for page in self._library.values()}
                self._stamp = stamp
            return self._library

    def problems(self, page: Page) -> tuple[str, ...]:
        """Return what lint found on a page; one with problems is shown and never run."""
        self.pages()
        return self._problems.get(page.id, ())

    def page_id_for(self, alert: str) -> str:
        """Return the id of the page that names an alert; empty where none does."""
        page = self.pages().page_for_alert(alert)
        return page.id if page else ""

    def modes(self) -> dict[str, Mode]:
        """Return the mode of every page: as it was set, else as the page says.

        StoreOutOfReachError where what was set cannot be read.
        """
        as_set = self._modes.get()
        return {page.id: as_set.get(page.id, page.mode) for page in self.pages().values()}

    def _stamp_now(self) -> _Stamp:
        files = sorted(file for folder in (SHIPPED, *self._folders) for file in folder.glob("*.md"))
        return tuple((str(file), status.st_mtime_ns, status.st_size) for file in files if (status := file.stat()))
