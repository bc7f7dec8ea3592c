"""How far the daemon may go by itself with each page: every change is kept, the last one counts."""

from collections.abc import Mapping

from fleetward.model.runs import Mode
from fleetward.store import words
from fleetward.store.database import Database


class Modes:
    """The record of modes that people have set; a page that is not in it goes by its own word."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    def get(self) -> Mapping[str, Mode]:
        """Return the mode of each page that one was set for, by the page's id."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "select distinct on (runbook) runbook, mode from mode_changes order by runbook, id desc"
            ).fetchall()
        return {row["runbook"]: Mode(row["mode"]) for row in rows}

    def set(self, runbook: str, mode: Mode, who: str) -> None:
        """Set the mode of a page."""
        with self._database.transaction() as connection:
            connection.execute(
                "insert into mode_changes (runbook, mode, who) values (%s, %s, %s)",
                [words.key(runbook), str(mode), words.text(who)],
            )
