"""The node's log on the head: over TLS, late rather than never, and under the name of who sent it."""

import base64
import json
import os
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
NODES_LOG = "/var/log/fleet/gpu001/messages.log"
HEADS_LOG = "/var/log/fleet/head/messages.log"

SENDER = """\
module(load="omrelp" tls.tlslib="openssl")
module(load="imuxsock" sysSock.use="off")
input(type="imuxsock" socket="/run/verify/log")
template(name="claims" type="string" string="<13>1 2026-01-02T03:04:05Z head claims - - - %msg%")
action(type="omrelp" target="HEAD" port="2514" template="claims" tls="on" tls.authMode="name" tls.permittedPeer=["head"]
    tls.caCert="/run/verify/ca.pem" tls.myCert="/run/verify/own.pem" tls.myPrivKey="/run/verify/own.key"
    action.resumeRetryCount="-1" action.resumeInterval="1")
"""

ELASTICSEARCH = """
import http.server, json
class Played(http.server.BaseHTTPRequestHandler):
    def answer(self, said):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def do_GET(self):
        self.answer(b"{}")
    do_HEAD = do_GET
    def do_POST(self):
        lines = self.rfile.read(int(self.headers["Content-Length"])).decode().splitlines()
        with open("/run/verify-documents", "a") as kept:
            for line in lines:
                if line:
                    kept.write(json.dumps([self.path, self.headers["Authorization"], json.loads(line)]) + "\\n")
        self.answer(b'{"took": 1, "errors": false, "items": []}')
http.server.HTTPServer(("127.0.0.1", 9200), Played).serve_forever()
"""


