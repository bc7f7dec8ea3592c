"""`fleetward job-map` as it is typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LINE = "4711\tuser=ada\taccount=physics\tpartition=gpu\tattempt=2\tuid=1000\tnode=gpu001\n"


def job_map(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it on a node that is a folder."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "fleetward",
            "job-map",
            words[0],
            "--root",
            folder,
            "--folder",
            folder / "jobs",
            *words[1:],
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """Make a node with one job on GPU 3, written down long ago, of which Slurm says that it is over."""
    parts = tmp_path / "jobs" / ".parts" / "3"
    parts.mkdir(parents=True)
    for file in (parts / "4711", tmp_path / "jobs" / "3"):
        file.write_text(LINE)
        os.utime(file, (1, 1))
    slurm(tmp_path, "echo '4711 COMPLETED gpu001'")
    return tmp_path


def slurm(node: Path, script: str) -> None:
    squeue = node / "usr/bin/squeue"
    squeue.parent.mkdir(parents=True, exist_ok=True)
    squeue.write_text(f"#!/bin/sh\n{script}\n")
    squeue.chmod(0o755)


def test_the_jobs_are_listed_by_gpu(node: Path) -> None:
    done = job_map(node, "list")
    assert (done.returncode, done.stderr) == (0, "")
    header, row = done.stdout.splitlines()
    assert header.split() == ["GPU", "JOB", "ATTEMPT", "USER", "ACCOUNT", "PARTITION", "STEP", "HERE"]
    assert row.split() == ["3", "4711", "2", "ada", "physics", "gpu", "no"]


def test_the_document_has_all_that_is_known(node: Path) -> None:
    process = node / "proc/9"
    process.mkdir(parents=True)
    for name, text in {"comm": "slurmstepd\n", "cmdline": "slurmstepd: [4711.0]\0", "status": "Uid:\t0\t0\n"}.items():
        (process / name).write_text(text)
    (node / "jobs" / "MIG-1a").write_text("5\n")
    (node / "jobs" / "4").write_text("half")
    done = job_map(node, "list", "--json")
    first, second = json.loads(done.stdout)["jobs"]
    assert json.loads(done.stdout)["errors"] == 1
    assert done.stderr == f"fleetward: 1 files or lines of {node}/jobs are wrong and left out\n"
    words = {"user": "ada", "account": "physics", "partition": "gpu", "array_task": "", "attempt": "2"}
    words |= {"sluid": "", "uid": "1000"}
    assert first == {"gpu": "3", "gpu_uuid": "", "job": "4711", **words, "step_here": True}
    assert (second["gpu"], second["gpu_uuid"], second["job"], second["step_here"]) == ("MIG-1a", "MIG-1a", "5", False)


def test_what_is_taken_out_is_told(node: Path) -> None:
    done = job_map(node, "reconcile", "--splay", "0.01")
    assert (done.returncode, done.stdout) == (0, "1 taken out, 0 kept, 0 jobs unknown\n")
    assert done.stderr == "fleetward: job 4711 is over and was still on GPU 3: taken out of the job map\n"
    assert not (node / "jobs" / "3").exists()
    assert (
        job_map(node, "reconcile", "--json").stdout
        == json.dumps({"taken_out": [], "kept": 0, "mended": [], "unknown": []}, indent=2) + "\n"
    )


def test_where_slurm_does_not_answer_it_ends_with_3_and_changes_nothing(node: Path) -> None:
    slurm(node, "echo 'Unable to contact slurm controller' >&2; exit 1")
    done = job_map(node, "reconcile", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout) == {
        "taken_out": [],
        "kept": 1,
        "mended": [],
        "unknown": [{"job": "4711", "why": "squeue failed with 1: Unable to contact slurm controller"}],
    }
    assert "whether job 4711 is over is not known" in done.stderr
    assert (node / "jobs" / "3").read_text() == LINE


def test_a_map_that_cannot_be_read_is_told_in_words(node: Path) -> None:
    (node / "jobs" / ".parts").rename(node / "parts")
    (node / "jobs" / ".parts").symlink_to(node / "parts")
    done = job_map(node, "reconcile")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"fleetward: the job map {node}/jobs cannot be mended: ")
    assert done.stderr.endswith("is a link. Run as root.\n")
