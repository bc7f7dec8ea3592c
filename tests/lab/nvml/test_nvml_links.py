"""NVLinks one by one: each key of a link through the call or the field that reads it."""

from typing import TYPE_CHECKING

import pytest

from fleetward.lab.scenario_keys import keys

if TYPE_CHECKING:
    from conftest import Nvml
    from played_nvml import PlayedNode

    Shared = tuple[PlayedNode, Nvml]

OLDER = {
    "replay_errors": 161,
    "recovery_errors": 162,
    "crc_errors": 163,
    "speed_mbps": 164,
    "tx_kib": 138,
    "rx_kib": 139,
    "raw_tx_kib": 140,
    "raw_rx_kib": 141,
}
FIFTH = {
    **{"xmit_packets": 201, "xmit_bytes": 202, "rcv_packets": 203, "rcv_bytes": 204},
    **{"malformed_packet_errors": 206, "buffer_overrun_errors": 207, "rcv_errors": 208, "rcv_remote_errors": 209},
    **{"rcv_general_errors": 210, "local_link_integrity_errors": 211, "xmit_discards": 212},
    **{"recovery_successful_events": 213, "recovery_failed_events": 214, "recovery_events": 215},
    **{"effective_errors": 219, "effective_ber": 220, "symbol_errors": 221, "symbol_ber": 222},
}
ROWS: list[tuple[str, int, str, object]] = [
    ("state", 0, "n.nvmlDeviceGetNvLinkState(h(2), 7)", 0),
    ("state", 2, "field(2, 165, 7)['value']", 2),
    ("version", 5, "n.nvmlDeviceGetNvLinkVersion(h(2), 7)", 5),
    ("version", 4, "field(2, 166, 7)['value']", 4),
    ("capabilities", 0, "[n.nvmlDeviceGetNvLinkCapability(h(2), 7, c) for c in range(6)]", [0] * 6),
    ("capabilities", 5, "[n.nvmlDeviceGetNvLinkCapability(h(2), 7, c) for c in range(3)]", [1, 0, 1]),
    ("remote_type", 0, "n.nvmlDeviceGetNvLinkRemoteDeviceType(h(2), 7)", 0),
    ("remote_bus", 0x3B, "n.nvmlDeviceGetNvLinkRemotePciInfo(h(2), 7).busId", "00000000:3B:00.0"),
    ("remote_link", 3, "field(2, 146, 7)['value']", 3),
    ("replay_errors", 31, "n.nvmlDeviceGetNvLinkErrorCounter(h(2), 7, 0)", 31),
    ("recovery_errors", 32, "n.nvmlDeviceGetNvLinkErrorCounter(h(2), 7, 1)", 32),
    ("crc_errors", 33, "n.nvmlDeviceGetNvLinkErrorCounter(h(2), 7, 2)", 33),
    ("crc_data_errors", 34, "n.nvmlDeviceGetNvLinkErrorCounter(h(2), 7, 3)", 34),
    ("ecc_errors", 35, "n.nvmlDeviceGetNvLinkErrorCounter(h(2), 7, 4)", 35),
    *((key, 6000 + id, f"field(2, {id}, 7)['value']", 6000 + id) for key, id in (OLDER | FIFTH).items()),
]
TOTALS = {"crc_errors": 38, "crc_data_errors": 45, "replay_errors": 52, "recovery_errors": 59, "ecc_errors": 160}


def test_every_key_of_a_link_is_asked_for() -> None:
    assert {key for key, *_ in ROWS} == set(keys().link_numbers)


@pytest.mark.parametrize(("key", "value", "expression", "expected"), ROWS)
def test_a_value_of_one_link(shared: "Shared", key: str, value: int, expression: str, expected: object) -> None:
    played, nvml = shared
    fifth = "all.nvlink_version=7\n"
    played.play(fifth)
    assert nvml(expression) != expected
    played.play(f"{fifth}gpu.2.nvlink.7.{key}={value}\n")
    assert nvml(expression) == expected
    other = expression.replace(", 7", ", 8")
    assert nvml(other) != expected, "only link 7 was changed"
    assert nvml(expression.replace("h(2)", "h(3)").replace("field(2", "field(3")) != expected, "only of GPU 2"
    played.play(f"{fifth}all.nvlink.all.{key}={value}\n")
    assert nvml(other) == expected


@pytest.mark.parametrize(("key", "field"), TOTALS.items())
def test_a_total_is_the_sum_over_the_links(shared: "Shared", key: str, field: int) -> None:
    played, nvml = shared
    played.play(f"gpu.2.nvlink.0.{key}=3\ngpu.2.nvlink.17.{key}=4\ngpu.2.nvlink.18.{key}=50\n")
    assert nvml(f"field(2, {field})['value']") == 7, "there is no link 18"


def test_bytes_can_be_asked_for_of_all_links(shared: "Shared") -> None:
    played, nvml = shared
    played.play("gpu.2.nvlink.all.tx_kib=10\ngpu.2.nvlink.4.tx_kib=1\n")
    assert nvml("field(2, 138, 0xffffffff)['value']") == 17 * 10 + 1


@pytest.mark.parametrize("field", FIFTH.values())
def test_an_older_nvlink_counts_nothing_of_the_fifth(shared: "Shared", field: int) -> None:
    played, nvml = shared
    played.play("")
    assert nvml(f"field(2, {field}, 7)") == {"code": 3, "value": None}


@pytest.mark.parametrize("field", [*OLDER.values(), 165, 166])
def test_a_link_that_is_not_there_is_refused(shared: "Shared", field: int) -> None:
    played, nvml = shared
    played.play("all.nvlink_count=4\n")
    assert nvml(f"field(2, {field}, 3)")["code"] == 0
    assert nvml(f"field(2, {field}, 4)")["code"] == 2
    with pytest.raises(Exception, match="code 2"):
        nvml("n.nvmlDeviceGetNvLinkState(h(2), 4)")


def test_a_gpu_without_links_has_no_fields_of_them(shared: "Shared") -> None:
    played, nvml = shared
    played.play("all.nvlink_count=0\n")
    assert nvml("[field(2, id)['code'] for id in (38, 161, 165)]") == [3, 3, 3]


def test_a_link_that_is_down_has_no_speed(shared: "Shared") -> None:
    played, nvml = shared
    played.play("gpu.2.nvlink_down_mask=0x80\n")
    assert nvml("[field(2, 164, link)['value'] for link in (6, 7)]") == [26562, 0]
