"""What the role logging makes of its variables: who sends to whom, whose log is whose, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from hypothesis import given, settings
from hypothesis import strategies as st

import fleetward

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

ROLE = Path(fleetward.__file__).parent / "roles/logging"


def read(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**read("defaults/main.yml"), **read("vars/main.yml")}
PREFLIGHT = read("tasks/preflight.yml")
GROUPS = {
    "all": ["head", "log2", "gpu001", "gpu002"],
    "logging": ["head", "log2", "gpu001"],
    "logging_server": ["head", "log2"],
}
HOSTS: dict[str, dict[str, str]] = {
    "head": {"ansible_host": "10.0.0.1", "logging_tls_name": "logs.example.org"},
    "log2": {"ansible_host": "10.0.0.2"},
    "gpu001": {"ansible_host": "10.0.0.101"},
    "gpu002": {"ansible_host": "10.0.0.102"},
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Return variables that name three files that are there."""
    names = ("ca", "certificate", "key")
    for name in names:
        (tmp_path / name).write_text(name)
    return {f"logging_tls_{name}": str(tmp_path / name) for name in names}


def role(host: str, **given: object) -> Templar:
    facts = {"distribution": "Debian"}
    here = {"inventory_hostname": host, "groups": GROUPS, "hostvars": HOSTS, "ansible_facts": facts, **HOSTS[host]}
    return Templar(loader=DataLoader(), variables={**STANDING, **here, **given})


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


def test_a_node_sends_to_every_server_through_a_queue_of_its_own() -> None:
    text = rendered(role("gpu001"), "send.conf.j2")
    for server, address, name in (("head", "10.0.0.1", "logs.example.org"), ("log2", "10.0.0.2", "log2")):
        action = text.split(f'    name="fleetward_{server}"')[1].split("\n)\n")[0]
        assert f'target="{address}" port="2514"' in action
        assert f'tls.permittedPeer=["{name}"]' in action
        assert f'queue.filename="fleetward_{server}"' in action
        assert 'queue.maxDiskSpace="1g"' in action
        assert 'action.resumeRetryCount="-1"' in action


def test_a_server_hears_those_of_the_group_by_the_names_in_their_certificates() -> None:
    text = rendered(role("head"), "receive.conf.j2")
    assert 'tls.permittedPeer=["logs.example.org", "log2", "gpu001"]' in text
    assert 'address="10.0.0.1"' in text


def test_whose_log_it_is_follows_from_the_inventorys_addresses() -> None:
    table = value(role("head"), "__logging_hosts")["table"]
    assert {row["index"]: row["value"] for row in table} == {
        "127.0.0.1": "head",
        "10.0.0.2": "log2",
        "10.0.0.101": "gpu001",
        "10.0.0.102": "gpu002",
    }


@pytest.mark.parametrize(
    ("outputs", "there"),
    [
        (["files"], {"omfile"}),
        (["elasticsearch"], {"call fleetward_elasticsearch"}),
        (["files", "loki"], {"omfile", "call fleetward_loki"}),
    ],
)
def test_a_server_does_with_the_logs_what_is_asked_and_no_more(outputs: list[str], there: set[str]) -> None:
    text = rendered(role("head", logging_outputs=outputs), "receive.conf.j2")
    known = {"omfile", "call fleetward_elasticsearch", "call fleetward_loki"}
    assert {words for words in known if words in text} == there


@pytest.mark.parametrize(("distribution", "owner"), [("Debian", "root"), ("Ubuntu", "syslog")])
def test_files_are_of_whoever_rsyslog_is_once_it_has_started(distribution: str, owner: str) -> None:
    text = rendered(role("head", ansible_facts={"distribution": distribution}), "receive.conf.j2")
    assert f'fileOwner="{owner}"' in text
    assert f'dirOwner="{owner}"' in text


def test_packages_are_those_of_what_the_host_does() -> None:
    assert value(role("gpu001", logging_outputs=["elasticsearch"]), "__logging_packages") == [
        *("rsyslog", "rsyslog-relp", "openssl"),
    ]
    server = value(role("head", logging_outputs=["files", "elasticsearch"]), "__logging_packages")
    assert server == ["rsyslog", "rsyslog-relp", "openssl", "logrotate", "rsyslog-elasticsearch"]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["C", "Z"], max_codepoint=0x24F), min_size=1))
