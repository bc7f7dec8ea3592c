"""The lookup `hashicorp_vault`: secrets from the engine KV version 2 of a HashiCorp Vault, or of an OpenBao."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: hashicorp_vault
author: Fleetward
version_added: "0.1.0"
short_description: Secrets from HashiCorp Vault
description:
  - Reads a secret of the engine KV version 2 over HTTP, with a token from a file or by an AppRole.
  - Every evaluation asks Vault, and nothing that Vault answers is written to a disk.
  - A lookup cannot hide what a task prints. The task that uses a secret needs C(no_log), as those of the roles have.
options:
  _terms:
    description: Paths below the engine's mount, such as V(fleet/slurm), without V(data/).
    required: true
    type: list
    elements: str
  key:
    description: The key whose value is wanted. Without one the whole map is returned.
    type: str
  mount:
    description: Where the engine is mounted.
    type: str
    default: secret
    vars: [{name: hashicorp_vault_mount}]
  address:
    description: Vault's address, such as V(https://vault.example.org:8200). Plain http is for a Vault on this host.
    type: str
    vars: [{name: hashicorp_vault_address}]
    env: [{name: VAULT_ADDR}]
  namespace:
    description: The namespace, where Vault has such.
    type: str
    default: ""
    vars: [{name: hashicorp_vault_namespace}]
    env: [{name: VAULT_NAMESPACE}]
  ca_file:
    description: The certificates that vouch for Vault's. Those of the system, where none is given.
    type: path
    vars: [{name: hashicorp_vault_ca_file}]
    env: [{name: VAULT_CACERT}]
  token_file:
    description: A file with a token on the machine that runs Ansible.
    type: path
    default: ~/.vault-token
    vars: [{name: hashicorp_vault_token_file}]
  role_id_file:
    description: A file with the ID of an AppRole. Where it is given, O(token_file) is not read.
    type: path
    vars: [{name: hashicorp_vault_role_id_file}]
  secret_id_file:
    description: A file with the secret ID of that AppRole. Left out for a role without one.
    type: path
    vars: [{name: hashicorp_vault_secret_id_file}]
  approle_mount:
    description: Where the AppRole method is mounted.
    type: str
    default: approle
    vars: [{name: hashicorp_vault_approle_mount}]
  timeout:
    description: Seconds to wait for each answer.
    type: float
    default: 10
    vars: [{name: hashicorp_vault_timeout}]
"""

EXAMPLES = """
- name: A password that no inventory holds, in group_vars/slurm_database.yml
  ansible.builtin.debug:
    msg: >-
      slurm_database_password: "{{ lookup('hashicorp_vault', 'fleet/slurm', key='database_password') }}"
"""

RETURN = """
_raw:
  description: For each path the value of O(key), or the whole map.
  type: list
  elements: raw
"""


class LookupModule(LookupBase):
    """Asks Vault through `fleetward.operations.hashicorp_vault`."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: object) -> list[Any]:
        """Return one value for each path in `terms`."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            from fleetward.model.errors import FleetwardError
            from fleetward.operations.hashicorp_vault import Connection, read
        except ImportError as error:
            raise AnsibleError(
                "The lookup hashicorp_vault needs the package fleetward with its head extra in the Python that runs "
                f"Ansible: {error}"
            ) from error
        connection = Connection(
            address=str(self.get_option("address") or ""),
            namespace=str(self.get_option("namespace") or ""),
            ca_file=str(self.get_option("ca_file") or ""),
            seconds=float(self.get_option("timeout")),
            token_file=str(self.get_option("token_file")),
            role_id_file=str(self.get_option("role_id_file") or ""),
            secret_id_file=str(self.get_option("secret_id_file") or ""),
            approle_mount=str(self.get_option("approle_mount")),
        )
        mount, key = str(self.get_option("mount")), self.get_option("key")
        try:
            return [read(connection, mount, str(term), None if key is None else str(key)) for term in terms]
        except FleetwardError as error:
            # without its cause: what failed below may quote a request, and with it a token
            raise AnsibleError(str(error)) from None
