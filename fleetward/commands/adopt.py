"""`fleetward adopt`: an inventory of a cluster that others configure, from what Slurm says of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._slurm import backend_option, note_unread, slurm
from fleetward.commands._table import echo_json, note
from fleetward.model.errors import FleetwardError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetward.slurm.adoption.adopting import Adoption
    from fleetward.slurm.adoption.folder import Found, Standing

_NO_EXPORTER = "none"
_MOST_REMARKS, _LONGEST_REMARK = 20, 400
_DONE = {"absent": "written", "outdated": "rewritten", "same": "unchanged", "foreign": "kept"}


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--cluster", metavar="NAME", help="Name of the cluster.  [default: as DIR has it, or DIR's own name]")
@click.option(
    "--with",
    "chosen",
    multiple=True,
    type=click.Choice(["gpu_exporter", "node_exporter", _NO_EXPORTER]),
    help="Have Fleetward install this on the nodes; may be given twice.  [default: as DIR has it, or none]",
)
@click.option("--update", is_flag=True, help="Write files anew that are as adopt wrote them; others are kept.")
@click.option("--dry-run", is_flag=True, help="Print the files and write none.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@backend_option
def adopt(
    folder: Path,
    cluster: str | None,
    chosen: tuple[str, ...],
    update: bool,
    dry_run: bool,
    as_json: bool,
    backend: str,
) -> None:
    """Write an inventory of a cluster whose Slurm others configure, into DIR.

    Its nodes can be watched and are never set up. A file that somebody has changed is never written over. Exit code
    2: there are files that differ, and nothing was written; 3: slurmctld does not answer.
    """
    from fleetward.slurm.adoption import files
    from fleetward.slurm.adoption.adopting import adopt as adopted
    from fleetward.slurm.adoption.folder import checked, look, write

    found = look(folder, (files.HARDWARE_FILE, files.SLURM_FILE, files.HOSTS_FILE))
    name, exporters = _cluster(cluster, folder, found), _exporters(chosen, found)
    with slurm(backend) as client:
        nodes, partitions = client.nodes(), client.partitions()
    note_unread(nodes.unread, "nodes")
    note_unread(partitions.unread, "partitions")
    adoption = adopted(nodes.items, partitions.items)
    remarks = [*adoption.remarks, *_on_exporters(exporters, adoption)]
    _note_remarks(remarks)
    if not adoption.nodes:
        raise FleetwardError("Slurm told of no node that can be adopted; nothing was written")
    texts = files.inventory_files(name, adoption, exporters)
    standings = {file: found[file].standing(text) for file, text in texts.items()}
    wanted = {file: texts[file] for file in _wanted(folder, standings, update)}
    fleet = checked(folder, wanted)
    if wanted and not dry_run:
        write(folder, wanted, found)
    if as_json:
        echo_json(
            {
                "inventory": str(folder),
                "cluster": fleet.cluster,
                "backend": nodes.backend,
                "dry_run": dry_run,
                **_counts(adoption),
                "files": {file: _DONE[standing] for file, standing in standings.items()},
                "texts": wanted if dry_run else {},
                "remarks": remarks,
                "unread": {"nodes": nodes.unread, "partitions": partitions.unread},
            }
        )
        return
    for file, text in wanted.items() if dry_run else ():
        click.echo(f"# {folder / file}\n{text}")
    for file, standing in standings.items():
        click.echo(f"{folder / file}: {'would be ' if dry_run and file in wanted else ''}{_DONE[standing]}")
    counts = f"nodes {len(adoption.nodes)}, hardware profiles {len(adoption.profiles)}"
    click.echo(f"{folder}: cluster {fleet.cluster}, {counts}, partitions {len(adoption.partitions)}")


def _counts(adoption: "Adoption") -> dict[str, object]:
    return {
        "nodes": len(adoption.nodes),
        "hardware_profiles": {profile.name: len(profile.nodes) for profile in adoption.profiles},
        "partitions": {partition.name: len(partition.nodes) for partition in adoption.partitions},
    }


def _wanted(folder: Path, standings: "Mapping[str, Standing]", update: bool) -> list[str]:
    """Return the files to write; UsageError where they are not adopt's to write."""
    from fleetward.slurm.adoption.folder import Standing

    why = {Standing.FOREIGN: "not as adopt wrote it", Standing.OUTDATED: "Slurm says something else now"}
    differing = [f"{folder / file}: {why[standing]}" for file, standing in standings.items() if standing in why]
    if differing and not update:
        raise UsageError(
            "\n  ".join(["nothing was written, since there are files that differ:", *differing])
            + "\n--update writes anew what is as adopt wrote it, and keeps the rest: move away what is to be anew too"
        )
    if Standing.FOREIGN in standings.values() and not {Standing.SAME, Standing.OUTDATED} & set(standings.values()):
        raise UsageError("\n  ".join(["nothing was written, since this inventory is not adopt's:", *differing]))
    for file, standing in standings.items():
        if standing is Standing.FOREIGN:
            note(f"{folder / file}: {why[standing]}, and is kept; move it away to have it written anew")
    return [file for file, standing in standings.items() if standing in (Standing.ABSENT, Standing.OUTDATED)]


def _cluster(given: str | None, folder: Path, found: "Mapping[str, Found]") -> str:
    """Return the cluster's name; UsageError where an inventory does not take it."""
    from pydantic import ValidationError

    from fleetward.model.inventory_schema import FleetDeclaration
    from fleetward.slurm.adoption.files import SLURM_FILE, cluster_of

    text = found[SLURM_FILE].text
    name = given if given is not None else cluster_of(text) if text else folder.resolve().name
    try:
        return FleetDeclaration(fleet_cluster=name).fleet_cluster
    except ValidationError as error:
        raise UsageError(
            f"{name!r} is no name for a cluster: give --cluster NAME, in lower-case letters, digits, `-` and `_`"
            " (`scontrol show config` tells Slurm's own as ClusterName)"
        ) from error


def _exporters(chosen: tuple[str, ...], found: "Mapping[str, Found]") -> tuple[str, ...]:
    from fleetward.slurm.adoption.files import HOSTS_FILE, exporters_of

    if chosen:
        if _NO_EXPORTER in chosen and len(set(chosen)) > 1:
            raise UsageError("--with none takes every exporter out: give nothing else with it")
        return tuple(name for name in chosen if name != _NO_EXPORTER)
    text = found[HOSTS_FILE].text
    return exporters_of(text) if text else ()


def _on_exporters(exporters: tuple[str, ...], adoption: "Adoption") -> list[str]:
    from fleetward.model.fleet import GPU_EXPORTER_GROUP

    if GPU_EXPORTER_GROUP in exporters and not adoption.with_gpus():
        return [f"no node has a GPU: {GPU_EXPORTER_GROUP} has no members and is left out"]
    return []


def _note_remarks(remarks: list[str]) -> None:
    for remark in remarks[:_MOST_REMARKS]:
        note(remark if len(remark) <= _LONGEST_REMARK else f"{remark[:_LONGEST_REMARK]}...")
    if len(remarks) > _MOST_REMARKS:
        note(f"and {len(remarks) - _MOST_REMARKS} remarks more; --json has them all")
