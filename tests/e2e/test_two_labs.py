"""Two labs on one machine: the same host names, and nothing in common."""

import os
import time

import pytest
from labs import Lab, brought_up

pytestmark = [pytest.mark.lab, pytest.mark.verify]

JOB = ("srun", "--account=research", "--gpus=h100:8", "--immediate=30", "hostname")


def gpus_up(lab: Lab) -> int:
    return len(lab.prometheus('gpu_up{node="gpu001"} == 1'))


@pytest.mark.timeout(1500)
def test_two_labs_live_side_by_side_and_the_end_of_one_is_not_felt_by_the_other(suite: str) -> None:
    words = ("--nodes", "1", "--no-job")
    with brought_up(f"one-{os.getpid()}", suite, *words) as one:
        with brought_up(f"two-{os.getpid()}", suite, *words) as two:
            assert not {host["address"] for host in one.up["hosts"]} & {host["address"] for host in two.up["hosts"]}
            for lab in (one, two):
                assert lab.told("head", *JOB, user="researcher").strip() == "gpu001"

            credential = one.told("head", "munge", "-n").strip()
            assert one.on("gpu001", "sh", "-c", f"echo {credential} | unmunge").returncode == 0
            assert two.on("gpu001", "sh", "-c", f"echo {credential} | unmunge").returncode != 0

            assert one.fleetward("lab", "fault", "gpu001", "xid", "--gpu", "3", "--code", "79").returncode == 0
            until = time.monotonic() + 30
            while gpus_up(one) != 7:
                assert time.monotonic() < until, "the lost GPU was never seen"
                time.sleep(1)
            assert gpus_up(two) == 8
            assert one.fleetward("lab", "fault", "gpu001", "clear").returncode == 0
        assert one.told("head", *JOB, user="researcher").strip() == "gpu001"
        assert one.told("gpu001", "systemctl", "list-units", "--failed", "--no-legend", "--plain") == ""
