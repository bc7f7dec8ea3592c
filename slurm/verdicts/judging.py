"""Why an attempt of a job ended: one cause, with the evidence for it, and whether trying again makes sense.

A pure judgement. Slurm's own word comes first where it knows (a time limit, a lost node, preemption). Where it only saw
a program fail, a fault of a GPU under it comes before what its log says, and the log before an exit code.
"""

import signal
from collections.abc import Sequence
from datetime import datetime, timedelta

from fleetward.model.daemon_views import EventView
from fleetward.model.gpu_faults import Scope, Severity
from fleetward.slurm.accounting import REQUEUED, Attempt, Step
from fleetward.slurm.logs.scanning import LogFinding
from fleetward.slurm.logs.signs import LogKind
from fleetward.slurm.parse import folded
from fleetward.slurm.verdicts.causes import BY_LOG, BY_STATE, PROGRAM, Again, Cause, Evidence, Meaning, Verdict

AFTER = timedelta(seconds=60)
"""A fault is told of up to so long after the attempt that died of it has ended."""
MOST_OF_LOG = 3
"""Errors of its log that are shown as evidence."""

_SENT = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT})
"""Signals that somebody sends; others are a program's own."""


def judge(attempt: Attempt, evidence: Evidence) -> Verdict:
    """Return why an attempt ended, or that it has not."""
    for find in (_not_ended, _by_state, _by_fault, _by_hand, _by_log, _by_signal, _by_exit_code):
        found = find(attempt, evidence)
        if found is not None:
            break
    else:
        sentence = f"it ended {attempt.state}, and nothing says why"
        found = Meaning(Cause.UNKNOWN, Again.PERHAPS, sentence, "")
    told = () if found.cause in (Cause.COMPLETED, Cause.RUNNING, Cause.PENDING) else _lines(attempt, evidence)
    nodes = _to_blame(attempt, evidence, found.cause)
    return Verdict(found.cause, found.sentence, told, found.again, found.advice, nodes)


def faults_of(attempt: Attempt, faults: Sequence[EventView]) -> tuple[EventView, ...]:
    """Return the faults of an attempt's nodes while it ran, or right after it, the first first."""
    if attempt.started_at is None:
        return ()
    since, until = attempt.started_at, attempt.ended_at + AFTER if attempt.ended_at else None
    own = [one for one in faults if one.node in attempt.nodes and since <= one.at]
    return tuple(sorted((one for one in own if until is None or one.at <= until), key=lambda one: one.at))


def fatal(faults: Sequence[EventView]) -> tuple[EventView, ...]:
    """Return the faults that end what runs on a GPU and are not the program's own doing."""
    return tuple(one for one in faults if Severity(one.severity) is Severity.FATAL and one.blame != Scope.APP)


def _not_ended(attempt: Attempt, _: Evidence) -> Meaning | None:
    if attempt.state == "COMPLETED":
        return Meaning(Cause.COMPLETED, Again.NO, "it completed", "")
    if attempt.ended:
        return None
    if attempt.started_at is None:
        return Meaning(Cause.PENDING, Again.NO, "it waits", "")
    return Meaning(Cause.RUNNING, Again.NO, "it runs", "")


def _by_state(attempt: Attempt, evidence: Evidence) -> Meaning | None:
    state = "OUT_OF_MEMORY" if any(one.state == "OUT_OF_MEMORY" for one in evidence.steps) else attempt.state
    found = BY_STATE.get(state)
    if found is None:
        return None
    sentence = found.sentence
    if found.cause is Cause.TIME_LIMIT and attempt.time_limit:
        sentence += f" of {span(attempt.time_limit)}"
    if state == "NODE_FAIL" and attempt.failed_node:
        sentence = f"its node {attempt.failed_node} failed"
    return Meaning(found.cause, found.again, sentence, found.advice)


def _by_fault(attempt: Attempt, evidence: Evidence) -> Meaning | None:
    broken = fatal(evidence.faults)
    if not broken:
        return None
    names = ", ".join(dict.fromkeys(f"{one.node} GPU {one.gpu or one.address}" for one in broken))
    sentence = f"a GPU failed under it: {names}, {broken[0].kind.upper()} {broken[0].code}, {broken[0].meaning}"
    if attempt.state == REQUEUED:
        sentence += "; it was put back into the queue"
    return Meaning(Cause.GPU_FAULT, Again.YES, sentence, "hand it in again, away from that node")


