"""Modes: the last word about each page counts, and every word is kept."""

import psycopg
import pytest

from fleetward.model.runs import Mode
from fleetward.store.database import Database
from fleetward.store.modes import Modes


def test_the_last_word_about_each_page_counts(database: Database) -> None:
    modes = Modes(database)
    assert modes.get() == {}
    modes.set("gpu-off-bus", Mode.AUTO, "alice")
    modes.set("node-down", Mode.AUTO, "alice")
    modes.set("gpu-off-bus", Mode.OBSERVE, "bob")
    assert modes.get() == {"gpu-off-bus": Mode.OBSERVE, "node-down": Mode.AUTO}


def test_who_set_what_stays_on_record(database: Database) -> None:
    modes = Modes(database)
    modes.set("gpu-off-bus", Mode.AUTO, "alice")
    modes.set("gpu-off-bus", Mode.OBSERVE, "bob")
    with database.transaction() as connection:
        rows = connection.execute("select who, mode from mode_changes order by id").fetchall()
    assert [tuple(row.values()) for row in rows] == [("alice", "auto"), ("bob", "observe")]
    with pytest.raises(psycopg.IntegrityError, match="only ever added"), database.transaction() as connection:
        connection.execute("delete from mode_changes")
