/* What a device is: its names, its place, its modes. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state.h"

TEXT_CALL(nvmlDeviceGetSerial, gpu.text[SERIAL])
TEXT_CALL(nvmlDeviceGetBoardPartNumber, gpu.text[BOARD_PART_NUMBER])

NVML_API nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    ENTER_DEVICE_OR_INSTANCE(device);
    char text[TEXT_SIZE + 64];
    struct instance layout[MAX_INSTANCES];
    mig_layout(&gpu, layout);
    if (gpu.instance < 0)
        return copy_text(gpu.text[NAME], name, length);
    snprintf(text, sizeof text, "%s MIG %s", gpu.text[NAME], layout[gpu.instance].name);
    return copy_text(text, name, length);
}

NVML_API nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
    ENTER_DEVICE_OR_INSTANCE(device);
    char text[TEXT_SIZE];
    struct instance layout[MAX_INSTANCES];
    mig_layout(&gpu, layout);
    if (gpu.instance < 0)
        return copy_text(gpu.text[UUID], uuid, length);
    mig_uuid(&gpu, &layout[gpu.instance], text);
    return copy_text(text, uuid, length);
}

/* Of a MIG instance it is the index by which its GPU hands it out. */
NVML_API nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index)
{
    ENTER_DEVICE_OR_INSTANCE(device);
    REQUIRE(index);
    *index = gpu.instance < 0 ? gpu.index : (unsigned int)gpu.instance;
    return NVML_SUCCESS;
}

/* The board's id follows from the place on the bus, as the driver makes it. */
static unsigned int board_id(const struct gpu *gpu)
{
    unsigned int domain, bus, slot;
    if (sscanf(gpu->text[PCI_BUS_ID], "%x:%x:%x", &domain, &bus, &slot) != 3)
        domain = bus = slot = 0;
    return (unsigned int)number_or(gpu, BOARD_ID, (domain & 0xffff) << 16 | (bus & 0xff) << 8 | (slot & 0xff));
}

UINT_CALL(nvmlDeviceGetMinorNumber, number_or(&gpu, MINOR_NUMBER, gpu.index))
UINT_CALL(nvmlDeviceGetBrand, gpu.number[BRAND])
UINT_CALL(nvmlDeviceGetArchitecture, gpu.number[ARCHITECTURE])
UINT_CALL(nvmlDeviceGetBoardId, board_id(&gpu))
UINT_CALL(nvmlDeviceGetModuleId, number_or(&gpu, MODULE_ID, gpu.index + 1))
UINT_CALL(nvmlDeviceGetNumGpuCores, gpu.number[CORE_COUNT])
UINT_CALL(nvmlDeviceGetMemoryBusWidth, gpu.number[MEMORY_BUS_BITS])
UINT_CALL(nvmlDeviceGetPersistenceMode, gpu.number[PERSISTENCE_MODE])
UINT_CALL(nvmlDeviceGetComputeMode, gpu.number[COMPUTE_MODE])
UINT_CALL(nvmlDeviceGetDisplayActive, gpu.number[DISPLAY_ACTIVE])
UINT_CALL(nvmlDeviceGetDisplayMode, gpu.number[DISPLAY_ACTIVE])

NVML_API nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    ENTER_DEVICE_OR_INSTANCE(device);
    REQUIRE(major && minor);
    int tenths = (int)rounded(gpu.number[COMPUTE_CAPABILITY] * 10);
    *major = tenths / 10;
    *minor = tenths % 10;
    return NVML_SUCCESS;
}

static nvmlReturn_t modes(const struct gpu *gpu, enum gpu_number mode, enum gpu_number mode_pending,
                          unsigned int *now, unsigned int *pending)
{
    REQUIRE(now && pending);
    *now = mode == MIG_MODE ? mig_enabled(gpu) : (unsigned int)gpu->number[mode];
    *pending = (unsigned int)number_or(gpu, mode_pending, *now);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *now, unsigned int *pending)
{
    ENTER_DEVICE(device);
    return modes(&gpu, MIG_MODE, MIG_MODE_PENDING, now, pending);
}

NVML_API nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned int *now, unsigned int *pending)
{
    ENTER_DEVICE(device);
    return modes(&gpu, ECC_MODE, ECC_MODE_PENDING, now, pending);
}

/* The first places of a bit set whose words are unsigned long. */
static void fill_set(unsigned long *set, unsigned int words, unsigned long first, unsigned long count)
{
    const unsigned long bits = 8 * sizeof *set;
    memset(set, 0, words * sizeof *set);
    for (unsigned long place = first; place < first + count && place < words * bits; place++)
        set[place / bits] |= 1UL << place % bits;
}

static nvmlReturn_t cpus(unsigned int words, unsigned long *set)
{
    REQUIRE(set && words > 0);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    fill_set(set, words, 0, online > 0 ? (unsigned long)online : 1);
    return NVML_SUCCESS;
}

/* All CPUs of the machine: none is nearer to a GPU that is not there. Slurm's plugin ends slurmd over an empty set. */
NVML_API nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t device, unsigned int words, unsigned long *set)
{
    ENTER_DEVICE(device);
    return cpus(words, set);
}

NVML_API nvmlReturn_t nvmlDeviceGetCpuAffinityWithinScope(nvmlDevice_t device, unsigned int words, unsigned long *set,
                                                          unsigned int scope)
{
    ENTER_DEVICE(device);
    REQUIRE(scope <= 1);
    return cpus(words, set);
}

NVML_API nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t device, unsigned int words, unsigned long *set,
                                                  unsigned int scope)
{
    ENTER_DEVICE(device);
    REQUIRE(set && words > 0 && scope <= 1);
    fill_set(set, words, (unsigned long)number_or(&gpu, NUMA_NODE, 0), 1);
    return NVML_SUCCESS;
}

/* Only a GPU whose memory is a node of the machine's own has one, as beside a Grace CPU. */
NVML_API nvmlReturn_t nvmlDeviceGetNumaNodeId(nvmlDevice_t device, unsigned int *node)
{
    ENTER_DEVICE(device);
    REQUIRE(node);
    if (!is_set(&gpu, NUMA_NODE))
        return NVML_ERROR_NOT_SUPPORTED;
    *node = (unsigned int)gpu.number[NUMA_NODE];
    return NVML_SUCCESS;
}
