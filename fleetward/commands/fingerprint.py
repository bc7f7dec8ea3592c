"""`fleetward fingerprint`: what software and hardware this node has."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._table import table
from fleetward.model.errors import ExitCode, FleetwardError, OutOfReachError, UsageError

if TYPE_CHECKING:
    from fleetward.node.deadline import Deadline
    from fleetward.node.fingerprint import NodeParts
    from fleetward.node.site import Site

UNKNOWN, NONE = "unknown", "none"
GPU_PARTS = {"uuid": "UUID", "serial": "serial", "vbios": "VBIOS", "mig": "MIG"}
"""What is told of a GPU, in order, as people call it."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the parts as the JSON object that a certificate is for.")
@click.option("--report", is_flag=True, help="Tell the daemon, and print nothing but what --json asks for.")
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    default="/etc/fleetward/node.toml",
    show_default=True,
    metavar="FILE",
    help="How this node is set up: whom to report to, and by which name. Read with --report only.",
)
@click.option(
    "--within",
    type=click.FloatRange(min=1, max=600),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="The time for all of it.",
)
@click.option(
    "--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default="/", hidden=True, metavar="DIR"
)
def fingerprint(as_json: bool, report: bool, settings: Path, within: float, root: Path) -> int:
    """Tell what software and hardware this node has: what a burn-in's certificate is issued for.

    A part that cannot be read is unknown, and keeps no other one from being told. Nothing is changed here. Exit codes:
    0 done, 1 the daemon refuses it, 2 the settings are wrong or name no daemon, 3 the daemon does not answer, or
    nothing could be read.
    """
    from fleetward.node.deadline import Deadline

    deadline = Deadline(within)
    site = _site(settings) if report else None
    parts = _read(root, deadline, to_send=report)
    if as_json:
        click.echo(parts.as_json())
    elif not report:
        click.echo(table(("PART", "WHAT"), list(_rows(parts))))
    if site is not None:
        _report(site, parts, deadline)
    return ExitCode.DONE


def _site(settings: Path) -> "Site":
    from fleetward.model.node_settings import read_node_settings
    from fleetward.node.site import Site

    site = Site(read_node_settings(settings))
    if not site.settings.daemon.url:
        raise UsageError(f"{settings} names no daemon to report to: write its address there, as url in [daemon]")
    return site


def _read(root: Path, deadline: "Deadline", *, to_send: bool) -> "NodeParts":
    from fleetward.node.daemon import POST_SECONDS
    from fleetward.node.fingerprint import FINGERPRINT
    from fleetward.node.results import ProbeError
    from fleetward.node.run_checks import read_probes
    from fleetward.node.surroundings import Surroundings

    left = deadline.left()
    seconds = max(left / 2, left - POST_SECONDS) if to_send else left
    found: NodeParts | ProbeError = read_probes([FINGERPRINT], Surroundings(root.resolve()), seconds)[FINGERPRINT.name]
    if isinstance(found, ProbeError):
        raise OutOfReachError(f"what this node has cannot be read: {found}")
    return found


def _report(site: "Site", parts: "NodeParts", deadline: "Deadline") -> None:
    from fleetward.node.daemon import Kind, Reception, send

    body = parts.as_json().encode()
    sent = send(site.settings.daemon, site.node, body, deadline.left(), Kind.FINGERPRINT)
    if sent.reception is Reception.AWAY:
        raise OutOfReachError(f"{sent.reception}: {sent.why}")
    if sent.reception is not Reception.TAKEN:
        raise FleetwardError(sent.why)


def _rows(parts: "NodeParts") -> Iterator[tuple[str, str]]:
    """Yield a line for each part, with a name for what is not there and for what nobody could read."""
    for name, word in parts.words.items():
        yield name.replace("_", " "), _said(word)
    for title, told in (("InfiniBand", parts.hcas), ("GPUs", parts.gpus)):
        if not told:
            yield title, UNKNOWN if told is None else NONE
    for hca in parts.hcas or ():
        yield f"InfiniBand {hca['device']}", f"firmware {_said(hca['firmware'])}"
    for gpu in parts.gpus or ():
        yield f"GPU {gpu['slot']}", ", ".join(f"{title} {_said(gpu[name])}" for name, title in GPU_PARTS.items())


def _said(word: str | None) -> str:
    return UNKNOWN if word is None else word or NONE
