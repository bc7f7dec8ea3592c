/* What a device does now: load, memory, heat, power, clocks, processes. */
#include <string.h>

#include "state.h"

static const double MIB = 1048576.0;

static unsigned int rounded(double value)
{
    return (unsigned int)(value + 0.5);
}

NVML_API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
    ENTER_DEVICE(device);
    REQUIRE(utilization);
    utilization->gpu = rounded(model_utilization_percent(&gpu));
    utilization->memory = rounded(model_memory_utilization_percent(&gpu));
    return NVML_SUCCESS;
}

struct memory {
    unsigned long long total, reserved, used, free;
};

static struct memory memory_of(const struct gpu *gpu)
{
    struct memory memory = {.total = (unsigned long long)(gpu->number[MEMORY_TOTAL_MIB] * MIB)};
    memory.reserved = (unsigned long long)(gpu->number[MEMORY_RESERVED_MIB] * MIB);
    if (memory.reserved > memory.total)
        memory.reserved = memory.total;
    memory.used = (unsigned long long)model_memory_used_bytes(gpu);
    memory.free = memory.total - memory.reserved - memory.used;
    return memory;
}

/* The first version of this call counts what the driver reserves as used. */
NVML_API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *info)
{
    ENTER_DEVICE(device);
    REQUIRE(info);
    struct memory memory = memory_of(&gpu);
    *info = (nvmlMemory_t){.total = memory.total, .free = memory.free, .used = memory.used + memory.reserved};
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *info)
{
    ENTER_DEVICE(device);
    REQUIRE(info);
    if (info->version != NVML_VERSION_OF(nvmlMemory_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    struct memory memory = memory_of(&gpu);
    info->total = memory.total;
    info->reserved = memory.reserved;
    info->free = memory.free;
    info->used = memory.used;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensor, unsigned int *celsius)
{
    ENTER_DEVICE(device);
    REQUIRE(celsius && sensor == 0);
    *celsius = rounded(model_temperature(&gpu));
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_v1_t *info)
{
    ENTER_DEVICE(device);
    REQUIRE(info);
    if (info->version != NVML_VERSION_OF(nvmlTemperature_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    REQUIRE(info->sensorType == 0);
    info->temperature = (int)rounded(model_temperature(&gpu));
    return NVML_SUCCESS;
}

/* Thresholds of an H100 SXM5: shutdown, slowdown, most for the memory, most for the GPU. */
NVML_API nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, unsigned int kind, unsigned int *celsius)
{
    ENTER_DEVICE(device);
    static const unsigned int thresholds[] = {92, 89, 95, 87};
    REQUIRE(celsius);
    if (kind >= sizeof thresholds / sizeof thresholds[0])
        return NVML_ERROR_NOT_SUPPORTED;
    *celsius = thresholds[kind];
    return NVML_SUCCESS;
}

#define MILLIWATT_CALL(function, watts_of_gpu) \
    NVML_API nvmlReturn_t function(nvmlDevice_t device, unsigned int *milliwatts) \
    { \
        ENTER_DEVICE(device); \
        REQUIRE(milliwatts); \
        *milliwatts = rounded((watts_of_gpu) * 1000); \
        return NVML_SUCCESS; \
    }

MILLIWATT_CALL(nvmlDeviceGetPowerUsage, model_power_watts(&gpu))
MILLIWATT_CALL(nvmlDeviceGetPowerManagementLimit, gpu.number[POWER_LIMIT_WATTS])
MILLIWATT_CALL(nvmlDeviceGetEnforcedPowerLimit, gpu.number[POWER_LIMIT_WATTS])
MILLIWATT_CALL(nvmlDeviceGetPowerManagementDefaultLimit,
               number_or(&gpu, POWER_DEFAULT_LIMIT_WATTS, gpu.number[POWER_LIMIT_WATTS]))

NVML_API nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules)
{
    ENTER_DEVICE(device);
    REQUIRE(millijoules);
    *millijoules = (unsigned long long)(number_or(&gpu, ENERGY_JOULES, gpu.energy_joules) * 1000);
    return NVML_SUCCESS;
}

static nvmlReturn_t clock_of(double graphics, double memory, unsigned int type, unsigned int *mhz)
{
    REQUIRE(mhz && type <= NVML_CLOCK_VIDEO);
    *mhz = rounded(type == NVML_CLOCK_MEM ? memory : graphics);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, unsigned int type, unsigned int *mhz)
{
    ENTER_DEVICE(device);
    return clock_of(model_sm_clock_mhz(&gpu), model_memory_clock_mhz(&gpu), type, mhz);
}

NVML_API nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, unsigned int type, unsigned int *mhz)
{
    ENTER_DEVICE(device);
    return clock_of(gpu.number[MAX_SM_CLOCK_MHZ], gpu.number[MAX_MEMORY_CLOCK_MHZ], type, mhz);
}

NVML_API nvmlReturn_t nvmlDeviceGetApplicationsClock(nvmlDevice_t device, unsigned int type, unsigned int *mhz)
{
    ENTER_DEVICE(device);
    return clock_of(gpu.number[MAX_SM_CLOCK_MHZ], gpu.number[MAX_MEMORY_CLOCK_MHZ], type, mhz);
}

NVML_API nvmlReturn_t nvmlDeviceGetSupportedMemoryClocks(nvmlDevice_t device, unsigned int *count, unsigned int *mhz)
{
    ENTER_DEVICE(device);
    REQUIRE(count);
    unsigned int room = *count;
    *count = 1;
    if (room < 1 || !mhz)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    mhz[0] = rounded(gpu.number[MAX_MEMORY_CLOCK_MHZ]);
    return NVML_SUCCESS;
}

/* From the highest down to the idle clock in steps of 15 MHz. */
NVML_API nvmlReturn_t nvmlDeviceGetSupportedGraphicsClocks(nvmlDevice_t device, unsigned int memory_mhz,
                                                           unsigned int *count, unsigned int *mhz)
{
    ENTER_DEVICE(device);
    REQUIRE(count);
    if (memory_mhz != rounded(gpu.number[MAX_MEMORY_CLOCK_MHZ]))
        return NVML_ERROR_NOT_FOUND;
    unsigned int most = rounded(gpu.number[MAX_SM_CLOCK_MHZ]), room = *count;
    *count = most > 345 ? (most - 345) / 15 + 1 : 1;
    if (room < *count || !mhz)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int step = 0; step < *count; step++)
        mhz[step] = most - 15 * step;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceSetApplicationsClocks(nvmlDevice_t device, unsigned int memory_mhz, unsigned int mhz)
{
    ENTER_DEVICE(device);
    (void)memory_mhz, (void)mhz;
    return NVML_ERROR_NOT_SUPPORTED;
}

NVML_API nvmlReturn_t nvmlDeviceResetApplicationsClocks(nvmlDevice_t device)
{
    ENTER_DEVICE(device);
    return NVML_ERROR_NOT_SUPPORTED;
}

static nvmlReturn_t clock_event_reasons(const char *function, nvmlDevice_t device, unsigned long long *reasons)
{
    struct gpu gpu;
    nvmlReturn_t error = enter_device(function, device, &gpu);
    if (error != NVML_SUCCESS)
        return error;
    REQUIRE(reasons);
    *reasons = model_clock_event_reasons(&gpu);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, unsigned long long *reasons)
{
    return clock_event_reasons(__func__, device, reasons);
}

NVML_API nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *reasons)
{
    return clock_event_reasons(__func__, device, reasons);
}

