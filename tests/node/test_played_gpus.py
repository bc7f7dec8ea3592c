"""The whole command on a node whose GPUs the stand-in plays: every kind of fault, a GPU that hangs, a healthy one."""

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from fleetward.lab import fault_kinds
from fleetward.lab.fault_kinds import FABRIC_STATES, RECOVERY_ACTIONS, THROTTLE_REASONS, Fault, change_of
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


def line(status: str, check: str) -> set[tuple[str, str, str]]:
    return {(check, status, BUS)}


RECOVERY_STATUS = {
    **dict.fromkeys(RECOVERY_ACTIONS, "unhealthy"),
    **dict.fromkeys(("drain-p2p", "drain-and-reset", "recover-imex-domain"), "degraded"),
}
THROTTLED = {
    "power-cap": set(),
    "sync-boost": set(),
    "hw-slowdown": gpu("degraded", "gpu_hw_slowdown"),
    "hw-thermal": gpu("degraded", "gpu_hw_slowdown"),
    "sw-thermal": gpu("degraded", "gpu_thermal_slowdown"),
    "power-brake": gpu("degraded", "gpu_hw_slowdown", "gpu_power_brake"),
}
FAULTS: list[tuple[Fault, set[tuple[str, str, str]]]] = [
    (fault_kinds.xid(3, 31), line("degraded", "xid_program")),
    (fault_kinds.xid(3, 79), gpu("unhealthy", "gpu_lost") | line("unhealthy", "xid_off_bus")),
    (fault_kinds.ecc(3, 7, 0), set()),
    (fault_kinds.ecc(3, 30_000_000, 0), gpu("degraded", "gpu_ecc_corrected")),
    (fault_kinds.ecc(3, 0, 2), gpu("unhealthy", "gpu_ecc_uncorrected") | line("unhealthy", "xid_memory")),
    (
        fault_kinds.row_remap(3, failed=False),
        gpu("degraded", "gpu_row_remap_pending") | line("degraded", "xid_memory"),
    ),
    (fault_kinds.row_remap(3, failed=True), gpu("unhealthy", "gpu_row_remap_failed") | line("unhealthy", "xid_memory")),
    (fault_kinds.nvlink_down(3, 5), gpu("unhealthy", "gpu_nvlink_down") | line("unhealthy", "xid_nvlink")),
    (
        fault_kinds.hot(3, 93),
        gpu("degraded", "gpu_temperature_margin") | gpu("unhealthy", "gpu_temperature", "gpu_memory_temperature"),
    ),
    *(
        (
            fault_kinds.fabric(3, state),
            gpu("unhealthy", "gpu_fabric_trouble" if state == "unhealthy" else "gpu_fabric_state"),
        )
        for state in FABRIC_STATES
    ),
    *(
        (
            fault_kinds.recovery(3, action),
            gpu(RECOVERY_STATUS[action], "gpu_recovery_action") | line(RECOVERY_STATUS[action], "xid_recovery"),
        )
        for action in RECOVERY_ACTIONS
    ),
    *((fault_kinds.throttle(3, reason, 0), THROTTLED[reason]) for reason in THROTTLE_REASONS),
    (fault_kinds.driver_gone(), {("gpu_driver", "unhealthy", "")}),
    (fault_kinds.driver_mismatch(), {("gpu_driver", "unhealthy", "")}),
]


@pytest.mark.parametrize(("fault", "expected"), FAULTS)
def test_each_kind_of_fault_is_seen(
    played: "PlayedNode", node_files: "NodeFiles", fault: Fault, expected: set[tuple[str, str, str]]
) -> None:
    inject(played, node_files, fault)
    _, bad = check(played, node_files)
    assert bad == expected


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
