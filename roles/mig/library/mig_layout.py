#!/usr/bin/python
"""Ansible module: divide a node's GPUs into MIG instances as planned, where nothing uses them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mig_plan import Instance, Profile, Profiles, place
from ansible.module_utils.mig_smi import (
    AGAIN,
    APPLICATIONS,
    NOTHING_TO_LIST,
    QUERY,
    AnswerError,
    GpuState,
    blocked,
    differs,
    read_profiles,
    read_states,
)

DOCUMENTATION = """
module: mig_layout
short_description: Divides GPUs into MIG instances
description:
  - Brings every GPU of the host to the instances that are wanted, each with one compute instance over all of it, and
    turns MIG off on the others. Touches no GPU that is as it shall be.
  - Fails, and changes nothing, where the node is not drained for planned work or where programs use its GPUs.
options:
  wanted:
    description: What each GPU that is divided is to have, by its number, as M(mig_plan) returns it.
    type: dict
    required: true
  node:
    description: The node's name in Slurm; empty where Slurm does not have to know.
    type: str
    default: ""
author: The Fleetward authors
"""

EXAMPLES = """
- name: Two halves on GPU 0, and all others whole
  mig_layout:
    wanted: {"0": {"3g.40gb": 2}}
    node: gpu001
"""

RETURN = """
differences:
  description: Which GPUs were not as wanted, and how.
  returned: always
  type: dict
blocked:
  description: Why they may not be divided anew now; empty where they may.
  returned: always
  type: str
reboot_why:
  description: Why the layout is not there before the next reboot; empty where it is.
  returned: always
  type: str
instances:
  description: The profile and start of each instance that is there, or comes with the next reboot, by GPU.
  returned: always
  type: dict
skipped_because:
  description: Why a dry run could not tell what would be done.
  returned: in check mode, where there is no nvidia-smi yet
  type: str
