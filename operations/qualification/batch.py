"""Workloads rendered to a batch script for the nodes that they burn in: a pure function, with golden scripts.

Each workload stands in the log between two lines that begin with a word made up for the job, so that nothing that a
program prints can pass for them; `batch_log.py` reads them. A node that lacks a program says so there, and the workload
is not run. One that fails does not keep the others from running.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleetward.model.errors import UsageError
from fleetward.model.fleet import HardwareProfile
from fleetward.operations.qualification.workload import Scope, Setting, Tasks, Workload, gpus_of
from fleetward.slurm.jobs.nccl import nccl_environment
from fleetward.slurm.jobs.spec import check_job

FINGERPRINT = "fingerprint"
"""What the log calls the node's word on its software; no workload is called so."""
FINGERPRINT_SECONDS = 60
START_SECONDS = 120
"""That the job may take beside each of its workloads: looking for programs, starting processes, ending what hangs."""
_TOKEN = re.compile(r"[0-9a-f]{16,64}")
_NODE = re.compile(r"[A-Za-z][A-Za-z0-9.-]{0,62}")
_FOLDER = re.compile(r"/[^:\x00-\x1f\x7f]*")
_PYTHON = re.compile(r"[A-Za-z0-9/][A-Za-z0-9./_+-]*")
_FITTING = {Scope.NODE: (1, 1), Scope.PAIR: (2, 2), Scope.GROUP: (2, 100_000)}

_FUNCTIONS = """\
fleetward_mark=fleetward-%(token)s
fleetward_run() {
  local id=$1 limit=$2 begun=$SECONDS code=0
  shift 2
  echo "$fleetward_mark begin $id"
  timeout --kill-after=30 "$limit" "$@" </dev/null 2>&1 || code=$?
  printf '\\n%%s end %%s %%d %%d\\n' "$fleetward_mark" "$id" "$code" "$((SECONDS - begun))"
}

# Says which programs a node lacks; it runs on each node.
fleetward_look='
mark=$1 id=$2 lacks=0
shift 2
for program; do
  command -v -- "$program" >/dev/null && continue
  echo "$mark missing $id ${SLURMD_NODENAME:-$HOSTNAME} $program"
  lacks=1
done
exit "$lacks"
'
"""


@dataclass(frozen=True)
class BatchSettings:
    """What a site says of how its nodes are burned in."""

    reservation: str | None = None
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    path: tuple[str, ...] = ()
    """Folders of programs that are not on PATH, such as that of nccl-tests."""
    scratch: str = "/var/tmp"  # noqa: S108  a folder is made in it under a name that nobody can know
    """On the disk that `fio` is to measure."""
    python: str = "python3"
    """One that has PyTorch, for the matrix product."""
    mpi_type: str = "pmix"
    output: str = "qualify-%j.log"


@dataclass(frozen=True)
class Batch:
    """One burn-in job."""

    name: str
    nodes: tuple[str, ...]
    profile: HardwareProfile
    """Of all its nodes."""
    workloads: tuple[Workload, ...]
    """They run one after the other, and all fit the number of nodes."""
    token: str
    """A word made up for this job: 16 to 64 hexadecimal digits."""


def render(batch: Batch, settings: BatchSettings | None = None) -> str:
    """Return the batch script; UsageError says what of job or settings cannot be."""
    settings = settings or BatchSettings()
    _check(batch, settings)
    setting = Setting(batch.profile, batch.nodes, settings.python)
    sections = [
        _header(batch, settings),
        _environment(batch, settings),
        _FUNCTIONS % {"token": batch.token},
        _folder(settings),
        *("\n".join(_workload(one, setting, batch, settings)) + "\n" for one in batch.workloads),
        *(_fingerprint() if len(batch.nodes) == 1 else ()),
        "exit 0  # what came of the workloads stands in the log\n",
    ]
    return "\n".join(sections)


def limit_of(workloads: Sequence[Workload]) -> int:
    """Return the seconds that a job of these workloads may take."""
    return FINGERPRINT_SECONDS + sum(one.seconds + START_SECONDS for one in workloads)


def _check(batch: Batch, settings: BatchSettings) -> None:
    if not _TOKEN.fullmatch(batch.token):
        raise UsageError(f"{batch.token!r} is no token for a batch script: make one of 16 to 64 hexadecimal digits")
    if not batch.workloads:
        raise UsageError(f"the burn-in {batch.name} has no workload: name one at least")
    if len(set(batch.nodes)) != len(batch.nodes) or not all(map(_NODE.fullmatch, batch.nodes)):
        raise UsageError(f"{', '.join(map(repr, batch.nodes))} are no different nodes, each by its one name")
    for one in batch.workloads:
        least, most = _FITTING[one.scope]
        if not least <= len(batch.nodes) <= most:
            raise UsageError(f"{one.id} runs on a {one.scope}, and there are {len(batch.nodes)} nodes")
        if not one.fits(batch.profile):
            raise UsageError(f"{one.id} needs {' and '.join(sorted(one.uses))}, which {batch.profile.name} lacks")
    for folder in (*settings.path, settings.scratch):
        if not _FOLDER.fullmatch(folder):
            raise UsageError(f"{folder!r} is no folder: write a path from the root, without a colon")
    if not _PYTHON.fullmatch(settings.python):
        raise UsageError(f"{settings.python!r} is no Python: write the name of a program or its path")


