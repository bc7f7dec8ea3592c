/* The way to the host: the address on the bus, the link, and what went over it. */
#include <stdio.h>
#include <string.h>

#include "state.h"

static const double KB_OF_MIB = 1048.576;
static const double THROUGHPUT_TAKES_MS = 20; /* on hardware it measures for as long */

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

NVML_API nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlDevice_t device, nvmlPciInfoExt_t *info)
{
    ENTER_DEVICE(device);
    REQUIRE(info);
    if (info->version != NVML_VERSION_OF(nvmlPciInfoExt_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    nvmlPciInfo_t pci;
    describe_bus(&gpu, &pci);
    info->domain = pci.domain;
    info->bus = pci.bus;
    info->device = pci.device;
    info->pciDeviceId = pci.pciDeviceId;
    info->pciSubSystemId = pci.pciSubSystemId;
    info->baseClass = 0x03; /* a display controller, */
    info->subClass = 0x02;  /* of the kind without a display */
    memcpy(info->busId, pci.busId, sizeof info->busId);
    return NVML_SUCCESS;
}

/* Megabits a second of one lane, by generation. */
static unsigned int lane_speed(double generation)
{
    static const unsigned int speeds[] = {0, 2500, 5000, 8000, 16000, 32000, 64000, 128000, 256000};
    return speeds[(unsigned int)generation];
}

UINT_CALL(nvmlDeviceGetCurrPcieLinkGeneration, gpu.number[PCIE_GENERATION])
UINT_CALL(nvmlDeviceGetMaxPcieLinkGeneration, gpu.number[PCIE_MAX_GENERATION])
UINT_CALL(nvmlDeviceGetGpuMaxPcieLinkGeneration, gpu.number[PCIE_MAX_GENERATION])
UINT_CALL(nvmlDeviceGetCurrPcieLinkWidth, gpu.number[PCIE_WIDTH])
UINT_CALL(nvmlDeviceGetMaxPcieLinkWidth, gpu.number[PCIE_MAX_WIDTH])
UINT_CALL(nvmlDeviceGetPcieReplayCounter, gpu.number[PCIE_REPLAYS])
UINT_CALL(nvmlDeviceGetPcieSpeed, lane_speed(gpu.number[PCIE_GENERATION]))
UINT_CALL(nvmlDeviceGetPcieLinkMaxSpeed, gpu.number[PCIE_MAX_GENERATION]) /* NVML numbers these speeds as generations */

NVML_API nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, unsigned int direction, unsigned int *kb)
{
    ENTER_DEVICE(device);
    REQUIRE(kb && direction <= 1);
    sleep_ms(THROUGHPUT_TAKES_MS);
    enum gpu_number key = direction == 0 ? PCIE_TX_KB_PER_SECOND : PCIE_RX_KB_PER_SECOND;
    enum gpu_number mib = direction == 0 ? GPM_PCIE_TX_MIB_PER_SECOND : GPM_PCIE_RX_MIB_PER_SECOND;
    *kb = rounded(number_or(&gpu, key, model_gpm(&gpu, mib) * KB_OF_MIB));
    return NVML_SUCCESS;
}
