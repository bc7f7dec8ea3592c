"""Nodes drawn at random: healthy ones raise nothing, and no fatal fault among healthy noise is missed.

Each node has as many GPUs as the stand-in can play, and each GPU values of its own for every key that it has: what a
healthy GPU may show is a table here, in which no key may be missing. The same nodes are drawn at every run.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from played_checks import Checks, checking
from played_nvml import PlayedNode

from fleetward.lab.scenario import BUSES, Scenario, Value, kernel_lines
from fleetward.lab.scenario_keys import MAX_GPUS, MAX_LINKS, keys
from fleetward.model.gpu_fault_files import read_catalogue

if TYPE_CHECKING:
    from conftest import NodeFiles

HEALTHY_NODES, FAULTY_NODES = 15, 25
NOW = 90_000_000_000
"""Microseconds since the boot of the played node."""
PROFILE = '[gpu]\ncount = 16\ndriver = "570.133.20"\n'

Draw = Callable[[random.Random], float]


def between(low: float, high: float) -> Draw:
    """Draw whole numbers, the ends as often as all that is between them."""
    return lambda dice: dice.choice((low, high, dice.randint(math.ceil(low), math.floor(high))))


def bits(*masks: int) -> Draw:
    return lambda dice: sum(dice.sample(masks, dice.randint(0, len(masks))))


COUNTER = between(0, 2**53)
UINT = between(0, 2**32 - 1)
PERCENT = between(0, 100)
MEMORY_PLACES = ("l1", "l2", "dram", "register", "texture", "shared", "cbu", "sram")
HEALTHY: Mapping[str, Draw] = {
    "architecture": between(2, 20),
    "brand": between(0, 20),
    "core_count": between(1, 1_000_000),
    "memory_bus_bits": between(1, 100_000),
    "board_id": UINT,
    "module_id": between(0, 255),
    "numa_node": between(0, 63),
    "fan_count": between(0, 8),
    "compute_mode": between(0, 3),
    "display_active": between(0, 1),
    "gsp_mode": between(0, 1),
    "inforom_checksum": UINT,
    **dict.fromkeys(("platform_slot", "platform_tray", "platform_host", "platform_peer_type"), between(0, 127)),
    **dict.fromkeys((name for name in keys().gpu_numbers if name.endswith("_percent")), PERCENT),
    **dict.fromkeys(
        (name for name in keys().gpu_numbers if name.startswith("gpm_") and "_mib_" in name), between(0, 10**6)
    ),
    "memory_used_mib": between(0, 81_000),
    "bar1_used_mib": between(0, 131_072),
    "temperature": between(5, 76),
    "memory_temperature": between(5, 95),
    "margin_temperature": between(11, 80),
    "threshold_shutdown": between(92, 120),
    "threshold_slowdown": between(89, 110),
    "threshold_memory_max": between(95, 120),
    "threshold_gpu_max": between(87, 110),
    "tlimit_shutdown": between(-10, 0),
    "tlimit_slowdown": between(-10, 0),
    "power_watts": between(0, 1200),
    "power_average_watts": between(0, 1200),
    "power_limit_watts": between(100, 1200),
    "power_min_limit_watts": between(0, 200),
    "power_max_limit_watts": between(1200, 2000),
    "power_management_mode": between(0, 1),
    "energy_joules": COUNTER,
    "performance_state": between(0, 15),
    "sm_clock_mhz": between(1155, 2600),
    "graphics_clock_mhz": between(0, 2600),
    "video_clock_mhz": between(0, 2600),
    "memory_clock_mhz": between(1215, 10_000),
    "max_sm_clock_mhz": between(2600, 10_000),
    "max_memory_clock_mhz": between(10_000, 20_000),
    "application_sm_clock_mhz": between(0, 2600),
    "application_memory_clock_mhz": between(0, 10_000),
    "clock_event_reasons": bits(0x1, 0x2, 0x4, 0x10, 0x100),
    "supported_clock_event_reasons": UINT,
    "throttle_since": between(0, 2**31),
    **dict.fromkeys((name for name in keys().gpu_numbers if name.endswith("_ns")), COUNTER),
    **dict.fromkeys((f"ecc_{place}_corrected" for place in MEMORY_PLACES), between(0, 2_000_000)),
    **dict.fromkeys((f"ecc_aggregate_{place}_corrected" for place in MEMORY_PLACES), COUNTER),
    **dict.fromkeys((f"ecc_aggregate_{place}_uncorrected" for place in MEMORY_PLACES), COUNTER),
    "ecc_corrected": between(0, 20_000_000),
    "ecc_aggregate_corrected": COUNTER,
    "ecc_aggregate_uncorrected": COUNTER,
    **dict.fromkeys((name for name in keys().gpu_numbers if name.startswith(("sram_bucket", "sram_agg"))), COUNTER),
    "retired_pages_corrected": between(0, 9),
    "retired_pages_uncorrected": between(0, 9),
    "remapped_rows_corrected": between(0, 100_000),
    "remapped_rows_uncorrected": between(0, 511),
    **dict.fromkeys((f"remap_banks_{name}" for name in ("max", "high", "partial", "low")), between(0, 100_000)),
    "remap_banks_none": between(0, 7),
    "pcie_tx_bytes": COUNTER,
    "pcie_rx_bytes": COUNTER,
    "pcie_tx_kb_per_second": UINT,
    "pcie_rx_kb_per_second": UINT,
    "pcie_replays": between(0, 100_000),
    **dict.fromkeys(
        (
            "pcie_replay_rollovers",
            "pcie_l0_to_recovery",
            "pcie_correctable_errors",
            "pcie_naks_received",
            "pcie_receiver_errors",
            "pcie_bad_tlps",
            "pcie_naks_sent",
            "pcie_bad_dllps",
            "pcie_unsupported_requests",
            "pcie_lcrc_errors",
            "pcie_lane_errors",
        ),
        UINT,
    ),
    "nvlink_count": between(0, MAX_LINKS),
    "nvlink_version": between(0, 8),
    "fabric_clique": UINT,
    "fabric_health_summary": between(0, 1),
}
COUNTED_BY_LINKS = ("_kib", "_packets", "_bytes", "_ber")
LINK_HEALTHY: Mapping[str, Draw] = {
    "speed_mbps": between(1, 1_000_000),
    "version": between(0, 8),
    "capabilities": between(0, 63),
    "remote_type": between(0, 255),
    "remote_bus": between(0, 255),
    "remote_link": between(0, 255),
    **dict.fromkeys(
        (name for name in keys().link_numbers if name.endswith(("_kib", "_packets", "_bytes", "_ber"))), COUNTER
    ),
    "symbol_errors": COUNTER,
    "effective_errors": COUNTER,
    "recovery_successful_events": COUNTER,
    "recovery_events": COUNTER,
}
AS_BUILT = frozenset(
    {
        *("lost", "error", "delay_ms", "hang", "recovery_action", "repair_channel_pending", "repair_tpc_pending"),
        *("persistence_mode", "power_source", "inforom_valid", "ecc_mode", "ecc_mode_pending"),
        *("mig_mode", "mig_mode_pending", "mig_encoders", "minor_number", "compute_capability"),
        *("memory_total_mib", "memory_reserved_mib", "bar1_total_mib", "tlimit_memory_max", "tlimit_gpu_max"),
        *("power_default_limit_watts", "power_enforced_limit_watts"),
        *("ecc_uncorrected", "sram_parity", "sram_secded", "sram_threshold_exceeded"),
        *(f"ecc_{place}_uncorrected" for place in MEMORY_PLACES),
        *("retired_pages_pending", "remapped_rows_pending", "remapped_rows_failed"),
        *("pcie_generation", "pcie_max_generation", "pcie_width", "pcie_max_width"),
        *("pcie_non_fatal_errors", "pcie_fatal_errors"),
        *("nvlink_down_mask", "nvlink_replay_errors", "nvlink_recovery_errors", "nvlink_crc_errors"),
        *("fabric_state", "fabric_status", "fabric_health_mask"),
    }
)
"""Keys of a GPU of which another value is a fault, means another mode, or has to fit to a second key."""
LINK_AS_BUILT = frozenset(
    {
        *("state", "replay_errors", "recovery_errors", "crc_errors", "crc_data_errors", "ecc_errors"),
        *("malformed_packet_errors", "buffer_overrun_errors", "rcv_errors", "rcv_remote_errors"),
        *("rcv_general_errors", "local_link_integrity_errors", "xmit_discards", "recovery_failed_events"),
    }
)


ALWAYS_DRAWN = frozenset({"sm_clock_mhz", "memory_clock_mhz"})
"""Nobody holds these GPUs, so that their clocks are low; one that is said to be busy needs higher ones."""


def test_every_key_of_the_stand_in_has_a_healthy_range_or_stays_as_it_is() -> None:
    for known, healthy, fixed in (
        (keys().gpu_numbers, HEALTHY, AS_BUILT),
        (keys().link_numbers, LINK_HEALTHY, LINK_AS_BUILT),
    ):
        assert known.keys() == healthy.keys() | fixed
        assert not healthy.keys() & fixed


def healthy_gpu(dice: random.Random) -> dict[str, Value]:
    """Draw half of the values, and a few of a link's; what has to fit together is drawn together."""
    drawn: dict[str, Value] = {
        name: draw(dice) for name, draw in HEALTHY.items() if name in ALWAYS_DRAWN or dice.random() < 0.5
    }
    generation, lanes = dice.randint(1, 8), dice.choice((1, 2, 4, 8, 16, 32))
    drawn |= {"pcie_generation": generation, "pcie_max_generation": generation}
    drawn |= {"pcie_width": lanes, "pcie_max_width": lanes, "fabric_state": dice.choice((0, 3))}
    link = dice.choice(("all", str(dice.randrange(MAX_LINKS))))
    names = dice.sample(sorted(LINK_HEALTHY), 4)
    return drawn | {f"nvlink.{link}.{name}": LINK_HEALTHY[name](dice) for name in names}


