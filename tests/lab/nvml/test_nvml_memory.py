"""The library under the address and undefined-behaviour sanitizers, fed with what no scenario should hold."""

import os
import random
import string
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fleetward
from fleetward.lab.scenario_keys import keys

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
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t, unsigned, nvmlDevice_t *);
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t, nvmlMemory_v2_t *), nvmlDeviceGetIndex(nvmlDevice_t, unsigned *);
nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t, nvmlDeviceAttributes_t *);
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *, nvmlDevice_t *);
nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t, unsigned, unsigned, unsigned, unsigned long long *);
nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t, nvmlEccSramErrorStatus_t *);
nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t, nvmlGpuFabricInfo_v3_t *);
nvmlReturn_t nvmlDeviceGetPlatformInfo(nvmlDevice_t, nvmlPlatformInfo_t *);
nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlDevice_t, nvmlPciInfoExt_t *);
nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t, nvmlMarginTemperature_v1_t *);
nvmlReturn_t nvmlDeviceGetThermalSettings(nvmlDevice_t, unsigned, nvmlGpuThermalSettings_t *);
nvmlReturn_t nvmlDeviceGetViolationStatus(nvmlDevice_t, unsigned, nvmlViolationTime_t *);
nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t, unsigned, nvmlPciInfo_t *);
nvmlReturn_t nvmlDeviceGetNvLinkCapability(nvmlDevice_t, unsigned, unsigned, unsigned *);
nvmlReturn_t nvmlDeviceGetPcieSpeed(nvmlDevice_t, unsigned *), nvmlDeviceGetBoardId(nvmlDevice_t, unsigned *);
nvmlReturn_t nvmlDeviceGetGspFirmwareVersion(nvmlDevice_t, char *);
nvmlReturn_t nvmlDeviceGetInforomVersion(nvmlDevice_t, unsigned, char *, unsigned);
nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *), nvmlGpmSampleFree(nvmlGpmSample_t);
nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t, nvmlGpmSample_t), nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *);

static void ask_for_health(nvmlDevice_t device)
{
    nvmlEccSramErrorStatus_t sram = {.version = NVML_VERSION_OF(nvmlEccSramErrorStatus_t, 1)};
    nvmlGpuFabricInfo_v3_t fabric = {.version = NVML_VERSION_OF(nvmlGpuFabricInfo_v3_t, 3)};
    nvmlPlatformInfo_t platform = {.version = NVML_VERSION_OF(nvmlPlatformInfo_t, 2)};
    nvmlPciInfoExt_t pci = {.version = NVML_VERSION_OF(nvmlPciInfoExt_t, 1)};
    nvmlMarginTemperature_v1_t margin = {.version = NVML_VERSION_OF(nvmlMarginTemperature_v1_t, 1)};
    nvmlGpuThermalSettings_t thermal;
    nvmlViolationTime_t violation;
    nvmlPciInfo_t remote;
    unsigned long long errors;
    unsigned value;
    char version[64];
    nvmlDeviceGetSramEccErrorStatus(device, &sram);
    nvmlDeviceGetGpuFabricInfoV(device, &fabric);
    nvmlDeviceGetPlatformInfo(device, &platform);
    nvmlDeviceGetPciInfoExt(device, &pci);
    nvmlDeviceGetMarginTemperature(device, &margin);
    nvmlDeviceGetThermalSettings(device, 0, &thermal);
    nvmlDeviceGetPcieSpeed(device, &value);
    nvmlDeviceGetBoardId(device, &value);
    nvmlDeviceGetGspFirmwareVersion(device, version);
    for (unsigned place = 0; place < 40; place++) {
        nvmlDeviceGetMemoryErrorCounter(device, 1, place & 1, place, &errors);
        nvmlDeviceGetViolationStatus(device, place, &violation);
        nvmlDeviceGetNvLinkRemotePciInfo_v2(device, place, &remote);
        nvmlDeviceGetNvLinkCapability(device, place, place % 8, &value);
        nvmlDeviceGetInforomVersion(device, place, version, place);
    }
}

