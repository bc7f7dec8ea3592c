"""`fleetward exporter`: programs that serve metrics to Prometheus."""

from pathlib import Path

import click

from fleetward.commands._slurm import backend_option
from fleetward.commands._slurm import slurm as ask_slurm

interval_range = click.FloatRange(min=0.1, max=3600)
SLURM_SECONDS = 15.0
"""How often Slurm is asked unless told otherwise."""
web_config_option = click.option(
    "--web-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TLS and passwords, in the format of Prometheus' exporter-toolkit; it is read again when it changes. "
    "Without one everybody may look.",
)


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
    "--settings",
    type=click.Path(path_type=Path),
    default="/etc/fleetward/node.toml",
    show_default=True,
    metavar="FILE",
    help="How this node is set up; the usual file need not be there.",
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
    "--state",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where counts of XIDs, the place in the kernel's log and events that no daemon has taken outlast a restart; "
    "without it each start begins anew.",
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
    "--release-file",
    type=click.Path(path_type=Path),
    default="/run/fleetward/release/gpu-exporter.json",
    show_default=True,
    metavar="FILE",
    help="Where `fleetward release` asks for the GPUs to be let go; it need not be there.",
)
@click.option(
    "--dcgm-names",
    is_flag=True,
    help="Serve dcgm-exporter's default set too, under its names, types, units and labels, behind our own: dashboards "
    "made for it work, and so do our alerts. The page is then in Prometheus' text format only, as theirs is.",
)
@click.option(
    "--backend",
    type=click.Choice(("nvml", "dcgm")),
    default="nvml",
    show_default=True,
    help="What tells of the GPUs: NVIDIA's library, or DCGM's host engine, which looks at them for all who ask it "
    "and measures SMs and tensor cores before Hopper too. XIDs and processes come from NVML either way.",
)
@click.option(
    "--dcgm-address",
    default="127.0.0.1:5555",
    show_default=True,
    metavar="ADDRESS",
    help="Where DCGM's host engine answers: HOST:PORT, or the path of a socket.",
)
@web_config_option
def gpu(
    listen: str,
    interval: float,
    settings: Path,
    kernel_log: Path,
    state: Path | None,
    job_map: Path,
    release_file: Path,
    dcgm_names: bool,
    backend: str,
    dcgm_address: str,
    web_config: Path | None,
) -> None:
    """Serve what NVML or DCGM and the kernel's log say of this node's GPUs, until SIGTERM.

    Exit code 3: NVML or its driver, or DCGM, is not there.
    """
    from fleetward.exporters.gpu.server import Options, serve
    from fleetward.exporters.listening import parse_listen
    from fleetward.model.node_settings import read_node_settings

    parse_listen(listen)  # a wrong address is told before the driver is asked
    options = Options(
        listen=listen,
        interval_seconds=interval,
        settings=read_node_settings(settings),
        kernel_log=kernel_log,
        state=state,
        job_map=job_map,
        release_file=release_file,
        web_config=web_config,
        dcgm_address=dcgm_address if backend == "dcgm" else None,
        dcgm_names=dcgm_names,
    )
    serve(options, _tell)


@exporter.command()
@click.option("--listen", default="127.0.0.1:9401", show_default=True, metavar="ADDRESS:PORT", help="Where to serve.")
@click.option(
    "--interval",
    type=interval_range,
    default=SLURM_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How often Slurm is asked; a scrape gets the last answer, with its age.",
)
@web_config_option
@backend_option
def slurm(listen: str, interval: float, web_config: Path | None, backend: str) -> None:
    """Serve what Slurm says of nodes and jobs, until SIGTERM.

    A controller that does not answer is `slurm_up 0`, and no reason to end.
    """
    from fleetward.exporters.listening import parse_listen

    parse_listen(listen)
    with ask_slurm(backend) as client:
        from fleetward.exporters.slurm.server import serve

        serve(client, listen, interval, _tell, web_config)


def _tell(text: str) -> None:
    click.echo(text, err=True)
