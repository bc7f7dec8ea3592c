"""Brings a database's schema to this release."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from fleetward.model.errors import FleetwardError

_one_at_a_time = threading.Lock()  # alembic keeps its context in a module


def upgrade(connect: Callable[[], psycopg.Connection[Any]]) -> None:
    """Run what is missing, in one transaction; psycopg's own errors where the connection fails.

    FleetwardError where the database was already brought to a later release than this one.
    """
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=connect, poolclass=sqlalchemy.NullPool)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    try:
        with _one_at_a_time, engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise error.orig from error
        raise
    except CommandError as error:
        raise FleetwardError(
            f"the database's schema cannot be brought to this release: {error}. Where a later release of Fleetward has "
            "used this database, run that release, or restore a backup from before."
        ) from error
    finally:
        engine.dispose()
