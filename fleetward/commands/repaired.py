"""`fleetward repaired`: say that GPUs of this node were reset or replaced."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._table import echo_json
from fleetward.model.errors import ExitCode, FleetwardError, UsageError

if TYPE_CHECKING:
    from fleetward.exporters.gpu.readings import GpuReading
    from fleetward.node.probes.gpus import Gpus


@click.command()
@click.option(
    "--gpu",
    "indices",
    type=click.IntRange(0, 255),
    multiple=True,
    metavar="N",
    help="This GPU (NVML's index) is repaired; may be given more than once.",
)
@click.option("--all", "everything", is_flag=True, help="All GPUs are, and the switches between them.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@click.option(
    "--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default="/", hidden=True, metavar="DIR"
)
def repaired(indices: tuple[int, ...], everything: bool, as_json: bool, root: Path) -> int:
    """Say that GPUs of this node were reset or replaced, without a boot.

    The kernel's log goes on showing their XIDs; from now on the checks take those from before for history. Run it as
    root on the GPU node, after the reset. A GPU that does not answer is not repaired, and nothing is put down then.
    What only repetition shows is found all the same.
    """
    from fleetward.exporters.events.kernel_lines import bus_address
    from fleetward.node.probes.gpus import GPUS
    from fleetward.node.repaired import EVERYTHING, say_repaired
    from fleetward.node.results import ProbeError
    from fleetward.node.run_checks import read_probes
    from fleetward.node.surroundings import Surroundings

    if everything == bool(indices):
        raise UsageError("say which GPUs are repaired: --gpu N, or --all")
    here = Surroundings(root.resolve())
    gpus = read_probes([GPUS], here)[GPUS.name]
    if isinstance(gpus, ProbeError):
        raise FleetwardError(f"no GPU can be asked: {gpus}")
    addresses = {one.identity.index: bus_address(one.identity.pci_bus_id) for one in _answering(gpus, indices)}
    say_repaired(here, [EVERYTHING] if everything else addresses.values())
    if as_json:
        echo_json({"repaired": [{"gpu": index, "pci_address": address} for index, address in addresses.items()]})
    else:
        for index, address in addresses.items():
            click.echo(f"GPU {index}: what the kernel's log tells of {address} from before now is history")
    return ExitCode.DONE


def _answering(gpus: "Gpus", indices: tuple[int, ...]) -> "list[GpuReading]":
    """Return the readings of these GPUs, of all where none is named; FleetwardError where one does not answer."""
    if gpus.census.failure:
        raise FleetwardError(f"no GPU can be asked: {gpus.census.failure}")
    up = {one.identity.index: one for one in gpus.up if one.identity.pci_bus_id}
    wanted = sorted(set(indices)) or range(gpus.census.count)
    silent = [index for index in wanted if index not in up]
    if silent or not up:
        names = ", ".join(map(str, silent)) or "of this node"
        raise FleetwardError(
            f"GPU {names} does not answer as a repaired one would (the driver counts {gpus.census.count}): "
            "`fleetward check` says what is wrong"
        )
    return [up[index] for index in wanted]
