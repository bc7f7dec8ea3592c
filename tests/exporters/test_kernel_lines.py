"""Faults in the kernel's log: every shape that drivers write, and nothing that only looks like one."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.exporters.events.kernel_lines import (
    FELL_OFF_THE_BUS,
    Header,
    KernelSxid,
    KernelXid,
    bus_address,
    header_of,
    parse_record,
)

SHAPES = {
    "NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.": ("0000:05:00", 79),
    "NVRM: Xid (0000:03:00): 14, Channel 00000001": ("0000:03:00", 14),
    "NVRM: Xid (PCI:0018:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x0)": ("0018:01:00", 149),
    "NVRM: Xid (PCI:0000:9b:00): 31, pid=4242, name=python3, Ch 00000008": ("0000:9b:00", 31),
    "NVRM: Xid (PCI:0000:9B:00.0): 48": ("0000:9b:00", 48),
    "3,1234,5678900,-;NVRM: Xid (PCI:0000:05:00): 62, 0000(0000) 00000000": ("0000:05:00", 62),
    "4,1234,5678900,c,caller=T12;NVRM: Xid (PCI:0000:05:00): 94, Contained": ("0000:05:00", 94),
}
"""As they stand in public logs."""

FALLEN = (
    "NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.",
    "NVRM: GPU at PCI:0000:18:00: GPU has fallen off the bus",
    "NVRM: The NVIDIA GPU 0000:18:00.0 (PCI ID: 10de:2330) installed in this system has fallen off the bus and is not",
)

SXIDS = {
    "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error (First)": (
        *("0000:05:00", 3, 12028),
    ),
    "nvidia-nvswitch0: SXid (PCI:0000:A9:00.0): 20034, Fatal, Link 30 LTSSM Fault Up": ("0000:a9:00", 0, 20034),
    "3,1234,5678900,-;nvidia-nvswitch12: SXid (PCI:0000:05:00.0): 10003, Fatal, Host unhandled interrupt": (
        *("0000:05:00", 12, 10003),
    ),
}

NO_FAULTS = (
    "",
    "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.133.20",
    # the lines that follow the one of an SXid
    "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Severity 1 Engine instance 62 Sub-engine instance 00",
    "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Data {0x10000000, 0x10000000, 0x00000000}",
    "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): garbled, Fatal",
    "nvidia-nvswitch: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
    "audit: comm='nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 30 LTSSM Fault Up'",
    "NVRM: GPU at PCI:0000:18:00: GPU-5b3f0a5e-0000-0000-0000-000000000000",
    "NVRM: Xid (PCI:0000:05:00): , nothing",
    "NVRM: Xid (PCI:0000:05): 79, half an address",
    # a program that calls itself so, in a line about something else
    "oom-kill: task=NVRM: Xid (PCI:0000:05:00): 79, uid=1000",
    "audit: comm='NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.'",
    # written to /dev/kmsg by a program: facility 1 (user), priority 4
    "12,1234,5678900,-;NVRM: Xid (PCI:0000:05:00): 79, GPU has fallen off the bus.",
)

hexadecimal = st.text(string.hexdigits, min_size=2, max_size=2)


@pytest.mark.parametrize(("line", "found"), SHAPES.items())
def test_every_shape_of_an_xid_is_read(line: str, found: tuple[str, int]) -> None:
    assert parse_record(line) == KernelXid(*found)


@pytest.mark.parametrize("line", FALLEN)
def test_a_gpu_that_fell_off_the_bus_is_xid_79_without_the_number(line: str) -> None:
    assert parse_record(line) == KernelXid("0000:18:00", FELL_OFF_THE_BUS, implied=True)


@pytest.mark.parametrize(("line", "found"), SXIDS.items())
def test_the_first_line_of_an_sxid_is_read(line: str, found: tuple[str, int, int]) -> None:
    assert parse_record(line) == KernelSxid(*found)


@pytest.mark.parametrize("line", NO_FAULTS)
def test_what_is_no_fault_is_none(line: str) -> None:
    assert parse_record(line) is None


@pytest.mark.parametrize("line", [*SHAPES, *FALLEN, *SXIDS])
def test_a_fault_keeps_what_the_driver_wrote_without_the_header(line: str) -> None:
    found = parse_record(line)
    assert found
    assert found.line == (line.partition(";")[2] or line)
    assert found.line.startswith(("NVRM: ", "nvidia-nvswitch"))


@given(st.integers(0, 0xFFFF), hexadecimal, hexadecimal, st.integers(0, 99999), st.text(max_size=200))
def test_address_and_number_come_through_whatever_follows(
    domain: int, bus: str, device: str, code: int, rest: str
) -> None:
    found = parse_record(f"NVRM: Xid (PCI:{domain:04x}:{bus}:{device}): {code}, {rest}")
    assert found == KernelXid(f"{domain:04x}:{bus}:{device}".lower(), code)


@given(st.text(max_size=300))
def test_no_line_is_more_than_the_reader_can_take(text: str) -> None:
    found = parse_record(text)
    assert found is None or text.partition("NVRM: ")[1] or text.partition("SXid")[1]


@given(st.integers(0, 0xFFFF), hexadecimal, hexadecimal)
def test_nvml_and_the_kernel_mean_the_same_address(domain: int, bus: str, device: str) -> None:
    of_nvml = f"{domain:08X}:{bus}:{device}.0"
    assert bus_address(of_nvml) == bus_address(f"{domain:04x}:{bus}:{device}".lower())


def test_a_header_tells_the_number_and_the_time_since_the_start() -> None:
    assert header_of("3,1234,5678900,-;NVRM: Xid") == Header(1234, 5.6789)
    assert header_of("NVRM: Xid (PCI:0000:05:00): 79") is None
    assert header_of("3,x,5678900,-;NVRM: Xid") is None
