"""Who gets in by SSH, through the packet filter and onto a node, and a wrong change that takes itself back."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

On = Callable[[str], Host]
Address = Callable[[str], str]
ROOT = Path(__file__).parents[3]
STATE = Path(os.environ.get("FLEETWARD_LAB_STATE", "~/.local/state/fleetward/lab/molecule")).expanduser()
LIVE = ("/etc/ssh/sshd_config.d/00-fleetward.conf", "/etc/pam.d/sshd", "/etc/fleetward/hardening/filter.nft")

LISTENER = """
import socket, sys
listening = socket.create_server(("", int(sys.argv[1])))
while True:
    connection, _ = listening.accept()
    connection.sendall(b"hello")
    connection.close()
"""
CALLER = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=4) as connection:
        print(connection.recv(5).decode())
except TimeoutError:
    print("no answer")
"""

every_host = pytest.mark.parametrize("name", ["head", "gpu001"])


def ssh(address: str, user: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Log in as a person would, and ask who one is."""
    known = f"-oUserKnownHostsFile={STATE}/known_hosts"
    return subprocess.run(
        ["ssh", "-F", "none", known, "-oIdentitiesOnly=yes", *options, f"{user}@{address}", "id", "-un"],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def with_key(address: str, user: str, *options: str) -> subprocess.CompletedProcess[str]:
    return ssh(address, user, f"-i{STATE}/ssh_key", "-oBatchMode=yes", *options)


def provision(host: str, *arguments: str, **given: object) -> subprocess.CompletedProcess[str]:
    """Run the role once more on one host, with other variables."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "playbooks/ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_LOOKUP_PLUGINS": str(ROOT / "playbooks/lookup_plugins"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [
            *(str(Path(sys.executable).with_name("ansible-playbook")), f"--inventory={STATE}/inventory"),
            *(f"--limit={host}", str(ROOT / "molecule/hardening/converge.yml"), *arguments),
            f"--extra-vars={json.dumps(given)}",
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return in which words a run was refused."""
    assert done.returncode == 2, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def live(host: Host) -> list[str]:
    """Return what decides whether the host can be reached."""
    return [host.file(path).content_string for path in LIVE]


def from_here(address: str, port: int) -> str:
    """Call from the machine that runs Ansible, which is no host of the fleet."""
    try:
        with socket.create_connection((address, port), timeout=4) as connection:
            return connection.recv(5).decode()
    except TimeoutError:
        return "no answer"


@pytest.fixture
def listen(on: On) -> Iterator[Callable[[str, int], None]]:
    """Return what listens on a port of a host, and has seen that it does."""
    started = []

    def start(name: str, port: int) -> None:
        unit = f"verify-listener-{port}"
        on(name).check_output(f"systemd-run --unit={unit} python3 -c %s {port}", LISTENER)
        started.append((name, unit))
        call = f"python3 -c %s 127.0.0.1 {port}"
        for _ in range(20):
            if on(name).run(call, CALLER).stdout.strip() == "hello":
                return
        raise AssertionError(f"nothing listens on {name}:{port}")

    yield start
    for name, unit in started:
        on(name).run(f"systemctl stop {unit}")


def test_a_key_is_taken_and_a_password_is_not_although_it_is_right(address: Address, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text("#!/bin/sh\necho known\n")
    answer.chmod(0o755)
    assert with_key(address("head"), "olga").stdout.strip() == "olga"
    done = ssh(
        address("head"),
        "olga",
        *("-oPubkeyAuthentication=no", "-oPreferredAuthentications=password,keyboard-interactive"),
        SSH_ASKPASS=str(answer),
        SSH_ASKPASS_REQUIRE="force",
    )
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


def test_who_is_in_no_group_that_may_is_refused_with_the_right_key(address: Address) -> None:
    done = with_key(address("head"), "otto")
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize(
    "old",
    [
        "-oKexAlgorithms=diffie-hellman-group14-sha1",
        "-oKexAlgorithms=ecdh-sha2-nistp256",
        "-oCiphers=aes128-cbc",
        "-oMACs=hmac-sha1,hmac-sha2-256 -oCiphers=aes256-ctr",
    ],
)
def test_an_old_algorithm_is_not_spoken(address: Address, old: str) -> None:
    done = with_key(address("head"), "root", *old.split())
    assert done.returncode == 255
    assert "no matching" in done.stderr


@every_host
def test_what_is_not_declared_gets_no_answer_and_what_is_does(
    on: On, address: Address, listen: Callable[[str, int], None], name: str
) -> None:
    other = {"head": "gpu001", "gpu001": "head"}[name]
    declared = {"head": 443, "gpu001": 9100}[name]
    listen(name, declared)
    listen(name, 880)
    call = f"python3 -c %s {address(name)}"
    assert on(other).check_output(f"{call} {declared}", CALLER) == "hello"
    assert on(other).check_output(f"{call} 880", CALLER) == "no answer"
    assert from_here(address(name), declared) == "no answer", "the machine that runs Ansible is no host of the fleet"


def test_jobs_open_ports_between_nodes_and_login_hosts_and_to_nobody_else(
    on: On, address: Address, listen: Callable[[str, int], None]
) -> None:
    listen("head", 40123)
    call = f"python3 -c %s {address('head')} 40123"
    assert on("gpu001").check_output(call, CALLER) == "hello"
    assert from_here(address("head"), 40123) == "no answer"


def test_the_filter_comes_back_with_the_host_and_leaves_tables_of_others(on: On) -> None:
    host = on("gpu001")
    assert host.service("fleetward-firewall").is_enabled
    host.check_output("nft add table inet theirs")
    host.check_output("nft delete table inet fleetward")
    host.check_output("systemctl restart fleetward-firewall")
    said = host.check_output("nft list ruleset")
    assert "table inet theirs" in said
    assert "hook input priority filter; policy drop;" in said
    host.check_output("nft delete table inet theirs")


def test_without_a_job_a_researcher_gets_onto_no_node_and_who_is_on_call_does(address: Address) -> None:
    done = with_key(address("gpu001"), "rita")
    assert done.returncode != 0
    assert "pam_slurm_adopt" in done.stdout + done.stderr
    assert with_key(address("gpu001"), "olga").stdout.strip() == "olga"
    assert with_key(address("head"), "rita").stdout.strip() == "rita", "the head is no node"


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"hardening_firewall_rules": ["tcp dport 22 drop"]}, "/etc/fleetward/hardening/filter.nft"),
        ({"hardening_ssh_options": {"AllowUsers": "nobody"}}, "/etc/ssh/sshd_config.d/00-fleetward.conf"),
    ],
    ids=["firewall", "sshd"],
)
def test_a_change_that_locks_ansible_out_takes_itself_back(on: On, given: dict[str, object], changed: str) -> None:
    before = live(on("gpu001"))
    said = refusal(provision("gpu001", **given))
    assert f"could not be reached any more with the new {changed}" in said
    assert live(on("gpu001")) == before
    assert "dport 22 drop" not in on("gpu001").check_output("nft list table inet fleetward")
    done = provision("gpu001")
    assert done.returncode == 0, done.stdout + done.stderr
    assert live(on("gpu001")) == before


def test_a_host_that_restarts_before_anybody_confirmed_takes_it_back_too(on: On) -> None:
    host = on("gpu001")
    before = live(host)
    wanted = "/etc/fleetward/hardening/wanted/filter.nft"
    host.check_output(f"cp {wanted} /run/wanted && sed -i 's/policy drop;/policy drop; tcp dport 99 accept/' {wanted}")
    try:
        host.check_output("fleetward-hardening apply 600")
        time.sleep(4)
        assert "dport 99" in host.check_output("nft list table inet fleetward")
        host.check_output("systemctl stop fleetward-hardening-rollback.timer")  # as a restart would
        host.check_output("systemctl restart fleetward-firewall")
        assert live(host) == before
        assert "dport 99" not in host.check_output("nft list table inet fleetward")
    finally:
        host.check_output(f"cp /run/wanted {wanted}")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hardening_ssh_allowed_groups": ["oncall"]}, "logged in on gpu001 as root"),
        ({"hardening_ssh_root_login": "no"}, "hardening_ssh_root_login no"),
        ({"hardening_admin_networks": []}, "Add its network to hardening_admin_networks"),
        ({"hardening_networks": ["10.0.0.0/33"]}, "10.0.0.0/33"),
        ({"hardening_firewall_rules": ["tcp dport 22 drpo"]}, "failed to validate"),
        ({"hardening_ssh_options": {"PermitTunel": "no"}}, "failed to validate"),
    ],
)
def test_what_would_lock_ansible_out_is_refused_before_anything_is_changed(
    on: On, given: dict[str, object], words: str
) -> None:
    before = live(on("gpu001"))
    assert words in refusal(provision("gpu001", **given))
    assert live(on("gpu001")) == before


@every_host
def test_the_network_is_set_as_declared_and_the_machines_kernel_is_left(on: On, name: str) -> None:
    asked = on(name).check_output("sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.default.accept_redirects")
    assert asked.splitlines() == ["net.ipv4.conf.all.rp_filter = 2", "net.ipv4.conf.default.accept_redirects = 0"]
    done = provision(name, "--check", hardening_sysctl={"kernel.sysrq": 0, "net.ipv4.conf.all.rp_filter": 2})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not in force are kernel.sysrq" in done.stdout


def test_security_updates_leave_what_is_held_or_named(on: On) -> None:
    done = on("gpu001").run("unattended-upgrade --dry-run --debug")
    assert done.rc == 0, done.stderr
    said = (done.stdout + done.stderr).splitlines()
    words = next(line for line in said if "Packages that will be upgraded:" in line).split()
    assert "played-canary" in words
    assert not {"played-held", "slurm-played"} & set(words)
    origins = next(line for line in said if "Allowed origins are:" in line)
    assert "label=Debian-Security" in origins
    assert "label=Debian," not in origins
    assert not origins.endswith("label=Debian")


@every_host
def test_the_audit_rules_are_there_for_a_kernel_that_records(on: On, name: str) -> None:
    merged = on(name).check_output("augenrules > /dev/null; cat /etc/audit/audit.rules")
    assert "-a always,exit -F arch=b64 -F path=/etc/shadow -F perm=wa -F key=identity" in merged
