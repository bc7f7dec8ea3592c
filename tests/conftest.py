"""What several rooms' tests share: the suite under test, its node image, and a PostgreSQL."""

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fleetward.store.database import Database
    from fleetward.store.embedded import EmbeddedPostgres


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite", default="trixie", choices=("trixie", "forky"), help="suite of the containers")
    parser.addoption("--lab", help="name of a lab that is up, for the end-to-end tests to use and to leave as it is")
    parser.addoption("--soak-minutes", type=float, default=15, help="how long the soak test goes on")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about another suite than the chosen one."""
    suite = config.getoption("--suite")
    others = [item for item in items if any(mark.args != (suite,) for mark in item.iter_markers("suite"))]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--suite"))


@pytest.fixture(scope="session")
def node_image(suite: str) -> str:
    """Return the tag of the suite's node image, built where it is not there."""
    from fleetward.lab import image, lifecycle
    from fleetward.lab.spec import LabSpec

    engine, spec = lifecycle.open_engine(), LabSpec(suite=suite)
    if not image.is_cached(engine, spec):
        image.build(engine, spec)
    return spec.image


@pytest.fixture(scope="session")
def postgres() -> "Iterator[EmbeddedPostgres]":
    """Start one PostgreSQL for all tests, whose own database is migrated and stays empty."""
    from fleetward.store.database import Database
    from fleetward.store.embedded import EmbeddedPostgres

    # not pytest's own folder: the server runs as another user where this is root, and must get in
    with tempfile.TemporaryDirectory(prefix="fleetward-tests-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
            migrated = Database(server.address)
            migrated.migrate()
            migrated.close()
            yield server


_databases = count(1)


@pytest.fixture
def database(postgres: "EmbeddedPostgres") -> "Iterator[Database]":
    """Give a test a database of its own with the schema of this release."""
    import psycopg

    from fleetward.store.database import Database

    def ask(statement: str) -> None:
        with psycopg.connect(
            postgres.address.replace("dbname=fleetward", "dbname=postgres"), autocommit=True
        ) as server:
            server.execute(statement.encode())

    name = f"test{next(_databases)}"
    ask(f"create database {name} template fleetward")
    database = Database(postgres.address.replace("dbname=fleetward", f"dbname={name}"))
    yield database
    database.close()
    ask(f"drop database {name} with (force)")
