"""`fleetward provision`: bring hosts to what the inventory declares, and tell of the runs that did."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._daemon import document, json_option, settings
from fleetward.commands._table import echo_json, note
from fleetward.model.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from fleetward.operations.playbook import PlaybookRun
    from fleetward.operations.provision_run import Carried

_MOST_NOTES = 10


def run_number(text: str) -> int:
    """Return a run's number: 12 is also `p12`."""
    digits = text.removeprefix("p")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 9 or int(digits) == 0:
        raise click.BadParameter(f"{text} is no run; write its number, such as 12 or p12")
    return int(digits)


@click.group(invoke_without_command=True)
@click.option(
    "--inventory", "-i", type=click.Path(path_type=Path), help="The inventory's folder.  [default: inventories/lab]"
)
@click.option("--limit", help="Only these hosts (Ansible's patterns); hosts that list every node are added.")
@click.option("--tags", help="Only tasks with these tags: a role, or a stage of one such as munge_configure.")
@click.option("--skip-tags", help="All but tasks with these tags.")
@click.option("--check", is_flag=True, help="Change nothing; tell what would change.")
@click.option(
    "--vault-password-file",
    type=click.Path(path_type=Path),
    help="A file with the password of Ansible Vault, or a program that prints it.  "
    "[env var: FLEETWARD_PROVISION_VAULT_PASSWORD_FILE]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def provision(
    context: click.Context,
    inventory: Path | None,
    limit: str | None,
    tags: str | None,
    skip_tags: str | None,
    check: bool,
    vault_password_file: Path | None,
    as_json: bool,
) -> None:
    """Bring hosts to what the inventory declares, with playbooks/site.yml.

    A wrong inventory, one whose software does not go together, and a vault password that does not open it are refused
    before any host is touched. Each run is kept on record: see `history` and `show`.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    from fleetward.operations import provision as provisioning
    from fleetward.operations.playbook import PlaybookRun

    folder = inventory or provisioning.default_inventory()
    run = PlaybookRun(inventory=folder, limit=limit, tags=tags, skip_tags=skip_tags, check=check)
    carried = _carried_out(_prepared(run, vault_password_file))
    if as_json:
        echo_json(_told(carried))
    elif carried.result.status == 0:
        for host in sorted(carried.result.ok):
            click.echo(f"{host:<20} ok={carried.result.ok[host]} changed={carried.result.changed.get(host, 0)}")
    if carried.record.state == "interrupted":
        note(f"interrupted; `fleetward provision show {carried.record.name}` says how far each host is")
        raise SystemExit(ExitCode.INTERRUPTED)
    provisioning.judged(carried.result, f"; `fleetward provision show {carried.record.name}` has all of it")


def _refuse_options(context: click.Context) -> None:
    typed = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name and context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if typed:
        raise UsageError(f"{typed[0]} is for a run; write options of `{context.invoked_subcommand}` behind its name")


def _prepared(run: "PlaybookRun", vault_password_file: Path | None) -> "PlaybookRun":
    """Return a run with all that it takes, once nothing speaks against it; no host is asked here."""
    from dataclasses import replace

    from fleetward.model.inventory import read_fleet
    from fleetward.model.inventory_variables import unknown_variables
    from fleetward.operations import provision as provisioning
    from fleetward.operations.provision_vault import vault_environment

    fleet = read_fleet(run.inventory)
    provisioning.refuse_incompatible(run.inventory, fleet)
    password_file = str(vault_password_file or settings().provision.vault_password_file)
    environment = vault_environment(run.inventory, password_file, os.environ)
    unknown = unknown_variables(run.inventory)
    for one in unknown[:_MOST_NOTES]:
        note(str(one))
    if len(unknown) > _MOST_NOTES:
        note(f"and {len(unknown) - _MOST_NOTES} more variables that nothing knows")
    wanted = provisioning.with_control_plane(replace(run, environment=environment), provisioning.control_plane(fleet))
    if run.limit is not None:
        note(f"limited to {wanted.limit}: the control plane's files list every node")
    return wanted


def _carried_out(wanted: "PlaybookRun") -> "Carried":
    from fleetward.commands._provision_view import watched
    from fleetward.operations.provision_progress import PlayProgress
    from fleetward.operations.provision_records import Records
    from fleetward.operations.provision_run import carry_out

    progress = PlayProgress()
    with watched(progress, "ansible-playbook playbooks/site.yml") as told:
        return carry_out(wanted, progress, Records.of_user(), told)


def _told(carried: "Carried") -> dict[str, object]:
    result, record = carried.result, carried.record
    return {
        "run": record.name,
        "state": record.state,
        "changed": dict(result.changed),
        "ok": dict(result.ok),
        "failures": list(record.failures),
    }


@provision.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first.")
@json_option
def history(limit: int, as_json: bool) -> None:
    """List the newest runs of yours on this machine."""
    from fleetward.commands import _provision_words as words
    from fleetward.operations.provision_records import RecordError, Records

    records = Records.of_user()
    found = []
    for number in records.numbers()[:limit]:
        try:
            found.append(records.read(number))
        except RecordError as error:
            note(str(error))
    if as_json:
        echo_json({"runs": [document(record) for record in found]})
    elif found:
        click.echo(words.history(found))
    else:
        note("no run is recorded here")


@provision.command()
@click.argument("number", metavar="RUN", type=run_number)
@json_option
def show(number: int, as_json: bool) -> None:
    """Show a run: who began it and on what, each host, and what failed in Ansible's last words. RUN is 12 or p12."""
    from fleetward.commands import _provision_words as words
    from fleetward.operations.provision_records import Records

    record = Records.of_user().read(number)
    if as_json:
        echo_json(document(record))
    else:
        click.echo(words.whole(record))
