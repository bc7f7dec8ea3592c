"""`fleetward gpus`: the GPUs of this node."""

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document: every value, in base units.")
def gpus(as_json: bool) -> None:
    """Show the GPUs of this node, as NVML shows them now.

    Exit code 3: NVML or its driver is not there.
    """
    import json

    from fleetward.exporters.gpu.nvml import Nvml
    from fleetward.exporters.gpu.table import document, table

    nvml = Nvml()
    try:
        census, gpus = nvml.look_at_all()
    finally:
        nvml.close()
    click.echo(json.dumps(document(census, gpus), indent=2) if as_json else table(gpus))
