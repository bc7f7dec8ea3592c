"""What the role hardening makes of its variables: open ports, sshd's settings, PAM's stack, and what it refuses."""

import base64
import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from hypothesis import given, settings
from hypothesis import strategies as st

import fleetward
from fleetward.slurm.configuration import SCRAPE_JOBS

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

ROLES = Path(fleetward.__file__).parent / "roles"
ROLE = ROLES / "hardening"
FLEET = ["10.60.0.11", "10.60.1.1", "fd00:60::1"]


def read(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**read("defaults/main.yml"), **read("vars/main.yml")}
PREFLIGHT = [task for task in read("tasks/preflight.yml") if "ansible.builtin.assert" in task]


def role(*groups: str, **given: object) -> Templar:
    """Return the role's variables on a node of these groups, with Ansible logged in as root from 10.60.0.5."""
    host = {
        "inventory_hostname": "gpu001",
        "group_names": list(groups),
        "groups": {"all": ["gpu001"]},
        "ansible_facts": {"distribution": "Debian"},
        "hardening_networks": FLEET,
        "hardening_job_networks": ["10.60.1.0/24"],
        "hardening_admin_networks": ["10.60.0.0/28"],
        "__hardening_slurm_contains": True,
        "__hardening_who": {"results": [{"stdout": "root"}, {"stdout": "root"}]},
        "__hardening_connection": {"stdout": "10.60.0.5 50000 10.60.1.1 22"},
    }
    return Templar(loader=DataLoader(), variables={**STANDING, **host, **given})


def value(templar: Templar, expression: str) -> Any:  # noqa: ANN401  whatever the variable is
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


def rendered(templar: Templar, template: str) -> str:
    return str(templar.template(trust_as_template((ROLE / "templates" / template).read_text())))


def refusal(templar: Templar) -> tuple[str, str] | None:
    """Return name and message of the first task of the preflight that refuses."""
    for task in PREFLIGHT:
        assertion = task["ansible.builtin.assert"]
        that = [assertion["that"]] if isinstance(assertion["that"], str) else assertion["that"]
        applies = "when" not in task or templar.evaluate_conditional(task["when"])
        if applies and not all(templar.evaluate_conditional(one) for one in that):
            return task["name"], templar.template(assertion["fail_msg"])
    return None


def opened(templar: Templar) -> dict[str, set[str]]:
    """Return the ports that the filter opens, each with the sets of addresses that may come."""
    found: dict[str, set[str]] = {}
    for protocol, ports, family, source in re.findall(
        r"^\s+(tcp|udp) dport (\S+) (ip6?) saddr @([a-z]+)[46] accept", rendered(templar, "filter.nft.j2"), re.MULTILINE
    ):
        found.setdefault(f"{protocol} {ports}", set()).add(f"{family} {source}")
    return found


def both(*sources: str) -> set[str]:
    return {f"{family} {source}" for source in sources for family in ("ip", "ip6")}


def test_a_host_opens_the_ports_of_its_groups_and_no_others() -> None:
    assert opened(role()) == {"tcp 22": both("fleet", "admins")}
    assert opened(role("slurm_database")) == {"tcp 22": both("fleet", "admins"), "tcp 6819": both("fleet")}
    assert opened(role("slurm_node", "node_exporter", ansible_port=2222)) == {
        "tcp 2222": both("fleet", "admins"),
        "tcp 6818": both("fleet"),
        "tcp 9100": both("fleet"),
        "tcp 1024-65535": both("jobs"),
        "udp 1024-65535": both("jobs"),
    }


def test_slurms_ports_are_those_of_its_parameters() -> None:
    parameters = {"SlurmctldPort": "6817-6820", "SlurmdPort": 7000}
    assert "tcp 6817-6820" in opened(role("slurm_controller", fleet_slurm_parameters=parameters))
    assert "tcp 7000" in opened(role("slurm_node", fleet_slurm_parameters=parameters))


def test_a_port_of_the_sites_own_is_added_and_may_be_open_to_all() -> None:
    theirs = {"name": "web", "groups": ["slurm_client"], "protocols": ["tcp"], "ports": "443", "from": ["anywhere"]}
    assert '        tcp dport 443 accept comment "web"\n' in rendered(
        role("slurm_client", hardening_ports_extra=[theirs]), "filter.nft.j2"
    )
    assert "443" not in rendered(role("slurm_node", hardening_ports_extra=[theirs]), "filter.nft.j2")


