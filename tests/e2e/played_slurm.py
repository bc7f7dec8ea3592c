"""A slurmctld, claims and a clock in memory, which keep state and can be told to fail at a given moment.

The slurmctld behaves as 24.11.5 and 26.05.5 were seen to: a requeue counts restarts up at once, the job leaves its
nodes after that and is then held back for 121 s; RESUME of a node that is neither drained nor DOWN is refused.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fleetward.model.claims import Claim, ClaimClass
from fleetward.model.errors import FleetwardError
from fleetward.model.guardrails import Guardrail
from fleetward.model.host_ranges import expand
from fleetward.runbooks.nodes import NodeKeeper
from fleetward.slurm.accounting import Attempt
from fleetward.slurm.answers import ENDED, Controller, Job, JobDetail, Listing, Node, Partition, Reservation, Submitted
from fleetward.slurm.client import NoSuchJobError, SlurmRefusedError

START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
HOLD_BACK = timedelta(seconds=121)


@dataclass
class PlayedClock:
    """Time that passes when it is told to."""

    time: datetime = START

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def node(name: str, state: str = "IDLE", *flags: str, reason: str = "", by: str = "") -> Node:
    at = START if reason else None
    return Node(name, state, flags, ("gpu",), {"h100": 8}, {}, 64, 0, 1000, 0, reason, by, at)


def job(number: int, *nodes: str, state: str = "RUNNING", elapsed: int = 60, restarts: int = 0, began: int = 60) -> Job:
    """Return a job that began so many seconds before START."""
    started = START - timedelta(seconds=began)
    return Job(
        id=str(number),
        number=number,
        name="train",
        user="ada",
        account="research",
        partition="gpu",
        qos="normal",
        state=state,
        reason="",
        nodes=nodes,
        node_count=len(nodes),
        cpus=8,
        gpus={"h100": 8},
        elapsed=elapsed,
        time_limit=None,
        submitted_at=started - timedelta(seconds=5),
        started_at=started,
        restarts=restarts,
        working_directory="/tmp",
    )


@dataclass
class PlayedSlurm:
    """A SlurmClient whose nodes and jobs are lists; `calls` are the writes that it took."""

    clock: PlayedClock
    nodes_now: dict[str, Node] = field(default_factory=dict)
    jobs_now: dict[str, Job] = field(default_factory=dict)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    refuses: dict[str, str] = field(default_factory=dict)
    """Why a job's requeue, or a node's drain or resume, is refused."""
    on_write: Callable[["PlayedSlurm"], None] | None = None
    """What somebody else does right after a write."""
    raises: Exception | None = None
    """What every call raises."""
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The nodes of each reservation."""
    scripts: dict[str, str] = field(default_factory=dict)
    """What was submitted, by the job's number."""

    backend = "played"

    def add(self, *things: Node | Job) -> None:
        for thing in things:
            if isinstance(thing, Node):
                self.nodes_now[thing.name] = thing
            else:
                self.jobs_now[thing.id] = thing

    def change(self, name: str, **changes: object) -> None:
        self.nodes_now[name] = replace(self.nodes_now[name], **changes)  # type: ignore[arg-type]

    def nodes(self) -> Listing[Node]:
        self._fail()
        return Listing(tuple(self.nodes_now[name] for name in sorted(self.nodes_now)), self.backend)

    def jobs(self) -> Listing[Job]:
        self._fail()
        return Listing(tuple(self.jobs_now.values()), self.backend)

    def partitions(self) -> Listing[Partition]:
        self._fail()
        return Listing((), self.backend)

    def drain(self, node: str, reason: str) -> None:
        self._write("drain", node, reason)
        flags = tuple(dict.fromkeys(("DRAIN", *self.nodes_now[node].flags)))
        self.change(node, flags=flags, reason=reason, reason_by="slurm", reason_at=self.clock.now())
        self._after()

    def resume(self, node: str) -> None:
        self._write("resume", node)
        found = self.nodes_now[node]
        if "DRAIN" not in found.flags and found.state != "DOWN":
            raise SlurmRefusedError("scontrol: slurm_update error: Invalid node state specified")
        flags = tuple(flag for flag in found.flags if flag != "DRAIN")
        state = "IDLE" if found.state == "DOWN" else found.state
        self.change(node, state=state, flags=flags, reason="", reason_by="", reason_at=None)
        self._after()
        if found.state == "UNKNOWN":  # the drain is gone, and the answer is an error all the same
            raise SlurmRefusedError("scontrol: slurm_update error: Invalid node state specified")

    def requeue(self, job_id: str) -> None:
        self._write("requeue", job_id)
        found = self._job(job_id)
        if found.state == "PENDING":
            raise SlurmRefusedError(f"scontrol: Job is pending execution for job {job_id}")
        again = replace(found, restarts=found.restarts + 1)
        if found.state in ENDED:
            self.jobs_now[job_id] = again
            self._queue(job_id)
        else:
            self.jobs_now[job_id] = replace(again, state="COMPLETING")
        self._after()

    def leave_nodes(self, job_id: str) -> None:
        """Let a job that was requeued reach the queue."""
        self._queue(job_id)

    def start_now(self, job_id: str) -> None:
        self._write("start_now", job_id)
        self.jobs_now[job_id] = replace(self._job(job_id), started_at=None)
        self._after()

    def _queue(self, job_id: str) -> None:
        now = self.clock.now()
        self.jobs_now[job_id] = replace(
            self.jobs_now[job_id], state="PENDING", nodes=(), submitted_at=now, started_at=now + HOLD_BACK
        )

    def _job(self, job_id: str) -> Job:
        if job_id not in self.jobs_now:
            raise NoSuchJobError("scontrol: Invalid job id specified")
        return self.jobs_now[job_id]

    def _fail(self) -> None:
        if self.raises is not None:
            raise self.raises

    def _write(self, *call: str) -> None:
        self._fail()
        self.calls.append(call)
        if call[1] in self.refuses:
            raise SlurmRefusedError(self.refuses[call[1]])

    def _after(self) -> None:
        if self.on_write is not None:
            self.on_write(self)

    def job(self, job_id: str) -> JobDetail:
        return JobDetail(self._job(job_id), ())

    def submit(self, script: str, working_directory: Path) -> Submitted:
        options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", script, re.MULTILINE))
        self._write("submit", options["job-name"])
        number = 100 + len(self.scripts)
        self.scripts[str(number)] = script
        waiting = replace(job(number, state="PENDING"), name=options["job-name"])
        self.add(replace(waiting, nodes=tuple(expand(options["nodelist"])) if "nodelist" in options else ()))
        self._after()
        return Submitted(str(number), self.backend)

    def end(self, job_id: str, state: str = "COMPLETED") -> None:
        """Let a job come to its end."""
        self.jobs_now[job_id] = replace(self._job(job_id), state=state)

    def attempts(self, job_id: str) -> tuple[Attempt, ...]:
        raise NotImplementedError

    def cancel(self, job_id: str) -> None:
        self._write("cancel", job_id)
        self.end(job_id, "CANCELLED")
        self._after()

    def reservations(self) -> Listing[Reservation]:
        self._fail()
        every = (
            Reservation(name, True, START, None, nodes, ("IGNORE_JOBS",), ("fleetward",), (), "")
            for name, nodes in self.kept.items()
        )
        return Listing(tuple(every), self.backend)

    def reserve(self, name: str, nodes: Sequence[str], user: str) -> None:
        self._write("reserve", name, *nodes)
        self.kept[name] = tuple(nodes)
        self._after()

    def unreserve(self, name: str) -> None:
        self._write("unreserve", name)
        del self.kept[name]
        self._after()

    def ping(self) -> tuple[Controller, ...]:
        self._fail()
        return (Controller("head", True),)


