"""What came of a workload on its nodes: passed, failed or unknown, with the evidence and who is to blame.

A pure judgement. What the workload says itself comes first, then what the hardware profile lets one expect, then what
other nodes of the same kind reach; the worst of them counts. Nothing that was not measured counts as passed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleetward.model.claims import ClaimClass
from fleetward.model.fleet import HardwareProfile
from fleetward.operations.qualification.batch_log import Run
from fleetward.operations.qualification.measuring import Measurement, Reading, UnreadableError, last_words
from fleetward.operations.qualification.peers import LEAST_PEERS, compared
from fleetward.operations.qualification.workload import Better, Measure, Scope, Workload, entities_of

_KILLED = frozenset({124, 137})
"""What `timeout` ends with where it had to end a program."""
_NOT_STARTED = frozenset({126, 127})


class Outcome(StrEnum):
    """What came of a workload, the worst first."""

    FAILED = "failed"
    UNKNOWN = "unknown"
    """It was not run, or nothing follows from it; no certificate, and no reason to act on a node either."""
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Result:
    """One workload on its nodes."""

    workload: str
    nodes: tuple[str, ...]
    outcome: Outcome
    why: str
    evidence: tuple[str, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    blamed: tuple[str, ...] = ()
    """Nodes whose fault it is; none where several were in it, and only bisecting tells."""
    problem: ClaimClass | None = None
    """Of the blamed nodes."""
    look_next: str = ""
    """Where to look, unless it passed."""


@dataclass(frozen=True, slots=True)
class _Finding:
    outcome: Outcome
    words: str


def judge(
    workload: Workload,
    run: Run | None,
    nodes: Sequence[str],
    profile: HardwareProfile,
    peers: Iterable[Result] = (),
    tolerances: Mapping[str, float] | None = None,
) -> Result:
    """Return what came of one run of a workload; `run` is None where no log tells of it.

    `peers` are results of the same workload on nodes of the same profile; those of these very nodes are left out.
    `tolerances` is by a measure's name, where the site has others than are declared.
    """
    found: list[_Finding] = []
    reading = Reading()
    if run is None:
        found.append(_unknown("its job's log tells nothing of it"))
    elif run.missing:
        found += map(_unknown, run.missing)
    else:
        reading = _read(workload, run, found)
        if reading.measurements or not found:
            values = _values(peers, workload, nodes)
            found += _numbers(workload, reading, profile, values, tolerances or {})
        if run.exit_code and not found:
            found.append(_unknown(f"it names no fault, and ended with exit code {run.exit_code}"))
    return _result(workload, tuple(nodes), reading, found)


def _unknown(words: str) -> _Finding:
    return _Finding(Outcome.UNKNOWN, words)


def _failed(words: str) -> _Finding:
    return _Finding(Outcome.FAILED, words)


def _read(workload: Workload, run: Run, found: list[_Finding]) -> Reading:
    """Return what a run printed, and take down what follows from that and from how it ended."""
    if run.exit_code in _NOT_STARTED:
        found.append(_unknown(f"it could not be started (exit code {run.exit_code}): {last_words(run.output)}"))
        return Reading()
    timed_out = run.exit_code in _KILLED and (run.seconds or 0) >= workload.seconds
    reading = Reading()
    try:
        reading = workload.parse(run.output)
    except UnreadableError as error:
        if not timed_out:
            found.append(_unknown(f"{error}{_ending(run)}"))
    found += (_failed(str(fault)) for fault in reading.faults)
    if timed_out:
        found.append(_failed(f"it hung: not done in {workload.seconds} s; its last words: {last_words(run.output)}"))
    elif run.exit_code is None:
        found.append(_unknown("its log ends before it did"))
    return reading


def _ending(run: Run) -> str:
    return f" (exit code {run.exit_code})" if run.exit_code else ""


def _values(
    peers: Iterable[Result], workload: Workload, nodes: Sequence[str]
) -> Mapping[tuple[str, str], Sequence[float]]:
    """Return the numbers of other nodes by measure and part; of nodes that ran it more than once, the last one."""
    values: dict[tuple[str, str], dict[frozenset[str], float]] = {}
    for peer in peers:
        if peer.workload == workload.id and set(peer.nodes).isdisjoint(nodes):
            for one in peer.measurements:
                values.setdefault((one.name, one.entity), {})[frozenset(peer.nodes)] = one.value
    return {what: tuple(by_nodes.values()) for what, by_nodes in values.items()}


def _numbers(
    workload: Workload,
    reading: Reading,
    profile: HardwareProfile,
    peers: Mapping[tuple[str, str], Sequence[float]],
    tolerances: Mapping[str, float],
) -> Iterator[_Finding]:
    """Yield what is wrong with numbers, what lacks one, and that nothing could be held against them."""
    held = 0
    for measure in workload.measures:
        own = {one.entity: one.value for one in reading.measurements if one.name == measure.name}
        if measure.needed and (lacking := [one for one in entities_of(measure.each, profile) if one not in own]):
            where = f" for {', '.join(lacking)}" if any(lacking) else ""
            yield _unknown(f"no {measure.name} was measured{where}")
        expected = measure.expected(profile) if measure.expected else None
        tolerance = tolerances.get(measure.name, measure.tolerance)
        for entity, value in own.items():
            others = peers.get((measure.name, entity), ())
            held += expected is not None or len(others) >= LEAST_PEERS
            yield from _worse(measure, entity, value, expected, tolerance, others)
    if not held and not workload.judges_itself:
        yield _unknown(
            f"nothing to hold its numbers against: the profile names none, and there are fewer than {LEAST_PEERS} peers"
        )


def _worse(
    measure: Measure, entity: str, value: float, expected: float | None, tolerance: float, others: Sequence[float]
) -> Iterator[_Finding]:
    what = f"{measure.name}{f' of {entity}' if entity else ''} is {value:.4g} {measure.unit}"
    if expected is not None:
        higher = measure.better is Better.HIGHER
        bound = expected * (1 - tolerance if higher else 1 + tolerance)
        if value < bound if higher else value > bound:
            allowed = f", {tolerance:.0%} may be missing" if tolerance else ""
            yield _failed(f"{what}, and the profile expects {expected:.4g}{allowed} ({measure.source})")
    comparison = compared(value, others, measure.better)
    if comparison is not None and comparison.is_outlier:
        yield _failed(
            f"{what}, {comparison.gap:.0%} worse than the median {comparison.median:.4g} of {comparison.peers} peers"
            f" (score {comparison.score:.1f})"
        )


def _result(workload: Workload, nodes: tuple[str, ...], reading: Reading, found: Sequence[_Finding]) -> Result:
    order = list(Outcome)
    worst = sorted(found, key=lambda one: order.index(one.outcome))
    told = tuple(f"{one.outcome}: {one.words}" for one in worst) + reading.notes
    numbers = tuple(map(str, reading.measurements))
    if not worst:
        return Result(workload.id, nodes, Outcome.PASSED, "all is well", told + numbers, reading.measurements)
    failed = worst[0].outcome is Outcome.FAILED
    blamed = nodes if failed and workload.scope is Scope.NODE else ()
    return Result(
        workload.id,
        nodes,
        worst[0].outcome,
        worst[0].words,
        told + numbers,
        reading.measurements,
        blamed,
        ClaimClass.NODE_PROBLEM if blamed else None,
        workload.look_next if failed else "",
    )


def of_node(node: str, results: Iterable[Result]) -> Result | None:
    """Return what results of one workload together say of a node; None where it was in none of them.

    Of its own runs the worst counts. A run with others that failed says nothing of it unless it is blamed, and its
    partner may be the bad one: then another run that passed speaks for it.
    """
    own = [one for one in results if node in one.nodes]
    if not own:
        return None
    blaming = [one for one in own if node in one.blamed]
    if blaming:
        return blaming[-1]
    alone = [one for one in own if len(one.nodes) == 1]
    order = list(Outcome)
    if alone:
        return min(reversed(alone), key=lambda one: order.index(one.outcome))
    passed = [one for one in own if one.outcome is Outcome.PASSED]
    return passed[-1] if passed else _nobody_blamed(own[-1])


def _nobody_blamed(result: Result) -> Result:
    if result.outcome is not Outcome.FAILED:
        return result
    why = f"failed with {', '.join(result.nodes)} together, and nobody knows whose fault it is: {result.why}"
    return Result(
        result.workload,
        result.nodes,
        Outcome.UNKNOWN,
        why,
        result.evidence,
        result.measurements,
        look_next=result.look_next,
    )
