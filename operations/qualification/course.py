"""The course of a burn-in: which jobs come next, by what is on record, and its results once no other is to come.

A pure function of the record, so that a burn-in goes on after a crash from there. First every node by itself, then
pairs of those that are not bad, then other partners for the pairs that are slow, then all together where that is asked
for. Whoever is found bad takes no part in what comes after.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fleetward.model.burn_ins import BurnInJob, JobState, NewJob, Phase
from fleetward.model.errors import UsageError
from fleetward.model.fleet import HardwareProfile
from fleetward.model.host_ranges import natural_key
from fleetward.operations.qualification.batch import FINGERPRINT
from fleetward.operations.qualification.batch_log import Run, read_log
from fleetward.operations.qualification.bisecting import Bisection, plan
from fleetward.operations.qualification.bisecting_words import Member, Trial, Verdict
from fleetward.operations.qualification.judging import Outcome, Result, judge
from fleetward.operations.qualification.workload import Scope, Workload

MOST_PEERS = 128
"""That one result is held against, spread over all of its kind: the median of more says the same."""
MOST_PARTNERS = 8
"""Of the fast nodes nearby that a slow pair may be tested with."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that is burned in."""

    name: str
    profile: HardwareProfile
    leaf: str = ""
    """The switch that it is plugged into; empty where the inventory does not say."""


