"""The one srun of a batch script, for each launcher, with what comes from a specification quoted for bash.

Nothing here needs ssh between nodes: srun starts every process, so that Slurm knows, accounts and ends all of them.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from fleetward.slurm.jobs.spec import JobSpec
from fleetward.slurm.jobs.spec_parts import Container
from fleetward.slurm.jobs.sweep import shell_word

_PYTHON = re.compile(r"python[0-9.]*")

MEETING_POINT = """\
# Where ranks find each other: the first node, at a port that follows from the job and that Linux gives to nobody else.
fleetward_nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
export MASTER_ADDR="${fleetward_nodes%%$'\\n'*}" MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000))
"""

# DeepSpeed reads these and looks for no launcher where all are there. Its own one goes from node to node with ssh.
_RANKS = """\
# What DeepSpeed's own launcher would set, from what Slurm tells each task.
fleetward_ranks='
export RANK="$SLURM_PROCID" WORLD_SIZE="$SLURM_NTASKS" LOCAL_RANK="$SLURM_LOCALID"
export LOCAL_WORLD_SIZE=%(local)d
exec "$@"
'
"""

_AGENT = """\
# torchrun would die of the warning, and Slurm tells it to nobody but the process that it started itself: so that is a
# shell, which hands the warning on to the workers, and TERM to torchrun.
fleetward_agent='
trap "" %(signal)s
"$@" &
agent=$!
trap "woken=1; kill -s %(signal)s \\$(cat /proc/$agent/task/*/children 2>/dev/null) 2>/dev/null || :" %(signal)s
trap "woken=1; kill -s TERM $agent 2>/dev/null || :" TERM
while :; do
  woken=
  status=0
  wait "$agent" || status=$?
  [ -n "$woken" ] || exit "$status"
done
'
"""


def step_preface(spec: JobSpec) -> str:
    """Return the lines that the step needs before it; empty for most launchers."""
    if spec.launcher == "deepspeed":
        return _RANKS % {"local": spec.tasks_on_a_node}
    if spec.launcher == "torchrun" and spec.survive:
        return _AGENT % {"signal": spec.survive.signal}
    return ""


def step_command(spec: JobSpec, kept_in_container: Iterable[str]) -> str:
    """Return srun and what it starts, as one command of bash that goes over several lines.

    `kept_in_container` names the variables that win over those of the container's image.
    """
    # srun takes the count of CPUs per task from its own option only, not from sbatch's.
    options = [f"--cpus-per-task={spec.cpus_per_task}", "--kill-on-bad-exit=1"]
    if spec.labels:
        options.append("--label")
    if spec.launcher == "mpi":
        options.append(f"--mpi={spec.mpi_type}")
    container = _container_options(spec.container, kept_in_container) if spec.container else []
    command = [shell_word(word) if spec.sweep else shlex.quote(word) for word in spec.command]
    lines = (["srun", *options], *([shlex.quote(option)] for option in container), *_launcher_words(spec), command)
    return " \\\n    ".join(map(" ".join, lines))


def _launcher_words(spec: JobSpec) -> Iterator[list[str]]:
    if spec.launcher == "deepspeed":
        yield ["sh", "-c", '"$fleetward_ranks"', "sh"]
    if spec.launcher != "torchrun":
        return
    if spec.survive:
        yield ["sh", "-c", '"$fleetward_agent"', "sh"]
    program = spec.command[0]
    # A Python of a virtual environment has a torchrun of its own, which need not be on PATH.
    is_python = _PYTHON.fullmatch(PurePosixPath(program).name)
    yield [
        *([shlex.quote(program), "-m", "torch.distributed.run"] if is_python else ["torchrun"]),
        '--nnodes="$SLURM_JOB_NUM_NODES"',
        f"--nproc-per-node={spec.gpus_on_a_node}",
    ]
    yield [
        "--rdzv-backend=c10d",
        '--rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT"',
        '--rdzv-id="$SLURM_JOB_ID-$FLEETWARD_ATTEMPT"',
    ]
    # It is Slurm that starts a job again; and the command is a whole one, whatever it is.
    yield ["--max-restarts=0", "--no-python"]


def _container_options(container: Container, kept: Iterable[str]) -> list[str]:
    options = [f"--container-image={container.image}"]
    mounts = [
        f"{mount.source}:{mount.target or mount.source}" + (":ro" if mount.read_only else "")
        for mount in container.mounts
    ]
    if mounts:
        options.append(f"--container-mounts={','.join(mounts)}")
    if container.workdir is not None:
        options.append(f"--container-workdir={container.workdir}")
    if container.mount_home is not None:
        options.append("--container-mount-home" if container.mount_home else "--no-container-mount-home")
    names = sorted(set(kept))
    if names:  # the image's own values would win otherwise
        options.append(f"--container-env={','.join(names)}")
    return options
