"""What fields of a job specification cannot say together: each contradiction names the fields and what is allowed."""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fleetward.slurm.jobs.spec_fields import seconds_of
from fleetward.slurm.jobs.sweep import unknown_placeholder

if TYPE_CHECKING:
    from fleetward.slurm.jobs.spec import JobSpec

Complaint = tuple[str, str]
"""Field and sentence."""
_LAUNCHERS = {
    "srun": {"srun"},
    "torchrun": {"srun", "torchrun"},
    "deepspeed": {"srun", "torchrun", "deepspeed"},
    "mpi": {"srun", "mpirun", "mpiexec"},
}
"""For each launcher, programs that would launch what it has launched already."""


def contradictions(spec: "JobSpec") -> Iterator[Complaint]:
    """Yield field and sentence of each contradiction in a specification whose fields are right by themselves."""
    for check in _CHECKS:
        yield from check(spec)


def _launcher(spec: "JobSpec") -> Iterator[Complaint]:
    per_gpu = spec.launcher in ("torchrun", "deepspeed")
    if per_gpu and not spec.gpus_on_a_node:
        yield (
            "gpus_per_node",
            f"launcher: {spec.launcher} starts one process for each GPU; say how many a node has, as in 8 or h100:8, "
            "or take launcher: srun or mpi",
        )
        return
    asked = spec.tasks_per_node
    if spec.launcher == "torchrun" and asked != 1:
        yield (
            "tasks_per_node",
            f"is {asked}, and launcher: torchrun starts one task on each node, which starts a process for each of "
            "gpus_per_node; leave tasks_per_node out, or take launcher: srun, deepspeed or mpi",
        )
    if spec.launcher == "torchrun" and spec.cpus_per_task < spec.gpus_on_a_node:
        yield (
            "cpus_per_task",
            f"is {spec.cpus_per_task}, and launcher: torchrun has one task on a node, whose CPUs the processes of "
            f"gpus_per_node: {spec.gpus_per_node} share; ask for {spec.gpus_on_a_node} or more",
        )
    if spec.launcher == "deepspeed" and "tasks_per_node" in spec.model_fields_set and asked != spec.gpus_on_a_node:
        yield (
            "tasks_per_node",
            f"is {asked}, and launcher: deepspeed starts one task for each of gpus_per_node: {spec.gpus_per_node}; "
            f"leave tasks_per_node out, or write {spec.gpus_on_a_node}",
        )
    if spec.launcher != "mpi" and "mpi_type" in spec.model_fields_set:
        yield "mpi_type", f"is for launcher: mpi, and launcher is {spec.launcher}; leave one of the two out"
    program = PurePosixPath(spec.command[0]).name
    if program in _LAUNCHERS[spec.launcher]:
        yield (
            "command",
            f"begins with {program}, and launcher: {spec.launcher} starts the tasks already; write the program that "
            "each of them runs",
        )


def _survival(spec: "JobSpec") -> Iterator[Complaint]:
    survive = spec.survive
    if survive is None:
        return
    if "requeue" in spec.model_fields_set and spec.requeue != spec.requeues:
        yield (
            "requeue",
            f"is {str(spec.requeue).lower()}, and survive.attempts is {survive.attempts}; leave requeue out, since "
            "survive.attempts says how often the job may run",
        )
    if spec.time is not None and survive.warning >= seconds_of(spec.time):
        yield (
            "survive.warning",
            f"is {survive.warning} s, which is not less than time: {spec.time}; the job would be warned at its start",
        )


def _sweep(spec: "JobSpec") -> Iterator[Complaint]:
    sweep = spec.sweep
    if sweep is None:
        return
    if not any(pattern in spec.output for pattern in ("%a", "%j")):
        yield (
            "output",
            f"{spec.output} is one file for all tasks of sweep; put %A_%a (job and task) or %j into it, or leave "
            "output out",
        )
    if sweep.gpu_budget is not None and spec.gpus_of_a_task == 0:
        yield "sweep.gpu_budget", "needs gpus_per_node, so that it is known how many GPUs a task has"
    elif sweep.gpu_budget is not None and sweep.gpu_budget < spec.gpus_of_a_task:
        yield (
            "sweep.gpu_budget",
            f"is {sweep.gpu_budget}, and one task has {spec.gpus_of_a_task} GPUs (nodes: {spec.nodes} by "
            f"gpus_per_node: {spec.gpus_per_node}); write {spec.gpus_of_a_task} or more",
        )
    unknown = unknown_placeholder(spec.command, sweep.parameters)
    if unknown is not None:
        yield (
            "command",
            f"{{{unknown}}} is no parameter of sweep; there are {', '.join(sweep.parameters)}, and {{{{{unknown}}}}} "
            "stands for the text itself",
        )


def _dependencies(spec: "JobSpec") -> Iterator[Complaint]:
    if spec.sweep is None:
        for number, dependency in enumerate(spec.depends_on):
            if dependency.condition == "aftercorr":
                yield (
                    f"depends_on.{number}.condition",
                    "aftercorr pairs the tasks of two arrays, and this job has no sweep; take afterok",
                )
    if spec.kill_on_invalid_dependency is not None and not spec.depends_on:
        yield "kill_on_invalid_dependency", "needs depends_on; leave it out where the job waits for no other"


def _nodes(spec: "JobSpec") -> Iterator[Complaint]:
    both = sorted(set(spec.nodelist or ()) & set(spec.exclude or ()))
    if both:
        yield "exclude", f"{', '.join(both)} is in nodelist too; take it out of one of the two"


_CHECKS: tuple[Callable[["JobSpec"], Iterator[Complaint]], ...] = (
    _launcher,
    _survival,
    _sweep,
    _dependencies,
    _nodes,
)
