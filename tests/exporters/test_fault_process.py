"""The exporter as a process: what it saw outlasts `kill -9`, and the daemon gets each fault once."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from played_exporter import Exporter, kernel_log, log, running, wait_until

from fleetward.lab.scenario import Scenario, kernel_lines

if TYPE_CHECKING:
    from played_nvml import PlayedNode

TOKEN = "a-token-of-this-node"


class Taker:
    """Takes events as the daemon does; `away` has it answer 503."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.away = False
        self.posts: list[tuple[str, str]] = []
        taker = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                taker.posts.append((self.path, self.headers["Authorization"]))
                if not taker.away:
                    taker.events |= {event["key"]: event for event in body["events"]}
                answer = json.dumps({"taken": [event["key"] for event in body["events"]], "refused": {}}).encode()
                self.send_response(503 if taker.away else 200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def taker() -> Iterator[Taker]:
    taker = Taker()
    thread = threading.Thread(target=taker.server.serve_forever, args=(0.05,))
    thread.start()
    yield taker
    taker.server.shutdown()
    thread.join()
    taker.server.server_close()


@pytest.fixture
def options(played: "PlayedNode", taker: Taker, tmp_path: Path) -> tuple[str, ...]:
    kernel_log(played).touch()
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    url = f"http://127.0.0.1:{taker.server.server_port}"
    settings = tmp_path / "node.toml"
    settings.write_text(f'node = "gpu-1"\n[daemon]\nurl = "{url}"\ntoken_file = "{tmp_path / "token"}"\n')
    return ("--settings", str(settings), "--state", str(tmp_path / "state"))


@contextmanager
def started(played: "PlayedNode", options: tuple[str, ...]) -> Iterator[Exporter]:
    with running(played, *options) as exporter:
        yield exporter


def raise_xid(played: "PlayedNode", gpu: int, code: int) -> None:
    """Do what a driver does: a line in the kernel's log, then NVML's event."""
    log(played, kernel_lines(Scenario(), gpu, code, time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))
    played.raise_xid(gpu, code)


def test_a_fault_reaches_the_daemon_as_an_event_of_this_node(
    played: "PlayedNode", taker: Taker, options: tuple[str, ...]
) -> None:
    with started(played, options) as exporter:
        wait_until(lambda: (exporter.value("gpu_exporter_sweeps_total") or 0) > 3)
        raise_xid(played, 6, 79)
        wait_until(lambda: bool(taker.events))
        wait_until(lambda: exporter.value("gpu_exporter_events_total", outcome="taken") == 1)
        (event,) = taker.events.values()
        assert (event["gpu"], event["code"], event["severity"]) == (6, 79, "fatal")
        assert event["line"].startswith("NVRM: Xid (PCI:")
        assert abs(event["at"] - time.time()) < 60
        assert taker.posts[0] == ("/v1/nodes/gpu-1/events", f"Bearer {TOKEN}")
        assert exporter.value("gpu_exporter_events_waiting") == 0
        assert exporter.value("gpu_exporter_state_writable") == 1
        last = exporter.value("gpu_xid_last_timestamp_seconds", gpu="6", xid="79")
        assert last == event["at"]


def test_a_switch_s_fault_is_counted_and_told(played: "PlayedNode", taker: Taker, options: tuple[str, ...]) -> None:
    with started(played, options) as exporter:
        log(played, "3,1,1,-;nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 30 LTSSM Fault Up\n")
        wait_until(lambda: exporter.value("gpu_sxid_total", switch="3", sxid="20034") == 1)
        wait_until(lambda: [event["severity"] for event in taker.events.values()] == ["fatal"])


def test_events_wait_on_disk_for_a_daemon_that_is_away(
    played: "PlayedNode", taker: Taker, options: tuple[str, ...]
) -> None:
    taker.away = True
    with started(played, options) as exporter:
        raise_xid(played, 1, 48)
        wait_until(lambda: exporter.value("gpu_exporter_events_waiting") == 1)
        wait_until(lambda: (exporter.value("gpu_exporter_push_failures_total") or 0) > 1)
        exporter.process.kill()
    taker.away = False
    with started(played, options):
        wait_until(lambda: [event["code"] for event in taker.events.values()] == [48])


def test_killed_again_and_again_each_fault_is_counted_once_and_told_once(
    played: "PlayedNode", taker: Taker, options: tuple[str, ...]
) -> None:
    chance = random.Random(7)  # noqa: S311  no secret
    written: Counter[tuple[int, int]] = Counter()
    stop = threading.Event()

    def raise_some() -> None:
        """Raise faults all the time; one that both sources tell of not again on the same GPU."""
        both = [(gpu, code) for gpu in range(8) for code in (48, 63, 79, 94, 95, 119)]
        chance.shuffle(both)
        while not stop.wait(0.05):
            if both and chance.random() < 0.3:
                gpu, code = both.pop()
                raise_xid(played, gpu, code)
            else:
                gpu, code = chance.randrange(8), 31
                moment = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                log(played, kernel_lines(Scenario(), gpu, code, moment))
            written[gpu, code] += 1

    with started(played, options):
        pass  # from now on every fault is to be seen
    faults = threading.Thread(target=raise_some)
    faults.start()
    try:
        for _ in range(6):
            with started(played, options):
                time.sleep(chance.uniform(0, 1.2))
    finally:
        stop.set()
        faults.join()
    with started(played, options) as exporter:
        wait_until(lambda: exporter.value("gpu_exporter_events_waiting") == 0 and len(taker.events) >= written.total())
        for (gpu, code), count in written.items():
            assert exporter.value("gpu_xid_total", gpu=str(gpu), xid=str(code)) == count, (gpu, code)
    assert Counter((event["gpu"], event["code"]) for event in taker.events.values()) == written


def test_stopped_and_started_it_counts_what_happened_meanwhile_and_nothing_again(
    played: "PlayedNode", taker: Taker, options: tuple[str, ...]
) -> None:
    with started(played, options) as exporter:
        log(played, kernel_lines(Scenario(), 1, 48, 1))
        wait_until(lambda: exporter.value("gpu_xid_total", gpu="1", xid="48") == 1)
        exporter.process.terminate()
        assert exporter.process.wait(10) == 0
    log(played, kernel_lines(Scenario(), 1, 48, 1) + kernel_lines(Scenario(), 2, 94, 1))
    with started(played, options) as exporter:
        wait_until(lambda: exporter.value("gpu_xid_total", gpu="2", xid="94") == 1)
        assert exporter.value("gpu_xid_total", gpu="1", xid="48") == 2
        wait_until(lambda: exporter.value("gpu_exporter_events_waiting") == 0)
    assert sorted(event["code"] for event in taker.events.values()) == [48, 48, 94]


def test_a_second_exporter_does_not_share_the_state(
    played: "PlayedNode", taker: Taker, options: tuple[str, ...]
) -> None:
    with started(played, options), pytest.raises(AssertionError, match="another exporter keeps its state there"):
        running(played, *options).__enter__()


def test_a_state_that_cannot_be_kept_is_said_and_no_reason_to_end(played: "PlayedNode", tmp_path: Path) -> None:
    kernel_log(played).touch()
    (tmp_path / "file").write_text("")
    with running(played, "--state", str(tmp_path / "file" / "state")) as exporter:
        assert "no state is kept there" in exporter.told
        assert exporter.value("gpu_exporter_state_writable") == 0
        log(played, kernel_lines(Scenario(), 2, 48, 1))
        wait_until(lambda: exporter.value("gpu_xid_total", gpu="2", xid="48") == 1)


def test_a_state_of_nonsense_is_kept_aside(played: "PlayedNode", tmp_path: Path) -> None:
    kernel_log(played).touch()
    state = tmp_path / "state"
    state.mkdir()
    (state / "faults.journal").write_text("nonsense\n")
    with running(played, "--state", str(state)) as exporter:
        assert "damaged" in exporter.told
        assert exporter.value("gpu_exporter_state_writable") == 1
    assert (state / "faults.broken").read_text() == "nonsense\n"
