"""Machines on which a lab cannot come up: one clear sentence, a non-zero exit, and nothing left behind."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from fleetward.lab import host, image, lifecycle
from fleetward.lab.image import Recipe
from fleetward.lab.spec import LabSpec
from fleetward.model.errors import FleetwardError, OutOfReachError

FLEETWARD = Path(sys.executable).with_name("fleetward")


def lab(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(FLEETWARD), "lab", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_without_an_engine_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutOfReachError, match="install podman"):
        host.find_engine()


def test_a_docker_client_without_an_engine_is_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin" if not Path("/usr/bin/podman").exists() else str(tmp_path))
    with pytest.raises(OutOfReachError, match="no container engine"):
        host.find_engine()


def test_an_ordinary_user_is_told_to_use_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(FleetwardError, match="sudo"):
        host.require_root()


def test_a_disk_too_full_is_seen_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(FleetwardError, match=r"building needs .* GiB free at .*free some space"):
        host.require_disk(tmp_path / "not/yet/there", 2**60, "building")


def test_a_mirror_that_does_not_answer_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mmdebstrap"
    program.write_text(
        "#!/bin/sh\necho 'Err:1 http://mirror.invalid trixie InRelease' >&2\n"
        "echo 'E: Failed to fetch http://mirror.invalid/x  Could not connect' >&2\n"
        "echo 'E: mmdebstrap failed to run' >&2\nexit 25\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(OutOfReachError, match=r"the package mirror did not give what trixie needs: .*try again"):
        image.bootstrap(Recipe("trixie", ("systemd",)), tmp_path / "root.tar")


@pytest.mark.lab
def test_a_real_mirror_out_of_reach_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # discard: nobody listens there
    with pytest.raises(OutOfReachError, match="the package mirror did not give what trixie needs"):
        image.bootstrap(Recipe("trixie", ("systemd",)), tmp_path / "root.tar")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system that has a little more free than a build asks for."""
    place = tmp_path / "small"
    place.mkdir()
    size = f"size={host.BUILD_BYTES // 2 + 64 * 2**20}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.lab
@pytest.mark.verify
def test_a_disk_that_fills_up_while_the_image_is_built_is_said_and_nothing_is_left(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_disk))
    engine, spec = lifecycle.open_engine(), LabSpec(bare=True)
    before = engine.image_recipe(spec.image)
    built: Future[None] = Future()

    def build() -> None:
        try:
            image.build(engine, spec)
            built.set_result(None)
        except FleetwardError as error:
            built.set_exception(error)

    thread = threading.Thread(target=build, daemon=True)
    thread.start()
    work = small_disk / "fleetward/image"
    until = time.monotonic() + 60
    while not work.exists() or not any(work.iterdir()):
        assert not built.done(), built.exception()
        assert time.monotonic() < until, "the build never began"
        time.sleep(0.05)
    # another program takes the disk, all but 16 MiB: far less than the smallest image
    with (small_disk / "other").open("wb") as other:
        os.posix_fallocate(other.fileno(), 0, shutil.disk_usage(small_disk).free - 16 * 2**20)
    said = built.exception(timeout=300)
    assert isinstance(said, FleetwardError)
    assert str(said).startswith(f"the disk filled up while the node image was built at {work}")
    assert "\n" not in str(said)
    assert list(work.iterdir()) == []
    assert engine.image_recipe(spec.image) == before
    thread.join()


@pytest.fixture
def taken_subnet() -> Iterator[str]:
    subnet, network = "10.213.251.0/24", f"fleetward-test-{os.getpid()}"
    subprocess.run(["podman", "network", "create", "--subnet", subnet, network], check=True, capture_output=True)
    yield subnet
    subprocess.run(["podman", "network", "rm", "--force", network], check=True, capture_output=True)


@pytest.mark.lab
def test_a_subnet_in_use_is_refused_and_down_leaves_nothing(taken_subnet: str, state: dict[str, str]) -> None:
    refused = lab("up", "--name", "taken", "--subnet", taken_subnet, "--no-provision", **state)
    assert refused.returncode == 2
    assert f"subnet {taken_subnet} is in use" in refused.stderr.splitlines()[-1]
    assert lab("down", "--name", "taken", **state).returncode == 0
    left = subprocess.run(
        ["podman", "ps", "-aq", "--filter", "label=fleetward.lab=taken"], capture_output=True, check=True
    )
    assert left.stdout == b""


@pytest.mark.lab
def test_interrupted_it_can_be_taken_up_again_or_down(state: dict[str, str]) -> None:
    words = ("--name", f"cut-{os.getpid()}")
    try:
        up = subprocess.Popen(
            # whoever runs these tests in the background may have SIGINT ignored, and children inherit that
            ["env", "--default-signal=INT", str(FLEETWARD), "lab", "up", *words, "--no-provision"],
            env={**os.environ, **state},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert up.stderr is not None
        for line in up.stderr:
            if "hosts in" in line:
                break
        time.sleep(0.5)
        os.killpg(up.pid, signal.SIGINT)
        assert "interrupted" in up.stderr.read()
        assert up.wait(timeout=60) == 130
        again = lab("up", *words, "--no-provision", "--json", **state)
        assert again.returncode == 0, again.stderr
        assert again.stdout.count('"running"') == 4
    finally:
        down = lab("down", *words, **state)
    assert down.returncode == 0, down.stderr
    assert left_of(words[1]) == []
    assert list((Path(state["XDG_STATE_HOME"]) / "fleetward/lab").iterdir()) == []


def left_of(name: str) -> list[str]:
    """Return what is left of a lab on this machine: containers, networks, volumes, mounts and control groups."""
    words = [["podman", *listing] for listing in (["ps", "-a"], ["network", "ls"], ["volume", "ls"])]
    told = "".join(subprocess.run(argv, capture_output=True, text=True, check=True).stdout for argv in words)
    told += Path("/proc/mounts").read_text()
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob("**/fleetward-lab.*")]
    return [line for line in [*told.splitlines(), *groups] if f"fleetward-{name}" in line]
