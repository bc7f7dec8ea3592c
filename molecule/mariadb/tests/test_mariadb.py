"""A database server for accounting, which answers on its socket and nowhere else."""

import socket
from collections.abc import Callable

import pytest
from testinfra.host import Host

On = Callable[[str], Host]

SETTINGS = {
    "innodb_lock_wait_timeout": 900,
    "innodb_buffer_pool_size": 128 * 2**20,
    "innodb_log_file_size": 64 * 2**20,
    "max_allowed_packet": 16 * 2**20,
}


def test_it_answers_and_comes_back_with_the_host(on: On) -> None:
    assert on("head").check_output("mariadb --batch --skip-column-names --execute 'SELECT 6 * 7'") == "42"
    assert on("head").service("mariadb").is_enabled


@pytest.mark.parametrize("name", SETTINGS)
def test_it_runs_with_what_accounting_wants(on: On, name: str) -> None:
    found = on("head").check_output("mariadb --batch --skip-column-names --execute %s", f"SELECT @@{name}")
    assert int(found) == SETTINGS[name]


def test_snapshot_isolation_is_off_where_there_is_such_a_thing(on: On) -> None:
    query = "SHOW VARIABLES LIKE 'innodb_snapshot_isolation'"
    assert on("head").check_output("mariadb --batch --skip-column-names --execute %s", query).split()[1:] in (
        [],
        ["OFF"],
    )


def test_nobody_reaches_it_over_the_network(address: Callable[[str], str]) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address("head"), 3306), 5)