@dataclass
class CountingSlurm(PlayedSlurm):
    """Counts questions; each takes a while, and can fail."""

    now: float = 1000.0
    takes: float = 0.0
    asked: list[str] = field(default_factory=list)
    errors: dict[str, FleetwardError] = field(default_factory=dict)

    def ask(self, name: str) -> None:
        """Count a question, and fail where it is to."""
        self.asked.append(name)
        self.now += self.takes
        if name in self.errors:
            raise self.errors[name]

    def nodes(self) -> Listing[Node]:
        self.ask("nodes")
        return super().nodes()

    def jobs(self) -> Listing[Job]:
        self.ask("jobs")
        return super().jobs()

    def partitions(self) -> Listing[Partition]:
        self.ask("partitions")
        return super().partitions()


@dataclass
class PlayedClaims:
    """Claims in memory."""

    clock: PlayedClock
    every: list[Claim] = field(default_factory=list)
    raises: Exception | None = None

    def add(self, node: str, owner: str, kind: ClaimClass, why: str, made_by: str) -> Claim:
        self._fail()
        for claim in self.open(node):
            if claim.owner == owner:
                return claim
        claim = Claim(len(self.every) + 1, node, owner, kind, why, made_by, self.clock.now())
        self.every.append(claim)
        return claim

    def release(self, node: str, owner: str, by: str) -> Claim | None:
        self._fail()
        for claim in self.open(node):
            if claim.owner == owner:
                released = replace(claim, released_at=self.clock.now(), released_by=by)
                self.every[claim.id - 1] = released
                return released
        return None

    def open(self, node: str | None = None) -> tuple[Claim, ...]:
        self._fail()
        return tuple(claim for claim in self.every if claim.released_at is None and node in (None, claim.node))

    def _fail(self) -> None:
        if self.raises is not None:
            raise self.raises


@dataclass
class PlayedWorld:
    """What actions reach; `said` is what they told whoever watches."""

    clock: PlayedClock
    slurm: PlayedSlurm
    claims: PlayedClaims
    keeper: NodeKeeper
    said: list[str] = field(default_factory=list)

    def report(self, text: str) -> None:
        self.said.append(text)


def world_of(*things: Node | Job) -> PlayedWorld:
    clock = PlayedClock()
    slurm, claims = PlayedSlurm(clock), PlayedClaims(clock)
    slurm.add(*things)
    return PlayedWorld(clock, slurm, claims, NodeKeeper(slurm, claims, Guardrail(), clock))
