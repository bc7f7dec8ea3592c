/* Calls about the driver as a whole, and the ways to a device's handle. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "state.h"

NVML_API const char *nvmlErrorString(nvmlReturn_t code)
{
    static const struct {
        nvmlReturn_t code;
        const char *text;
    } texts[] = {
        {NVML_SUCCESS, "Success"},
        {NVML_ERROR_UNINITIALIZED, "Uninitialized"},
        {NVML_ERROR_INVALID_ARGUMENT, "Invalid Argument"},
        {NVML_ERROR_NOT_SUPPORTED, "Not Supported"},
        {NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"},
        {NVML_ERROR_ALREADY_INITIALIZED, "Already Initialized"},
        {NVML_ERROR_NOT_FOUND, "Not Found"},
        {NVML_ERROR_INSUFFICIENT_SIZE, "Insufficient Size"},
        {NVML_ERROR_INSUFFICIENT_POWER, "Insufficient External Power"},
        {NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"},
        {NVML_ERROR_TIMEOUT, "Timeout"},
        {NVML_ERROR_IRQ_ISSUE, "Interrupt Request Issue"},
        {NVML_ERROR_LIBRARY_NOT_FOUND, "NVML Shared Library Not Found"},
        {NVML_ERROR_FUNCTION_NOT_FOUND, "Function Not Found"},
        {NVML_ERROR_CORRUPTED_INFOROM, "Corrupted infoROM"},
        {NVML_ERROR_GPU_IS_LOST, "GPU is lost"},
        {NVML_ERROR_RESET_REQUIRED, "GPU requires reset"},
        {NVML_ERROR_OPERATING_SYSTEM, "The operating system has blocked the request"},
        {NVML_ERROR_LIB_RM_VERSION_MISMATCH, "Driver/library version mismatch"},
        {NVML_ERROR_IN_USE, "In use by another client"},
        {NVML_ERROR_MEMORY, "Insufficient Memory"},
        {NVML_ERROR_NO_DATA, "No data"},
        {NVML_ERROR_INSUFFICIENT_RESOURCES, "Insufficient Resources"},
        {NVML_ERROR_ARGUMENT_VERSION_MISMATCH, "Argument version mismatch"},
        {NVML_ERROR_DEPRECATED, "Deprecated"},
        {NVML_ERROR_NOT_READY, "Not ready"},
        {NVML_ERROR_GPU_NOT_FOUND, "GPU not found"},
        {NVML_ERROR_INVALID_STATE, "Invalid state"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].code == code)
            return texts[i].text;
    return "Unknown Error";
}

NVML_API nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    ENTER_LIBRARY();
    return copy_text(driver.text[VERSION], version, length);
}

NVML_API nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
    ENTER_LIBRARY();
    return copy_text(driver.text[NVML_VERSION], version, length);
}

NVML_API nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    ENTER_LIBRARY();
    REQUIRE(version);
    *version = (int)driver.number[CUDA_VERSION];
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
    return nvmlSystemGetCudaDriverVersion_v2(version);
}

NVML_API nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length)
{
    ENTER_LIBRARY();
    REQUIRE(name && length > 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/comm", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return NVML_ERROR_NOT_FOUND;
    char text[TEXT_SIZE] = "";
    if (!fgets(text, sizeof text, file))
        text[0] = '\0';
    fclose(file);
    text[strcspn(text, "\n")] = '\0';
    return copy_text(text, name, length);
}

NVML_API nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count)
{
    ENTER_LIBRARY();
    REQUIRE(count);
    *count = driver.gpu_count;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetCount(unsigned int *count)
{
    return nvmlDeviceGetCount_v2(count);
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
    ENTER_LIBRARY();
    REQUIRE(device);
    return device_by_index(&call, index, device);
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *device)
{
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

static nvmlReturn_t device_by_text(struct call *call, unsigned int count, enum gpu_text key, const char *wanted,
                                   nvmlDevice_t *device)
{
    for (unsigned int index = 0; index < count; index++) {
        struct gpu gpu;
        identity_of(index, &gpu);
        if (strcasecmp(gpu.text[key], wanted) == 0)
            return device_by_index(call, index, device);
    }
    return NVML_ERROR_NOT_FOUND;
}

/* The same among the MIG instances. */
static nvmlReturn_t instance_by_uuid(struct call *call, unsigned int count, const char *wanted, nvmlDevice_t *device)
{
    for (unsigned int index = 0; index < count; index++) {
        struct gpu gpu;
        struct instance layout[MAX_INSTANCES];
        identity_of(index, &gpu);
        unsigned int instances = mig_layout(&gpu, layout);
        for (unsigned int i = 0; i < instances; i++) {
            char uuid[TEXT_SIZE];
            mig_uuid(&gpu, &layout[i], uuid);
            if (strcasecmp(uuid, wanted) != 0)
                continue;
            nvmlReturn_t error = device_by_index(call, index, device);
            if (error == NVML_SUCCESS)
                *device = handle_of(index, (int)i);
            return error;
        }
    }
    return NVML_ERROR_NOT_FOUND;
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    ENTER_LIBRARY();
    REQUIRE(uuid && device);
    if (strncasecmp(uuid, "MIG-", 4) == 0)
        return instance_by_uuid(&call, driver.gpu_count, uuid, device);
    return device_by_text(&call, driver.gpu_count, UUID, uuid, device);
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleBySerial(const char *serial, nvmlDevice_t *device)
{
    ENTER_LIBRARY();
    REQUIRE(serial && device);
    return device_by_text(&call, driver.gpu_count, SERIAL, serial, device);
}

/* The domain may be written with four digits, as the kernel does, or with eight, as NVML does. */
NVML_API nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device)
{
    ENTER_LIBRARY();
    REQUIRE(bus_id && device);
    unsigned int domain, bus, slot;
    if (sscanf(bus_id, "%x:%x:%x", &domain, &bus, &slot) != 3)
        return NVML_ERROR_INVALID_ARGUMENT;
    char wanted[TEXT_SIZE];
    snprintf(wanted, sizeof wanted, "%08X:%02X:%02X.0", domain, bus, slot);
    return device_by_text(&call, driver.gpu_count, PCI_BUS_ID, wanted, device);
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *bus_id, nvmlDevice_t *device)
{
    return nvmlDeviceGetHandleByPciBusId_v2(bus_id, device);
}
