"""The process that forks others: it starts and ends them, says what ended, and leaves none behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetward.exporters.gpu.forks import Forks


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(holds: Callable[[], object], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


class Lanes:
    """Children that write their process id into a file named by their lane, and then wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.forks = Forks(self.work)
        self.gone: list[int] = []

    def work(self, lane: int) -> None:
        with (self.folder / str(lane)).open("a") as file:
            file.write(f"{os.getpid()}\n")
        if lane == 9:
            raise ValueError("nine")
        while lane != 8:
            signal.pause()

    def processes(self, lane: int) -> list[int]:
        path = self.folder / str(lane)
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def ended(self) -> list[int]:
        self.gone += self.forks.ended()
        return self.gone


@pytest.fixture
def by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the threads of who runs the tests: where tests run on all cores, each worker has one for its messages."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@pytest.fixture
def lanes(by_itself: None, tmp_path: Path) -> Iterator[Lanes]:
    made = Lanes(tmp_path)
    yield made
    made.forks.close()


def test_a_lane_is_started_once_and_killed_by_its_number(lanes: Lanes) -> None:
    lanes.forks.start(1)
    lanes.forks.start(2)
    lanes.forks.start(1)
    eventually(lambda: lanes.processes(1) and lanes.processes(2))
    lanes.forks.kill(1)
    eventually(lambda: lanes.ended() == [1])
    assert not alive(lanes.processes(1)[0])
    assert alive(lanes.processes(2)[0])
    lanes.forks.start(1)
    eventually(lambda: len(lanes.processes(1)) == 2)
    assert len(lanes.processes(2)) == 1


def test_a_lane_that_ends_or_fails_by_itself_is_told(lanes: Lanes) -> None:
    lanes.forks.start(8)
    lanes.forks.start(9)
    eventually(lambda: sorted(lanes.ended()) == [8, 9])


def test_why_a_lane_failed_is_on_stderr() -> None:
    program = textwrap.dedent("""
        import time
        from fleetward.exporters.gpu.forks import Forks
        def work(lane):
            raise ValueError(f"lane {lane} fails")
        forks = Forks(work)
        forks.start(9)
        while not forks.ended():
            time.sleep(0.01)
        forks.close()
        print("goes on")
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "goes on\n"
    assert done.stderr.count("ValueError: lane 9 fails") == 1


def test_closing_leaves_no_process_behind(by_itself: None, tmp_path: Path) -> None:
    lanes = Lanes(tmp_path)
    for lane in range(4):
        lanes.forks.start(lane)
    eventually(lambda: all(lanes.processes(lane) for lane in range(4)))
    lanes.forks.close()
    eventually(lambda: not any(alive(lanes.processes(lane)[0]) for lane in range(4)))


def test_a_parent_that_is_killed_takes_all_with_it(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import os, signal, pathlib
        from fleetward.exporters.gpu.forks import Forks
        def work(lane):
            pathlib.Path({str(tmp_path)!r}, str(lane)).write_text(str(os.getpid()))
            signal.pause()
        forks = Forks(work)
        forks.start(1)
        signal.pause()
    """)
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        eventually(lambda: (tmp_path / "1").exists() and (tmp_path / "1").read_text())
        child = int((tmp_path / "1").read_text())
        parent.kill()
    eventually(lambda: not alive(child))


def test_it_refuses_to_fork_beside_threads() -> None:
    going = threading.Event()
    thread = threading.Thread(target=going.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="before the first thread"):
            Forks(lambda lane: None)
    finally:
        going.set()
        thread.join()