"""

TIMEOUT_SECONDS = 120
ENVIRONMENT = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LC_ALL": "C.UTF-8"}


class _CommandError(Exception):
    """A program failed; the message says which and how."""


class _NoProgramError(_CommandError):
    """A program is not installed."""


def _run(*command: str, may_fail_with: tuple[str, ...] = ()) -> str:
    shown = " ".join(command)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            env={**ENVIRONMENT, **{name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}},
            check=False,
        )
    except FileNotFoundError:
        raise _NoProgramError(f"{command[0]} is not installed on this host") from None
    except subprocess.TimeoutExpired:
        raise _CommandError(f"`{shown}` gave no answer within {TIMEOUT_SECONDS} s") from None
    if done.returncode != 0:
        said = " ".join((done.stderr + done.stdout).split())
        if any(words in said for words in may_fail_with):
            return ""
        raise _CommandError(f"`{shown}` failed: {said or f'exit status {done.returncode}'}")
    return done.stdout


def _smi(*arguments: str) -> str:
    return _run("nvidia-smi", *arguments, may_fail_with=NOTHING_TO_LIST)


def _states() -> dict[int, GpuState]:
    states: dict[int, GpuState] = read_states(_smi(*QUERY), _smi("mig", "-lgi"), _smi("-L"))
    return states


def _blocked(node: str) -> str:
    """Return why the GPUs may not be divided now; a node that Slurm does not know has no jobs."""
    said = ""
    if node:
        try:
            said = _run("scontrol", "show", "node", node, may_fail_with=(f"Node {node} not found",))
        except _NoProgramError:
            pass
        except _CommandError as error:
            return f"may have jobs, since Slurm does not answer ({error}): see that slurmctld runs, and {AGAIN}"
    why: str = blocked(node, said, _smi(*APPLICATIONS))
    return why


def _differences(states: Mapping[int, GpuState], wanted: Mapping[int, Profiles]) -> dict[int, str]:
    found = {number: differs(state, wanted.get(number)) for number, state in states.items()}
    found |= {number: "knows no MIG, or is not there" for number in wanted if number not in states}
    return {number: difference for number, difference in sorted(found.items()) if difference}


def _apply(number: int, state: GpuState, wanted: Profiles | None) -> str:
    """Divide one GPU anew; return why that takes a reboot, or nothing."""
    gpu = str(number)
    if state.devices:
        _smi("mig", "-i", gpu, "-dci")
    if state.instances:
        _smi("mig", "-i", gpu, "-dgi")
    if state.mig != (wanted is not None) or state.pending != (wanted is not None):
        said = _smi("-i", gpu, "-mig", "0" if wanted is None else "1")
        now = _states()[number]
        if now.mig != (wanted is not None):
            warning = next(
                (line for line in said.splitlines() if line.startswith("Warning")), "the driver has not said why"
            )
            return f"MIG mode of GPU {number} changes with a reset of it only ({warning[:160]})"
    if wanted is not None:
        instances = ",".join(f"{one.profile}:{one.start}" for one in _placed(number, wanted))
        _smi("mig", "-i", gpu, "-cgi", instances, "-C")
    return ""


def _placed(number: int, wanted: Profiles) -> list[Instance]:
    """Return where instances go by what the GPU itself says; _CommandError where it says that they do not fit."""
    known: dict[str, Profile] = read_profiles(
        _smi("mig", "-i", str(number), "-lgip"), _smi("mig", "-i", str(number), "-lgipp"), number
    )
    if unknown := sorted(set(wanted) - set(known)):
        told = ", ".join(sorted(known)) or "told of none"
        raise _CommandError(
            f"GPU {number} itself has no profile {', '.join(unknown)}; it has {told}: "
            "is the hardware profile the right one?"
        )
    placed: list[Instance] | None = place([known[name] for name, many in wanted.items() for _ in range(many)])
    if placed is None:
        raise _CommandError(
            f"GPU {number} itself has no place for these instances: nvidia-smi mig -lgipp says which it has"
        )
    return placed


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"wanted": {"type": "dict", "required": True}, "node": {"type": "str", "default": ""}},
        supports_check_mode=True,
    )
    wanted: dict[int, Profiles] = {int(number): profiles for number, profiles in module.params["wanted"].items()}
    try:
        _exit(module, wanted)
    except _NoProgramError as error:
        if not module.check_mode:
            module.fail_json(msg=f"{error}: install NVIDIA's driver first (group nvidia_driver)")
        module.exit_json(
            changed=bool(wanted), skipped_because=str(error), differences={}, blocked="", reboot_why="", instances={}
        )
    except (_CommandError, AnswerError) as error:
        module.fail_json(msg=str(error))


def _exit(module: AnsibleModule, wanted: Mapping[int, Profiles]) -> None:
    before = _states()
    differences = _differences(before, wanted)
    why_not = _blocked(module.params["node"]) if differences else ""
    reboot_why: list[str] = []
    now = before
    if differences and not module.check_mode:
        if absent := [number for number in differences if number not in before]:
            module.fail_json(msg=f"GPU {', '.join(map(str, absent))} knows no MIG, or is not there: correct mig_layout")
        if why_not:
            module.fail_json(msg=f"{module.params['node'] or 'This host'} {why_not}. Nothing of its GPUs was changed.")
        reboot_why = [why for number in differences if (why := _apply(number, before[number], wanted.get(number)))]
        now = _states()
        left = _differences(now, wanted)
        if left and not reboot_why:
            module.fail_json(msg=f"After all of it: {'; '.join(f'GPU {number} {how}' for number, how in left.items())}")
    module.exit_json(
        changed=bool(differences),
        differences={str(number): how for number, how in differences.items()},
        blocked=why_not,
        reboot_why="; ".join(reboot_why),
        instances={str(number): _told(now[number], of) for number, of in wanted.items() if number in now},
        diff={
            "before": "".join(f"GPU {number} {how}\n" for number, how in differences.items()),
            "after": "",
        },
    )


def _told(state: GpuState, wanted: Profiles) -> list[str]:
    """Return the instances of a GPU as nvidia-smi takes them; those that are yet to come have no place."""
    if not differs(state, wanted):
        return [f"{one.profile}:{one.start}" for one in state.instances]
    size = {name: float(name.partition("g.")[2].partition("gb")[0] or 0) for name in wanted}
    return [name for name in sorted(wanted, key=lambda name: (-size[name], name)) for _ in range(wanted[name])]


if __name__ == "__main__":
    main()
