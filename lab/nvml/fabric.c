/* What the fabric manager made of a GPU: whether it joined the NVLink fabric, which part, and how well it is there. */
#include <stdio.h>
#include <string.h>

#include "state.h"

/* A UUID of 16 bytes from its text; of text that is none, as many bytes as could be read. */
static void cluster_uuid(const struct gpu *gpu, unsigned char uuid[16])
{
    const char *text = gpu->text[FABRIC_CLUSTER_UUID];
    memset(uuid, 0, 16);
    for (int place = 0; place < 16; place++) {
        unsigned int byte;
        int read = 0;
        if (*text == '-')
            text++;
        if (sscanf(text, "%2x%n", &byte, &read) != 1 || read != 2)
            return;
        uuid[place] = (unsigned char)byte;
        text += read;
    }
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device, nvmlGpuFabricInfo_t *info)
{
    ENTER_DEVICE(device);
    REQUIRE(info);
    cluster_uuid(&gpu, info->clusterUuid);
    info->status = (nvmlReturn_t)gpu.number[FABRIC_STATUS];
    info->cliqueId = (unsigned int)gpu.number[FABRIC_CLIQUE];
    info->state = (unsigned char)gpu.number[FABRIC_STATE];
    return NVML_SUCCESS;
}

/* The third version is the second with one member more behind it. */
NVML_API nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfo_v3_t *info)
{
    ENTER_DEVICE(device);
    REQUIRE(info);
    bool third = info->version == NVML_VERSION_OF(nvmlGpuFabricInfo_v3_t, 3);
    if (!third && info->version != NVML_VERSION_OF(nvmlGpuFabricInfo_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    cluster_uuid(&gpu, info->clusterUuid);
    info->status = (nvmlReturn_t)gpu.number[FABRIC_STATUS];
    info->cliqueId = (unsigned int)gpu.number[FABRIC_CLIQUE];
    info->state = (unsigned char)gpu.number[FABRIC_STATE];
    info->healthMask = (unsigned int)gpu.number[FABRIC_HEALTH_MASK];
    if (third)
        info->healthSummary = (unsigned char)gpu.number[FABRIC_HEALTH_SUMMARY];
    return NVML_SUCCESS;
}
