"""The lookup `cuda_compatibility`: what does not go together between toolkits, a driver and GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

if TYPE_CHECKING:
    from fleetward.model.compatibility_table import Rules

DOCUMENTATION = """
name: cuda_compatibility
author: Fleetward
version_added: "0.1.0"
short_description: What does not go together between CUDA toolkits, a driver and GPUs
description:
  - Holds each toolkit against the rules that the inventory is held against, with the site's word on them, and returns a
    sentence for each that is broken. An inventory declares one CUDA for a node; a node may have several toolkits.
options:
  _terms:
    description: Releases of the toolkit, such as V(12.8.1).
    required: true
    type: list
    elements: str
  driver:
    description: The driver's version, or its beginning; empty where it is not known.
    type: str
    default: ""
  gpu:
    description: The GPUs as the hardware profile has them.
    type: dict
    default: {}
  site:
    description: The site's word on the rules, as in C(fleet_compatibility).
    type: dict
    default: {}
"""

EXAMPLES = """
- name: Refuse toolkits that the driver does not run
  ansible.builtin.assert:
    that: broken | length == 0
  vars:
    broken: "{{ query('cuda_compatibility', '13.0.2', driver='570.195.03', gpu={'model': 'h100'}) }}"
"""

RETURN = """
_list:
  description: The sentences.
  type: list
  elements: str
"""


class LookupModule(LookupBase):
    """Asks the rules of `fleetward.model`."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: object) -> list[str]:
        """Return a sentence for each rule that one of the toolkits in `terms` breaks."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            from fleetward.model.compatibility_files import read_rules
            from fleetward.model.compatibility_schema import CompatibilityDeclaration
            from fleetward.model.errors import FleetwardError
        except ImportError as error:
            raise AnsibleError(
                f"The lookup cuda_compatibility needs the package fleetward in the Python that runs Ansible: {error}"
            ) from error
        try:
            site = CompatibilityDeclaration.model_validate(_plain(self.get_option("site"))).site_rules()
            rules = read_rules(site)
            return [
                sentence
                for release in terms
                for sentence in broken(str(release), str(self.get_option("driver")), self.get_option("gpu"), rules)
            ]
        except (FleetwardError, ValueError) as error:
            raise AnsibleError(f"What goes with CUDA cannot be told: {error}") from error


def broken(release: str, driver: str, gpu: Mapping[str, Any], rules: Rules) -> list[str]:
    """Return what does not go together with one toolkit, among all rules that are about CUDA."""
    from fleetward.model.compatibility import judge
    from fleetward.model.software import Version

    facts: dict[str, Any] = {"cuda": Version.parse(release)}
    if driver:
        facts["nvidia_driver"] = Version.parse(driver)
    if gpu.get("model"):
        model, generation = rules.known_model(str(gpu["model"])) or (str(gpu["model"]), "")
        facts["gpu_model"] = model
        if generation := str(gpu.get("generation") or generation):
            facts["gpu_generation"] = generation
    about_cuda = {rule.id for rule in rules.rules if "cuda" in rule.when or "cuda" in rule.needs}
    return [
        f"{one.sentence} (rule {one.rule}, from: {one.source})" for one in judge(facts, rules) if one.rule in about_cuda
    ]


def _plain(value: object) -> object:
    """Return what Ansible hands out as YAML has it, without its own kinds of text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, str) else value
