"""`fleetward lab fault NODE ...`: the faults of a node's GPUs and of their driver, one command a kind."""

import time
from collections.abc import Callable
from typing import Any

import click

from fleetward.commands._lab import json_option
from fleetward.commands._lab_fault import About, engine_and_lab, name_option, one_node, tell
from fleetward.lab import fault_kinds
from fleetward.lab.fault_kinds import FABRIC_STATES, OFF_THE_BUS, RECOVERY_ACTIONS, THROTTLE_REASONS, Fault

gpu_option = click.option("--gpu", type=int, required=True, help="Index of the GPU.")


def fault_command(kind: str, *options: Callable[[Any], Any]) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function a command, with the options of all faults before its own."""

    def made(function: Callable[..., None]) -> click.Command:
        decorated = click.pass_obj(function)
        for option in reversed((name_option, json_option, *options)):
            decorated = option(decorated)
        return click.command(kind)(decorated)

    return made


def inject(
    about: About, name: str | None, as_json: bool, example: str, made: Fault, words: str, **facts: object
) -> None:
    """Make a fault on the node that was named and tell of it; `example` is what would have been right without one."""
    from fleetward.lab import faults

    node = one_node(about, example)
    faults.inject(*engine_and_lab(about, name, node), node, made)
    kind = example.partition(" ")[0]
    if made.gpu is None:
        tell(as_json, f"{words} on {node}", node=node, fault=kind, **facts)
    else:
        tell(as_json, f"{words} on GPU {made.gpu} of {node}", node=node, fault=kind, gpu=made.gpu, **facts)


@fault_command(
    "xid", gpu_option, click.option("--code", type=int, required=True, help="XID; 79 also takes it off the bus.")
)
def xid(about: About, name: str | None, as_json: bool, gpu: int, code: int) -> None:
    """Raise an XID on one GPU: an NVML event and a line in the kernel's log."""
    inject(about, name, as_json, "xid --gpu 3 --code 79", fault_kinds.xid(gpu, code), f"XID {code}", code=code)


@fault_command("gpu-lost", gpu_option)
def gpu_lost(about: About, name: str | None, as_json: bool, gpu: int) -> None:
    """Take a GPU off the bus: XID 79, and NVML calls it lost."""
    inject(about, name, as_json, "gpu-lost --gpu 3", fault_kinds.xid(gpu, OFF_THE_BUS), "XID 79")


@fault_command("gpu-hang", gpu_option)
def gpu_hang(about: About, name: str | None, as_json: bool, gpu: int) -> None:
    """Have every NVML call about a GPU hang; the kernel's log tells of XID 119."""
    inject(about, name, as_json, "gpu-hang --gpu 3", fault_kinds.gpu_hang(gpu), "every call hangs")


@fault_command(
    "ecc",
    gpu_option,
    click.option("--corrected", type=int, default=0, help="How many single-bit errors more."),
    click.option("--uncorrected", type=int, default=0, help="How many double-bit errors more: XID 48."),
)
def ecc(about: About, name: str | None, as_json: bool, gpu: int, corrected: int, uncorrected: int) -> None:
    """Count memory errors."""
    made = fault_kinds.ecc(gpu, corrected, uncorrected)
    words = f"{corrected} corrected and {uncorrected} uncorrected memory errors more"
    counts = {"corrected": corrected, "uncorrected": uncorrected}
    inject(about, name, as_json, "ecc --gpu 3 --uncorrected 1", made, words, **counts)


@fault_command(
    "row-remap",
    gpu_option,
    click.option("--pending", "state", flag_value="pending", help="It waits for a reset: XID 63."),
    click.option("--failed", "state", flag_value="failed", help="It could not be recorded: XID 64."),
)
def row_remap(about: About, name: str | None, as_json: bool, gpu: int, state: str | None) -> None:
    """Have a row of memory wait to be remapped, or fail to be."""
    if state is None:
        raise click.UsageError("say which: --pending or --failed")
    made = fault_kinds.row_remap(gpu, failed=state == "failed")
    inject(about, name, as_json, "row-remap --gpu 3 --pending", made, f"row remap {state}", state=state)


@fault_command(
    "nvlink-down",
    gpu_option,
    click.option("--link", type=click.IntRange(0, 35), required=True, help="Number of the link."),
)
def nvlink_down(about: About, name: str | None, as_json: bool, gpu: int, link: int) -> None:
    """Take one NVLink down: XID 74."""
    made = fault_kinds.nvlink_down(gpu, link)
    inject(about, name, as_json, "nvlink-down --gpu 3 --link 5", made, f"NVLink {link} is down", link=link)


@fault_command(
    "throttle",
    gpu_option,
    click.option("--reason", type=click.Choice(list(THROTTLE_REASONS)), required=True, help="Why its clocks are down."),
)
def throttle(about: About, name: str | None, as_json: bool, gpu: int, reason: str) -> None:
    """Hold a GPU's clocks down from now on; the time counter of the reason runs."""
    made = fault_kinds.throttle(gpu, reason, time.time())
    inject(about, name, as_json, "throttle --gpu 3 --reason hw-thermal", made, f"throttled ({reason})", reason=reason)


@fault_command("hot", gpu_option, click.option("--celsius", type=float, required=True, help="Temperature of the GPU."))
def hot(about: About, name: str | None, as_json: bool, gpu: int, celsius: float) -> None:
    """Give a GPU a temperature."""
    inject(
        about,
        name,
        as_json,
        "hot --gpu 3 --celsius 93",
        fault_kinds.hot(gpu, celsius),
        f"{celsius:g} °C",
        celsius=celsius,
    )


@fault_command(
    "fabric",
    gpu_option,
    click.option(
        "--state",
        type=click.Choice(list(FABRIC_STATES)),
        default="unhealthy",
        show_default=True,
        help="How the GPU stands in the NVLink fabric.",
    ),
)
def fabric(about: About, name: str | None, as_json: bool, gpu: int, state: str) -> None:
    """Spoil a GPU's place in the NVLink fabric."""
    inject(about, name, as_json, "fabric --gpu 3", fault_kinds.fabric(gpu, state), f"fabric {state}", state=state)


@fault_command(
    "recovery",
    gpu_option,
    click.option(
        "--action", type=click.Choice(list(RECOVERY_ACTIONS)), required=True, help="What the driver asks for."
    ),
)
def recovery(about: About, name: str | None, as_json: bool, gpu: int, action: str) -> None:
    """Have the driver ask for an action: XID 154."""
    made = fault_kinds.recovery(gpu, action)
    inject(
        about, name, as_json, "recovery --gpu 3 --action gpu-reset", made, f"recovery action {action}", action=action
    )


@fault_command("driver-gone")
def driver_gone(about: About, name: str | None, as_json: bool) -> None:
    """Unload the driver."""
    inject(about, name, as_json, "driver-gone", fault_kinds.driver_gone(), "the driver is gone")


@fault_command("driver-mismatch")
def driver_mismatch(about: About, name: str | None, as_json: bool) -> None:
    """Have the driver be of another version than its library."""
    inject(about, name, as_json, "driver-mismatch", fault_kinds.driver_mismatch(), "the driver is of another version")


COMMANDS = (
    xid,
    gpu_lost,
    gpu_hang,
    ecc,
    row_remap,
    nvlink_down,
    throttle,
    hot,
    fabric,
    recovery,
    driver_gone,
    driver_mismatch,
)
