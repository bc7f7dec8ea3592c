"""GPUs given back on request: the file that asks, the exporter that lets go and comes back, the command that waits."""

import json
import math
import mmap
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from played_exporter import Exporter, kernel_log, log, running, wait_until
from played_nvml import PlayedNode

from fleetward.exporters.gpu import device_holders
from fleetward.exporters.gpu.device_holders import Lane, device_of, exporter_lanes, wait_for_lanes
from fleetward.exporters.gpu.job_map import JobMap
from fleetward.exporters.gpu.readings import GpuIdentity, GpuReading
from fleetward.exporters.gpu.release import (
    MOST_SECONDS,
    Absence,
    Release,
    ReleaseFile,
    ask_for_release,
    end_release,
    parse_release,
)
from fleetward.model.errors import FleetwardError

NOW = 1_790_000_000.0
BAD = {
    "": "not JSON",
    "{": "not JSON",
    "[" * 4000: "not JSON",
    "\xff\xfe": "not JSON",
    "[]": "no Unix time",
    "null": "no Unix time",
    "{}": "no Unix time",
    '{"until": "soon"}': "no Unix time",
    '{"until": true}': "no Unix time",
    '{"until": NaN}': "no Unix time",
    '{"until": Infinity}': "no Unix time",
    '{"until": 1' + "0" * 400 + "}": "no Unix time",
    '{"until": 1, "by": 7}': "no word",
    '{"until": 1, "by": "a\\nb"}': "no word",
    '{"until": 1, "by": "' + "x" * 200 + '"}': "no word",
    '{"until": 1, "by": "' + "x" * 5000 + '"}': "longer than",
}


@dataclass
class Followed:
    """A file that is followed on clocks that tests set."""

    path: Path
    wall: float = NOW
    clock: float = 50.0
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.file = ReleaseFile(self.path, self.told.append, lambda: self.wall, lambda: self.clock)

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.clock += seconds

    def write(self, text: str) -> None:
        new = self.path.with_name("new")
        new.write_bytes(text.encode("latin-1"))
        new.replace(self.path)


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    return Followed(tmp_path / "gpu-exporter.json")


def test_a_request_releases_until_its_time_is_over(followed: Followed) -> None:
    assert followed.file.look() is None
    followed.write(json.dumps({"until": NOW + 120, "by": "root for ada"}))
    assert followed.file.look() == NOW + 120
    followed.pass_time(119)
    assert followed.file.look() == NOW + 120
    followed.pass_time(2)
    assert followed.file.look() is None
    assert followed.told == [
        "the GPUs are released for 120 s, as root for ada asked",
        "the release is over: the GPUs are looked at again",
    ]


def test_a_request_that_is_taken_away_or_replaced_counts_at_once(followed: Followed) -> None:
    followed.write(json.dumps({"until": NOW + 120}))
    assert followed.file.look() == NOW + 120
    followed.write(json.dumps({"until": NOW + 600}))
    assert followed.file.look() == NOW + 600
    followed.path.unlink()
    assert followed.file.look() is None


def test_no_request_blinds_anybody_for_more_than_an_hour(followed: Followed) -> None:
    followed.write(json.dumps({"until": NOW + 9e9}))
    assert followed.file.look() == NOW + MOST_SECONDS
    followed.pass_time(MOST_SECONDS + 1)
    assert followed.file.look() is None


def test_a_clock_that_is_set_back_does_not_lengthen_a_release(followed: Followed) -> None:
    followed.write(json.dumps({"until": NOW + 60}))
    assert followed.file.look() is not None
    followed.wall -= 86400
    followed.clock += 61
    assert followed.file.look() is None


def test_a_request_whose_time_is_over_is_none_and_no_news(followed: Followed) -> None:
    followed.write(json.dumps({"until": NOW - 1}))
    assert followed.file.look() is None
    assert followed.told == []


