"""Reads inventories with Ansible itself: a path a line comes in, what Ansible makes of it goes out as JSON."""

import json
import sys
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.vars.manager import VariableManager

MAGIC = {"inventory_dir", "inventory_file", "inventory_hostname", "inventory_hostname_short", "group_names", "groups"}


def read(path: str) -> dict[str, Any]:
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[path])
    manager = VariableManager(loader=loader, inventory=inventory)
    hosts = {}
    for host in inventory.get_hosts():
        variables = manager.get_vars(host=host, include_hostvars=False, stage="all")
        hosts[str(host.name)] = {
            str(name): value
            for name, value in variables.items()
            if name not in MAGIC and not str(name).startswith(("ansible_", "omit", "playbook_dir", "environment"))
        }
    groups = {str(name): [str(host) for host in hosts] for name, hosts in inventory.get_groups_dict().items()}
    return {"hosts": hosts, "groups": groups}


if __name__ == "__main__":
    init_plugin_loader([])
    for line in sys.stdin:
        sys.stdout.write(json.dumps(read(line.rstrip("\n"))) + "\n")
        sys.stdout.flush()
