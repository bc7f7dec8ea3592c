"""`fleetward exporter`: programs that serve metrics to Prometheus."""

from pathlib import Path

import click

from fleetward.commands._slurm import backend_option
from fleetward.commands._slurm import slurm as ask_slurm

interval_range = click.FloatRange(min=0.1, max=3600)


@click.group()
def exporter() -> None:
    """Serve metrics to Prometheus."""


@exporter.command()
@click.option("--listen", default="127.0.0.1:9400", show_default=True, metavar="ADDRESS:PORT", help="Where to serve.")
@click.option(
    "--interval",
    type=interval_range,
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the GPUs are looked at; a scrape gets the last look, with its age.",
)
@click.option(
    "--kernel-log",
    type=click.Path(path_type=Path),
    default="/dev/kmsg",
    show_default=True,
    metavar="FILE",
    help="Where XIDs are read from, besides NVML.",
)
@click.option(
    "--job-map",
    type=click.Path(path_type=Path),
    default="/run/fleetward/jobs",
    show_default=True,
    metavar="DIR",
    help="Where Slurm's prolog and epilog write whose job each GPU works for; it need not be there.",
)
@click.option(
    "--dcgm-names",
    is_flag=True,
    help="Serve dcgm-exporter's default set too, under its names, types, units and labels, behind our own: dashboards "
    "made for it work, and so do our alerts. The page is then in Prometheus' text format only, as theirs is.",
)
def gpu(listen: str, interval: float, kernel_log: Path, job_map: Path, dcgm_names: bool) -> None:
    """Serve what NVML and the kernel's log say of this node's GPUs, until SIGTERM.

    Exit code 3: NVML or its driver is not there.
    """
    from fleetward.exporters.gpu.server import serve
    from fleetward.exporters.listening import parse_listen

    parse_listen(listen)  # a wrong address is told before the driver is asked
    serve(listen, interval, _tell, kernel_log, job_map, dcgm_names=dcgm_names)


@exporter.command()
@click.option("--listen", default="127.0.0.1:9401", show_default=True, metavar="ADDRESS:PORT", help="Where to serve.")
@click.option(
    "--interval",
    type=interval_range,
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="How often Slurm is asked; a scrape gets the last answer, with its age.",
)
@backend_option
def slurm(listen: str, interval: float, backend: str) -> None:
    """Serve what Slurm says of nodes and jobs, until SIGTERM.

    A controller that does not answer is `slurm_up 0`, and no reason to end.
    """
    from fleetward.exporters.listening import parse_listen

    parse_listen(listen)
    with ask_slurm(backend) as client:
        from fleetward.exporters.slurm.server import serve

        serve(client, listen, interval, _tell)


def _tell(text: str) -> None:
    click.echo(text, err=True)