def test_the_ports_of_other_roles_are_those_that_they_listen_on() -> None:
    known = {port["name"]: str(port["ports"]) for port in value(role(), "__hardening_ports")}
    for name in ("node_exporter", "gpu_exporter", "slurm_exporter", "prometheus", "alertmanager"):
        listens = yaml.safe_load((ROLES / name / "vars/main.yml").read_text())[f"__{name}_port"]
        assert known[name] == str(listens)
    for job in SCRAPE_JOBS.values():
        assert str(job.port) in known.values()
    defaults = {
        name: yaml.safe_load((ROLES / name / "defaults/main.yml").read_text())
        for name in ("logging", "slurm_controller")
    }
    assert known["logging"] == str(defaults["logging"]["logging_port"])
    assert known["slurmrestd"] == str(defaults["slurm_controller"]["slurm_controller_rest_port"])
    assert known["slurmdbd"] in (ROLES / "slurm_database/vars/main.yml").read_text()


def test_addresses_stand_in_the_set_of_their_family_and_an_empty_set_has_no_elements() -> None:
    text = rendered(role(hardening_admin_networks=[]), "filter.nft.j2")
    sets = dict(re.findall(r"set (\w+) \{(.*?)^    \}", text, re.MULTILINE | re.DOTALL))
    assert "10.60.0.11,\n            10.60.1.1\n" in sets["fleet4"]
    assert "fd00:60::1" in sets["fleet6"]
    assert "elements" not in sets["admins4"]
    assert "elements" not in sets["jobs6"]


def test_all_is_exchanged_at_once_and_the_tables_of_others_are_left() -> None:
    lines = [line for line in rendered(role(), "filter.nft.j2").splitlines() if not line.startswith("#")]
    assert lines[:3] == ["add table inet fleetward", "delete table inet fleetward", "table inet fleetward {"]
    assert not [line for line in lines if "flush" in line]


@settings(deadline=None)
@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(min_value=0, max_value=32))
def test_whether_an_address_is_in_a_network(
    client: ipaddress.IPv4Address, base: ipaddress.IPv4Address, length: int
) -> None:
    network = ipaddress.ip_network(f"{base}/{length}", strict=False)
    given = {
        "hardening_networks": [str(network)],
        "hardening_admin_networks": [],
        "__hardening_connection": {"stdout": f"{client} 50000 10.60.1.1 22"},
    }
    assert value(role(**given), "__hardening_client_admitted") == (client in network)


def asked(**known: list[str]) -> dict[str, object]:
    """Return what `ssh -Q` says on a host that knows all that is wanted, but for what is given."""
    wanted = {**STANDING["__hardening_ssh_algorithms"], **known}
    return {"results": [{"item": kind, "stdout_lines": names} for kind, names in wanted.items()]}


