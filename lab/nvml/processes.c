/* The processes of a device, which are those that hold its file open. */
#include <string.h>

#include "state.h"

/* Whether a holder is one that the handle is about: all for a whole GPU, its own for a MIG instance. */
static bool asked_for(const struct gpu *gpu, unsigned int holder)
{
    return gpu->instance < 0 || mig_instance_of_holder(gpu, holder) == gpu->instance;
}

static nvmlProcessInfo_t process_of(const struct gpu *gpu, unsigned int holder)
{
    struct instance layout[MAX_INSTANCES];
    int instance = mig_instance_of_holder(gpu, holder);
    mig_layout(gpu, layout);
    return (nvmlProcessInfo_t){
        .pid = gpu->holder_pid[holder],
        .usedGpuMemory = memory_of(gpu).used / gpu->holder_count, /* shared out evenly */
        .gpuInstanceId = instance < 0 ? 0xffffffff : layout[instance].gpu_instance_id,
        .computeInstanceId = instance < 0 ? 0xffffffff : 0,
    };
}

NVML_API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
                                                              nvmlProcessInfo_t *processes)
{
    ENTER_DEVICE_OR_INSTANCE(device);
    REQUIRE(count);
    unsigned int room = *count;
    *count = 0;
    for (unsigned int holder = 0; holder < gpu.holder_count; holder++)
        *count += asked_for(&gpu, holder);
    if (*count == 0)
        return NVML_SUCCESS;
    if (room < *count || !processes)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int holder = 0; holder < gpu.holder_count; holder++)
        if (asked_for(&gpu, holder))
            *processes++ = process_of(&gpu, holder);
    return NVML_SUCCESS;
}

#define NO_PROCESSES_CALL(function) \
    NVML_API nvmlReturn_t function(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *processes) \
    { \
        ENTER_DEVICE_OR_INSTANCE(device); \
        (void)processes; \
        REQUIRE(count); \
        *count = 0; \
        return NVML_SUCCESS; \
    }

NO_PROCESSES_CALL(nvmlDeviceGetGraphicsRunningProcesses_v3)
NO_PROCESSES_CALL(nvmlDeviceGetMPSComputeRunningProcesses_v3)

static unsigned long long time_stamp(const struct gpu *gpu, unsigned long long last_seen)
{
    unsigned long long now = (unsigned long long)(gpu->now * 1e6);
    return now > last_seen ? now : last_seen;
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
    for (unsigned int i = 0; i < gpu.holder_count; i++)
        samples[i] = (nvmlProcessUtilizationSample_t){
            .pid = gpu.holder_pid[i],
            .timeStamp = time_stamp(&gpu, last_seen),
            .smUtil = rounded(model_utilization_percent(&gpu)) / gpu.holder_count,
            .memUtil = rounded(model_memory_utilization_percent(&gpu)) / gpu.holder_count,
        };
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t device, nvmlProcessesUtilizationInfo_t *info)
{
    ENTER_DEVICE(device);
    REQUIRE(info);
    if (info->version != NVML_VERSION_OF(nvmlProcessesUtilizationInfo_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    unsigned int room = info->processSamplesCount;
    info->processSamplesCount = gpu.holder_count;
    if (gpu.holder_count == 0)
        return NVML_ERROR_NOT_FOUND;
    if (room < gpu.holder_count || !info->procUtilArray)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int i = 0; i < gpu.holder_count; i++)
        info->procUtilArray[i] = (nvmlProcessUtilizationInfo_t){
            .timeStamp = time_stamp(&gpu, info->lastSeenTimeStamp),
            .pid = gpu.holder_pid[i],
            .smUtil = rounded(model_utilization_percent(&gpu)) / gpu.holder_count,
            .memUtil = rounded(model_memory_utilization_percent(&gpu)) / gpu.holder_count,
            .encUtil = rounded(gpu.number[ENCODER_PERCENT]) / gpu.holder_count,
            .decUtil = rounded(gpu.number[DECODER_PERCENT]) / gpu.holder_count,
            .jpgUtil = rounded(gpu.number[JPEG_PERCENT]) / gpu.holder_count,
            .ofaUtil = rounded(gpu.number[OPTICAL_FLOW_PERCENT]) / gpu.holder_count,
        };
    return NVML_SUCCESS;
}
