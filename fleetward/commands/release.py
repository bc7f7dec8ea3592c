"""`fleetward release`: have this node's GPU exporter let go of the GPUs for a while."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetward.commands._table import echo_json, note, table
from fleetward.model.errors import ExitCode

if TYPE_CHECKING:
    from fleetward.exporters.gpu.device_holders import Holder, Lane
    from fleetward.exporters.gpu.release import Release


@click.command()
@click.option(
    "--gpu",
    "gpus",
    type=click.IntRange(0, 255),
    multiple=True,
    metavar="N",
    help="Tell who else holds this GPU (NVML's index) and no other; may be given more than once.",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 3600),
    default=120,
    show_default=True,
    help="For how long; the exporter goes on by itself after that.",
)
@click.option("--end", is_flag=True, help="End the release now.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@click.option(
    "--release-file",
    type=click.Path(path_type=Path),
    default="/run/fleetward/release/gpu-exporter.json",
    show_default=True,
    metavar="FILE",
    help="Where the exporter looks for requests.",
)
def release(gpus: tuple[int, ...], seconds: int, end: bool, as_json: bool, release_file: Path) -> int:
    """Have this node's GPU exporter let go of the GPUs, so that a GPU can be reset.

    NVML opens every GPU in each process that uses it, so the exporter lets go of all of them, whichever are named, and
    shows none meanwhile. XIDs of the kernel's log are counted on. Run it as root on the GPU node; it waits until the
    exporter's processes are gone, ten seconds at most, and tells who else holds a GPU.

    Exit codes: 0 nobody holds the GPUs, 1 somebody does.
    """
    import time

    from fleetward.exporters.gpu import device_holders as held_by
    from fleetward.exporters.gpu.release import ask_for_release, end_release

    if end:
        ended = end_release(release_file)
        _print_end(ended, as_json)
        return ExitCode.DONE
    asked = ask_for_release(release_file, seconds, _who(), time.time())
    lanes = held_by.wait_for_lanes(lambda: held_by.exporter_lanes(release_file))
    devices = {held_by.device_of(gpu, prefix=held_by.DEVICES) for gpu in gpus} or None
    found = held_by.device_holders(devices, prefix=held_by.DEVICES)
    others = [one for one in found.holders if one.pid not in {lane.pid for lane in lanes}]
    if as_json:
        _print_document(asked, gpus, lanes, others, found.unreadable)
    else:
        _print_people(asked, lanes, others, found.unreadable)
    return ExitCode.FAILED if lanes or others else ExitCode.DONE


def _who() -> str:
    import os
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    behind = os.environ.get("SUDO_USER", "")
    return f"{name} for {behind}"[:128] if behind.isprintable() and behind else name


def _print_end(ended: "Release | None", as_json: bool) -> None:
    if as_json:
        echo_json({"ended": ended})
    elif ended is None:
        click.echo("the GPUs were not released")
    else:
        click.echo(f"the release asked for by {ended.by or 'somebody'} has ended: the exporter looks at the GPUs again")


def _print_document(
    asked: "Release", gpus: tuple[int, ...], lanes: "tuple[Lane, ...]", others: "list[Holder]", unreadable: int
) -> None:
    echo_json(
        {
            "until": asked.until,
            "by": asked.by,
            "gpus": list(gpus) or None,
            "exporter_processes": [
                {"pid": one.pid, "name": one.name, "hangs_in_the_driver": one.hangs} for one in lanes
            ],
            "holders": others,
            "unreadable_processes": unreadable,
        }
    )


def _print_people(asked: "Release", lanes: "tuple[Lane, ...]", others: "list[Holder]", unreadable: int) -> None:
    from datetime import datetime

    until = datetime.fromtimestamp(asked.until).astimezone()
    click.echo(f"all GPUs are released until {until:%H:%M:%S}, as {asked.by} asked")
    rows = [(str(one.pid), one.name, "hangs in the driver, cannot be killed" if one.hangs else "") for one in lanes]
    rows += [(str(one.pid), one.command, " ".join(one.devices)) for one in others]
    if rows:
        click.echo(table(("PID", "COMMAND", "HOLDS"), rows))
    if lanes:
        note("the exporter still has processes that use NVML: a GPU reset would fail")
    if others:
        note("others hold GPUs: a GPU reset would fail")
    if unreadable:
        note(f"processes that could not be looked into, and may hold GPUs: {unreadable}")
