"""slurmdbd that keeps accounts, in a database that only it opens."""

from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

On = Callable[[str], Host]

CONFIGURATION = """\
ClusterName=verify
SlurmctldHost=head
AuthType=auth/munge
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=head
NodeName=none
PartitionName=none Nodes=none
"""


@pytest.fixture
def sacctmgr(on: On) -> Iterator[Callable[[str], str]]:
    """Return what runs sacctmgr with a configuration of its own: there is no controller here."""
    path = "/run/verify-slurm.conf"
    on("head").check_output("printf %%s %s > %s", CONFIGURATION, path)
    yield lambda words: on("head").check_output(
        f"SLURM_CONF={path} sacctmgr --immediate --parsable2 --noheader {words}"
    )
    on("head").check_output("rm %s", path)


def test_it_keeps_what_is_entered(sacctmgr: Callable[[str], str]) -> None:
    sacctmgr("add cluster verify")
    assert "verify" in sacctmgr("show cluster format=cluster").split()
    sacctmgr("delete cluster verify")
    assert "verify" not in sacctmgr("show cluster format=cluster").split()


def test_the_database_lets_in_its_user_by_the_socket_and_no_other(on: On) -> None:
    query = "mariadb --batch --skip-column-names --execute 'SHOW DATABASES'"
    assert "slurm_acct_db" in on("head").check_output("runuser --user slurm -- " + query).split()
    assert on("head").run("runuser --user nobody -- mariadb --user=slurm --execute 'SHOW DATABASES'").rc != 0


def test_its_configuration_is_not_for_everybody(on: On) -> None:
    file = on("head").file("/etc/slurm/slurmdbd.conf")
    assert (file.user, file.mode) == ("slurm", 0o600)


def test_it_comes_back_with_the_host(on: On) -> None:
    assert on("head").service("slurmdbd").is_running
    assert on("head").service("slurmdbd").is_enabled
