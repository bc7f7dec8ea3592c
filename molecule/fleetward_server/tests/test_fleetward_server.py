"""The daemon as its host, its nodes and Slurm see it."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from testinfra.host import Host

On = Callable[[str], Host]
Address = Callable[[str], str]
STATUS = "fleetward autopilot status --json"


def test_it_runs_as_a_user_of_its_own_and_comes_back_with_the_host(on: On) -> None:
    service = on("head").service("fleetward")
    assert service.is_enabled
    assert service.is_running
    assert (
        on("head").check_output("ps -o user= -p $(systemctl show --property MainPID --value fleetward)") == "fleetward"
    )


def test_it_reaches_store_slurm_and_says_so(on: On) -> None:
    status = json.loads(on("head").check_output(STATUS))
    assert {name: status["reaches"][name] for name in ("store", "slurm")} == {"store": "", "slurm": ""}


def test_only_its_group_may_ask_it(on: On) -> None:
    socket = on("head").file("/run/fleetward/daemon/socket")
    assert (socket.user, socket.group, socket.mode) == ("fleetward", "fleetward", 0o660)
    assert on("head").run(f"runuser --user nobody -- {STATUS}").rc == 3


def test_its_key_opens_the_nodes(on: On) -> None:
    ssh = (
        "runuser --user fleetward -- ssh -o UserKnownHostsFile=/etc/fleetward/known_hosts -o StrictHostKeyChecking=yes"
        " -o BatchMode=yes -o IdentitiesOnly=yes -i /var/lib/fleetward/.ssh/id_ed25519"
    )
    address = json.loads(on("head").file("/etc/fleetward/inventory/hosts.json").content_string)
    node = address["all"]["hosts"]["gpu001"]["ansible_host"]
    assert on("head").check_output(f"{ssh} root@{node} hostname") == "gpu001"


def test_its_inventory_does_not_tell_how_the_machine_that_provisions_logs_in(on: On) -> None:
    assert on("head").run("grep -r ssh_key /etc/fleetward/inventory").rc == 1


def test_slurm_lets_it_drain_and_resume(on: On) -> None:
    as_daemon = "runuser --user fleetward -- scontrol update nodename=gpu001"
    on("head").check_output(f"{as_daemon} state=drain reason='a test of the role'")
    try:
        shown = on("head").check_output("scontrol show node gpu001")
        assert "DRAIN" in shown
        assert "a test of the role [fleetward@" in shown
    finally:
        on("head").check_output(f"{as_daemon} state=resume")


def test_not_everybody_reads_the_token(on: On) -> None:
    assert on("head").run("runuser --user nobody -- cat /etc/fleetward/webhook-token").rc != 0


@pytest.mark.parametrize("token", ["", "wrong"])
def test_the_webhook_refuses_who_has_not_the_token(address: Address, token: str) -> None:
    request = urllib.request.Request(
        f"http://{address('head')}:9720/alertmanager",
        data=b"{}",
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)  # noqa: S310  the address above
    assert refused.value.code == 401
