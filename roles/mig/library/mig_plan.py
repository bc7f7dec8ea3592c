#!/usr/bin/python
"""Ansible module: hold a MIG layout against what the GPUs can be divided into. Asks no GPU."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mig_plan import LayoutError, choose_gpu, gres, plan

DOCUMENTATION = """
module: mig_plan
short_description: Holds a MIG layout against what the GPUs can be divided into
description:
  - Fails with every reason for which a layout does not add up. Changes nothing, and asks no GPU.
options:
  layout:
    description: Sets of GPUs, such as C(0-3), to profiles and how many of each one GPU is to have.
    type: dict
    required: true
  table:
    description: What GPUs can be divided into, by name.
    type: dict
    required: true
  gpu:
    description: The row of the table; the one of O(model) with the nearest memory where none is given.
    type: str
    default: ""
  model:
    description: The GPUs' model as the hardware profile has it.
    type: str
    default: ""
  memory_mib:
    description: The memory of one GPU.
    type: int
    default: 0
  count:
    description: How many GPUs there are.
    type: int
    required: true
author: The Fleetward authors
"""

EXAMPLES = """
- name: Two halves on each of four GPUs
  mig_plan:
    layout: {"0-3": {"3g.40gb": 2}}
    table: "{{ tables }}"
    model: h100
    memory_mib: 81559
    count: 8
"""

RETURN = """
wanted:
  description: What each GPU that is divided is to have, by its number.
  returned: success
  type: dict
gres:
  description: What the node then has to hand out, by type.
  returned: success
  type: dict
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "layout": {"type": "dict", "required": True},
            "table": {"type": "dict", "required": True},
            "gpu": {"type": "str", "default": ""},
            "model": {"type": "str", "default": ""},
            "memory_mib": {"type": "int", "default": 0},
            "count": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    if not given["layout"]:
        module.exit_json(changed=False, wanted={}, gres=gres({}, given["model"], given["count"]))
    try:
        gpu = choose_gpu(given["table"], given["gpu"], given["model"], given["memory_mib"])
        wanted = plan(given["layout"], gpu, given["count"])
    except LayoutError as error:
        module.fail_json(msg=f"The MIG layout does not add up: {error}")
    module.exit_json(
        changed=False,
        wanted={str(number): profiles for number, profiles in wanted.items()},
        gres=gres(wanted, given["model"], given["count"]),
    )


if __name__ == "__main__":
    main()