def healthy_node(dice: random.Random) -> Scenario:
    scenario = Scenario({"driver.gpu_count": MAX_GPUS, "driver.event_types": dice.randint(0, 65535)})
    for index in range(MAX_GPUS):
        scenario = scenario.with_gpu(index, **healthy_gpu(dice))
    return scenario


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, library: Path) -> PlayedNode:
    node = PlayedNode(tmp_path_factory.mktemp("random"), library)
    (node.folder / "profile.toml").write_text(PROFILE)
    return node


@pytest.fixture(scope="module")
def checks(played: PlayedNode, shared_node: "NodeFiles") -> Iterator[Checks]:
    with checking(played, shared_node.root, played.folder / "profile.toml", "NVML", "kernel log") as started:
        yield started


@pytest.mark.parametrize("seed", range(HEALTHY_NODES))
def test_a_healthy_node_raises_nothing(played: PlayedNode, shared_node: "NodeFiles", checks: Checks, seed: int) -> None:
    scenario = healthy_node(random.Random(seed))  # noqa: S311  the same node at every run
    played.play(scenario.render())
    shared_node.write("dev/kmsg", "6,1,1000,-;Linux version 6.1\n")
    found = checks.all()
    assert [one for one in found if one[1] != "healthy"] == []
    assert len(found) > 40


