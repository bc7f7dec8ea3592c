"""Every command with its line of help, and the page that lists them: a table, so that it needs no import of theirs."""

NOUNS = {
    "adopt": "Write an inventory of a cluster that others configure.",
    "autopilot": "See and set how far the daemon goes by itself.",
    "cancel": "Cancel jobs.",
    "change": "Change many nodes, batch by batch, without losing a job.",
    "check": "Check the health of this GPU node.",
    "config": "Show the settings and where they came from.",
    "drain": "Take nodes out of service, on record.",
    "drift": "Say how far hosts are from what the inventory declares.",
    "events": "Show what nodes told of faults of their GPUs.",
    "exporter": "Serve metrics to Prometheus.",
    "fingerprint": "Tell what software and hardware this node has.",
    "gpus": "Show the GPUs of this node.",
    "incident": "Show incidents, look after them, close them.",
    "inventory": "Check the inventory and render what follows from it.",
    "job-map": "Show and mend which job each GPU of this node works for.",
    "jobs": "Show the jobs in the queue; report GPU-hours.",
    "lab": "Run a whole cluster on this machine.",
    "logs": "Show a job's log, follow it, find its first error.",
    "node-token": "Print the token by which a node reports.",
    "nodes": "Show the nodes and their GPUs.",
    "provision": "Bring hosts to what the inventory declares.",
    "qualify": "Burn nodes in as Slurm jobs, and say which are qualified.",
    "release": "Have the GPU exporter let go of this node's GPUs.",
    "repaired": "Say that GPUs of this node were reset or replaced.",
    "requeue": "Put a job back into the queue, off nodes that failed it.",
    "resume": "Give nodes back that you drained.",
    "runbook": "Read runbook pages; plan, approve and watch their runs.",
    "serve": "Run the daemon: alerts in, runbooks executed.",
    "submit": "Submit a training job from its specification.",
    "tui": "Open the screen.",
    "why": "Say why a job waits, or why it ended.",
}
"""Every command with its one line of help; the file of the same name in `commands/`, where `-` is `_`, defines it."""

HELP_OPTIONS = ("-h", "--help")

_PAGE = """\
Usage: fleetward [OPTIONS] COMMAND [ARGS]...

  Provision a GPU fleet, watch every GPU and job, and bring the fleet back
  when it breaks.

  Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 2 usage,
  3 out of reach, 4 refused by a guardrail, 5 findings present, 130
  interrupted.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
"""


def help_page() -> str:
    """Return the page of `fleetward --help`."""
    width = max(map(len, NOUNS))
    return _PAGE + "".join(f"  {noun:<{width}}  {line}\n" for noun, line in sorted(NOUNS.items()))
