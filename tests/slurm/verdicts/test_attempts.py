"""Attempts under one number are one job's, or several jobs' where the number was given out again."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from played_answers import ATTEMPT

from fleetward.slurm.accounting import Attempt
from fleetward.slurm.verdicts.attempts import gpu_hours, last_run, runs


def having(restarts: int) -> Attempt:
    return replace(ATTEMPT, restarts=restarts)


def test_a_requeued_job_is_one_run() -> None:
    attempts = [having(0), having(1), having(2)]
    assert runs(attempts) == (tuple(attempts),)


def test_a_number_that_was_given_out_again_is_another_job() -> None:
    attempts = [having(0), having(1), having(0), having(0), having(3)]
    assert [[one.restarts for one in run] for run in runs(attempts)] == [[0, 1], [0], [0, 3]]
    assert [one.restarts for one in last_run(attempts)] == [0, 3]


def test_without_attempts_there_is_no_run() -> None:
    assert (runs([]), last_run([])) == ((), ())


@given(st.lists(st.integers(0, 5)))
def test_no_attempt_is_lost_and_restarts_rise_within_a_run(restarts: list[int]) -> None:
    found = runs([having(count) for count in restarts])
    assert [one.restarts for run in found for one in run] == restarts
    assert all(earlier.restarts < later.restarts for run in found for earlier, later in pairwise(run))


def test_gpu_hours_are_of_all_attempts() -> None:
    assert gpu_hours([ATTEMPT, replace(ATTEMPT, elapsed=1800), replace(ATTEMPT, allocated={})]) == 24.0
