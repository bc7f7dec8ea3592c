"""`slurm.wait_for_jobs`: wait until no job is left on a node that is drained; nothing is done to them.

What is seen first is a picture that is taken for others too; that the node is empty is then asked once more.
"""

import time
from collections.abc import Callable, Mapping

from fleetward.runbooks.actions.base import Call, Done, Failed, NotBegun, Observation, Report, Result, Waiting
from fleetward.runbooks.actions.declared import (
    Declared,
    Kind,
    duration,
    node_name,
    node_of,
    one_of,
    seconds_of,
    since,
)
from fleetward.runbooks.clock import Clock
from fleetward.slurm.answers import Job
from fleetward.slurm.client import SlurmClient
from fleetward.slurm.snapshot import Part

UNSEEN_SECONDS = 30.0
"""How old a picture may be until Slurm is asked all the same."""
_GONE = frozenset({"PENDING"})


class WaitForJobs(Declared):
    """Let the jobs of a node come to their end, within a time; `late` says what follows where they do not."""

    declared = Kind(
        "slurm.wait_for_jobs",
        changes=False,
        argument=node_name,
        options={"within": duration, "late": one_of("fail", "go_on")},
    )

    def __init__(
        self,
        slurm: SlurmClient,
        clock: Clock,
        seen_jobs: Callable[[], Part[Job]] = Part,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seen_jobs` gives the jobs of the last picture, whose times are those of `tick`."""
        self._slurm = slurm
        self._clock = clock
        self._seen_jobs = seen_jobs
        self._tick = tick

    def prepare(self, call: Call) -> Mapping[str, object]:
        """Note the beginning."""
        return {"at": self._clock.now().isoformat()}

    def act(self, call: Call, before: Mapping[str, object], report: Report) -> Result:
        """Look whether any is left."""
        node = node_of(call)
        left = self._left(node)
        if not left:
            return Done({"jobs": []})
        waited = since(before, self._clock).total_seconds()
        within = seconds_of(call, "within", "24h")
        names = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        if waited < within:
            return Waiting(f"job {names} still runs on {node}", min(5.0, max(1.0, within - waited)))
        said = f"job {names} still runs on {node} after {within:.0f} s"
        if call.step.arguments.get("late", "fail") == "fail":
            return Failed(said, {"jobs": left})
        report(said + "\n")
        return Done({"jobs": left})

    def observe(self, call: Call, before: Mapping[str, object]) -> Observation:
        """Leave it to `act`, which only looks."""
        return NotBegun()

    def _left(self, node: str) -> list[str]:
        """Return the jobs on a node; asks Slurm where the picture shows none, or is old."""
        seen = self._seen_jobs()
        if not seen.problem and self._tick() - seen.at <= UNSEEN_SECONDS and (left := _on(node, seen.items)):
            return left
        return _on(node, self._slurm.jobs().items)


def _on(node: str, jobs: tuple[Job, ...]) -> list[str]:
    return sorted(job.id for job in jobs if node in job.nodes and not job.ended and job.state not in _GONE)
