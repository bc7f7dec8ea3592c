"""Alertmanager, which tells the daemon of every alert once it comes, with the token."""

import json
import time
import urllib.request
from collections.abc import Callable

from testinfra.host import Host

On = Callable[[str], Host]
Address = Callable[[str], str]

RECEIVER = """
import http.server, json, sys
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open("/run/received", "a") as received:
            kept = {"path": self.path, "token": self.headers["Authorization"], "body": body}
            received.write(json.dumps(kept) + "\\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer((sys.argv[1], 9720), Receiver).serve_forever()
"""


def post(address: Address, **labels: str) -> None:
    alert = {"labels": {"severity": "critical", **labels}, "annotations": {"summary": "x"}}
    request = urllib.request.Request(
        f"http://{address('head')}:9093/api/v2/alerts",
        json.dumps([alert]).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        assert answer.status == 200


def test_the_daemon_gets_an_alert_at_once_with_the_token_and_the_watchdog_not(on: On, address: Address) -> None:
    head = on("head")
    head.check_output("systemd-run --unit=verify-receiver python3 -c %s %s", RECEIVER, address("head"))
    try:
        time.sleep(1)
        post(address, alertname="Watchdog")
        post(address, alertname="GpuOffBus", node="gpu001", gpu="3")
        until = time.monotonic() + 15
        while not head.file("/run/received").exists:
            assert time.monotonic() < until, "nothing came within 15 s"
            time.sleep(0.2)
        received = [json.loads(line) for line in head.file("/run/received").content_string.splitlines()]
        token = head.file("/etc/fleetward/webhook-token").content_string
        assert [one["path"] for one in received] == ["/alertmanager"]
        assert received[0]["token"] == f"Bearer {token}"
        assert len(token) >= 32
        assert [alert["labels"]["alertname"] for alert in received[0]["body"]["alerts"]] == ["GpuOffBus"]
        assert received[0]["body"]["groupLabels"] == {"alertname": "GpuOffBus", "node": "gpu001", "gpu": "3"}
    finally:
        head.check_output("systemctl stop verify-receiver; rm -f /run/received")


def test_the_token_is_nobody_elses(on: On) -> None:
    head = on("head")
    assert head.file("/etc/fleetward/webhook-token").mode == 0o600
    assert head.run("runuser --user nobody -- cat /etc/prometheus/fleetward-webhook-token").rc != 0
    assert head.run("runuser --user nobody -- cat /etc/fleetward/webhook-token").rc != 0


def test_it_comes_back_with_the_host(on: On) -> None:
    assert on("head").service("prometheus-alertmanager").is_enabled
    on("head").check_output("systemctl kill --signal=KILL prometheus-alertmanager")
    time.sleep(8)
    assert on("head").service("prometheus-alertmanager").is_running