@dataclass(frozen=True)
class Fatal:
    """A fault that a check must find on the GPU, and which check that is."""

    check: str
    settings: Callable[[random.Random], dict[str, Value]]


def one_of(name: str, *choices: Value) -> Callable[[random.Random], dict[str, Value]]:
    return lambda dice: {name: dice.choice(choices)}


def drawn(name: str, draw: Draw) -> Callable[[random.Random], dict[str, Value]]:
    return lambda dice: {name: draw(dice)}


def link_of(name: str, *choices: Value) -> Callable[[random.Random], dict[str, Value]]:
    return lambda dice: {"nvlink_count": 18, f"nvlink.{dice.randrange(18)}.{name}": dice.choice(choices)}


REQUIRES_RESET = 16
"""NVML_ERROR_RESET_REQUIRED."""
FATAL = (
    Fatal("gpu_lost", one_of("lost", 1)),
    Fatal("gpu_lost", one_of("error", 15)),
    Fatal("gpu_requires_reset", one_of("error", REQUIRES_RESET)),
    Fatal("gpu_recovery_action", one_of("recovery_action", 1, 2, 6, 7)),
    Fatal("gpu_ecc_uncorrected", drawn("ecc_uncorrected", between(1, 2**53))),
    Fatal("gpu_ecc_uncorrected", lambda dice: {f"ecc_{dice.choice(MEMORY_PLACES)}_uncorrected": 1}),
    Fatal("gpu_sram_uncorrected", one_of("sram_threshold_exceeded", 1)),
    Fatal("gpu_sram_uncorrected", drawn("sram_parity", between(1, 1000))),
    Fatal("gpu_row_remap_failed", one_of("remapped_rows_failed", 1)),
    Fatal("gpu_rows_remapped", drawn("remapped_rows_uncorrected", between(512, 100_000))),
    Fatal("gpu_banks_exhausted", drawn("remap_banks_none", between(8, 100_000))),
    Fatal("gpu_temperature", drawn("temperature", between(111, 200))),
    Fatal("gpu_memory_temperature", drawn("memory_temperature", between(121, 200))),
    Fatal("gpu_pcie_width", lambda dice: {"pcie_width": dice.choice((1, 2, 4, 8)), "pcie_max_width": 16}),
    Fatal(
        "gpu_pcie_generation",
        lambda dice: {"pcie_generation": dice.randint(1, 4), "pcie_max_generation": 5, "performance_state": 0},
    ),
    Fatal("gpu_nvlink_down", link_of("state", 0)),
    Fatal("gpu_nvlink_down", lambda dice: {"nvlink_count": 18, "nvlink_down_mask": dice.randint(1, 2**18 - 1)}),
    Fatal("gpu_nvlink_recovery", link_of("recovery_errors", 1, 2**53)),
    Fatal("gpu_fabric_state", one_of("fabric_state", 1, 2)),
    Fatal("gpu_fabric_state", lambda dice: {"fabric_state": 3, "fabric_status": dice.randint(1, 999)}),
    Fatal("gpu_fabric_trouble", one_of("fabric_health_mask", 0x1A9, 0x19A, 0x16A, 0x155)),
)
OF_THE_DRIVER = 154
"""The XID whose severity is in its words."""
XIDS = tuple(code for code in read_catalogue().fatal_xids() if code != OF_THE_DRIVER)


