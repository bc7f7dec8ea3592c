"""The lookup `fleet`: files rendered from the inventory, for the roles to put in place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

if TYPE_CHECKING:
    from fleetward.slurm.configuration_cache import RenderedInventory

NOT_IN_EVERY_FLEET = ("topology.conf", "prolog.sh", "epilog.sh")

DOCUMENTATION = """
name: fleet
author: Fleetward
version_added: "0.1.0"
short_description: Files rendered from the inventory
description:
  - Reads the inventory as declared, checks it, and returns the text of a file that follows from it.
  - No host is asked, and no fact is used.
options:
  _terms:
    description:
      - Names of files, such as V(slurm.conf), V(gres.conf), V(cgroup.conf), V(topology.conf), V(hosts),
        V(accounting.json), V(targets/gpu.json), V(rules/fleet.json), or V(node.json) together with O(host).
      - V(topology.conf) is empty where the fleet declares no switches, V(prolog.sh) and V(epilog.sh) where it
        has no GPUs.
      - V(problems), alone, returns what is wrong with the inventory, one sentence each; use query for it. Software that
        does not go together is among them, but keeps no file from being rendered.
    required: true
    type: list
    elements: str
  host:
    description: The host whose V(node.json) is wanted.
    type: str
  inventory:
    description: Another inventory than the one that the play runs on.
    type: path
"""

EXAMPLES = """
- name: The text of slurm.conf
  ansible.builtin.copy:
    content: "{{ lookup('fleet', 'slurm.conf') }}"
    dest: /etc/slurm/slurm.conf
    mode: "0644"

- name: Refuse an inventory that does not add up
  ansible.builtin.assert:
    that: fleet_problems | length == 0
    fail_msg: "{{ fleet_problems | join('\\n') }}"
  vars:
    fleet_problems: "{{ query('fleet', 'problems') }}"
"""

RETURN = """
_list:
  description: The text of each file; for V(problems) the sentences.
  type: list
  elements: str
"""

PROBLEMS = "problems"


class LookupModule(LookupBase):
    """Hands out what `fleetward.slurm` renders."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: object) -> list[str]:
        """Return one text for each name in `terms`."""
        self.set_options(var_options=variables, direct=kwargs)
        inventory = self._inventory(variables or {})
        try:
            from fleetward.model.errors import FleetwardError
            from fleetward.slurm.configuration_cache import rendered

            # Ansible's own scratch folder: shared by the forks of this run, closed to others, removed at its end.
            files = rendered(inventory, Path(constants.DEFAULT_LOCAL_TMP))
        except ImportError as error:
            raise AnsibleError(
                "The lookup fleet needs the package fleetward with its head extra in the Python that runs Ansible: "
                f"{error}"
            ) from error
        if list(terms) == [PROBLEMS]:
            return [*files.problems, *files.incompatibilities]
        if files.problems:
            listed = "; ".join(files.problems)
            raise AnsibleError(f"The inventory {inventory} cannot be used: {listed}")
        try:
            return [_file(files, str(term), self.get_option("host")) for term in terms]
        except FleetwardError as error:
            raise AnsibleError(str(error)) from error

    def _inventory(self, variables: Mapping[str, Any]) -> Path:
        option = self.get_option("inventory")
        if option:
            return Path(option)
        sources = variables.get("ansible_inventory_sources") or []
        if len(sources) == 1:
            return Path(str(sources[0]))
        if variables.get("inventory_dir"):
            return Path(str(variables["inventory_dir"]))
        raise AnsibleError(
            f"The lookup fleet reads one inventory, but there are {len(sources)}; give one -i, or the option inventory="
        )


def _file(files: RenderedInventory, name: str, host: str | None) -> str:
    if name in NOT_IN_EVERY_FLEET:
        return files.shared.get(name, "")
    return files.text(name, host)