def taken(text: str) -> dict[str, str]:
    """Return what sshd takes of a file: the first value of each name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if not line.startswith("#"):
            found.setdefault(name, rest)
    return found


def test_an_older_openssh_gets_the_algorithms_that_it_knows() -> None:
    older = asked(kex=["curve25519-sha256", "diffie-hellman-group1-sha1"])
    assert taken(rendered(role(__hardening_ssh_queried=older), "sshd.conf.j2"))["KexAlgorithms"] == "curve25519-sha256"


def test_what_the_site_sets_wins_over_the_roles_own() -> None:
    found = taken(
        rendered(
            role(
                __hardening_ssh_queried=asked(),
                hardening_ssh_options={"X11Forwarding": "yes"},
                hardening_ssh_allowed_groups=["root", "oncall"],
            ),
            "sshd.conf.j2",
        )
    )
    assert found["X11Forwarding"] == "yes"
    assert found["PasswordAuthentication"] == "no"
    assert found["PermitRootLogin"] == "prohibit-password"
    assert found["AllowGroups"] == "root oncall"


def test_without_groups_everybody_with_a_key_may_log_in() -> None:
    assert "AllowGroups" not in rendered(role(__hardening_ssh_queried=asked()), "sshd.conf.j2")


PAM = """\
@include common-auth
account    required     pam_nologin.so
# Standard Un*x authorization.
@include common-account
session    required     pam_loginuid.so
@include common-session
"""


def stack(text: str, adopt: bool) -> str:
    file = {"content": base64.b64encode(text.encode()).decode()}
    return str(value(role(__hardening_pam_read=file, hardening_slurm_adopt=adopt), "__hardening_pam_wanted"))


def test_jobs_are_asked_for_after_all_else_that_accounts_need_and_administrators_skip_it() -> None:
    lines = [line for line in stack(PAM, adopt=True).splitlines() if not line.startswith("#")]
    at = lines.index("@include common-account")
    assert lines[at + 1].startswith(
        "account [success=1 default=ignore] pam_listfile.so item=group sense=allow onerr=fail "
    )
    assert lines[at + 2].startswith("account required pam_slurm_adopt.so ")
    assert lines[at + 3].startswith("session ")


def test_the_stack_is_changed_once_and_comes_back_as_it_was() -> None:
    once = stack(PAM, adopt=True)
    assert stack(once, adopt=True) == once
    assert stack(once, adopt=False) == PAM
    assert stack(PAM, adopt=False) == PAM


@pytest.mark.parametrize(
    ("contains", "groups", "adopts"),
    [(True, ["slurm_node"], True), (False, ["slurm_node"], False), (True, ["slurm_client"], False)],
)
def test_nodes_ask_for_jobs_where_slurm_contains_them(contains: bool, groups: list[str], adopts: bool) -> None:
    assert value(role(*groups, __hardening_slurm_contains=contains), "hardening_slurm_adopt") is adopts


@pytest.mark.parametrize("container", [True, False])
def test_a_container_sets_its_own_network_alone(container: bool) -> None:
    given = {
        "hardening_sysctl": {
            "kernel.kptr_restrict": 1,
            "net.ipv4.tcp_syncookies": 1,
            "net.ipv4.ping_group_range": "0 5",
        },
        "__hardening_container": {"rc": 0 if container else 1},
        "__hardening_sysctl_read": {
            "stdout": "kernel.kptr_restrict = 0\nnet.ipv4.tcp_syncookies = 0\nnet.ipv4.ping_group_range = 0\t5"
        },
    }
    network = ["net.ipv4.tcp_syncookies=1"]
    expected = network if container else ["kernel.kptr_restrict=1", *network]
    assert value(role(**given), "__hardening_sysctl_differing") == expected


def test_what_is_right_is_not_refused() -> None:
    assert refusal(role("slurm_node")) is None


def test_a_host_that_is_reached_without_ssh_has_nobody_to_lock_out() -> None:
    assert refusal(role(__hardening_connection={}, hardening_admin_networks=[], hardening_ssh_root_login="no")) is None


OLGA = {"__hardening_who": {"results": [{"stdout": "olga"}, {"stdout": "olga oncall"}]}}


@pytest.mark.parametrize(
    ("given", "task", "words"),
    [
        ({"hardening_networks": ["10.60.0.0/40"]}, "Networks must be networks", ["10.60.0.0/40"]),
        ({"hardening_admin_networks": ["office"]}, "Networks must be networks", ["office"]),
        ({"hardening_networks": []}, "Networks must be networks", ["or nothing"]),
        (
            {
                "hardening_ports_extra": [
                    {"name": "web", "groups": ["all"], "protocols": ["tcp"], "ports": "443; flush", "from": ["fleet"]}
                ]
            },
            *("Ports must be ports", ["web"]),
        ),
        (
            {"hardening_ssh_allowed_groups": ["root\nPermitRootLogin yes"]},
            *("Groups and settings must be ones that sshd, PAM and audit take", ["names of groups"]),
        ),
        (
            {"hardening_slurm_adopt": True, "__hardening_slurm_contains": False},
            *("Only where Slurm contains jobs can a login become part of one", ["add Contain to PrologFlags"]),
        ),
        (
            {"hardening_ssh_allowed_groups": ["oncall"]},
            *("Whoever is logged in must be let in again", ["as root, of the groups root", "oncall"]),
        ),
        (
            {"hardening_ssh_root_login": "no"},
            "Whoever is logged in must be let in again",
            ["hardening_ssh_root_login no"],
        ),
        ({"ansible_password": "x"}, "Whoever is logged in must be let in again", ["passwords are not taken"]),
        (
            {"hardening_admin_networks": ["10.60.0.128/25"]},
            *("The packet filter must let in where Ansible comes from", ["from 10.60.0.5", "10.60.0.128/25"]),
        ),
        (
            {**OLGA, "hardening_slurm_adopt": True},
            *(
                "Whoever is logged in must be exempt from having a job",
                ["as olga", "none of the groups sudo", "oncall"],
            ),
        ),
    ],
)
def test_what_is_wrong_is_refused_in_words(given: dict[str, Any], task: str, words: list[str]) -> None:
    found = refusal(role(**given))
    assert found is not None
    assert found[0] == task
    for word in words:
        assert word in found[1]


def test_who_is_exempt_may_be_somebody_else_than_root() -> None:
    assert refusal(role(**OLGA, hardening_slurm_adopt=True, hardening_admin_groups=["oncall"])) is None
