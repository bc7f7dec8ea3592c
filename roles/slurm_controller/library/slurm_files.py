#!/usr/bin/python
"""Ansible module: put several text files into one folder, in one step."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: slurm_files
short_description: Puts several text files into one folder
description:
  - Does for a map of files what M(ansible.builtin.copy) does for one, without a connection for each.
options:
  directory:
    description: The folder, which must be there.
    type: path
    required: true
  files:
    description: Texts by file name.
    type: dict
    required: true
  programs:
    description: Names of those that are run, and so get the mode C(0755) instead of O(mode).
    type: list
    elements: str
    default: []
extends_documentation_fragment: [ansible.builtin.files]
author: The Fleetward authors
"""

EXAMPLES = """
- name: Two files
  slurm_files:
    directory: /etc/slurm
    files: {cgroup.conf: "CgroupPlugin=autodetect\\n", plugstack.conf: ""}
    mode: "0644"
"""

RETURN = """
written:
  description: The names of the files whose text was not as given.
  returned: always
  type: list
  elements: str
"""


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
            "programs": {"type": "list", "elements": "str", "default": []},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    directory = Path(module.params["directory"])
    if not directory.is_dir():
        module.fail_json(msg=f"{directory} is no folder: install what makes it first")
    changed, written, diff = False, [], []
    for name, text in module.params["files"].items():
        path = directory / name
        if path.parent != directory:
            module.fail_json(msg=f"{name!r} is no file name: leave out the folder")
        before = _read(path)
        if before != text:
            written.append(name)
            diff.append({"before_header": str(path), "after_header": str(path), "before": before or "", "after": text})
            if not module.check_mode:
                new = Path(module.tmpdir) / name
                new.write_text(text, encoding="utf-8")
                module.atomic_move(str(new), str(path))
        if path.exists():
            mode = {"mode": "0755"} if name in module.params["programs"] else {}
            attributes = module.load_file_common_arguments({**module.params, **mode}, path=str(path))
            changed = module.set_fs_attributes_if_different(attributes, changed)
    module.exit_json(changed=changed or bool(written), written=written, diff=diff)


if __name__ == "__main__":
    main()