@dataclass(frozen=True, slots=True)
class Next:
    """What comes next: jobs to be recorded; none while some that are on record have not ended."""

    jobs: tuple[NewJob, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """All that was found."""

    results: tuple[Result, ...]
    fingerprints: Mapping[str, str]
    """What each node that told it said of itself, as JSON."""


def check(candidates: Iterable[Candidate], workloads: Sequence[Workload]) -> None:
    """Refuse a burn-in in which a node would have no job of its own; UsageError says what to name."""
    for one in candidates:
        if not _fitting(one, workloads, Scope.NODE):
            names = ", ".join(workload.id for workload in workloads)
            raise UsageError(
                f"{one.name}: of {names} nothing runs on a node of profile {one.profile.name} by itself; name a"
                " workload that does (`fleetward qualify workloads` lists them)"
            )


def course(
    candidates: Sequence[Candidate], workloads: Sequence[Workload], jobs: Sequence[BurnInJob]
) -> Next | Finished:
    """Return what comes next for these nodes; `jobs` are those on record, with their logs."""
    if any(job.state is not JobState.ENDED and job.phase is not Phase.PAIR_SEARCH for job in jobs):
        return Next()  # all of a phase is judged together; only searches go on while some of their jobs run
    record = _Record(candidates, workloads, jobs)
    for phase in (record.nodes, record.pairs, record.search, record.groups):
        wanted = phase()
        if wanted is not None:
            return Next(tuple(wanted))
    return Finished(tuple(record.results), record.fingerprints())


class _Record:
    """One pass over what is on record; each phase returns the jobs that it wants first, or None once it is over."""

    def __init__(
        self, candidates: Sequence[Candidate], workloads: Sequence[Workload], jobs: Sequence[BurnInJob]
    ) -> None:
        self.results: list[Result] = []
        self._candidates = {one.name: one for one in candidates}
        self._workloads = workloads
        self._jobs = jobs
        self._runs: dict[int, Mapping[str, Run]] = {}

    def nodes(self) -> Iterable[NewJob] | None:
        """Test each node by itself."""
        jobs = self._of(Phase.NODE)
        if not jobs and self._candidates:
            return [
                NewJob(Phase.NODE, 0, (one.name,), _ids(_fitting(one, self._workloads, Scope.NODE)))
                for one in self._candidates.values()
            ]
        self.results += self._judged(jobs)
        return None

    def pairs(self) -> Iterable[NewJob] | None:
        """Test neighbours under one switch, two by two; one that is left over with the first of its kind."""
        wanted = [
            NewJob(Phase.PAIR, 0, pair, _ids(_fitting(self._candidates[pair[0]], self._workloads, Scope.PAIR)))
            for members in self._by_profile(Scope.PAIR)
            for pair in _two_by_two([one.name for one in members])
        ]
        jobs = self._of(Phase.PAIR)
        if not jobs and wanted:
            return wanted
        self.results += self._judged(jobs)
        return None

    def search(self) -> Iterable[NewJob] | None:
        """Test the nodes of slow pairs with others, until it is known which node or link is slow."""
        jobs = self._of(Phase.PAIR_SEARCH)
        searched = self._judged([job for job in jobs if job.state is JobState.ENDED], self.results)
        busy = {name for job in jobs if job.state is not JobState.ENDED for name in job.nodes}
        wanted: list[NewJob] = []
        verdicts: list[Result] = []
        is_open = bool(busy)
        for workload in (one for one in self._workloads if one.scope is Scope.PAIR):
            known = [one for one in self.results if one.workload == workload.id]
            trials = [Trial(frozenset(one.nodes), one.outcome, 0) for one in known]
            trials += _trials(workload, jobs, searched)
            for slow in (one for one in known if one.outcome is Outcome.FAILED):
                # Of its own nodes alone: the rounds of other searches, which wait for one another, are not its rounds.
                own = tuple(one for one in trials if not one.nodes.isdisjoint(slow.nodes))
                partners = self._partners(slow, known, own, busy)
                found = plan(Bisection(self._members(slow.nodes), partners, own))
                if isinstance(found, Verdict):
                    verdicts += found.results(workload)
                    continue
                is_open = True
                for group in found.groups:
                    if busy.isdisjoint(group):
                        busy.update(group)
                        wanted.append(NewJob(Phase.PAIR_SEARCH, found.round, group, (workload.id,)))
        if is_open:
            return wanted
        self.results += [*searched, *verdicts]
        return None

    def groups(self) -> Iterable[NewJob] | None:
        """Test all of one kind together, and parts of them where that is slow."""
        jobs = self._of(Phase.GROUP)
        judged = self._judged(jobs)
        wanted: list[NewJob] = []
        verdicts: list[Result] = []
        for members in self._by_profile(Scope.GROUP):
            for workload in _fitting(members[0], self._workloads, Scope.GROUP):
                trials = _trials(workload, jobs, judged)
                found = plan(Bisection(self._members([one.name for one in members]), (), trials))
                if isinstance(found, Verdict):
                    verdicts += found.results(workload)
                else:
                    wanted += [NewJob(Phase.GROUP, found.round, group, (workload.id,)) for group in found.groups]
        if wanted:
            return wanted
        self.results += verdicts
        return None

    def fingerprints(self) -> Mapping[str, str]:
        """Return what nodes said of themselves while they were tested."""
        told = {job.nodes[0]: self._log(job).get(FINGERPRINT) for job in self._of(Phase.NODE)}
        return {node: run.output.strip() for node, run in told.items() if run is not None and run.exit_code == 0}

    def _of(self, phase: Phase) -> list[BurnInJob]:
        return [job for job in self._jobs if job.phase is phase]

    def _by_profile(self, scope: Scope) -> Iterator[list[Candidate]]:
        """Yield the nodes that may be tested with others and have workloads for it, two of a kind at least, by place.

        Left out is who is bad, and whose own job left nothing: it may be away, and others would wait for it.
        """
        bad = {name for one in self.results for name in one.blamed}
        bad |= {job.nodes[0] for job in self._of(Phase.NODE) if job.why and not job.log}
        kinds: dict[str, list[Candidate]] = {}
        for one in self._candidates.values():
            if one.name not in bad and _fitting(one, self._workloads, scope):
                kinds.setdefault(one.profile.name, []).append(one)
        for members in kinds.values():
            if len(members) > 1:
                yield sorted(members, key=lambda one: (natural_key(one.leaf), natural_key(one.name)))

    def _members(self, names: Iterable[str]) -> tuple[Member, ...]:
        return tuple(Member(name, self._candidates[name].leaf) for name in names)

    def _partners(
        self, slow: Result, known: Sequence[Result], trials: Iterable[Trial], busy: Collection[str]
    ) -> tuple[Member, ...]:
        """Return fast nodes of the same kind from under the same switch, then others; those that are busy come last.

        Whoever a slow node was tested with is among them: a node of two slow pairs is then judged alike in both.
        """
        own = self._candidates[slow.nodes[0]]
        fast = {name for one in known if one.outcome is Outcome.PASSED for name in one.nodes}
        alike = [
            self._candidates[name]
            for name in sorted(fast - set(slow.nodes))
            if self._candidates[name].profile.name == own.profile.name
        ]
        nearby = sorted(alike, key=lambda one: one.leaf != own.leaf)
        tried = {name for one in trials for name in one.nodes}
        chosen = [one.name for at, one in enumerate(nearby) if at < MOST_PARTNERS or one.name in tried]
        return self._members(sorted(chosen, key=lambda name: name in busy))

    def _judged(self, jobs: Sequence[BurnInJob], peers: Sequence[Result] = ()) -> list[Result]:
        """Return what came of each workload of these jobs, held against what the others of its kind reach."""
        alone = [self._judge(job, workload, ()) for job in jobs for workload in self._named(job)]
        by_kind: dict[tuple[str, str], list[Result]] = {}
        for one in (*peers, *alone):
            by_kind.setdefault((one.workload, self._candidates[one.nodes[0]].profile.name), []).append(one)
        by_kind = {kind: results[:: max(1, len(results) // MOST_PEERS)] for kind, results in by_kind.items()}
        return [
            self._judge(job, workload, by_kind[workload.id, self._candidates[job.nodes[0]].profile.name])
            for job in jobs
            for workload in self._named(job)
        ]

    def _judge(self, job: BurnInJob, workload: Workload, peers: Sequence[Result]) -> Result:
        run = self._log(job).get(workload.id)
        found = judge(workload, run, job.nodes, self._candidates[job.nodes[0]].profile, peers)
        return found if run is not None or not job.why else replace(found, why=job.why)

    def _named(self, job: BurnInJob) -> list[Workload]:
        return [one for one in self._workloads if one.id in job.workloads]

    def _log(self, job: BurnInJob) -> Mapping[str, Run]:
        if job.id not in self._runs:
            self._runs[job.id] = read_log(job.log, job.token)
        return self._runs[job.id]


def _fitting(candidate: Candidate, workloads: Iterable[Workload], scope: Scope) -> list[Workload]:
    return [one for one in workloads if one.scope is scope and one.fits(candidate.profile)]


def _ids(workloads: Iterable[Workload]) -> tuple[str, ...]:
    return tuple(one.id for one in workloads)


def _trials(workload: Workload, jobs: Iterable[BurnInJob], results: Iterable[Result]) -> tuple[Trial, ...]:
    """Return the results of one workload, each with the round that its job was for; a job of a search has one."""
    rounds = {job.nodes: job.round for job in jobs if workload.id in job.workloads}
    return tuple(
        Trial(frozenset(one.nodes), one.outcome, rounds[one.nodes]) for one in results if one.workload == workload.id
    )


def _two_by_two(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from zip(names[::2], names[1::2], strict=False)
    if len(names) % 2:
        yield names[-1], names[0]
