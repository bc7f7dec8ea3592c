/* The calls that show the MIG instances of a GPU. */
#include <string.h>

#include "state.h"

UINT_CALL(nvmlDeviceGetMaxMigDeviceCount, mig_enabled(&gpu) ? MAX_INSTANCES : 0)

NVML_API nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *mig)
{
    ENTER_DEVICE(device);
    REQUIRE(mig && index < MAX_INSTANCES);
    if (!mig_enabled(&gpu))
        return NVML_ERROR_NOT_SUPPORTED;
    if (!mig_has(&gpu, (int)index))
        return NVML_ERROR_NOT_FOUND;
    *mig = handle_of(gpu.index, (int)index);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t mig, nvmlDevice_t *device)
{
    ENTER_DEVICE_OR_INSTANCE(mig);
    REQUIRE(device && gpu.instance >= 0);
    *device = handle_of(gpu.index, -1);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned int *is)
{
    ENTER_DEVICE_OR_INSTANCE(device);
    REQUIRE(is);
    *is = gpu.instance >= 0;
    return NVML_SUCCESS;
}

#define INSTANCE_CALL(function, value_of_own) \
    NVML_API nvmlReturn_t function(nvmlDevice_t mig, unsigned int *value) \
    { \
        ENTER_DEVICE_OR_INSTANCE(mig); \
        REQUIRE(value); \
        if (gpu.instance < 0) \
            return NVML_ERROR_NOT_SUPPORTED; \
        struct instance layout[MAX_INSTANCES]; \
        mig_layout(&gpu, layout); \
        const struct instance *own = &layout[gpu.instance]; \
        (void)own; \
        *value = (value_of_own); \
        return NVML_SUCCESS; \
    }

INSTANCE_CALL(nvmlDeviceGetGpuInstanceId, own->gpu_instance_id)
INSTANCE_CALL(nvmlDeviceGetComputeInstanceId, 0) /* one compute instance fills each GPU instance */

NVML_API nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t mig, nvmlDeviceAttributes_t *attributes)
{
    ENTER_DEVICE_OR_INSTANCE(mig);
    REQUIRE(attributes);
    if (gpu.instance < 0)
        return NVML_ERROR_NOT_SUPPORTED;
    struct instance layout[MAX_INSTANCES];
    mig_layout(&gpu, layout);
    const struct instance *own = &layout[gpu.instance];
    *attributes = (nvmlDeviceAttributes_t){
        .multiprocessorCount = own->multiprocessors,
        .sharedCopyEngineCount = own->engines,
        .sharedDecoderCount = own->engines,
        .sharedEncoderCount = (unsigned int)gpu.number[MIG_ENCODERS], /* an H100 has none */
        .sharedJpegCount = own->engines,
        .sharedOfaCount = own->optical_flow,
        .gpuInstanceSliceCount = own->slices,
        .computeInstanceSliceCount = own->slices,
        .memorySizeMB = mig_memory(&gpu).total >> 20,
    };
    return NVML_SUCCESS;
}
