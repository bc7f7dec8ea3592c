"""Job specifications rendered to batch scripts: a pure function, with golden scripts in its tests."""

import shlex
from collections.abc import Iterable

from fleetward.model.fleet import HardwareProfile
from fleetward.slurm.jobs.nccl import nccl_environment
from fleetward.slurm.jobs.script_launch import MEETING_POINT, step_command, step_preface
from fleetward.slurm.jobs.script_survive import attempts_left, step_and_end, traps
from fleetward.slurm.jobs.spec import JobSpec
from fleetward.slurm.jobs.spec_parts import Dependency
from fleetward.slurm.jobs.sweep import array_option, choice_of_point


def render(spec: JobSpec, profile: HardwareProfile | None = None) -> str:
    """Return the batch script; the working directory is sbatch's option, not the script's.

    `profile` is the hardware of the nodes that the job will run on, where the caller knows it: NCCL's variables follow
    from it.
    """
    environment = nccl_environment(profile) if profile is not None and spec.nccl else {}
    environment |= spec.environment
    sections = [
        "\n".join(["#!/bin/bash", *(f"#SBATCH --{option}" for option in _options(spec))])
        + "\nset -euo pipefail  # sbatch reads no option beyond the first command\n",
        _attempt(spec),
        MEETING_POINT,
        _lines(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
        _lines(choice_of_point(spec.sweep)) if spec.sweep else "",
        traps(spec.survive),
        _lines(shlex.join(line) for line in spec.setup),
        step_preface(spec),
        step_and_end(step_command(spec, environment), spec.survive),
    ]
    return "\n".join(section for section in sections if section)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _attempt(spec: JobSpec) -> str:
    """Return the lines that count the attempt, and tell of it in the log."""
    # The bare number of an array's task can be that of the whole array, all of whose tasks it would stand for.
    job = '"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"' if spec.sweep else "$SLURM_JOB_ID"
    count = f"$FLEETWARD_ATTEMPT of {spec.survive.attempts}" if spec.survive else "$FLEETWARD_ATTEMPT"
    lines = [
        "# Slurm counts how often it started the job again, and says nothing of it the first time.",
        "export FLEETWARD_ATTEMPT=$((${SLURM_RESTART_COUNT:-0} + 1))",
        f"fleetward_job={job}",
    ]
    if spec.survive or spec.sweep:
        lines.append(f'fleetward_say() {{ echo "fleetward: job $fleetward_job, attempt {count}: $1"; }}')
    if spec.survive:
        lines += attempts_left(spec.survive)
    told = f"fleetward: attempt {count} of job $fleetward_job on $SLURM_JOB_NODELIST"
    return _lines([*lines, f'echo "{told} at $(date -u +%Y-%m-%dT%H:%M:%SZ)"'])


def _options(spec: JobSpec) -> list[str]:
    survive = spec.survive
    given = {
        "job-name": spec.name,
        "account": spec.account,
        "partition": spec.partition,
        "qos": spec.qos,
        "nodes": spec.nodes,
        "gpus-per-node": spec.gpus_per_node,
        "ntasks-per-node": spec.tasks_on_a_node,
        "cpus-per-task": spec.cpus_per_task,
        "mem": spec.memory_per_node,
        "time": spec.time,
        "exclude": ",".join(spec.exclude) if spec.exclude else None,
        "nodelist": ",".join(spec.nodelist) if spec.nodelist else None,
        "constraint": spec.constraint,
        "reservation": spec.reservation,
        "array": array_option(spec.sweep, spec.gpus_of_a_task) if spec.sweep else None,
        "dependency": ",".join(map(_dependency, spec.depends_on)) or None,
        "kill-on-invalid-dep": {True: "yes", False: "no", None: None}[spec.kill_on_invalid_dependency],
        # B: the shell of the script alone, which hands it on and knows then why the step ends.
        "signal": f"B:{survive.signal}@{survive.warning}" if survive else None,
        "output": spec.output,
    }
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    if spec.exclusive:
        options.append("exclusive")
    # After a requeue the log goes on where it was.
    return [*options, "open-mode=append", "requeue" if spec.requeues else "no-requeue"]


def _dependency(dependency: Dependency) -> str:
    return dependency.condition + (f":{dependency.job}" if dependency.job else "")
