"""How a batch script waits for its step, hands signals on, and has the job start again.

What it rests on, in the source of Slurm 24.11:

- `--signal=B:` reaches the shell of the script alone (`_handle_signal_container`). srun hands USR1 and USR2 on to its
  tasks, and answers TERM by killing them (`_srun_signal_mgr`).
- Where a job is cancelled or over its limit, slurmd tells TERM to the tasks of its steps and to the script's shell
  (`_rpc_terminate_job`). The grace time of a preemption begins with TERM to the steps alone, or with the signal of
  `--signal` where PreemptParameters has send_user_signal (`_job_check_grace_internal`).
- A cancelled job that is still ending can be requeued (`_job_requeue_op`): a script that was told TERM must not do so.
"""

import textwrap

from fleetward.slurm.jobs.spec_parts import Survive

_SIGNALS = """\
# srun runs in the background, so that a signal to this shell is handled at once and handed on to the job's step.
fleetward_step=
fleetward_early=
fleetward_woken=
fleetward_hand_on() {
  fleetward_woken=1
  if [ -z "$fleetward_step" ]; then
    fleetward_early=$1
  else
    kill -s "$1" "$fleetward_step" 2>/dev/null || true
  fi
}
"""

_PLAIN_TRAPS = """\
trap 'fleetward_hand_on USR1' USR1
trap 'fleetward_hand_on USR2' USR2
"""

_WARNED_TRAPS = """\
trap 'fleetward_hand_on %(other)s' %(other)s

# The warning is handed on, and a step that goes on after its grace is ended.
fleetward_warned=
fleetward_ended=
fleetward_limited=
fleetward_gone_within() { timeout "$1" tail --pid="$fleetward_step" --sleep-interval=0.2 -f /dev/null; }
fleetward_end_step() {
  if fleetward_gone_within %(grace)d; then return; fi
  fleetward_say 'the step goes on %(grace)d s after the warning, and is ended' >&2
  kill -s TERM "$fleetward_step" 2>/dev/null || true
  if fleetward_gone_within %(kill_wait)d; then return; fi
  kill -s KILL "$fleetward_step" 2>/dev/null || true
}
fleetward_limit() {
  if [ -n "$fleetward_step" ] && [ -z "$fleetward_limited" ]; then
    fleetward_limited=1
    fleetward_end_step &
  fi
}
fleetward_warn() {
  fleetward_warned=1
  fleetward_hand_on %(signal)s
  fleetward_limit
}
trap fleetward_warn %(signal)s
"""

_PLAIN_TERM = """\
# Where Slurm ends a job it tells TERM to the tasks itself. srun is not told: it would kill them at once.
trap 'fleetward_woken=1' TERM

"""

_WARNED_TERM = """\
# Where Slurm ends a job it tells TERM to the tasks itself. srun is not told: it would kill them at once. They get the
# warning too, and the job does not requeue itself: somebody cancelled it, or Slurm requeues what it preempts.
trap 'fleetward_ended=1; fleetward_warn' TERM

"""

_WAIT = """\
fleetward_step=$!
[ -z "$fleetward_early" ] || fleetward_hand_on "$fleetward_early"  # it came before the step
while :; do
  fleetward_woken=
  fleetward_status=0
  wait "$fleetward_step" || fleetward_status=$?
  [ -n "$fleetward_woken" ] || break  # where a signal came, the wait ended and not the step
done
"""

_NOT_BEGUN = """\
if [ -n "$fleetward_warned" ]; then
  fleetward_status=1
  fleetward_how='warned before its step began'
else
"""

_BEGUN = """\
  fleetward_how="warned, and its step ended with $fleetward_status"
fi
if [ -z "$fleetward_warned" ] || [ -n "$fleetward_ended" ]; then
  exit "$fleetward_status"
fi

"""

_REQUEUE = """\
# The work goes on in another attempt, where there is one left.
trap '' USR1 USR2
trap 'fleetward_ended=1' TERM
if [ "$FLEETWARD_ATTEMPT" -ge %(attempts)d ]; then
  fleetward_say "$fleetward_how; no attempt is left" >&2
else
  for fleetward_pause in 5 10 20 0; do  # a controller that another one stands in for is back soon
    if [ -z "$fleetward_ended" ] && scontrol requeue "$fleetward_job"; then
      fleetward_say "$fleetward_how; requeued"
      exit 0
    fi
    sleep "$fleetward_pause"
  done
  fleetward_say "$fleetward_how; Slurm does not requeue it" >&2
fi
[ "$fleetward_status" != 0 ] || fleetward_status=1  # nobody knows whether the work was done
exit "$fleetward_status"
"""

_NO_REQUEUE = """\
fleetward_say "$fleetward_how" >&2
exit "$fleetward_status"
"""


def attempts_left(survive: Survive) -> list[str]:
    """Return the lines that end a script before it runs anything, where the attempts are used up."""
    return [
        f'if [ "$FLEETWARD_ATTEMPT" -gt {survive.attempts} ]; then',
        f"  fleetward_say 'not run; all {survive.attempts} attempts are used up' >&2",
        "  exit 1",
        "fi",
    ]


def traps(survive: Survive | None) -> str:
    """Return the handlers of signals; they stand before `setup`, so that a warning while it runs is not lost."""
    if survive is None:
        return _SIGNALS + _PLAIN_TRAPS
    return _SIGNALS + _WARNED_TRAPS % {
        "grace": survive.grace_seconds,
        "kill_wait": survive.kill_wait,
        "signal": survive.signal,
        "other": "USR2" if survive.signal == "USR1" else "USR1",
    }


def step_and_end(step: str, survive: Survive | None) -> str:
    """Return the lines that start a step and wait for it, and then end as it did, or begin the next attempt.

    `step` is one command of bash; new lines in it are parts of quoted words.
    """
    if survive is None:
        return _PLAIN_TERM + f"{step} &\n" + _WAIT + 'exit "$fleetward_status"\n'
    wait = _WAIT.replace("while", '[ -z "$fleetward_warned" ] || fleetward_limit\nwhile', 1)
    end = _REQUEUE % {"attempts": survive.attempts} if survive.requeue_on_timeout else _NO_REQUEUE
    return _WARNED_TERM + _NOT_BEGUN + f"  {step} &\n" + textwrap.indent(wait, "  ") + _BEGUN + end