static void ask_for_activity(nvmlDevice_t device)
{
    struct {
        nvmlGpmMetricsGet_t header;
        nvmlGpmMetric_t metrics[3];
    } asked = {.header = {.version = 1, .numMetrics = 3}, .metrics = {{.metricId = 1}, {.metricId = 61}}};
    nvmlGpmSampleAlloc(&asked.header.sample1);
    nvmlGpmSampleAlloc(&asked.header.sample2);
    if (asked.header.sample1 && asked.header.sample2) {
        nvmlGpmSampleGet(device, asked.header.sample1);
        nvmlGpmSampleGet(device, asked.header.sample2);
        nvmlGpmMetricsGet(&asked.header);
    }
    nvmlGpmSampleFree(asked.header.sample1);
    nvmlGpmSampleFree(asked.header.sample2);
}

static void ask_for_instances(nvmlDevice_t device)
{
    for (unsigned index = 0; index < 9; index++) {
        nvmlDevice_t instance, again;
        nvmlMemory_v2_t memory = {.version = NVML_VERSION_OF(nvmlMemory_v2_t, 2)};
        nvmlDeviceAttributes_t attributes;
        nvmlProcessInfo_t processes[4];
        unsigned count = 4;
        char text[96], small[4];
        if (nvmlDeviceGetMigDeviceHandleByIndex(device, index, &instance) != NVML_SUCCESS)
            continue;
        nvmlDeviceGetMemoryInfo_v2(instance, &memory);
        nvmlDeviceGetAttributes_v2(instance, &attributes);
        nvmlDeviceGetComputeRunningProcesses_v3(instance, &count, processes);
        nvmlDeviceGetName(instance, small, sizeof small);
        if (nvmlDeviceGetUUID(instance, text, sizeof text) == NVML_SUCCESS)
            nvmlDeviceGetHandleByUUID(text, &again);
    }
}

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
        ask_for_health(device);
        ask_for_activity(device);
        ask_for_instances(device);
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


STRANGE = ["", "0", "1", "16", "17", "-1", "-200", "1e308", "0x10", "nan", "inf", "5e-324", "9007199254740992", "999"]
STRANGE += ["x" * 95, "x" * 96, "x" * 4000, "ffff:ff:ff", "1g.10gb,3g.40gb", "7g.9999gb", "1g.10gb," * 11, "0102-03"]
HOLDS_UP = {"hang", "delay_ms"}
"""These do what they say, which is to keep a caller waiting."""


def rubbish(seed: int) -> bytes:
    """Return lines that are nearly right, mixed with bytes that are not."""
    chance = random.Random(seed)  # noqa: S311  the same rubbish at every run
    scopes = ["all", "gpu.0", "gpu.1", "gpu.15", "gpu.16"]
    names = [*keys().gpu_numbers, *keys().gpu_texts]
    names += ["pci_bus_id", "mig", "memory_total_mib", "nvlink_count"] * 8  # what sizes and places follow from
    names += [f"nvlink.{chance.choice(['0', '35', '36', 'all', ''])}.{name}" for name in keys().link_numbers]
    names += [f"call.{function}.error" for function in chance.sample(sorted(keys().functions), 5)]
    lines = [
        f"{chance.choice(scopes)}.{name}={chance.choice(STRANGE)}".encode()
        for name in chance.choices([name for name in names if name not in HOLDS_UP], k=300)
    ]
    lines += [f"driver.{name}={chance.choice(STRANGE)}".encode() for name in ("gpu_count", "seed", "version")]
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
    (played.folder / "events").write_bytes(rubbish(seed + 1000) + b"\nxid 99 79\nxid 0 79 \nclock 0\n" + b"x" * 5000)
    held = [os.open(played.device(index), os.O_RDONLY) for index in range(3)]
    try:
        done = subprocess.run(
            [checked], env=played.environment, capture_output=True, text=True, check=False, timeout=60
        )
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert (done.returncode, done.stdout, done.stderr) == (0, "survived\n", "")
