"""The whole command on a node whose GPUs the stand-in plays: a healthy one, a fault, a GPU that hangs.

What each kind of fault is found by stands in test_fault_signals.py.
"""

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from fleetward.exporters.gpu.release import ask_for_release, end_release
from fleetward.lab import fault_kinds
from fleetward.lab.fault_kinds import Fault, change_of
from fleetward.lab.scenario import Scenario

if TYPE_CHECKING:
    from conftest import NodeFiles
    from played_nvml import PlayedNode

NOW = 90_000_000_000
"""Microseconds since the boot of the node of `node_files`."""


def check(played: "PlayedNode", files: "NodeFiles", *options: str) -> tuple[dict[str, Any], set[tuple[str, str, str]]]:
    """Run the command; return the document, and check, status and entity of what is degraded or unhealthy."""
    done = subprocess.run(
        [sys.executable, "-m", "fleetward", "check", "--json", "--root", files.root, *options],
        env=played.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    document: dict[str, Any] = json.loads(done.stdout)
    bad = {
        (one["check"], one["status"], one["entity"])
        for one in document["findings"]
        if one["status"] in {"degraded", "unhealthy"}
    }
    assert done.returncode == (5 if bad else 0)
    return document, bad


def inject(played: "PlayedNode", files: "NodeFiles", fault: Fault) -> None:
    change = change_of(fault, Scenario(), NOW)
    played.play(change.scenario.render())
    files.write("dev/kmsg", change.kernel_log)


def test_a_healthy_node_raises_nothing_in_any_context(played: "PlayedNode", node_files: "NodeFiles") -> None:
    for context in ("hand", "prolog", "epilog"):
        document, bad = check(played, node_files, "--context", context)
        assert bad == set()
        unknown = {one["check"]: one["why"] for one in document["findings"] if one["status"] == "unknown"}
        assert {name for name in unknown if name.startswith("gpu_")} == {
            "gpu_count",
            "gpu_driver_version",
        }, unknown


BUS = "0000:61:00"


def gpu(status: str, *checks: str) -> set[tuple[str, str, str]]:
    return {(one, status, "GPU 3") for one in checks}


def test_a_gpu_that_hangs_is_unknown_and_hides_no_other(played: "PlayedNode", node_files: "NodeFiles") -> None:
    inject(played, node_files, fault_kinds.gpu_hang(3))
    played.play("gpu.3.hang=1\ngpu.4.ecc_uncorrected=1\n")
    begun = time.monotonic()
    document, bad = check(played, node_files)
    assert time.monotonic() - begun < 6
    assert bad == {("gpu_ecc_uncorrected", "unhealthy", "GPU 4"), ("xid_gpu", "unhealthy", BUS)}
    unknown = {one["check"] for one in document["findings"] if one["entity"] == "GPU 3"}
    assert {"gpu_lost", "gpu_ecc_uncorrected", "gpu_temperature_margin", "gpu_nvlink_down"} <= unknown


def test_a_driver_that_hangs_as_a_whole_is_unknown(played: "PlayedNode", node_files: "NodeFiles") -> None:
    played.play("".join(f"gpu.{index}.hang=1\n" for index in range(8)))
    begun = time.monotonic()
    document, bad = check(played, node_files)
    assert time.monotonic() - begun < 6
    assert bad == set()
    told = {one["check"]: one["why"] for one in document["findings"] if one["status"] == "unknown"}
    assert "no GPU answers" in told["gpu_ecc_uncorrected"]


def test_gpus_that_are_released_are_left_alone(played: "PlayedNode", node_files: "NodeFiles") -> None:
    inject(played, node_files, fault_kinds.xid(3, fault_kinds.OFF_THE_BUS))
    asked = node_files.root / "run/fleetward/release/gpu-exporter.json"
    ask_for_release(asked, 60, "root", time.time())
    document, bad = check(played, node_files)
    assert {entity for _, _, entity in bad} == {"0000:61:00"}, "what the kernel's log tells is found all the same"
    lost = [one for one in document["findings"] if one["check"] == "gpu_lost"]
    assert [(one["status"], "as root asked" in one["why"]) for one in lost] == [("unknown", True)]
    end_release(asked)
    ask_for_release(asked, 60, "root", time.time() - 61)
    assert ("gpu_lost", "unhealthy", "GPU 3") in check(played, node_files)[1], "it is over"


def test_a_process_of_a_job_that_is_over_is_found_by_its_control_group(
    played: "PlayedNode", node_files: "NodeFiles"
) -> None:
    """The process of this test holds the GPU; the files of the node say of which job it is."""
    pid = os.getpid()
    jobs = node_files.root / "run/fleetward/jobs"
    node_files.write(f"proc/{pid}/cgroup", "0::/system.slice/slurmstepd.scope/job_5/step_0/user/task_0\n")
    node_files.write(f"proc/{pid}/status", "Name:\tpytest\nState:\tR (running)\nUid:\t1000\t1000\t1000\t1000\n")
    with played.device(3).open():
        (jobs / "3").write_text("5\tuid=1000\n")
        assert check(played, node_files)[1] == set()
        (jobs / "3").write_text("6\tuid=1001\n")
        _, bad = check(played, node_files)
    assert bad == gpu("degraded", "gpu_process_leftover")