@pytest.mark.parametrize(("content", "why"), BAD.items(), ids=range(len(BAD)))
def test_what_is_wrong_is_told_once_and_releases_nothing(followed: Followed, content: str, why: str) -> None:
    followed.write(content)
    for _ in range(5):
        assert followed.file.look() is None
        followed.pass_time(0.2)
    assert len(followed.told) == 1
    assert why in followed.told[0]
    assert str(followed.path) in followed.told[0]
    followed.write(json.dumps({"until": followed.wall + 5}))
    assert followed.file.look() is not None


def test_only_roots_own_plain_file_is_read(followed: Followed, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_text(json.dumps({"until": NOW + 60}))
    followed.path.symlink_to(good)
    assert followed.file.look() is None
    followed.path.unlink()
    followed.path.mkdir()
    assert followed.file.look() is None
    followed.path.rmdir()
    os.mkfifo(followed.path)
    assert followed.file.look() is None
    followed.path.unlink()
    assert len(followed.told) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_somebody_else_owns_is_not_read(followed: Followed) -> None:
    followed.write(json.dumps({"until": NOW + 60}))
    os.chown(followed.path, 12345, 12345)
    assert followed.file.look() is None
    assert "another user" in followed.told[0]


def test_gpus_are_shown_again_when_all_were_seen_or_patience_ends() -> None:
    absence = Absence(10)
    assert absence.step(None, 0) is False
    assert absence.until is None
    assert absence.step(500.0, 1) is False
    assert (absence.until, absence.returning) == (500.0, False)
    assert absence.step(None, 2) is True, "what was seen before is to be forgotten now"
    assert absence.step(None, 3) is False
    absence.back(False, 4)
    assert (absence.until, absence.returning) == (500.0, True)
    absence.back(True, 5)
    assert (absence.until, absence.returning) == (None, False)
    absence.step(600.0, 6)
    absence.step(None, 7)
    absence.step(700.0, 8)
    assert (absence.until, absence.returning) == (700.0, False), "released again meanwhile"
    absence.step(None, 9)
    absence.back(False, 18.9)
    assert absence.until == 700.0
    absence.back(False, 19.1)
    assert absence.until is None


def test_a_request_is_written_so_that_the_exporter_may_read_it_and_the_later_one_stands(tmp_path: Path) -> None:
    path = tmp_path / "run" / "release" / "gpu-exporter.json"
    before = os.umask(0o077)
    try:
        assert ask_for_release(path, 100, "ada", NOW) == Release(NOW + 100, "ada")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert ask_for_release(path, 50, "bob", NOW) == Release(NOW + 100, "ada")
    assert ask_for_release(path, 200, "bob", NOW) == Release(NOW + 200, "bob")
    assert parse_release(path.read_bytes()) == Release(NOW + 200, "bob")
    for of_no_use in ("nonsense", json.dumps({"until": NOW + 9e9})):
        path.write_text(of_no_use)
        assert ask_for_release(path, 50, "bob", NOW) == Release(NOW + 50, "bob")
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert end_release(path) == Release(NOW + 50, "bob")
    assert end_release(path) is None


def test_where_it_cannot_be_written_it_says_who_may(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FleetwardError, match=r"for root, on the GPU node"):
        ask_for_release(tmp_path / "file" / "gpu-exporter.json", 1, "", NOW)


def test_while_no_gpu_is_known_none_of_the_job_map_is_a_stranger(tmp_path: Path) -> None:
    (tmp_path / "3").write_text("4711\n")
    jobs = JobMap(tmp_path)
    assert jobs.look(()) == ((), 0)
    assert jobs.look((GpuReading(GpuIdentity(0, "GPU-0"), []),))[1] == 1


@dataclass(frozen=True)
class Node:
    """A node with an exporter that looks at a release file of this test."""

    played: PlayedNode
    exporter: Exporter
    release: Path

    def ask(self, seconds: float) -> None:
        ask_for_release(self.release, seconds, "test", time.time())

    def end(self) -> None:
        end_release(self.release)

    def value(self, name: str, **labels: str) -> float | None:
        return self.exporter.value(name, **labels)

    def lanes(self) -> tuple[Lane, ...]:
        return exporter_lanes(self.release)

    def up(self) -> list[str]:
        return re.findall(r"^gpu_up\{.*\} (\S+)$", self.exporter.scrape(), re.MULTILINE)


@contextmanager
def watched(played: PlayedNode, *options: str) -> Iterator[Node]:
    kernel_log(played).touch()
    release = played.folder / "release" / "gpu-exporter.json"
    with running(played, "--release-file", str(release), *options) as exporter:
        yield Node(played, exporter, release)


@pytest.fixture
def node(played: PlayedNode) -> Iterator[Node]:
    with watched(played) as started:
        yield started


def test_while_released_no_process_uses_nvml_and_no_gpu_is_shown(node: Node) -> None:
    assert node.up() == ["1.0"] * 8
    assert node.value("gpu_exporter_released") == 0
    assert node.value("gpu_exporter_released_until_timestamp_seconds") is None
    assert len(node.lanes()) == 2
    until = time.time() + 600
    node.ask(600)
    wait_until(lambda: node.value("gpu_exporter_released") == 1)
    wait_until(lambda: node.lanes() == ())
    text = node.exporter.scrape()
    assert node.up() == []
    assert abs((node.value("gpu_exporter_released_until_timestamp_seconds") or 0) - until) < 5
    of_gpus = set(re.findall(r'^(\w+)\{gpu="\d', text, re.MULTILINE))
    assert of_gpus == {"gpu_xid_total"}
    assert node.value("gpu_xid_total", gpu="3", xid="79") == 0
    assert "gpu_driver" not in text
    assert "gpu_exporter_sample_age_seconds" not in text
    node.end()
    wait_until(lambda: node.up() == ["1.0"] * 8)
    assert node.value("gpu_exporter_released") == 0
    assert node.value("gpu_driver_up") == 1
    assert node.value("gpu_temperature_celsius", gpu="3") is not None
    assert len(node.lanes()) == 2


def test_coming_back_shows_no_gpu_as_down_and_counts_on(node: Node) -> None:
    wait_until(lambda: (node.value("gpu_exporter_sweeps_total") or 0) > 3)
    node.played.raise_xid(1, 31)
    wait_until(lambda: node.value("gpu_xid_total", gpu="1", xid="31") == 1)
    sweeps = node.value("gpu_exporter_sweeps_total") or 0
    node.ask(1.5)
    seen: set[tuple[str, ...]] = set()
    wait_until(lambda: node.value("gpu_exporter_released") == 1)
    while True:
        text = node.exporter.scrape()
        seen.add(tuple(re.findall(r"^gpu_up\{.*\} (\S+)$", text, re.MULTILINE)))
        released = re.search(r"^gpu_exporter_released 1\.0$", text, re.MULTILINE)
        assert bool(released) == ("gpu_up{" not in text), "either released, or all GPUs are there"
        if not released:
            break
    assert seen == {(), ("1.0",) * 8}
    assert (node.value("gpu_exporter_sweeps_total") or 0) >= sweeps
    assert node.value("gpu_xid_total", gpu="1", xid="31") == 1
    node.played.raise_xid(1, 31)
    wait_until(lambda: node.value("gpu_xid_total", gpu="1", xid="31") == 2, 30)
    assert node.value("gpu_exporter_killed_total") == 0, "nothing hung"
    assert node.exporter.process.poll() is None


def test_an_xid_in_the_kernels_log_is_counted_meanwhile(node: Node) -> None:
    node.ask(600)
    wait_until(lambda: node.lanes() == ())
    log(node.played, "3,1,1,-;NVRM: Xid (PCI:0000:43:00): 62, pid='<unknown>', name=<unknown>, 0000(0000)\n")
    wait_until(lambda: node.value("gpu_xid_total", gpu="1", xid="62") == 1)
    assert node.value("gpu_exporter_strange_xids_total") == 0
    assert node.lanes() == ()


def test_what_is_wrong_with_the_gpus_after_it_is_told(node: Node) -> None:
    node.ask(600)
    wait_until(lambda: node.lanes() == ())
    node.played.play("gpu.2.lost=1\n")
    node.end()
    wait_until(lambda: sorted(node.up()) == ["0.0", *["1.0"] * 7])
    assert node.value("gpu_up", gpu="2") == 0
    node.ask(600)
    wait_until(lambda: node.lanes() == ())
    node.played.play("driver.loaded=0\n")
    node.end()
    wait_until(lambda: node.value("gpu_driver_up") == 0)
    wait_until(lambda: node.up() == ["0.0"] * 8)


def test_a_gpu_that_hangs_after_it_does_not_hide_the_others_for_ever(node: Node) -> None:
    node.ask(600)
    wait_until(lambda: node.lanes() == ())
    node.played.play("gpu.5.hang=1\n")
    node.end()
    wait_until(lambda: sorted(node.up()) == ["0.0", *["1.0"] * 7], 40)
    assert node.value("gpu_up", gpu="5") == 0


def test_a_process_that_hangs_in_the_driver_is_let_go_too(node: Node) -> None:
    node.played.play("gpu.5.hang=1\n")
    wait_until(lambda: len(node.lanes()) == 3)
    node.ask(600)
    wait_until(lambda: node.lanes() == ())
    node.played.play("")
    node.end()
    wait_until(lambda: node.up() == ["1.0"] * 8, 30)


def test_an_exporter_that_is_started_while_released_waits_and_then_looks(played: PlayedNode) -> None:
    release = played.folder / "release" / "gpu-exporter.json"
    ask_for_release(release, 600, "test", time.time())
    (played.folder / "jobs").mkdir()
    (played.folder / "jobs" / "3").write_text("4711\n")
    with watched(played, "--job-map", str(played.folder / "jobs")) as node:
        assert "released for" in node.exporter.told
        assert node.value("gpu_exporter_released") == 1
        assert node.value("gpu_exporter_job_map_errors_total") == 0
        assert node.lanes() == ()
        assert not (played.folder / "trace").exists(), "NVML was never called"
        node.end()
        wait_until(lambda: node.up() == ["1.0"] * 8)
        assert node.value("gpu_job_info", gpu="3", job_id="4711") == 1


def test_nonsense_in_the_file_changes_nothing(node: Node) -> None:
    node.release.parent.mkdir()
    for content in ("", "{", '{"until": "soon"}', '{"until": 1e400}'):
        node.release.write_text(content)
        before = node.value("gpu_exporter_sweeps_total") or 0
        wait_until(lambda before=before: (node.value("gpu_exporter_sweeps_total") or 0) > before + 5)  # type: ignore[misc]
        assert node.up() == ["1.0"] * 8


def test_the_played_lanes_hold_no_device_file_and_their_names_tell_them(node: Node) -> None:
    """The stand-in opens no device; real NVML opens all of them in each of these processes."""
    assert sorted(one.name for one in node.lanes()) == ["gpu-lane-0", "gpu-lane-1"]
    for one in node.lanes():
        links = [str(link.readlink()) for link in Path(f"/proc/{one.pid}/fd").iterdir()]
        assert not [link for link in links if "nvidia" in link]
    assert exporter_lanes(Path("/another/exporters/file.json")) == ()


def release_command(node: Node, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleetward", "release", "--release-file", str(node.release), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_command_returns_when_the_exporter_has_let_go_and_ends_the_release_again(node: Node) -> None:
    done = release_command(node, "--seconds", "300", "--json", "--gpu", "3")
    told = json.loads(done.stdout)
    assert node.lanes() == ()
    assert told["exporter_processes"] == []
    assert told["gpus"] == [3]
    assert abs(told["until"] - time.time() - 300) < 30
    assert (done.returncode, told["holders"]) == (0, [])
    assert node.value("gpu_exporter_released") == 1
    ended = release_command(node, "--end")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "has ended" in ended.stdout
    wait_until(lambda: node.up() == ["1.0"] * 8)
    assert "were not released" in release_command(node, "--end").stdout
    assert json.loads(release_command(node, "--end", "--json").stdout) == {"ended": None}


@pytest.mark.parametrize(
    "options", [("--seconds", "0"), ("--seconds", "3601"), ("--gpu", "-1"), ("--seconds", "nan"), ("--seconds", "1e2")]
)
def test_the_command_refuses_what_makes_no_sense(node: Node, options: tuple[str, str]) -> None:
    assert release_command(node, *options).returncode == 2
    assert not node.release.exists()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have the command wait for a second, and take files of this test for devices."""
    monkeypatch.setattr(device_holders, "WAIT_SECONDS", 1.5)
    monkeypatch.setattr(device_holders, "DEVICES", str(tmp_path / "nvidia"))


def in_process(node: Node, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    from fleetward.commands.release import release

    status = release.main([*options, "--release-file", str(node.release)], standalone_mode=False)
    printed = capsys.readouterr()
    return int(status), printed.out, printed.err


@pytest.mark.usefixtures("impatient")
def test_an_exporter_that_does_not_let_go_is_told_by_name(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    os.kill(node.exporter.process.pid, signal.SIGSTOP)
    try:
        status, out, err = in_process(node, capsys)
        assert status == 1
        assert "gpu-lane-0" in out
        assert "still has processes that use NVML" in err
    finally:
        os.kill(node.exporter.process.pid, signal.SIGCONT)
    wait_until(lambda: node.lanes() == ())


@pytest.mark.usefixtures("impatient")
def test_who_else_holds_a_gpu_is_told_with_process_and_command(
    node: Node, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for minor in (2, 3):
        (tmp_path / f"nvidia{minor}").touch()
    (tmp_path / "nvidiactl").touch()
    program = "import sys; files = [open(one) for one in sys.argv[1:]]; print(flush=True); sys.stdin.read()"
    held = [str(tmp_path / "nvidia3"), str(tmp_path / "nvidiactl")]
    with subprocess.Popen(
        [sys.executable, "-c", program, *held], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        status, out, _ = in_process(node, capsys, "--json")
        told: dict[str, Any] = json.loads(out)
        assert status == 1
        assert [(one["pid"], one["devices"]) for one in told["holders"]] == [(other.pid, [held[0]])]
        assert "sys.stdin.read()" in told["holders"][0]["command"]
        status, out, err = in_process(node, capsys, "--gpu", "3")
        assert (status, str(other.pid) in out, "others hold GPUs" in err) == (1, True, True)
        assert in_process(node, capsys, "--gpu", "2")[0] == 0
        other.communicate(b"")
    assert in_process(node, capsys)[0] == 0


def test_a_device_that_is_only_mapped_is_held(tmp_path: Path) -> None:
    path = tmp_path / "nvidia0"
    path.write_bytes(b"x" * 4096)
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 4096)
    prefix = str(tmp_path / "nvidia")
    assert [one.pid for one in device_holders.device_holders(prefix=prefix).holders] == [os.getpid()]
    mapped.close()
    assert device_holders.device_holders(prefix=prefix).holders == ()


def test_waiting_ends_after_a_quiet_second_or_after_ten() -> None:
    now = 0.0
    lane = Lane(7, "gpu-lane-0", "D")

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def until(gone: float, back: float = math.inf) -> tuple[tuple[Lane, ...], int]:
        nonlocal now
        now = 0.0
        left = wait_for_lanes(lambda: (lane,) if now < gone or now >= back else (), lambda: now, sleep)
        return left, round(now)

    assert until(0) == ((), 1)
    assert until(3) == ((), 4)
    assert until(0.3, back=0.9) == ((lane,), 10), "one that was only between two processes is waited for"
    assert until(99) == ((lane,), 10)
    assert lane.hangs


@pytest.mark.parametrize(("gpu", "expected"), [(0, "/dev/nvidia5"), (1, "/dev/nvidia2"), (2, "/dev/nvidia2")])
def test_a_gpus_device_file_is_the_one_that_the_driver_names(tmp_path: Path, gpu: int, expected: str) -> None:
    for address, minor in (("0000:1b:00.0", 5), ("0000:43:00.0", 2)):
        (tmp_path / address).mkdir()
        (tmp_path / address / "information").write_text(f"Model: \t\t NVIDIA H100\nDevice Minor: \t {minor}\n")
    assert device_of(gpu, driver=tmp_path) == expected
