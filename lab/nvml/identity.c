/* What a device is: names, numbers on the bus, links, modes. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state.h"

#define TEXT_CALL(function, text_of_gpu) \
    NVML_API nvmlReturn_t function(nvmlDevice_t device, char *buffer, unsigned int length) \
    { \
        ENTER_DEVICE(device); \
        return copy_text(text_of_gpu, buffer, length); \
    }

TEXT_CALL(nvmlDeviceGetName, gpu.text[NAME])
TEXT_CALL(nvmlDeviceGetUUID, gpu.text[UUID])
TEXT_CALL(nvmlDeviceGetSerial, gpu.text[SERIAL])
TEXT_CALL(nvmlDeviceGetVbiosVersion, gpu.text[VBIOS_VERSION])

#define UINT_CALL(function, value_of_gpu) \
    NVML_API nvmlReturn_t function(nvmlDevice_t device, unsigned int *value) \
    { \
        ENTER_DEVICE(device); \
        REQUIRE(value); \
        *value = (unsigned int)(value_of_gpu); \
        return NVML_SUCCESS; \
    }

UINT_CALL(nvmlDeviceGetIndex, gpu.index)
UINT_CALL(nvmlDeviceGetMinorNumber, number_or(&gpu, MINOR_NUMBER, gpu.index))
UINT_CALL(nvmlDeviceGetBrand, NVML_BRAND_NVIDIA)
UINT_CALL(nvmlDeviceGetArchitecture, NVML_DEVICE_ARCH_HOPPER)
UINT_CALL(nvmlDeviceGetPersistenceMode, gpu.number[PERSISTENCE_MODE])
UINT_CALL(nvmlDeviceGetCurrPcieLinkGeneration, gpu.number[PCIE_GENERATION])
UINT_CALL(nvmlDeviceGetMaxPcieLinkGeneration, gpu.number[PCIE_MAX_GENERATION])
UINT_CALL(nvmlDeviceGetGpuMaxPcieLinkGeneration, gpu.number[PCIE_MAX_GENERATION])
UINT_CALL(nvmlDeviceGetCurrPcieLinkWidth, gpu.number[PCIE_WIDTH])
UINT_CALL(nvmlDeviceGetMaxPcieLinkWidth, gpu.number[PCIE_MAX_WIDTH])
UINT_CALL(nvmlDeviceGetPcieReplayCounter, gpu.number[PCIE_REPLAYS])
UINT_CALL(nvmlDeviceGetMaxMigDeviceCount, gpu.number[MIG_MODE] > 0 ? 7 : 0)

static void describe_bus(const struct gpu *gpu, nvmlPciInfo_t *pci)
{
    memset(pci, 0, sizeof *pci);
    /* A bus id from the scenario that is no address leaves zeros, as on a device whose address is unknown. */
    if (sscanf(gpu->text[PCI_BUS_ID], "%x:%x:%x", &pci->domain, &pci->bus, &pci->device) != 3)
        pci->domain = pci->bus = pci->device = 0;
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0", pci->domain & 0xffff, pci->bus & 0xff,
             pci->device & 0xff);
    snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", pci->domain, pci->bus & 0xff, pci->device & 0xff);
    pci->pciDeviceId = 0x233010de;    /* H100 SXM5 80GB */
    pci->pciSubSystemId = 0x16c110de; /* on an HGX board */
}

NVML_API nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    ENTER_DEVICE(device);
    REQUIRE(pci);
    describe_bus(&gpu, pci);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    ENTER_DEVICE(device);
    REQUIRE(major && minor);
    *major = 9;
    *minor = 0;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *now, unsigned int *pending)
{
    ENTER_DEVICE(device);
    REQUIRE(now && pending);
    *now = *pending = (unsigned int)gpu.number[MIG_MODE];
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *mig)
{
    ENTER_DEVICE(device);
    (void)index;
    REQUIRE(mig);
    return gpu.number[MIG_MODE] > 0 ? NVML_ERROR_NOT_FOUND : NVML_ERROR_NOT_SUPPORTED;
}

NVML_API nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned int *now, unsigned int *pending)
{
    ENTER_DEVICE(device);
    REQUIRE(now && pending);
    *now = *pending = (unsigned int)gpu.number[ECC_MODE];
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link, unsigned int *active)
{
    ENTER_DEVICE(device);
    REQUIRE(active && link < (unsigned int)gpu.number[NVLINK_COUNT]);
    *active = ((unsigned long long)gpu.number[NVLINK_DOWN_MASK] >> link & 1) == 0;
    return NVML_SUCCESS;
}

/* Every link of an HGX board ends at one of its four NVSwitch chips. */
NVML_API nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned int link, nvmlPciInfo_t *pci)
{
    ENTER_DEVICE(device);
    REQUIRE(pci && link < (unsigned int)gpu.number[NVLINK_COUNT]);
    memset(pci, 0, sizeof *pci);
    pci->bus = 0x07 + link % 4;
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "0000:%02X:00.0", pci->bus & 0xff);
    snprintf(pci->busId, sizeof pci->busId, "00000000:%02X:00.0", pci->bus & 0xff);
    return NVML_SUCCESS;
}

/* All CPUs of the machine: none is nearer to a GPU that is not there. Slurm's plugin ends slurmd over an empty set. */
NVML_API nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t device, unsigned int words, unsigned long *set)
{
    ENTER_DEVICE(device);
    REQUIRE(set && words > 0);
    const unsigned int bits = 8 * sizeof *set;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    memset(set, 0, words * sizeof *set);
    for (unsigned int cpu = 0; cpu < (unsigned long)online && cpu < words * bits; cpu++)
        set[cpu / bits] |= 1UL << cpu % bits;
    return NVML_SUCCESS;
}

#define UNSUPPORTED_UINT_CALL(function) \
    NVML_API nvmlReturn_t function(nvmlDevice_t device, unsigned int *value) \
    { \
        ENTER_DEVICE(device); \
        REQUIRE(value); \
        return NVML_ERROR_NOT_SUPPORTED; \
    }

UNSUPPORTED_UINT_CALL(nvmlDeviceGetGpuInstanceId)
UNSUPPORTED_UINT_CALL(nvmlDeviceGetComputeInstanceId)

NVML_API nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, void *attributes)
{
    ENTER_DEVICE(device);
    REQUIRE(attributes);
    return NVML_ERROR_NOT_SUPPORTED;
}