def wait_for(what: Callable[[], bool], said: str, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, f"after {seconds} s: {said}"
        time.sleep(0.5)


def lines(host: Host, place: str, text: str) -> list[str]:
    """Return the lines of a file, or of all in a folder, that hold a text; none where there is no such file."""
    said: str = host.run("grep --no-filename --recursive --fixed-strings %s %s", text, place).stdout
    return said.splitlines()


def provision(host: str, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
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
            *(f"--limit={host}", str(ROOT / "molecule/logging/converge.yml"), *arguments),
            f"--extra-vars={json.dumps(given)}",
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def sender(on: On, address: Address) -> Iterator[Callable[[str, str], None]]:
    """Return what sends a line from the node to the head with a certificate, claiming that it is the head's own."""
    node = on("gpu001")

    def send(certificate: str, line: str) -> None:
        node.check_output("mkdir -p -m 700 /run/verify")
        files = {
            "ca.pem": (STATE / "certificates/ca.pem").read_text(),
            "own.pem": (STATE / f"certificates/{certificate}.pem").read_text(),
            "own.key": (STATE / f"certificates/{certificate}.key").read_text(),
            "rsyslog.conf": SENDER.replace("HEAD", address("head")),
        }
        for name, content in files.items():
            node.check_output("printf %%s %s > /run/verify/%s", content, name)
        node.check_output("systemd-run --unit=verify-sender rsyslogd -n -i/run/verify/pid -f /run/verify/rsyslog.conf")
        wait_for(lambda: node.file("/run/verify/log").exists, "the sender does not listen", 20)
        node.check_output("logger --socket /run/verify/log %s", line)

    yield send
    node.run("systemctl stop verify-sender; rm -rf /run/verify")


def test_a_line_of_the_node_arrives_on_the_head_with_its_severity(on: On) -> None:
    on("gpu001").check_output("logger --priority daemon.err --tag verify --id=17 %s", "a line of the node")
    wait_for(lambda: lines(on("head"), NODES_LOG, "a line of the node") != [], "nothing arrived")
    (line,) = lines(on("head"), NODES_LOG, "a line of the node")
    assert line.split(" ", 1)[1] == "gpu001 daemon.err verify[17]: a line of the node"


def test_the_journals_lines_arrive_too(on: On) -> None:
    on("gpu001").check_output("systemd-run --wait --unit=verify-said echo 'a line of a service'")
    wait_for(lambda: lines(on("head"), NODES_LOG, "a line of a service") != [], "nothing arrived")


def test_the_heads_own_lines_are_beside_them(on: On) -> None:
    on("head").check_output("logger 'a line of the head'")
    wait_for(lambda: lines(on("head"), HEADS_LOG, "a line of the head") != [], "nothing was written")


def test_the_head_shows_its_certificate_and_nobody_hears_the_line(on: On, address: Address) -> None:
    ask = f"openssl s_client -connect {address('head')}:2514 -CAfile /etc/rsyslog.d/fleetward/ca.pem"
    own = "-cert /etc/rsyslog.d/fleetward/certificate.pem -key /etc/rsyslog.d/fleetward/key.pem"
    said = on("gpu001").run(f"{ask} {own} -verify_hostname head < /dev/null").stdout
    assert "Verified peername: head" in said
    assert "TLSv1.3" in said


def test_what_was_said_while_the_head_was_away_arrives_afterwards_each_line_once(on: On) -> None:
    head, node = on("head"), on("gpu001")
    head.check_output("systemctl stop syslog.socket rsyslog.service")
    try:
        node.check_output('for i in $(seq 300); do logger --tag verify "while away $i end"; done')
        time.sleep(2)
        assert lines(head, NODES_LOG, "while away") == []
        # the queue of a host that is restarted meanwhile is on its disk
        node.check_output("systemctl restart rsyslog")
        waiting = node.check_output("find /var/spool/rsyslog -name 'fleetward_head*'")
        assert waiting != ""
        node.check_output("logger --tag verify 'while away 301 end'")
    finally:
        head.check_output("systemctl start syslog.socket rsyslog.service")
    wait_for(lambda: len(lines(head, NODES_LOG, "while away")) >= 301, "not all of them arrived", 150)
    numbers = [int(line.split()[-2]) for line in lines(head, NODES_LOG, "while away")]
    assert sorted(numbers) == list(range(1, 302))


def test_a_host_cannot_write_into_anothers_log(on: On, sender: Callable[[str, str], None]) -> None:
    sender("gpu001", "as if it were the head")
    wait_for(lambda: lines(on("head"), NODES_LOG, "as if it were the head") != [], "nothing arrived")
    assert " head user.notice claims[-]: " in lines(on("head"), NODES_LOG, "as if it were the head")[0]
    assert lines(on("head"), HEADS_LOG, "as if it were the head") == []


@pytest.mark.parametrize("certificate", ["stranger", "forged", "late"])
def test_who_has_no_certificate_of_a_known_host_is_not_heard(
    on: On, sender: Callable[[str, str], None], certificate: str
) -> None:
    line = f"as a {certificate}"
    sender(certificate, line)
    time.sleep(8)
    assert lines(on("head"), "/var/log/fleet", line) == []
    on("gpu001").check_output(f"logger 'and still heard {certificate}'")
    wait_for(lambda: lines(on("head"), NODES_LOG, f"still heard {certificate}") != [], "the node itself is not heard")


def test_after_a_rotation_lines_go_into_a_new_file_and_the_old_ones_stay(on: On) -> None:
    head, node = on("head"), on("gpu001")
    node.check_output("logger 'before the rotation'")
    wait_for(lambda: lines(head, NODES_LOG, "before the rotation") != [], "nothing arrived")
    head.check_output("logrotate --force /etc/logrotate.d/fleetward-logging")
    node.check_output("logger 'after the rotation'")
    wait_for(lambda: lines(head, NODES_LOG, "after the rotation") != [], "nothing arrived in the new file")
    assert lines(head, NODES_LOG, "before the rotation") == []
    assert len(lines(head, "/var/log/fleet/gpu001", "before the rotation")) == 1


def test_elasticsearch_gets_documents_with_the_node_and_those_that_waited_too(on: On) -> None:
    head, node = on("head"), on("gpu001")
    node.check_output("logger --priority kern.crit --tag verify 'it said \"no\"'")
    wait_for(lambda: lines(head, NODES_LOG, "it said") != [], "nothing arrived")
    head.check_output("systemd-run --unit=verify-elasticsearch python3 -c %s", ELASTICSEARCH)
    try:
        wait_for(lambda: lines(head, "/run/verify-documents", "it said") != [], "Elasticsearch got nothing", 150)
        kept = [json.loads(line) for line in head.file("/run/verify-documents").content_string.splitlines()]
    finally:
        head.check_output("systemctl stop verify-elasticsearch; rm -f /run/verify-documents")
    at = next(number for number, (_, _, document) in enumerate(kept) if document.get("message") == 'it said "no"')
    path, login, document = kept[at]
    day = document["@timestamp"][:10]
    assert path == "/_bulk"
    assert base64.b64decode(login.removeprefix("Basic ")) == b'fleet:a"quoted"$\\ecret'
    assert kept[at - 1][2] == {"index": {"_index": f"fleet-logs-{day}"}}
    assert (document["node"], document["severity"], document["program"]) == ("gpu001", "crit", "verify")


def test_key_and_password_are_roots_alone_and_in_no_output(on: On) -> None:
    assert on("head").file("/etc/rsyslog.d/40-fleetward-elasticsearch.conf").mode == 0o600
    for name in ("head", "gpu001"):
        assert on(name).file("/etc/rsyslog.d/fleetward/key.pem").mode == 0o600
        assert on(name).file("/etc/rsyslog.d/fleetward").mode == 0o700
    given = {"logging_elasticsearch_password": "not-to-be-seen"}
    done = provision("head", "--check", "--diff", "-vv", **given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=2" in done.stdout, "the file, and rsyslog that is restarted"
    # Ansible repeats what its command line was given
    said = [line for line in done.stdout.splitlines() if "--extra-vars" not in line]
    assert not [line for line in said if "not-to-be-seen" in line or "PRIVATE KEY" in line]


@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        ("gpu001", "stranger", "the certificate is of another key"),
        ("stranger", "stranger", "the certificate is of another name"),
        ("forged", "forged", "does not speak for it"),
        ("late", "late", "certificate has expired"),
    ],
)
def test_a_certificate_that_would_not_work_replaces_none_that_does(
    on: On, certificate: str, key: str, why: str
) -> None:
    before = on("gpu001").file("/etc/rsyslog.d/fleetward/certificate.pem").content_string
    done = provision(
        "gpu001",
        logging_tls_certificate=str(STATE / f"certificates/{certificate}.pem"),
        logging_tls_key=str(STATE / f"certificates/{key}.key"),
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert why in " ".join((done.stdout + done.stderr).split())
    assert on("gpu001").file("/etc/rsyslog.d/fleetward/certificate.pem").content_string == before


def test_it_comes_back_with_the_host(on: On) -> None:
    for name in ("head", "gpu001"):
        assert on(name).service("rsyslog").is_enabled
        assert on(name).service("rsyslog").is_running