def _tasks(batch: Batch) -> int:
    """Return how many processes a node must have room for."""
    return max(gpus_of(batch.profile) if one.tasks is Tasks.GPU else 1 for one in batch.workloads)


def _cpus(tasks: int, profile: HardwareProfile) -> int:
    return max(1, profile.cpus // tasks)


def _header(batch: Batch, settings: BatchSettings) -> str:
    """Return the options for sbatch, each checked as those of any job are."""
    minutes, seconds = divmod(limit_of(batch.workloads), 60)
    gpu, tasks = batch.profile.gpu, _tasks(batch)
    fields: dict[str, object] = {
        "name": batch.name,
        "account": settings.account,
        "partition": settings.partition,
        "qos": settings.qos,
        "reservation": settings.reservation,
        "nodes": len(batch.nodes),
        "nodelist": list(batch.nodes),
        "gpus_per_node": f"{gpu.model}:{gpu.count}" if gpu else None,
        "tasks_per_node": tasks,
        "cpus_per_task": _cpus(tasks, batch.profile),
        "time": f"{minutes // 60}:{minutes % 60:02}:{seconds:02}",
        "output": settings.output,
        "command": ["true"],
        "mpi_type": settings.mpi_type,
        "launcher": "mpi",
    }
    job = check_job({name: value for name, value in fields.items() if value is not None})
    given = {
        "job-name": job.name,
        "account": job.account,
        "partition": job.partition,
        "qos": job.qos,
        "reservation": job.reservation,
        "nodes": job.nodes,
        "nodelist": ",".join(job.nodelist or ()),
        "gpus-per-node": job.gpus_per_node,
        "ntasks-per-node": job.tasks_per_node,
        "cpus-per-task": job.cpus_per_task,
        "mem": 0,
        "time": job.time,
        "output": job.output,
    }
    options = [*(f"{name}={value}" for name, value in given.items() if value is not None), "exclusive", "no-requeue"]
    return "\n".join(["#!/bin/bash", *(f"#SBATCH --{option}" for option in options)]) + "\nset -uo pipefail\n"


def _environment(batch: Batch, settings: BatchSettings) -> str:
    values: Mapping[str, str] = nccl_environment(batch.profile)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    if settings.path:
        lines.append(f'export PATH={shlex.quote(":".join(settings.path))}:"$PATH"')
    return "".join(f"{line}\n" for line in lines)


def _folder(settings: BatchSettings) -> str:
    return (
        f"fleetward_folder=$(mktemp -d -p {shlex.quote(settings.scratch)} fleetward-qualify.XXXXXXXX) || exit 1\n"
        "trap 'rm -rf \"$fleetward_folder\"' EXIT\n"
        'cd "$fleetward_folder" || exit 1\n'
    )


def _fingerprint() -> tuple[str, ...]:
    """Have the node say what its certificate is going to be for."""
    # At the end, which is what is kept of a log that is much too long; and by itself, without what is said on stderr.
    command = "bash -c 'fleetward fingerprint --json 2>/dev/null'"
    return (f"# What was tested here\nfleetward_run {FINGERPRINT} {FINGERPRINT_SECONDS} {command}\n",)


def _workload(one: Workload, setting: Setting, batch: Batch, settings: BatchSettings) -> Iterator[str]:
    yield f"# {one.title}"
    for name, text in one.files(setting).items():
        end = f"fleetward-{batch.token}"
        assert end not in text.splitlines()  # noqa: S101  files are our own, and the token was made up after them
        yield f"cat >{shlex.quote(name)} <<'{end}'\n{text.rstrip()}\n{end}"
    programs = [program.format(python=setting.python) for program in one.programs]
    several = len(batch.nodes) > 1
    look = [*_srun(1, batch, ["--chdir=/"] if several else []), "bash", "-c"] if several else ["bash", "-c"]
    names = shlex.join([one.id, *programs])
    yield f'{shlex.join(look)} "$fleetward_look" bash "$fleetward_mark" {names} &&'
    command = [*_start(one, batch, settings), *one.command(setting)]
    yield f"  fleetward_run {shlex.join([one.id, str(one.seconds), *command])}"


def _start(one: Workload, batch: Batch, settings: BatchSettings) -> list[str]:
    if one.tasks is Tasks.ONE:
        return []
    # The folder is on the first node alone.
    where = ["--chdir=/"] if len(batch.nodes) > 1 else []
    if one.tasks is Tasks.NODE:
        return _srun(1, batch, where)
    return _srun(gpus_of(batch.profile), batch, [f"--mpi={settings.mpi_type}", *where])


def _srun(tasks: int, batch: Batch, options: list[str]) -> list[str]:
    """Return srun for so many processes on each node, whatever the job's own numbers in its environment are."""
    nodes, cpus = len(batch.nodes), _cpus(tasks, batch.profile)
    size = [f"--nodes={nodes}", f"--ntasks={nodes * tasks}", f"--ntasks-per-node={tasks}", f"--cpus-per-task={cpus}"]
    return ["srun", *size, "--kill-on-bad-exit=1", *options]