assert len(FATAL) <= FAULTY_NODES, "each of them shall be the first on a node"


@pytest.mark.parametrize("seed", range(FAULTY_NODES))
def test_no_fatal_fault_is_missed_and_no_healthy_gpu_is_blamed(
    played: PlayedNode, shared_node: "NodeFiles", checks: Checks, seed: int
) -> None:
    """Each fault comes first once, on GPUs and in company that are drawn, with fatal XIDs beside."""
    dice = random.Random(1000 + seed)  # noqa: S311  the same node at every run
    scenario, log, wanted = healthy_node(dice), "6,1,1000,-;Linux version 6.1\n", set()
    places = dice.sample(range(MAX_GPUS), dice.randint(1, MAX_GPUS - 2))
    for turn, index in enumerate(places):
        fatal = FATAL[(seed + turn) % len(FATAL)]
        scenario = scenario.with_gpu(index, **fatal.settings(dice))
        wanted.add((fatal.check, "unhealthy", f"GPU {index}"))
    told = dice.sample(range(MAX_GPUS), dice.randint(0, MAX_GPUS // 2))
    for index in told:
        log += kernel_lines(scenario, index, dice.choice(XIDS), NOW)
    played.play(scenario.render())
    shared_node.write("dev/kmsg", log)
    found = checks.all()
    assert wanted - {one[:3] for one in found} == set()
    blamed = {one[2] for one in found if one[1] in {"degraded", "unhealthy"}}
    addresses = {f"0000:{BUSES[index]:02x}:00" for index in told}
    assert blamed == {f"GPU {index}" for index in places} | addresses
    by_log = {one[2] for one in found if one[0].startswith("xid_") and one[1] == "unhealthy"}
    assert by_log == addresses
