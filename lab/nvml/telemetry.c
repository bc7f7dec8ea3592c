/* How busy a device is, and what its memory holds. */
#include "state.h"

static const unsigned int SAMPLING_MICROSECONDS = 167000;

/* With MIG on, a GPU as a whole shows no load, unless the scenario names one. */
static bool shows_load(const struct gpu *gpu)
{
    return !mig_enabled(gpu) || is_set(gpu, UTILIZATION_PERCENT) || is_set(gpu, MEMORY_UTILIZATION_PERCENT);
}

NVML_API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
    ENTER_DEVICE(device);
    REQUIRE(utilization);
    if (!shows_load(&gpu))
        return NVML_ERROR_NOT_SUPPORTED;
    utilization->gpu = rounded(model_utilization_percent(&gpu));
    utilization->memory = rounded(model_memory_utilization_percent(&gpu));
    return NVML_SUCCESS;
}

#define ENGINE_CALL(function, key) \
    NVML_API nvmlReturn_t function(nvmlDevice_t device, unsigned int *percent, unsigned int *microseconds) \
    { \
        ENTER_DEVICE(device); \
        REQUIRE(percent && microseconds); \
        *percent = rounded(gpu.number[key]); \
        *microseconds = SAMPLING_MICROSECONDS; \
        return NVML_SUCCESS; \
    }

ENGINE_CALL(nvmlDeviceGetEncoderUtilization, ENCODER_PERCENT)
ENGINE_CALL(nvmlDeviceGetDecoderUtilization, DECODER_PERCENT)
ENGINE_CALL(nvmlDeviceGetJpgUtilization, JPEG_PERCENT)
ENGINE_CALL(nvmlDeviceGetOfaUtilization, OPTICAL_FLOW_PERCENT)

/* Of the eight places the first four are used: graphics, frame buffer, video, bus. */
NVML_API nvmlReturn_t nvmlDeviceGetDynamicPstatesInfo(nvmlDevice_t device, nvmlGpuDynamicPstatesInfo_t *info)
{
    ENTER_DEVICE(device);
    REQUIRE(info);
    if (!shows_load(&gpu))
        return NVML_ERROR_NOT_SUPPORTED;
    *info = (nvmlGpuDynamicPstatesInfo_t){0};
    const double percent[] = {model_utilization_percent(&gpu), model_memory_utilization_percent(&gpu),
                              gpu.number[DECODER_PERCENT], 0};
    for (unsigned int place = 0; place < sizeof percent / sizeof percent[0]; place++) {
        info->utilization[place].bIsPresent = 1;
        info->utilization[place].percentage = rounded(percent[place]);
    }
    return NVML_SUCCESS;
}

static struct memory asked_memory(const struct gpu *gpu)
{
    return gpu->instance < 0 ? memory_of(gpu) : mig_memory(gpu);
}

/* The first version of this call counts what the driver reserves as used. */
NVML_API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *info)
{
    ENTER_DEVICE_OR_INSTANCE(device);
    REQUIRE(info);
    struct memory memory = asked_memory(&gpu);
    *info = (nvmlMemory_t){.total = memory.total, .free = memory.free, .used = memory.used + memory.reserved};
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *info)
{
    ENTER_DEVICE_OR_INSTANCE(device);
    REQUIRE(info);
    if (info->version != NVML_VERSION_OF(nvmlMemory_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    struct memory memory = asked_memory(&gpu);
    info->total = memory.total;
    info->reserved = memory.reserved;
    info->free = memory.free;
    info->used = memory.used;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *info)
{
    ENTER_DEVICE_OR_INSTANCE(device);
    REQUIRE(info);
    info->bar1Total = (unsigned long long)(gpu.number[BAR1_TOTAL_MIB] * MIB);
    info->bar1Used = (unsigned long long)(gpu.number[BAR1_USED_MIB] * MIB);
    if (info->bar1Used > info->bar1Total)
        info->bar1Used = info->bar1Total;
    info->bar1Free = info->bar1Total - info->bar1Used;
    return NVML_SUCCESS;
}
