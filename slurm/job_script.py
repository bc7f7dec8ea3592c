"""Job specifications rendered to batch scripts: a pure function, with golden scripts in its tests."""

import shlex

from fleetward.slurm.job_spec import JobSpec

_TRAPS = """\
# srun runs in the background, so that a signal to this shell is handled at once and handed on to the job's step.
fleetward_step=
fleetward_early=
fleetward_signalled=0
fleetward_hand_on() {
  fleetward_signalled=1
  if [ -z "$fleetward_step" ]; then
    fleetward_early=$1
  else
    kill -s "$1" "$fleetward_step" 2>/dev/null || true
  fi
}
trap 'fleetward_hand_on TERM' TERM
trap 'fleetward_hand_on USR1' USR1
trap 'fleetward_hand_on USR2' USR2
"""

_WAIT = """\
fleetward_step=$!
[ -z "$fleetward_early" ] || kill -s "$fleetward_early" "$fleetward_step" 2>/dev/null || true  # it came before the step
while :; do
  fleetward_signalled=0
  fleetward_status=0
  wait "$fleetward_step" || fleetward_status=$?
  [ "$fleetward_signalled" = 1 ] || break  # where a signal came, the wait ended and not the step
done
exit "$fleetward_status"
"""


def render(spec: JobSpec) -> str:
    """Return the batch script; the working directory is sbatch's option, not the script's."""
    parts = [
        "#!/bin/bash",
        *(f"#SBATCH --{option}" for option in _options(spec)),
        "set -euo pipefail  # sbatch reads no option beyond the first command",
        "",
    ]
    if spec.environment:
        parts += [f"export {name}={shlex.quote(value)}" for name, value in spec.environment.items()] + [""]
    if spec.setup:
        parts += [shlex.join(line) for line in spec.setup] + [""]
    # srun takes the count of CPUs per task from its own option only, not from sbatch's.
    step = shlex.join(["srun", f"--cpus-per-task={spec.cpus_per_task}", "--kill-on-bad-exit=1", *spec.command])
    return "\n".join(parts) + "\n" + _TRAPS + "\n" + step + " &\n" + _WAIT


def _options(spec: JobSpec) -> list[str]:
    given = {
        "job-name": spec.name,
        "account": spec.account,
        "partition": spec.partition,
        "qos": spec.qos,
        "nodes": spec.nodes,
        "gpus-per-node": spec.gpus_per_node,
        "ntasks-per-node": spec.tasks_per_node,
        "cpus-per-task": spec.cpus_per_task,
        "mem": spec.memory_per_node,
        "time": spec.time,
        "output": spec.output,
    }
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    # After a requeue the log goes on where it was.
    return [*options, "open-mode=append", "requeue" if spec.requeue else "no-requeue"]
