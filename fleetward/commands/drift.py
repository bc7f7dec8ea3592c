"""`fleetward drift`: how far hosts are from what the inventory declares."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._daemon import document, json_option, settings
from fleetward.commands._table import echo_json, note, table
from fleetward.model.errors import ExitCode, FleetwardError, OutOfReachError
from fleetward.printable import printable

if TYPE_CHECKING:
    from fleetward.operations.drift import Drift


@click.command()
@click.option(
    "--inventory", "-i", type=click.Path(path_type=Path), help="The inventory's folder.  [default: inventories/lab]"
)
@click.option("--limit", help="Only these hosts (Ansible's patterns).")
@click.option("--tags", help="Only tasks with these tags: a role, or a stage of one such as munge_configure.")
@click.option(
    "--metrics",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write metrics into this file, such as one of node_exporter's textfile collector; its name ends in .prom.",
)
@json_option
def drift(inventory: Path | None, limit: str | None, tags: str | None, metrics: Path | None, as_json: bool) -> None:
    """Say what playbooks/site.yml would change on each host, role by role; nothing is changed.

    Exit code 0: all hosts are as declared; 5: some differ, or could not be looked at to their end; 3: none answered.
    """
    from fleetward.lab.progress import for_stderr
    from fleetward.operations import drift as drifting
    from fleetward.operations.playbook import PlaybookRun
    from fleetward.operations.provision import default_inventory
    from fleetward.operations.provision_vault import vault_environment

    folder = inventory or default_inventory()
    environment = vault_environment(folder, settings().provision.vault_password_file, os.environ)
    wanted = PlaybookRun(folder, limit=limit, tags=tags, check=True, environment=environment)
    with for_stderr().step("ansible-playbook playbooks/site.yml --check") as detail:
        found = drifting.look(wanted, datetime.now(UTC), detail)
    if not found.hosts:
        raise FleetwardError("Ansible looked at no host; see `fleetward provision --check` for what it says")
    if metrics is not None:
        from fleetward.node.files import replace_file

        try:
            replace_file(metrics, drifting.metrics(found))
        except OSError as error:
            why = f"{metrics} cannot be written: {error.strerror}; name a file of a folder of yours"
            raise FleetwardError(why) from error
    if as_json:
        echo_json(document(found))
    else:
        _print(found)
    if all(host.unknown for host in found.hosts):
        raise OutOfReachError(f"no host could be looked at: {found.hosts[0].host}: {found.hosts[0].unknown}")
    if found.found:
        raise SystemExit(ExitCode.FINDINGS)


def _print(found: "Drift") -> None:
    rows = [
        (host.host, role, str(len(tasks)), printable("; ".join(tasks)))
        for host in found.hosts
        for role, tasks in host.differs.items()
    ]
    if rows:
        click.echo(table(("HOST", "ROLE", "TASKS", "WHAT WOULD CHANGE SOMETHING"), rows))
    for host in found.hosts:
        if host.unknown:
            note(f"{host.host}: not known: {host.unknown}")
    note(f"{len(found.hosts)} hosts, {sum(host.in_order for host in found.hosts)} as declared")
