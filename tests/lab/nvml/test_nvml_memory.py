"""The library under the address and undefined-behaviour sanitizers, fed with what no scenario should hold."""

import os
import random
import string
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fleetward

if TYPE_CHECKING:
    from played_nvml import PlayedNode

SOURCES = Path(fleetward.__file__).parent / "lab" / "nvml"

# Makes the calls that fill buffers and arrays, with room that is too small and room that suffices.
PROGRAM = """
#include <stdio.h>
#include "abi.h"
nvmlReturn_t nvmlInit_v2(void), nvmlShutdown(void), nvmlDeviceGetHandleByIndex_v2(unsigned, nvmlDevice_t *);
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t, char *, unsigned), nvmlDeviceGetUUID(nvmlDevice_t, char *, unsigned);
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t, nvmlPciInfo_t *);
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t, nvmlMemory_t *);
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t, nvmlUtilization_t *);
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t, unsigned *, nvmlProcessInfo_t *);
nvmlReturn_t nvmlDeviceGetSupportedGraphicsClocks(nvmlDevice_t, unsigned, unsigned *, unsigned *);
nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t, unsigned, unsigned *, unsigned long long *);
nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t, int, nvmlFieldValue_t *);
nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t, unsigned, unsigned long *);
nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *), nvmlEventSetFree(nvmlEventSet_t);
nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t, unsigned long long, nvmlEventSet_t);
nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t, nvmlEventData_t *, unsigned);

int main(void)
{
    nvmlInit_v2();
    nvmlEventSet_t set = NULL;
    nvmlEventSetCreate(&set);
    for (unsigned index = 0; index < 20; index++) {
        nvmlDevice_t device;
        if (nvmlDeviceGetHandleByIndex_v2(index, &device) != NVML_SUCCESS)
            continue;
        char small[4], text[96];
        nvmlPciInfo_t pci;
        nvmlMemory_t memory;
        nvmlUtilization_t load;
        nvmlProcessInfo_t processes[4];
        unsigned clocks[2048], count = 4;
        unsigned long long pages[64];
        unsigned long cpus[2];
        nvmlDeviceGetName(device, small, sizeof small);
        nvmlDeviceGetName(device, text, sizeof text);
        nvmlDeviceGetUUID(device, text, sizeof text);
        nvmlDeviceGetPciInfo_v3(device, &pci);
        nvmlDeviceGetMemoryInfo(device, &memory);
        nvmlDeviceGetUtilizationRates(device, &load);
        nvmlDeviceGetComputeRunningProcesses_v3(device, &count, processes);
        count = 2048;
        nvmlDeviceGetSupportedGraphicsClocks(device, 2619, &count, clocks);
        count = 64;
        nvmlDeviceGetRetiredPages(device, 0, &count, pages);
        nvmlDeviceGetCpuAffinity(device, 2, cpus);
        for (unsigned field = 0; field < 320; field++)
            for (unsigned link = 0; link < 40; link += 13) {
                nvmlFieldValue_t value = {.fieldId = field, .scopeId = link};
                nvmlDeviceGetFieldValues(device, 1, &value);
            }
        nvmlDeviceRegisterEvents(device, NVML_EVENT_XID, set);
    }
    if (set) {
        nvmlEventData_t event;
        nvmlEventSetWait_v2(set, &event, 1);
        nvmlEventSetFree(set);
    }
    nvmlShutdown();
    puts("survived");
    return 0;
}
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sanitized")
    (folder / "calls.c").write_text(PROGRAM)
    subprocess.run(
        [
            *(
                "cc",
                "-std=c11",
                "-D_GNU_SOURCE",
                "-O1",
                "-g",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-pthread",
                f"-I{SOURCES}",
            ),
            *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
            *("-o", folder / "calls", folder / "calls.c", *sorted(SOURCES.glob("*.c"))),
        ],
        check=True,
    )
    return folder / "calls"


def rubbish(seed: int) -> bytes:
    """Return lines that are nearly right, mixed with bytes that are not."""
    chance = random.Random(seed)  # noqa: S311  the same rubbish at every run
    keys = ["gpu.0.name", "all.uuid", "gpu.15.pci_bus_id", "all.memory_total_mib", "gpu.1.nvlink_count", "driver.seed"]
    keys += [
        "all.memory_used_mib",
        "all.memory_reserved_mib",
        "all.max_sm_clock_mhz",
        "driver.gpu_count",
        "gpu.16.name",
    ]
    keys += ["all.clock_event_reasons", "all.retired_pages_corrected", "all.energy_joules", "driver.version"]
    values = [
        "",
        "0",
        "1",
        "16",
        "17",
        "-1",
        "1e308",
        "0x10",
        "nan",
        "inf",
        "x" * 95,
        "x" * 96,
        "x" * 4000,
        "ffff:ff:ff",
    ]
    lines = [f"{chance.choice(keys)}={chance.choice(values)}".encode() for _ in range(60)]
    noise = [bytes(chance.choices(range(256), k=chance.randrange(200))) for _ in range(20)]
    punctuation = ["".join(chance.choices(string.punctuation + "gpualdriver.=0123", k=40)).encode() for _ in range(20)]
    mixed = lines + noise + punctuation
    chance.shuffle(mixed)
    return b"\n".join(mixed)


@pytest.mark.parametrize("seed", range(8))
def test_no_scenario_and_no_event_makes_it_read_or_write_where_it_should_not(
    played: "PlayedNode", checked: Path, seed: int
) -> None:
    (played.folder / "scenario.conf").write_bytes(rubbish(seed))
    (played.folder / "events").write_bytes(rubbish(seed + 1000) + b"\nxid 99 79\nxid 0 79 \n" + b"x" * 5000)
    held = [os.open(played.device(index), os.O_RDONLY) for index in range(3)]
    try:
        done = subprocess.run(
            [checked], env=played.environment, capture_output=True, text=True, check=False, timeout=60
        )
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert (done.returncode, done.stdout, done.stderr) == (0, "survived\n", "")
