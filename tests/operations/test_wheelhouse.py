"""Wheels for nodes: what a lock file means on another Python, and a wheel of this very distribution."""

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

import fleetward
from fleetward.model.errors import OutOfReachError, UsageError
from fleetward.operations import wheelhouse
from fleetward.operations.command import CommandError
from fleetward.operations.own_wheel import own_version, package_files, write_own_wheel

LOCK = """\
click==8.5.1 \\
    --hash=sha256:aaaa \\
    --hash=sha256:bbbb
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:cccc
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:dddd
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:eeee
"""


@pytest.mark.parametrize(("python", "numpy"), [("3.11", "2.4.6"), ("3.13", "2.5.5"), ("3.14", "2.5.5")])
def test_markers_are_evaluated_for_the_target(tmp_path: Path, python: str, numpy: str) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCK)
    chosen = wheelhouse.locked(lock, python)
    assert [line.split()[0] for line in chosen] == ["click==8.5.1", f"numpy=={numpy}"]
    assert chosen[0].split()[1:] == ["--hash=sha256:aaaa", "--hash=sha256:bbbb"]


def test_a_gpu_node_gets_three_packages() -> None:
    lock = Path(fleetward.__file__).parent / "requirements/node.txt"
    names = [line.partition("==")[0] for line in wheelhouse.locked(lock, "3.13")]
    assert names == ["click", "nvidia-ml-py", "prometheus-client"]


@pytest.mark.parametrize(("python", "extra"), [("3", "node"), ("3.13; rm -rf /", "node"), ("3.13", "everything")])
def test_what_cannot_be_collected_is_refused(tmp_path: Path, python: str, extra: str) -> None:
    with pytest.raises(UsageError):
        wheelhouse.collect(python, extra, tmp_path)


def test_an_index_out_of_reach_is_said_in_one_sentence_and_leaves_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(argv: list[str], **_: object) -> None:
        raise CommandError(argv, 1, "WARNING: x\nERROR: Could not find a version that satisfies click")

    monkeypatch.setattr(wheelhouse, "run", refused)
    with pytest.raises(OutOfReachError, match=r"3\.13.*Could not find a version that satisfies click"):
        wheelhouse.download(["click==8"], "3.13", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_collecting_twice_gives_the_same_archive_without_downloading_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def downloads(argv: list[str], **_: object) -> None:
        calls.append(argv)
        into = Path(argv[argv.index("--dest") + 1])
        into.mkdir()
        (into / "click-8-py3-none-any.whl").write_bytes(b"wheel")

    monkeypatch.setattr(wheelhouse, "run", downloads)
    first, second = (wheelhouse.collect("3.13", "node", tmp_path) for _ in range(2))
    assert first == second
    assert len(calls) == 1
    with tarfile.open(first.archive) as tar:
        names = {Path(member.name).name for member in tar if member.isfile()}
        assert {Path(member.name).parts[0] for member in tar} == {first.folder}
    assert names == {"click-8-py3-none-any.whl", f"fleetward-{own_version()}-py3-none-any.whl"}


def test_the_own_wheel_is_whole_and_its_record_true(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_own_wheel(tmp_path)) as wheel:
        about = f"fleetward-{own_version()}.dist-info"
        recorded = list(csv.reader(io.TextIOWrapper(wheel.open(f"{about}/RECORD"), "utf-8")))
        assert {row[0] for row in recorded} == set(wheel.namelist())
        for name, digest, size in recorded:
            if digest:
                content = wheel.read(name)
                expected = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == (f"sha256={expected}", len(content))
        assert {name for name, _ in package_files()} <= set(wheel.namelist())


def test_the_own_wheel_installs_and_runs_without_an_index(tmp_path: Path) -> None:
    wheel = write_own_wheel(tmp_path)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
    ]
    subprocess.run([*pip, str(wheel)], check=True, timeout=120)
    program = "import sys; sys.path.insert(0, sys.argv[1]); import fleetward; print(fleetward.__file__)"
    where = subprocess.run(
        [sys.executable, "-S", "-c", program, str(tmp_path / "site")],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert where.stdout.strip() == str(tmp_path / "site/fleetward/__init__.py")
    role = tmp_path / "site/fleetward/roles/common/tasks/main.yml"
    assert role.is_file(), "changes play roles from the daemon's host"
