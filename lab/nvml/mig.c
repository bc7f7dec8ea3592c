/* A GPU cut into MIG instances: the scenario's layout, `mig=1g.10gb,3g.40gb`, and the calls on what it makes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

/* What an instance of so many slices has on an H100, as `nvidia-smi mig -lgip` lists it; there are none of 5 and 6. */
static const struct {
    unsigned int first_id, multiprocessors, engines, optical_flow;
} sizes[MAX_INSTANCES + 1] = {
    [1] = {7, 16, 1, 0}, [2] = {3, 32, 2, 0}, [3] = {2, 60, 3, 0}, [4] = {1, 64, 4, 0}, [7] = {0, 132, 7, 1},
};

/* Whether a setting names a profile, as `3g.40gb` or `1g.10gb+me`: slices of 7 and eighths of the memory. */
static bool parse_profile(const struct gpu *gpu, const char *text, struct instance *instance)
{
    unsigned int slices, gib;
    int read = 0;
    if (sscanf(text, "%1ug.%4ugb%n", &slices, &gib, &read) != 2 || read == 0)
        return false;
    if ((text[read] != '\0' && strcmp(text + read, "+me") != 0) || strlen(text) >= sizeof instance->name)
        return false;
    if (slices > MAX_INSTANCES || sizes[slices].multiprocessors == 0)
        return false;
    double eighths = gib * 1024.0 * 8 / gpu->number[MEMORY_TOTAL_MIB];
    instance->slices = slices;
    instance->eighths = eighths < 1 ? 1 : eighths > 8 ? 8 : rounded(eighths);
    instance->multiprocessors = sizes[slices].multiprocessors;
    snprintf(instance->name, sizeof instance->name, "%s", text);
    return true;
}

/* The instances up to the first that is no profile or has no room left; 0 where MIG is off. */
unsigned int mig_layout(const struct gpu *gpu, struct instance layout[MAX_INSTANCES])
{
    char text[TEXT_SIZE], *rest = NULL;
    unsigned int count = 0, slices = 0, eighths = 0, taken[8] = {0};
    memcpy(text, gpu->text[MIG], TEXT_SIZE);
    for (char *name = strtok_r(text, ",", &rest); name && count < MAX_INSTANCES; name = strtok_r(NULL, ",", &rest)) {
        struct instance *next = &layout[count];
        memset(next, 0, sizeof *next);
        if (!parse_profile(gpu, name, next))
            break;
        slices += next->slices;
        eighths += next->eighths;
        if (slices > 7 || eighths > 8)
            break;
        unsigned int first = sizes[next->slices].first_id, of_its_size = taken[next->slices]++;
        /* The first of three slices gets the number 2 and the second 1, which also that of four slices has. */
        next->gpu_instance_id = next->slices == 3 ? first - of_its_size : first + of_its_size;
        count++;
    }
    return is_set(gpu, MIG_MODE) && gpu->number[MIG_MODE] == 0 ? 0 : count;
}

/* Where the scenario does not say, a GPU with a layout has MIG on. */
bool mig_enabled(const struct gpu *gpu)
{
    struct instance layout[MAX_INSTANCES];
    return number_or(gpu, MIG_MODE, mig_layout(gpu, layout) > 0) > 0;
}

bool mig_has(const struct gpu *gpu, int instance)
{
    struct instance layout[MAX_INSTANCES];
    return instance < (int)mig_layout(gpu, layout);
}

void mig_uuid(const struct gpu *gpu, const struct instance *instance, char text[TEXT_SIZE])
{
    unsigned long long high = hash_text(gpu->text[UUID], 0xcbf29ce484222325ULL + instance->gpu_instance_id);
    uuid_text(text, "MIG-", high, hash_text(instance->name, high));
}

/* Holders go round the instances, since a device file says nothing of which one a process uses. */
int mig_instance_of_holder(const struct gpu *gpu, unsigned int holder)
{
    struct instance layout[MAX_INSTANCES];
    unsigned int count = mig_layout(gpu, layout);
    return count == 0 ? -1 : (int)(holder % count);
}

/* The memory of the instance that the handle names; what the GPU uses is shared out by process, or else by size. */
struct memory mig_memory(const struct gpu *gpu)
{
    struct instance layout[MAX_INSTANCES];
    unsigned int count = mig_layout(gpu, layout), eighths = 0, holders = 0;
    struct memory whole = memory_of(gpu), memory = {0};
    for (unsigned int i = 0; i < count; i++)
        eighths += layout[i].eighths;
    for (unsigned int i = 0; i < gpu->holder_count; i++)
        holders += mig_instance_of_holder(gpu, i) == gpu->instance;
    unsigned int own = layout[gpu->instance].eighths;
    memory.total = whole.total / 8 * own;
    memory.reserved = whole.reserved / 8 * own;
    memory.used = gpu->holder_count > 0 ? whole.used / gpu->holder_count * holders : whole.used / eighths * own;
    if (memory.used > memory.total - memory.reserved)
        memory.used = memory.total - memory.reserved;
    memory.free = memory.total - memory.reserved - memory.used;
    return memory;
}

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
        .sharedCopyEngineCount = sizes[own->slices].engines,
        .sharedDecoderCount = sizes[own->slices].engines,
        .sharedJpegCount = sizes[own->slices].engines,
        .sharedOfaCount = strstr(own->name, "+me") ? 1 : sizes[own->slices].optical_flow,
        .gpuInstanceSliceCount = own->slices,
        .computeInstanceSliceCount = own->slices,
        .memorySizeMB = mig_memory(&gpu).total >> 20,
    };
    return NVML_SUCCESS;
}
