"""Whether those who use the GPUs are those to whom Slurm gave them."""

from collections import defaultdict
from collections.abc import Iterator

from fleetward.exporters.gpu.leftovers import Kind, Leftover
from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import Asked, check
from fleetward.node.checks.gpu_values import answering, gpu_name, not_answering
from fleetward.node.probes.gpus import GPUS, Gpus
from fleetward.node.results import ProbeError, Problem, Trouble

CANNOT_BE_ENDED = "D"


@check(
    "gpu_process_leftover",
    "A program computes on a GPU and is of no job to which Slurm gave it.",
    GPUS,
    Severity.DEGRADED,
    Action.RESTART_APP,
    "soperator, nhc",
    problem=Problem.USER,
)
def _leftover(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    answering(gpus)
    if gpus.jobs is None:
        raise ProbeError("the job map is not there, or something in it is wrong: whose the GPUs are is not known")
    if gpus.owners is None:
        raise ProbeError("processes of other users cannot be seen here: run as root")
    found: dict[tuple[int, str, bool], list[Leftover]] = defaultdict(list)
    for one in gpus.leftovers:
        over = one.kind is Kind.UNKNOWN_JOB and not _runs(one, gpus)
        stuck = over and one.owner.state == CANNOT_BE_ENDED
        found[one.gpu, _whose(one, gpus), stuck].append(one)
    for (gpu, whose, stuck), ones in found.items():
        pids, owner = ", ".join(str(one.pid) for one in ones), ones[0].owner
        why = f"processes {pids} are {whose}" + (", and cannot be ended (state D)" if stuck else "")
        yield Trouble(
            why,
            gpu_name(gpu),
            {"pids": pids, "uid": owner.uid, "job": owner.job or owner.sluid},
            action=Action.REBOOT if stuck else None,
            problem=Problem.NODE if stuck else None,
        )
    yield from not_answering(gpus)


def _whose(one: Leftover, gpus: Gpus) -> str:
    if one.kind is Kind.NO_JOB:
        return f"of user {one.owner.uid} and of no job"
    job = one.owner.job or one.owner.sluid
    if _runs(one, gpus):
        return f"of job {job}, to which Slurm did not give this GPU"
    return f"of job {job}, which is over here"


def _runs(one: Leftover, gpus: Gpus) -> bool:
    return one.kind is Kind.OTHER_JOB or bool({one.owner.job, one.owner.sluid} & gpus.job_steps)


CHECKS = (_leftover,)
