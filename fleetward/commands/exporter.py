"""`fleetward exporter`: programs that serve metrics to Prometheus."""

import click


@click.group()
def exporter() -> None:
    """Serve metrics to Prometheus."""


@exporter.command()
@click.option("--listen", default="127.0.0.1:9400", show_default=True, metavar="ADDRESS:PORT", help="Where to serve.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the GPUs are looked at; a scrape gets the last look, with its age.",
)
def gpu(listen: str, interval: float) -> None:
    """Serve what NVML says of this node's GPUs, until SIGTERM.

    Exit code 3: NVML or its driver is not there.
    """
    from fleetward.exporters.gpu.nvml import NvmlReader
    from fleetward.exporters.gpu.server import parse_listen, serve

    parse_listen(listen)  # a wrong address is told before the driver is asked
    serve(NvmlReader(), listen, interval, lambda text: click.echo(text, err=True))