def test_a_password_of_any_letters_stays_one_string(password: str) -> None:
    given = {
        "logging_elasticsearch_urls": ["http://127.0.0.1:9200"],
        "logging_elasticsearch_user": "fleet",
        "logging_elasticsearch_password": password,
    }
    line = next(
        line for line in rendered(role("head", **given), "elasticsearch.conf.j2").splitlines() if " pwd=" in line
    )
    quoted = line.split(" pwd=")[1]
    assert quoted[0] == quoted[-1] == '"'
    assert json.loads(quoted) == password


def test_loki_gets_labels_and_a_line_in_its_own_form() -> None:
    text = rendered(role("head", logging_loki_url="https://loki.example.org:3100"), "loki.conf.j2")
    assert 'server="loki.example.org"' in text
    assert 'serverport="3100"' in text
    assert 'useHttps="on"' in text
    constants = text.split("list")[1].split("ruleset")[0]
    assert '{\\"stream\\": {\\"node\\": \\"' in constants
    plain = rendered(role("head", logging_loki_url="http://loki.example.org"), "loki.conf.j2")
    assert 'serverport="80"' in plain
    assert "cacert" not in plain


def test_what_is_right_is_not_refused(files: dict[str, str]) -> None:
    assert refusal(role("gpu001", **files)) is None
    assert refusal(role("head", **files)) is None


@pytest.mark.parametrize(
    ("host", "given", "task", "words"),
    [
        ("gpu001", {"logging_servers": []}, "There must be a server", ["(none)", "logging_server"]),
        ("gpu001", {"logging_servers": ["gpu002"]}, "There must be a server", ["gpu002", "group logging too"]),
        ("gpu001", {"logging_tls_key": ""}, "Certificate and key must be there", ["logging_tls_key (not given)"]),
        ("gpu001", {"logging_tls_ca": "/nowhere/ca.pem"}, "Certificate and key must be there", ["/nowhere/ca.pem"]),
        (
            *("gpu001", {"logging_tls_name": 'gpu"001'}),
            *("Names must be ones that certificates have", ['gpu"001', "*.nodes.example.org"]),
        ),
        (
            *("gpu001", {"logging_selector": '*.* action(type="omprog")'}),
            *("Queue and selector must be what rsyslog takes", ["logging_selector", "*.info"]),
        ),
        ("gpu001", {"logging_queue_disk": "1 GB"}, "Queue and selector must be what rsyslog takes", ["1 GB"]),
        (
            "gpu001",
            {"logging_files_folder": "/var/../etc"},
            "Queue and selector must be what rsyslog takes",
            ["/var/../etc"],
        ),
        ("head", {"logging_outputs": []}, "A server must do something with the logs", ["for nothing"]),
        (
            *("head", {"logging_outputs": ["elasticsearch"]}),
            *("A server must do something with the logs", ["logging_elasticsearch_urls (none)"]),
        ),
        (
            *("head", {"logging_outputs": ["loki"], "logging_loki_url": "https://user:word@loki.example.org"}),
            *("A server must do something with the logs", ["without a password"]),
        ),
        (
            *("head", {"logging_elasticsearch_password": "two words"}),
            *("A server must do something with the logs", ["white space"]),
        ),
        (
            *("head", {"logging_outputs": ["loki"], "logging_loki_url": ""}),
            *("A server must do something with the logs", ["logging_loki_url (none)"]),
        ),
    ],
)
def test_what_is_wrong_is_refused_in_words(
    files: dict[str, str], host: str, given: dict[str, Any], task: str, words: list[str]
) -> None:
    found = refusal(role(host, **{**files, **given}))
    assert found is not None
    assert found[0] == task
    for word in words:
        assert word in found[1]


def test_a_node_is_not_asked_what_only_a_server_does(files: dict[str, str]) -> None:
    assert refusal(role("gpu001", **files, logging_outputs=["elasticsearch"])) is None
