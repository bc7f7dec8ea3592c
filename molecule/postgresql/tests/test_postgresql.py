"""A server on its socket alone, whose database lets in its owner's system user and nobody else."""

import socket
from collections.abc import Callable

import pytest
from testinfra.host import Host

On = Callable[[str], Host]

ASK = "runuser --user %s -- psql --no-psqlrc --tuples-only --no-align --dbname fleetward --command %s"


def test_the_owner_is_let_in_without_a_password_and_may_make_tables(on: On) -> None:
    made = "create table tried (word text); insert into tried values ('\N{SNOWMAN}')"
    asked = "select word, length(word) from tried"
    said = on("head").check_output(ASK, "fleetward", f"begin; {made}; {asked}; rollback")
    assert "\N{SNOWMAN}|1" in said.splitlines()


def test_the_database_is_in_utf_8_whatever_the_server_was_made_with(on: On) -> None:
    assert on("head").check_output(ASK, "fleetward", "show server_encoding") == "UTF8"


@pytest.mark.parametrize("user", ["stranger", "root"])
def test_another_user_is_not_let_in(on: On, user: str) -> None:
    for words in ("", " --username fleetward"):
        said = on("head").run(ASK + words, user, "select 1")
        assert said.rc == 2
        assert "FATAL" in said.stderr


def test_a_role_of_the_server_that_is_not_the_owner_may_not_connect(on: On) -> None:
    held = on("head").check_output(
        ASK, "postgres", "select has_database_privilege('public', 'fleetward', 'connect'), rolsuper from pg_roles"
        " where rolname = 'fleetward'",
    )  # fmt: skip
    assert held == "f|f"


def test_it_answers_and_comes_back_with_the_host(on: On) -> None:
    head = on("head")
    assert head.service("postgresql").is_enabled
    units = head.check_output("systemctl list-dependencies --plain postgresql.service")
    assert "postgresql@" in units


def test_nobody_reaches_it_over_the_network(on: On, address: Callable[[str], str]) -> None:
    for host in (address("head"), "127.0.0.1"):
        found = on("head").run("timeout 3 bash -c %s", f"exec 3<>/dev/tcp/{host}/5432")
        assert "Connection refused" in found.stderr
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address("head"), 5432), 5)
