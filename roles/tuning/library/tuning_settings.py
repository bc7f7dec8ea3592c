#!/usr/bin/python
"""Ansible module: hold the kernel to settings, and put back what is no longer one of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: tuning_settings
short_description: Holds the kernel to settings that are files of /proc and /sys
description:
  - Writes values into files, and remembers what was in each before it was first written.
  - A file that is remembered and no longer among O(settings) gets back what it had, and is forgotten.
  - What the kernel does not take, or does not have, is returned and is no failure.
  - In a container only what is below C(/proc/sys/net) is its own; all else is the host's and is left alone.
options:
  settings:
    description: Values by file; names may be patterns of the shell.
    type: dict
    required: true
  record:
    description: The file with what was there before.
    type: path
    required: true
author: The Fleetward authors
"""

EXAMPLES = """
- name: Keep memory where it is
  tuning_settings:
    settings: {/proc/sys/kernel/numa_balancing: "0"}
    record: /var/lib/fleetward-tuning/before.json
"""

RETURN = """
left:
  description: What is not as it is wanted, a sentence each.
  returned: always
  type: list
  elements: str
"""

_OWN_OF_CONTAINERS = "/proc/sys/net/"


@dataclass
class Outcome:
    """What came of it."""

    before: dict[str, str] = field(default_factory=dict)
    """What was there before the first write, by file: what is to be remembered."""
    changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Old and new value by file."""
    left: list[str] = field(default_factory=list)


def read(path: str) -> str:
    """Return a setting in single blanks; of `always [madvise] never` the word in brackets."""
    text = " ".join(Path(path).read_text(encoding="utf-8").split())
    chosen = re.search(r"\[([^\]]+)\]", text)
    return chosen[1] if chosen else text


def expand(settings: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the values by file that is there, and a sentence for each pattern that stands for none."""
    found: dict[str, str] = {}
    missing = []
    for pattern, value in settings.items():
        paths = sorted(str(path) for path in Path("/").glob(pattern.lstrip("/")))
        found.update(dict.fromkeys(paths, value))
        if not paths:
            missing.append(f"there is no {pattern}")
    return found, missing


def apply(settings: Mapping[str, str], before: Mapping[str, str], *, container: bool, dry: bool) -> Outcome:
    """Write what is wanted, and put back what no longer is; with `dry` only say what that would change."""
    wanted, missing = expand(settings)
    outcome = Outcome(dict(before), {}, missing)
    targets = {path: value for path, value in before.items() if path not in wanted} | wanted
    for path, value in targets.items():
        if not Path(path).exists():
            outcome.before.pop(path, None)  # a disk that is gone
            continue
        if container and not path.startswith(_OWN_OF_CONTAINERS):
            outcome.left.append(f"{path} is the setting of the container's host")
            continue
        try:
            old = read(path)
        except OSError as error:
            outcome.left.append(f"{path} cannot be read: {error.strerror}")
            continue
        normal = " ".join(value.split())
        if old != normal and not _write(path, old, normal, outcome, dry=dry):
            continue
        if path in wanted:
            outcome.before.setdefault(path, old)
        else:
            del outcome.before[path]
    return outcome


def _write(path: str, old: str, value: str, outcome: Outcome, *, dry: bool) -> bool:
    """Write one setting; returns whether the kernel took any of it, and keeps a sentence where it did not take all."""
    if dry:
        if not os.access(path, os.W_OK):
            outcome.left.append(f"{path} cannot be written, and has {old}")
            return False
        outcome.changed[path] = (old, value)
        return True
    try:
        Path(path).write_text(value, encoding="utf-8")
    except OSError as error:
        outcome.left.append(f"{path} keeps {old}: {error.strerror}")
        return False
    new = read(path)
    if new != value:
        outcome.left.append(f"{path} has {new} after {value} was written")
    if new != old:
        outcome.changed[path] = (old, new)
    return True


def remembered(record: Path) -> dict[str, str]:
    """Return what was there before, by file; raises ValueError where the record is none."""
    if not record.exists():
        return {}
    content = json.loads(record.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise ValueError("it is no map of files to values")
    return content


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"settings": {"type": "dict", "required": True}, "record": {"type": "path", "required": True}},
        supports_check_mode=True,
    )
    record = Path(module.params["record"])
    try:
        before = remembered(record)
    except ValueError as error:
        module.fail_json(msg=f"{record} cannot be read ({error}): move it away; settings come back with a reboot")
    settings = {path: str(value) for path, value in module.params["settings"].items()}
    detector = module.get_bin_path("systemd-detect-virt")
    container = bool(detector) and module.run_command([detector, "--container", "--quiet"])[0] == 0
    outcome = apply(settings, before, container=container, dry=module.check_mode)
    if outcome.before != before and not module.check_mode:
        record.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = Path(module.tmpdir) / record.name
        new.write_text(json.dumps(outcome.before, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        module.atomic_move(str(new), str(record))
    diff = {
        "before": "".join(f"{path} {old}\n" for path, (old, _) in outcome.changed.items()),
        "after": "".join(f"{path} {new}\n" for path, (_, new) in outcome.changed.items()),
    }
    module.exit_json(changed=bool(outcome.changed), left=outcome.left, diff=diff)


if __name__ == "__main__":
    main()
