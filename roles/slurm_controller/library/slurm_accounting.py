#!/usr/bin/python
"""Ansible module: bring a cluster's QOS, accounts and users to what is declared."""

from __future__ import annotations

import os
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slurm_accounting_plan import Busy, Plan, plan
from ansible.module_utils.slurm_accounting_state import (
    ACCOUNT_LIST,
    CLUSTER_LIST,
    QOS_LIST,
    TRES_LIST,
    association_list,
    busy_state,
    declared_state,
    found_state,
    known_tres,
    user_list,
)

DOCUMENTATION = """
module: slurm_accounting
short_description: Brings QOS, accounts and users in Slurm's accounting to what is declared
description:
  - What is declared is kept exactly so, a limit that is not given being lifted. Runs sacctmgr on the host.
options:
  desired:
    description:
      - C(cluster) is the cluster's name. C(qos) maps names to limits.
      - C(accounts) maps names to C(parent), C(description), C(organization), C(qos), C(default_qos) and C(limits).
      - C(users) maps names to C(accounts) and C(default_account).
    type: dict
    required: true
  prune:
    description: Whether what is not declared is removed, unless it has jobs or is Slurm's own.
    type: bool
    default: false
  allow_deferred:
    description:
      - Whether a limit on a TRES that the database does not know yet is left for a later call, rather than refused.
      - The database learns of one when slurmctld takes up a configuration that has it in AccountingStorageTRES.
    type: bool
    default: false
author: The Fleetward authors
"""

EXAMPLES = """
- name: One account with one user
  slurm_accounting:
    desired:
      cluster: lab
      qos: {high: {Priority: 1000}}
      accounts: {research: {parent: root, qos: [high], limits: {GrpTRES: gres/gpu=16}}}
      users: {ada: {accounts: [research], default_account: research}}
"""

RETURN = """
operations:
  description: The calls of sacctmgr that were made, or would be.
  returned: always
  type: list
  elements: str
undeclared:
  description: What is there, not declared, and was left, each with why.
  returned: always
  type: list
  elements: str
skipped_because:
  description: Why a dry run could not tell what would be done.
  returned: in check mode, where the accounting does not answer
  type: str
deferred:
  description: Limits that could not be set yet.
  returned: always
  type: list
  elements: str
"""

TIMEOUT_SECONDS = 60


class _CommandError(Exception):
    """A program of Slurm's failed; the message says which and how."""


def _run(*command: str) -> str:
    shown = " ".join(command)
    environment = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        raise _CommandError(f"{command[0]} is not installed on this host: install slurm-client") from None
    except subprocess.TimeoutExpired:
        raise _CommandError(f"`{shown}` gave no answer within {TIMEOUT_SECONDS} s: does slurmdbd run?") from None
    if done.returncode != 0:
        said = " ".join((done.stderr + done.stdout).split())
        raise _CommandError(f"`{shown}` failed: {said or f'exit status {done.returncode}'}")
    return done.stdout


def _show(arguments: tuple[str, ...]) -> str:
    return _run("sacctmgr", "--noheader", "--parsable2", *arguments)


def _busy() -> Busy | None:
    """Return who has jobs, or None where slurmctld does not say."""
    try:
        return busy_state(_run("squeue", "--noheader", "--format=%a|%u|%q"))
    except _CommandError:
        return None


def _register(cluster: str, dry: bool) -> tuple[str, ...]:
    """Make the cluster known to the database; return the call that did, or would."""
    if cluster in _show(CLUSTER_LIST).split():
        return ()
    add = ("add", "cluster", cluster)
    if not dry:
        _run("sacctmgr", "--immediate", *add)
    return add


def _plan(module: AnsibleModule) -> Plan:
    desired = module.params["desired"]
    cluster = desired["cluster"]
    found = found_state(
        qos=_show(QOS_LIST),
        accounts=_show(ACCOUNT_LIST),
        associations=_show(association_list(cluster)),
        users=_show(user_list(cluster)),
    )
    made = plan(
        cluster,
        declared_state(desired),
        found,
        known_tres=known_tres(_show(TRES_LIST)),
        prune=module.params["prune"],
        busy=_busy() if module.params["prune"] else None,
    )
    if made.deferred and not (module.params["allow_deferred"] or module.check_mode):
        raise ValueError(f"{'; '.join(made.deferred)}: correct its name, or add it to AccountingStorageTRES")
    return made


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "desired": {"type": "dict", "required": True},
            "prune": {"type": "bool", "default": False},
            "allow_deferred": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        registered = _register(module.params["desired"]["cluster"], module.check_mode)
        made = _plan(module)
        if not module.check_mode:
            for operation in made.operations:
                _run("sacctmgr", "--immediate", *operation)
    except ValueError as error:
        module.fail_json(msg=str(error))
    except _CommandError as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        # Before the first run there is no accounting yet, and a dry run makes none.
        module.exit_json(changed=True, skipped_because=str(error), operations=[], undeclared=[], deferred=[])
    lines = [" ".join(operation) for operation in (registered, *made.operations) if operation]
    if made.undeclared:
        module.warn(f"Slurm's accounting holds what the inventory does not: {'; '.join(made.undeclared)}.")
    module.exit_json(
        changed=bool(lines),
        operations=lines,
        undeclared=list(made.undeclared),
        deferred=list(made.deferred),
        diff={"before": "", "after": "".join(f"sacctmgr {line}\n" for line in lines)},
    )


if __name__ == "__main__":
    main()
