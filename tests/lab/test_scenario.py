"""What the lab writes into the log that plays the kernel's is what the exporter reads out of it."""

import pytest

from fleetward.exporters.events.kernel_lines import KernelXid, parse_record
from fleetward.lab.scenario import BUSES, KERNEL_WORDS, MAX_GPUS, Scenario, kernel_lines


@pytest.mark.parametrize("code", [13, *sorted(KERNEL_WORDS)])
def test_the_exporter_reads_the_lines_of_a_fault(code: int) -> None:
    found = [parse_record(line) for line in kernel_lines(Scenario(), 3, code, 12).splitlines()]
    assert found[0] == KernelXid("0000:61:00", code)
    assert found[1:] == ([KernelXid("0000:61:00", 79, implied=True)] if code == 79 else [])


def test_a_gpu_of_another_address_is_named_by_that() -> None:
    scenario = Scenario().with_gpu(3, pci_bus_id="00000018:01:00.0")
    assert parse_record(kernel_lines(scenario, 3, 48, 12)) == KernelXid("0018:01:00", 48)


def test_there_is_an_address_for_every_gpu() -> None:
    assert len(set(BUSES)) == MAX_GPUS
