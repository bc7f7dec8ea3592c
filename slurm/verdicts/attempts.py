"""Attempts joined into runs: what stands under one number of a job can be one job that was requeued, or several.

slurmctld gives a number out again after a crash that lost its state. A requeue counts restarts up; a job that has
the number anew begins at none.
"""

from collections.abc import Sequence

from fleetward.slurm.accounting import Attempt


def runs(attempts: Sequence[Attempt]) -> tuple[tuple[Attempt, ...], ...]:
    """Split the attempts under one number, oldest first, into jobs, oldest first."""
    found: list[list[Attempt]] = []
    for attempt in attempts:
        if found and attempt.restarts > found[-1][-1].restarts:
            found[-1].append(attempt)
        else:
            found.append([attempt])
    return tuple(tuple(run) for run in found)


def last_run(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """Return the attempts of the job that has the number now, or had it last; empty where there is none."""
    found = runs(attempts)
    return found[-1] if found else ()


def gpu_hours(attempts: Sequence[Attempt]) -> float:
    """Return the GPU-hours that attempts held, of all types of GPU together."""
    return sum(attempt.gpus * attempt.elapsed for attempt in attempts) / 3600
