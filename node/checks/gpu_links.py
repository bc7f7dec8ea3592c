"""PCIe, NVLink and the NVLink fabric, as the GPUs see them."""

from collections.abc import Iterator

from fleetward.exporters.gpu.series_health import FABRIC_TROUBLES, MOST_NVLINKS
from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import Asked, check
from fleetward.node.checks.gpu_values import above, answering, gpu_check, gpu_name, not_answering, present, values
from fleetward.node.probes.gpus import GPUS, Gpus, value
from fleetward.node.results import Trouble

FABRIC_NONE, FABRIC_DONE = 0, 3
"""Of gpu_fabric_state."""


@check(
    "gpu_pcie_width",
    "A GPU's PCIe link has fewer lanes than GPU and slot allow.",
    GPUS,
    Severity.FATAL,
    Action.INSPECT,
    "gcm, azurehpc-health-checks",
)
def _pcie_width(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    for reading, lanes in values(gpus, "gpu_pcie_link_width"):
        most = value(reading, "gpu_pcie_link_width_max")
        if most and lanes < most:
            evidence = {"lanes": lanes, "lanes_max": most}
            yield Trouble(f"{lanes:.0f} lanes of {most:.0f}", gpu_name(reading.identity.index), evidence)
    yield from not_answering(gpus)


@check(
    "gpu_pcie_generation",
    "A GPU in its fastest state has a slower PCIe link than GPU and slot allow; one that rests may save power.",
    GPUS,
    Severity.FATAL,
    Action.INSPECT,
    "gcm, azurehpc-health-checks",
)
def _pcie_generation(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    for reading, generation in values(gpus, "gpu_pcie_link_generation"):
        most, state = value(reading, "gpu_pcie_link_generation_max"), value(reading, "gpu_performance_state")
        if most and state == 0 and generation < most:
            evidence = {"generation": generation, "generation_max": most}
            yield Trouble(f"generation {generation:.0f} of {most:.0f}", gpu_name(reading.identity.index), evidence)
    yield from not_answering(gpus)


@check(
    "gpu_nvlink_down",
    "An NVLink is down, or a GPU has fewer of them than the profile says.",
    GPUS,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gcm, azurehpc-health-checks",
)
def _nvlink_down(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.gpu.nvlinks
    for one in answering(gpus):
        states = {link: value(one, f"gpu_nvlink_up.{link}") for link in range(MOST_NVLINKS)}
        down = [str(link) for link, state in states.items() if state == 0]
        there = sum(state is not None for state in states.values())
        name = gpu_name(one.identity.index)
        if down:
            yield Trouble(f"NVLinks {', '.join(down)} are down", name, {"down": ", ".join(down)})
        if expected is not None and there < expected:
            yield Trouble(f"{there} NVLinks of {expected}", name, {"nvlinks": there, "expected": expected})
    yield from not_answering(gpus)


def _counted_on_links(gpus: Gpus, kinds: tuple[str, ...], most: float) -> Iterator[Trouble]:
    for one in answering(gpus):
        for kind in kinds:
            counts = {link: value(one, f"gpu_nvlink_errors_total.{link}.{kind}") or 0 for link in range(MOST_NVLINKS)}
            links = ", ".join(str(link) for link, count in counts.items() if count > most)
            if links:
                evidence = {f"{kind}_errors": sum(counts.values()), "links": links}
                yield Trouble(f"{kind} errors on NVLinks {links}", gpu_name(one.identity.index), evidence)
    yield from not_answering(gpus)


@check(
    "gpu_nvlink_recovery",
    "An NVLink had to be trained anew since the GPU was last reset.",
    GPUS,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gcm",
    limits={"errors": 0},
)
def _nvlink_recovery(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    yield from _counted_on_links(gpus, ("recovery",), asked.limits["errors"])


@check(
    "gpu_nvlink_errors",
    "An NVLink had CRC errors or sent data again since the GPU was last reset.",
    GPUS,
    Severity.WARNING,
    Action.CHECK_FABRIC,
    "gcm",
    limits={"errors": 0},
)
def _nvlink_errors(gpus: Gpus, asked: Asked) -> Iterator[Trouble]:
    yield from _counted_on_links(gpus, ("crc", "replay"), asked.limits["errors"])


@check(
    "gpu_fabric_state",
    "A GPU has not joined the NVLink fabric that its board has.",
    GPUS,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gpud",
)
def _fabric_state(gpus: Gpus, _: Asked) -> Iterator[Trouble]:
    for reading, state in values(gpus, "gpu_fabric_state"):
        status = value(reading, "gpu_fabric_status_code") or 0
        if state not in (FABRIC_NONE, FABRIC_DONE) or (state == FABRIC_DONE and status):
            evidence = {"gpu_fabric_state": state, "gpu_fabric_status_code": status}
            why = f"state {state:.0f} with code {status:.0f}, where 3 with 0 is joined"
            yield Trouble(why, gpu_name(reading.identity.index), evidence)
    yield from not_answering(gpus)


fabric_trouble = gpu_check(
    "gpu_fabric_trouble",
    "The NVLink fabric has trouble with a GPU.",
    {f"gpu_fabric_trouble_active.{name}": name.replace("_", " ") for name in FABRIC_TROUBLES},
    present,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gpud",
)
pcie_replays = gpu_check(
    "gpu_pcie_replays",
    "A GPU's PCIe link sent very many packets again.",
    {"gpu_pcie_replay_total": "packets sent again"},
    above("replays"),
    Severity.WARNING,
    Action.INSPECT,
    "dcgm-exporter",
    limits={"replays": 100_000},
)
pcie_errors = gpu_check(
    "gpu_pcie_errors",
    "A GPU's PCIe link had errors that were not corrected.",
    {
        "gpu_pcie_errors_total.fatal": "fatal PCIe errors",
        "gpu_pcie_errors_total.non_fatal": "PCIe errors that were not corrected",
    },
    above("errors"),
    Severity.DEGRADED,
    Action.INSPECT,
    "dcgm-exporter",
    limits={"errors": 0},
)

CHECKS = (
    _pcie_width,
    _pcie_generation,
    pcie_replays,
    pcie_errors,
    _nvlink_down,
    _nvlink_recovery,
    _nvlink_errors,
    _fabric_state,
    fabric_trouble,
)
