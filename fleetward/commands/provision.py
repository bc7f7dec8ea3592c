"""`fleetward provision`: bring hosts to what the inventory declares."""

import json
from pathlib import Path

import click


@click.command()
@click.option(
    "--inventory", "-i", type=click.Path(path_type=Path), help="The inventory's folder.  [default: inventories/lab]"
)
@click.option("--limit", help="Only these hosts (Ansible's patterns); hosts that list every node are added.")
@click.option("--tags", help="Only tasks with these tags: a role, or a stage of one such as munge_configure.")
@click.option("--skip-tags", help="All but tasks with these tags.")
@click.option("--check", is_flag=True, help="Change nothing; tell what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def provision(
    inventory: Path | None, limit: str | None, tags: str | None, skip_tags: str | None, check: bool, as_json: bool
) -> None:
    """Bring hosts to what the inventory declares, with playbooks/site.yml.

    A wrong inventory, and one whose software does not go together, is refused before any host is touched.
    """
    from fleetward.lab.progress import for_stderr
    from fleetward.model.inventory import read_fleet
    from fleetward.operations import provision as provisioning
    from fleetward.operations.playbook import PlaybookRun

    folder = inventory or provisioning.default_inventory()
    fleet = read_fleet(folder)
    provisioning.refuse_incompatible(folder, fleet)
    wanted = provisioning.with_control_plane(
        PlaybookRun(inventory=folder, limit=limit, tags=tags, skip_tags=skip_tags, check=check),
        provisioning.control_plane(fleet),
    )
    if limit is not None:
        click.echo(f"limited to {wanted.limit}: the control plane's files list every node", err=True)
    with for_stderr().step("ansible-playbook playbooks/site.yml") as detail:
        result = provisioning.provision(wanted, detail)
    if as_json:
        click.echo(json.dumps({"changed": dict(result.changed), "ok": dict(result.ok)}, indent=2))
    else:
        for host in sorted(result.ok):
            click.echo(f"{host:<20} ok={result.ok[host]} changed={result.changed.get(host, 0)}")
