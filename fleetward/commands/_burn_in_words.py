"""A burn-in in words: its nodes with their results, its jobs; and following it."""

from collections.abc import Callable, Iterator

from fleetward.commands._daemon import moment
from fleetward.commands._follow import looks
from fleetward.commands._run_words import facts
from fleetward.commands._table import table
from fleetward.model.burn_ins import BurnIn, BurnInState, NodeStanding
from fleetward.model.errors import ExitCode, FleetwardError
from fleetward.model.host_ranges import fold
from fleetward.printable import printable


class NodesFailedError(FleetwardError):
    """Nodes have failed their burn-in."""


class NotAllPassedError(FleetwardError):
    """Of some nodes nothing follows, or the burn-in was aborted."""

    exit_code = ExitCode.FINDINGS


def overview(burn_in: BurnIn) -> str:
    """Return a burn-in with its nodes and jobs."""
    head = facts(
        {
            "state": f"{burn_in.state}: {burn_in.why}" if burn_in.why else str(burn_in.state),
            "workloads": ", ".join(burn_in.workloads),
            "asked by": f"{printable(burn_in.made_by)} at {moment(burn_in.made_at)}",
            "ended": moment(burn_in.ended_at),
        }
    )
    nodes = [
        (printable(one.name), printable(one.profile), one.outcome or "·", printable("; ".join(one.why)))
        for one in burn_in.nodes
    ]
    jobs = [
        (
            str(job.id),
            str(job.phase),
            printable(fold(job.nodes)),
            ", ".join(job.workloads),
            str(job.state),
            job.slurm_job,
            printable(job.why),
        )
        for job in burn_in.jobs
    ]
    return "\n".join(
        [
            burn_in.owner,
            "",
            *head,
            "",
            table(("NODE", "PROFILE", "RESULT", "WHY"), nodes),
            "",
            table(("JOB", "PHASE", "NODES", "WORKLOADS", "STATE", "SLURM'S", "WHY"), jobs),
        ]
    )


def row(burn_in: BurnIn) -> tuple[str, ...]:
    """Return one line of a list."""
    return (
        burn_in.owner,
        str(burn_in.state),
        printable(fold(node.name for node in burn_in.nodes)),
        moment(burn_in.made_at),
        moment(burn_in.ended_at),
        printable(burn_in.made_by),
        printable(burn_in.why),
    )


def certificate(standing: NodeStanding) -> Iterator[str]:
    """Yield what a node's burn-in found, a workload after the other."""
    if standing.certificate is None:
        return
    for name, found in standing.certificate.results.items():
        yield ""
        yield f"{name} {found.outcome}: {printable(found.why)}"
        yield from (f"  {printable(line)}" for line in found.evidence)


def follow(look: Callable[[], BurnIn], say: Callable[[str], None], note: Callable[[str], None]) -> BurnIn:
    """Tell what becomes of a burn-in's jobs until it has ended; return it as it is then."""
    told: dict[int, str] = {}
    for found in looks(look, note):
        for job in found.jobs:
            if told.get(job.id) != job.state:
                told[job.id] = job.state
                number = f" (job {job.slurm_job})" if job.slurm_job else ""
                why = f": {printable(job.why)}" if job.why else ""
                say(f"{job.phase} {printable(fold(job.nodes))} {job.state}{number}{why}")
        if found.state.ended:
            return found
    raise AssertionError("looking never ends by itself")


def check_ending(burn_in: BurnIn) -> None:
    """Raise what the exit code is to say of a burn-in that has ended."""
    by_outcome = {kind: [one.name for one in burn_in.nodes if one.outcome == kind] for kind in ("failed", "passed")}
    if by_outcome["failed"]:
        raise NodesFailedError(f"{burn_in.owner}: {fold(by_outcome['failed'])} failed")
    if burn_in.state is BurnInState.ABORTED or len(by_outcome["passed"]) < len(burn_in.nodes):
        raise NotAllPassedError(f"{burn_in.owner}: {burn_in.why or 'not all nodes have passed'}")
