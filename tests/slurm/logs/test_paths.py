"""Where a job's log is; that slurmctld says the same is a test of the contract."""

from dataclasses import replace

import pytest
from played_answers import ATTEMPT

from fleetward.slurm.logs.paths import JobWords, log_of_attempt, log_path

TASK = JobWords("12_3", 15, "na me", "ada", "/data/run", "gpu007.cluster")


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("", "/data/run/slurm-12_3.out"),
        ("%x-%j.log", "/data/run/na me-15.log"),
        ("/logs/%u/%A/%a.log", "/logs/ada/12/3.log"),
        ("%4A_%3a", "/data/run/0012_003"),
        ("%99j", "/data/run/0000000015"),
        ("%N-%n-%t-%s", "/data/run/gpu007-0-0-batch"),
        ("100%%.log", "/data/run/100%.log"),
        ("%q", "/data/run/%q"),
        ("../%j", "/data/15"),
        ("a\\%j", "/data/run/a%j"),
        ("%", "/data/run/%"),
    ],
)
def test_patterns_are_filled_in(pattern: str, path: str) -> None:
    assert log_path(pattern, TASK) == path


def test_a_job_that_is_no_task_has_slurms_other_default() -> None:
    assert log_path("", JobWords("12", 12, "x", "ada", "/data")) == "/data/slurm-12.out"


def test_a_name_with_patterns_is_not_filled_in_again() -> None:
    assert log_path("%x", JobWords("12", 12, "%j%j", "ada", "/data")) == "/data/%j%j"


def test_of_a_task_that_slurmctld_forgot_the_own_number_is_not_known() -> None:
    task = replace(ATTEMPT, job_id="12_3", output="log-%4j")
    assert log_of_attempt(task) is None
    assert log_of_attempt(replace(task, output="log-%A-%a")) == "/data/log-12-3"
    assert log_of_attempt(replace(ATTEMPT, output="log-%4j")) == "/data/log-0012"