/* The memory in use is shared out evenly between the processes that hold the device. */
NVML_API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
                                                              nvmlProcessInfo_t *processes)
{
    ENTER_DEVICE(device);
    REQUIRE(count);
    unsigned int room = *count;
    *count = gpu.holder_count;
    if (gpu.holder_count == 0)
        return NVML_SUCCESS;
    if (room < gpu.holder_count || !processes)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    unsigned long long share = memory_of(&gpu).used / gpu.holder_count;
    for (unsigned int i = 0; i < gpu.holder_count; i++)
        processes[i] = (nvmlProcessInfo_t){.pid = gpu.holder_pid[i],
                                           .usedGpuMemory = share,
                                           .gpuInstanceId = 0xffffffff,
                                           .computeInstanceId = 0xffffffff};
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
                                                               nvmlProcessInfo_t *processes)
{
    ENTER_DEVICE(device);
    (void)processes;
    REQUIRE(count);
    *count = 0;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *samples,
                                                      unsigned int *count, unsigned long long last_seen)
{
    ENTER_DEVICE(device);
    REQUIRE(count);
    unsigned int room = *count;
    *count = gpu.holder_count;
    if (gpu.holder_count == 0)
        return NVML_ERROR_NOT_FOUND;
    if (room < gpu.holder_count || !samples)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    unsigned long long now = (unsigned long long)(gpu.now * 1e6);
    for (unsigned int i = 0; i < gpu.holder_count; i++) {
        memset(&samples[i], 0, sizeof samples[i]);
        samples[i].pid = gpu.holder_pid[i];
        samples[i].timeStamp = now > last_seen ? now : last_seen;
        samples[i].smUtil = rounded(model_utilization_percent(&gpu)) / gpu.holder_count;
        samples[i].memUtil = rounded(model_memory_utilization_percent(&gpu)) / gpu.holder_count;
    }
    return NVML_SUCCESS;
}
