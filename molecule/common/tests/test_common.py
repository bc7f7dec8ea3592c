"""Hosts that know each other, and users that are the same everywhere."""

from collections.abc import Callable

import pytest
from testinfra.host import Host

On = Callable[[str], Host]

every_host = pytest.mark.parametrize("name", ["head", "gpu001"])


@every_host
def test_every_host_finds_every_other_by_name(on: On, address: Callable[[str], str], name: str) -> None:
    for other in ("head", "gpu001"):
        assert on(name).check_output("getent ahostsv4 %s", other).split()[0] == address(other)


@every_host
def test_a_host_does_not_take_itself_for_loopback(on: On, name: str) -> None:
    assert "127." not in on(name).check_output("getent hosts %s", name)


@every_host
def test_users_are_the_same_everywhere(on: On, name: str) -> None:
    user = on(name).user("researcher")
    assert (user.uid, user.shell, user.home) == (2001, "/bin/bash", "/home/researcher")


@every_host
def test_time_zone_and_packages_are_there(on: On, name: str) -> None:
    assert on(name).check_output("date +%Z") == "UTC"
    assert on(name).file("/etc/localtime").linked_to == "/usr/share/zoneinfo/Etc/UTC"
    assert on(name).package("tzdata").is_installed


def test_what_people_wrote_into_etc_hosts_is_kept(on: On) -> None:
    assert "localhost" in on("gpu001").check_output("getent hosts 127.0.0.1")
