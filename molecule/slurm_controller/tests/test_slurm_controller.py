"""A controller that knows the nodes before they are there, keeps accounts, and answers REST to who has a token."""

import http.client
import json
from collections.abc import Callable

import pytest
from testinfra.host import Host

On = Callable[[str], Host]
Address = Callable[[str], str]


def rest(address: Address, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(address("head"), 6820, timeout=20)
    connection.request("GET", "/slurm/v0.0.42/nodes", headers=headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status == 200:
        assert [node["name"] for node in json.loads(text)["nodes"]] == ["gpu001"]
    return answer.status


def test_it_answers(on: On) -> None:
    assert "is UP" in on("head").check_output("scontrol ping")


def test_it_declares_the_nodes_of_the_inventory(on: On) -> None:
    nodes = on("head").check_output("sinfo --noheader --Node --format='%N %P %G'").split("\n")
    assert {line.split("(")[0].strip() for line in nodes} == {"gpu001 gpu* gpu:h100:8", "gpu001 debug gpu:h100:8"}


def test_accounts_users_and_qos_are_those_of_the_inventory(on: On) -> None:
    show = "sacctmgr --parsable2 --noheader show"
    assert (
        "research|researcher|normal" in on("head").check_output(f"{show} assoc format=account,user,defaultqos").split()
    )
    qos = dict(line.split("|") for line in on("head").check_output(f"{show} qos format=name,priority").split())
    assert {"normal": "100", "high": "1000", "low": "10"}.items() <= qos.items()


def test_rest_answers_to_a_token_and_to_nobody_else(on: On, address: Address) -> None:
    token = on("head").check_output("scontrol token username=researcher lifespan=60").partition("=")[2]
    headers = {"X-SLURM-USER-NAME": "researcher", "X-SLURM-USER-TOKEN": token}
    assert rest(address, headers) == 200
    assert rest(address, {}) == 401
    # slurmrestd hands a token on, and slurmctld is who refuses it: a ping would not tell.
    header, payload, signature = token.split(".")
    forged = f"{header}.{payload}.{signature[::-1]}"
    assert rest(address, {**headers, "X-SLURM-USER-TOKEN": forged}) >= 400


@pytest.mark.parametrize("name", ["slurmctld", "slurmrestd"])
def test_it_comes_back_with_the_host(on: On, name: str) -> None:
    assert on("head").service(name).is_running
    assert on("head").service(name).is_enabled


def test_only_slurm_reads_the_key_that_signs_tokens(on: On) -> None:
    keys = on("head").check_output("scontrol show config | grep -o 'jwt_key=[^, ]*'").partition("=")[2]
    assert on("head").file(keys).mode == 0o600
    assert on("head").run("runuser --user researcher -- cat %s", keys).rc != 0
