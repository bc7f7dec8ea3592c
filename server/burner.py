"""Carries burn-ins on: keeps their nodes in a reservation, submits jobs, reads their logs, and ends with certificates.

It goes round in a thread of its own, since reading logs may take long. Each round reads where everything stands and
does what follows; it may be cut off at any line, and the next one goes on. Whoever is in the reservation is what is
wanted there now: nodes of burn-ins under way, and those that the gate keeps out.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fleetward.model.burn_ins import BurnIn, BurnInJob, BurnInState, JobState, NodeOutcome
from fleetward.model.claims import ClaimClass, is_burn_in
from fleetward.model.errors import FleetwardError, OutOfReachError, RefusedError, UsageError
from fleetward.operations.qualification.batch import Batch, BatchSettings, render
from fleetward.operations.qualification.course import Candidate, Finished, course
from fleetward.operations.qualification.job_logs import NoLogError
from fleetward.operations.qualification.outcomes import outcomes
from fleetward.operations.qualification.workload_list import workload
from fleetward.server.fence import RESERVATION, Fence, Kit
from fleetward.slurm.answers import Job
from fleetward.slurm.client import SlurmRefusedError

WHO = "fleetward"
SECONDS = 5.0
"""Between two rounds while something is under way."""
IDLE_SECONDS = 30.0
MOST_READERS = 8
"""Logs that are fetched from nodes at once."""
UNREAD_PATIENCE = 600.0
"""Seconds for which a log may be out of reach until its job counts as one that left none."""

log = logging.getLogger(__name__)


class Burner:
    """Advances burn-ins; one round at a time."""

    def __init__(
        self, kit: Kit, news: threading.Event, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Whoever sets `news` has a round come at once."""
        self._kit = kit
        self._now = now
        self._news = news
        self._told: set[str] = set()
        self._seen: dict[int, frozenset[int]] = {}
        """Of each burn-in the jobs that had ended when its course was looked at last."""
        self._unread: dict[int, float] = {}
        """Since when the log of a job is out of reach."""
        self._fence = Fence(kit, self._tell)

    def run(self, stopping: threading.Event) -> None:
        """Go round until `stopping` is set and `hurry` is called once more."""
        while not stopping.is_set():
            self._news.clear()
            is_busy = False
            try:
                is_busy = self.round()
            except FleetwardError as error:
                self._tell(str(error))
            self._news.wait(SECONDS if is_busy else IDLE_SECONDS)

    @property
    def kept(self) -> frozenset[str]:
        """Return the nodes that the gate keeps out, as of the last round."""
        return self._fence.kept

    def hurry(self) -> None:
        """Have the next round now."""
        self._news.set()

    def round(self) -> bool:
        """Look at everything once; return whether a burn-in is under way."""
        kit = self._kit
        kit.void_changed()
        going = kit.burn_ins.going()
        listing = kit.slurm.jobs().items if going else ()
        for each in going:
            if each.state is BurnInState.ABORTED:
                self._wind_up(each, listing)
        reserved = self._fence.hold({node.name for each in going for node in each.nodes})
        for each in going:
            if each.state is BurnInState.RUNNING:
                try:
                    self._advance(each, listing, reserved)
                except OutOfReachError:
                    raise
                except FleetwardError as error:
                    self._tell(f"{each.owner} does not go on: {error}")
        return bool(going)

    def _advance(self, burn_in: BurnIn, listing: Collection[Job], reserved: frozenset[str]) -> None:
        kit = self._kit
        late = self._now() - burn_in.made_at > timedelta(seconds=burn_in.seconds)
        is_fenced = {node.name for node in burn_in.nodes} <= reserved
        if not is_fenced and not late:
            return  # a later round: until then somebody else's job may begin there
        if is_fenced and burn_in.jobs:
            self._lift(burn_in)
        self._submit(burn_in, listing, late)
        self._collect(burn_in, listing, late)
        now = kit.burn_ins.get(burn_in.id)
        ended = frozenset(job.id for job in now.jobs if job.state is JobState.ENDED)
        if self._seen.get(burn_in.id) == ended:
            return
        candidates = self._candidates(now)
        found = course(candidates, [workload(id) for id in now.workloads], kit.burn_ins.with_logs(now.id).jobs)
        if isinstance(found, Finished):
            self._finish(now, candidates, found)
            return
        if found.jobs:
            kit.burn_ins.plan(now.id, found.jobs)
            self.hurry()
        self._seen[burn_in.id] = ended

    def _candidates(self, burn_in: BurnIn) -> list[Candidate]:
        """Return its nodes as the inventory has them now; UsageError where one is gone from it."""
        nodes = self._kit.site.nodes()
        found: list[Candidate] = []
        for one in burn_in.nodes:
            node = nodes.get(one.name)
            if node is None or node.profile is None:
                raise UsageError(f"the inventory has no profile for {one.name} any more; abort {burn_in.owner}")
            found.append(Candidate(one.name, node.profile, node.leaf_switch or ""))
        return found

    def _lift(self, burn_in: BurnIn) -> None:
        """Let nodes of it be used that are out of service by the burn-in before, or by whoever has it done."""
        lifts = {node.name: node.lifts for node in burn_in.nodes}
        for claim in self._kit.claims.open():
            if claim.node in lifts and (claim.owner == lifts[claim.node] or is_burn_in(claim.owner)):
                self._kit.keeper.release(claim.node, claim.owner, WHO)

    def _submit(self, burn_in: BurnIn, listing: Collection[Job], late: bool) -> None:
        kit = self._kit
        by_name = {job.name: job for job in listing}
        nodes = kit.site.nodes()
        for job in burn_in.jobs:
            if job.state is not JobState.PLANNED:
                continue
            if job.name in by_name:  # a daemon that was killed had come so far
                kit.burn_ins.submitted(job.id, by_name[job.name].id)
                continue
            profile = nodes[job.nodes[0]].profile if job.nodes[0] in nodes else None
            if late or profile is None:
                kit.burn_ins.ended(job.id, "", "its time was over before it could be submitted")
                continue
            batch = Batch(job.name, job.nodes, profile, tuple(workload(id) for id in job.workloads), job.token)
            try:
                script = render(batch, self._batch_settings(job))
                kit.burn_ins.submitted(job.id, kit.slurm.submit(script, Path("/")).job_id)
            except (SlurmRefusedError, UsageError) as error:
                kit.burn_ins.ended(job.id, "", f"Slurm did not take its job: {error}")

    def _batch_settings(self, job: BurnInJob) -> BatchSettings:
        own = self._kit.settings
        return BatchSettings(
            reservation=RESERVATION,
            account=own.account or None,
            partition=own.partition or None,
            qos=own.qos or None,
            path=own.path,
            scratch=own.scratch,
            python=own.python,
            mpi_type=own.mpi_type,
            output=str(self._kit.logs.path(job)),
        )

    def _collect(self, burn_in: BurnIn, listing: Collection[Job], late: bool) -> None:
        """Read the logs of jobs that have ended, and end those whose time is over."""
        by_id = {job.id: job for job in listing}
        over: list[tuple[BurnInJob, str]] = []
        for job in burn_in.jobs:
            if job.state is not JobState.SUBMITTED:
                continue
            seen = by_id.get(job.slurm_job)
            if seen is not None and not seen.ended:
                if late:
                    self._kit.slurm.cancel(job.slurm_job)
                continue
            over.append((job, "" if seen is None or seen.state == "COMPLETED" else f"its job {seen.id} {seen.state}"))
        if over:
            with ThreadPoolExecutor(MOST_READERS) as pool:
                for (job, state), (text, why) in zip(over, pool.map(lambda one: self._read(one[0]), over), strict=True):
                    if text is not None:
                        said = "; ".join(each for each in (state, why) if each)
                        self._kit.burn_ins.ended(job.id, text, said)

    def _read(self, job: BurnInJob) -> tuple[str | None, str]:
        """Return a log and why it is none; None where it may be had later."""
        try:
            text = self._kit.logs.read(job)
        except NoLogError as error:
            return "", str(error)
        except FleetwardError as error:
            since = self._unread.setdefault(job.id, time.monotonic())
            if time.monotonic() - since < UNREAD_PATIENCE:
                return None, ""
            text, why = "", f"its log is out of reach: {error}"
        else:
            why = ""
        self._unread.pop(job.id, None)
        return text, why

    def _finish(self, burn_in: BurnIn, candidates: Collection[Candidate], found: Finished) -> None:
        """Keep those out that did not pass, then put the results on record."""
        kit = self._kit
        lifetime = timedelta(days=kit.settings.lifetime_days)
        lifts = {node.name: node.lifts for node in burn_in.nodes}
        results = dict(outcomes(candidates, found, kit.required, self._now(), lifetime))
        for node, outcome in results.items():
            if outcome.outcome == "failed":
                results[node] = self._hold(burn_in, node, outcome)
            if outcome.outcome != "passed":
                self._back(burn_in, node, lifts[node])
        kit.burn_ins.finish(burn_in.id, results)
        self._seen.pop(burn_in.id, None)
        self.hurry()

    def _hold(self, burn_in: BurnIn, node: str, outcome: NodeOutcome) -> NodeOutcome:
        try:
            self._kit.keeper.hold(node, burn_in.owner, ClaimClass.NODE_PROBLEM, _one_line(outcome.why[0]), WHO)
        except RefusedError as error:
            return replace(outcome, why=(*outcome.why, f"it was not taken out of service: {error}"))
        return outcome

    def _back(self, burn_in: BurnIn, node: str, owner: str) -> None:
        """Give a claim back that was lifted for the time of the test."""
        if owner:
            why = f"it did not pass {burn_in.owner}"
            self._kit.keeper.hold(node, owner, ClaimClass.MAINTENANCE, why, WHO)

    def _wind_up(self, burn_in: BurnIn, listing: Collection[Job]) -> None:
        """End what an aborted burn-in has left: its jobs, and claims that were lifted."""
        for node in burn_in.nodes:
            self._back(burn_in, node.name, node.lifts)
        by_name: Mapping[str, Job] = {job.name: job for job in listing}
        for job in burn_in.jobs:
            if job.state is JobState.ENDED:
                continue
            seen = by_name.get(job.name)
            if seen is not None and not seen.ended:
                self._kit.slurm.cancel(seen.id)
            self._kit.burn_ins.ended(job.id, "", burn_in.why)
        self._kit.burn_ins.wound_up(burn_in.id)
        self._seen.pop(burn_in.id, None)

    def _tell(self, text: str) -> None:
        """Write to the log what has not just been written."""
        if text not in self._told:
            self._told = {text} if len(self._told) > 100 else self._told | {text}
            log.warning("%s", text)


def _one_line(why: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in why).split())[:200]