def _by_hand(attempt: Attempt, evidence: Evidence) -> Meaning | None:
    if attempt.state == REQUEUED and any(one.kind is LogKind.WARNED for one in evidence.log):
        sentence = "it was warned of its time limit, and went back into the queue by itself"
        return Meaning(Cause.TIME_LIMIT, Again.YES, sentence, "")
    if attempt.state == REQUEUED:
        sentence = "it was put back into the queue, by hand or by a program"
        return Meaning(Cause.REQUEUED, Again.PERHAPS, sentence, "")
    if attempt.state == "CANCELLED":
        by = f" by user {attempt.cancelled_by}" if attempt.cancelled_by else ""
        return Meaning(Cause.CANCELLED, Again.PERHAPS, f"it was cancelled{by}", "")
    return None


def _by_log(_: Attempt, evidence: Evidence) -> Meaning | None:
    first = next((one for one in evidence.log if one.kind is not LogKind.WARNED), None)
    if first is None:
        return None
    found = BY_LOG.get(first.kind)
    if found is not None:
        return found
    where = "" if first.rank is None else f" on rank {first.rank}"
    return Meaning(PROGRAM.cause, PROGRAM.again, f"{PROGRAM.sentence}{where}: {first.text}", PROGRAM.advice)


def _by_signal(attempt: Attempt, evidence: Evidence) -> Meaning | None:
    """Judge by the signal that ended it, or the first step that one ended; 128 and more is a shell's word for one."""
    codes = [(attempt.exit_code, attempt.exit_signal), *((one.exit_code, one.exit_signal) for one in evidence.steps)]
    numbers = [number or code - 128 for code, number in codes if number or code > 128]
    number = next((number for number in numbers if 0 < number < signal.NSIG), None)
    if number is None:
        return None
    sentence = f"the program was ended by {signal_name(number)}"
    if number in _SENT:
        advice = "nothing says who sent it; the kernel's log of its nodes does, where memory was short"
        return Meaning(Cause.SIGNAL, Again.PERHAPS, sentence, advice)
    advice = "a fault of the program or of a library of it; a core file tells where"
    return Meaning(Cause.SIGNAL, Again.NO, sentence, advice)


def _by_exit_code(attempt: Attempt, _: Evidence) -> Meaning | None:
    if not attempt.exit_code:
        return None
    sentence = f"{PROGRAM.sentence} with exit code {attempt.exit_code}"
    return Meaning(PROGRAM.cause, PROGRAM.again, sentence, "its log may tell more")


def _to_blame(attempt: Attempt, evidence: Evidence, cause: Cause) -> tuple[str, ...]:
    """Return the nodes that ended an attempt; where Slurm does not say which failed, the only one it had."""
    if cause is Cause.GPU_FAULT:
        return tuple(dict.fromkeys(one.node for one in fatal(evidence.faults)))
    if cause is not Cause.NODE_FAILURE:
        return ()
    if attempt.failed_node:
        return (attempt.failed_node,)
    return attempt.nodes if len(attempt.nodes) == 1 else ()


def _lines(attempt: Attempt, evidence: Evidence) -> tuple[str, ...]:
    """Return what speaks for a verdict, a line each."""
    where = folded(attempt.nodes) if attempt.nodes else "no node"
    faults = [
        f"{one.node} GPU {one.gpu or one.address}: {one.kind.upper()} {one.code}, {one.meaning} ({one.severity}),"
        f" {clock(one.at)}"
        for one in evidence.faults
    ]
    slurm = f"Slurm: {attempt.state}, {_ending(attempt)}, on {where}"
    steps = [
        f"step {one.step} ({one.name}): {one.state}, {_ending(one)}"
        for one in evidence.steps
        if one.state != "COMPLETED"
    ]
    nodes = [f"{one.name} is {'+'.join((one.state, *one.flags))}: {one.reason}" for one in evidence.nodes if one.reason]
    return (*faults, slurm, *steps, *nodes, *(_log_line(one) for one in evidence.log[:MOST_OF_LOG]))


def _ending(what: Attempt | Step) -> str:
    return f"exit code {what.exit_code}" + (f", {signal_name(what.exit_signal)}" if what.exit_signal else "")


def _log_line(finding: LogFinding) -> str:
    rank = "" if finding.rank is None else f", rank {finding.rank}"
    return f"{finding.file}:{finding.line_number}{rank}: {finding.text}"


def clock(at: datetime) -> str:
    """Return a moment in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: int) -> str:
    """Return a length of time in words: 5400 is `1 h 30 min`."""
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def signal_name(number: int) -> str:
    """Return `SIGSEGV (11)`."""
    try:
        return f"{signal.Signals(number).name} ({number})"
    except ValueError:
        return f"signal {number}"
