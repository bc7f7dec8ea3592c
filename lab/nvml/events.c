/*
 * Events from an append-only file, one `KIND GPU [DATA [GPU_INSTANCE COMPUTE_INSTANCE]]` a line: `xid 3 79`. A set
 * begins at the file's end as it is when its first device is registered, and keeps its own place in the file, so that
 * every set sees every event that it asked for once and in order.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "state.h"

static const double POLL_MS = 20;

static const struct {
    const char *name;
    unsigned long long type;
} kinds[] = {
    {"ecc_corrected", 0x1},      {"ecc_uncorrected", 0x2},      {"performance_state", 0x4}, {"xid", 0x8},
    {"clock", 0x10},             {"power_source", 0x80},        {"mig_config", 0x100},      {"ecc_storm", 0x200},
    {"dram_retirement", 0x400},  {"dram_retirement_failure", 0x800}, {"nonfatal_poison", 0x1000},
    {"fatal_poison", 0x2000},    {"gpu_unavailable", 0x4000},   {"recovery_action", 0x8000},
};

struct event_set {
    bool registered;
    unsigned long long wanted[MAX_GPUS];
    int file; /* held open, so that no other file can get its inode; -1 while there is none */
    off_t offset;
};

static const char *event_file(void)
{
    return environment_or("FLEETWARD_NVML_EVENTS", "/run/fleetward/nvml/events");
}

NVML_API nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
    ENTER_LIBRARY();
    REQUIRE(set);
    *set = calloc(1, sizeof **set);
    if (!*set)
        return NVML_ERROR_MEMORY;
    (*set)->file = -1;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
    THIS_CALL(RULE_OF_DRIVER); /* without a driver too: what was handed out can be given back */
    REQUIRE(set);
    if (set->file >= 0)
        close(set->file);
    free(set);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types)
{
    ENTER_DEVICE(device);
    struct driver driver;
    REQUIRE(types);
    look_at_driver(&driver);
    *types = (unsigned long long)driver.number[EVENT_TYPES];
    return NVML_SUCCESS;
}

/* Have the file open that has the name now; one that was not open before is read from its beginning. */
static void follow_file(nvmlEventSet_t set)
{
    struct stat named, held;
    if (stat(event_file(), &named) != 0)
        return;
    if (set->file >= 0 && fstat(set->file, &held) == 0 && held.st_ino == named.st_ino && held.st_dev == named.st_dev) {
        if (named.st_size < set->offset)
            set->offset = 0; /* it was emptied */
        return;
    }
    int file = open(event_file(), O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    if (set->file >= 0)
        close(set->file);
    set->file = file;
    set->offset = 0;
}

NVML_API nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set)
{
    ENTER_DEVICE(device);
    struct driver driver;
    REQUIRE(set);
    look_at_driver(&driver);
    if (types & ~(unsigned long long)driver.number[EVENT_TYPES])
        return NVML_ERROR_NOT_SUPPORTED;
    if (!set->registered) {
        follow_file(set);
        struct stat status;
        if (set->file >= 0 && fstat(set->file, &status) == 0)
            set->offset = status.st_size;
    }
    set->registered = true;
    set->wanted[gpu.index] |= types;
    return NVML_SUCCESS;
}

/* One whole line from the set's place in the file, which moves on; false where none is there or it is half written. */
static bool next_line(nvmlEventSet_t set, char *line, size_t size)
{
    ssize_t length = set->file < 0 ? -1 : pread(set->file, line, size - 1, set->offset);
    if (length <= 0)
        return false;
    char *end = memchr(line, '\n', (size_t)length);
    if (!end && (size_t)length < size - 1)
        return false;
    /* What is longer than any event is passed over in pieces, none of which is an event. */
    set->offset += end ? end - line + 1 : length;
    line[end ? end - line : length] = '\0';
    return true;
}

static bool parse_event(const char *line, nvmlEventData_t *data, unsigned int *index)
{
    char kind[32];
    int read = 0;
    *data = (nvmlEventData_t){.gpuInstanceId = 0xffffffff, .computeInstanceId = 0xffffffff};
    if (sscanf(line, "%31s %u %n", kind, index, &read) != 2 || read == 0 || *index >= MAX_GPUS)
        return false;
    char beyond;
    int more = sscanf(line + read, "%llu %u %u %c", &data->eventData, &data->gpuInstanceId, &data->computeInstanceId,
                      &beyond);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kind, kinds[i].name) == 0)
            data->eventType = kinds[i].type;
    data->device = handle_of(*index, -1);
    bool numbered = more == 1 || more == 3;
    return data->eventType == NVML_EVENT_XID ? numbered : data->eventType != 0 && (numbered || line[read] == '\0');
}

/* The next event that the set wants; false where the file holds none yet. */
static bool next_event(nvmlEventSet_t set, nvmlEventData_t *data)
{
    char line[256];
    unsigned int index;
    nvmlEventData_t parsed;
    follow_file(set);
    while (next_line(set, line, sizeof line))
        if (parse_event(line, &parsed, &index) && (set->wanted[index] & parsed.eventType)) {
            *data = parsed;
            return true;
        }
    return false;
}

static nvmlReturn_t wait_for_event(struct driver *driver, nvmlEventSet_t set, nvmlEventData_t *data,
                                   unsigned int timeout_ms)
{
    double deadline = seconds_of(CLOCK_MONOTONIC) + timeout_ms / 1e3;
    for (;;) {
        if (next_event(set, data))
            return NVML_SUCCESS;
        if (driver->number[MISMATCH] > 0)
            return NVML_ERROR_LIB_RM_VERSION_MISMATCH;
        if (driver->number[LOADED] == 0)
            return NVML_ERROR_DRIVER_NOT_LOADED;
        if (driver->number[EVENT_WAIT_ERROR] > 0)
            return (nvmlReturn_t)driver->number[EVENT_WAIT_ERROR];
        if (seconds_of(CLOCK_MONOTONIC) >= deadline)
            return NVML_ERROR_TIMEOUT;
        sleep_ms(POLL_MS);
        look_at_driver(driver);
    }
}

NVML_API nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
    ENTER_LIBRARY();
    REQUIRE(set && data);
    return wait_for_event(&driver, set, data, timeout_ms);
}

/* The first version's struct ends before the MIG instance. */
NVML_API nvmlReturn_t nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_v1_t *data, unsigned int timeout_ms)
{
    ENTER_LIBRARY();
    REQUIRE(set && data);
    nvmlEventData_t event;
    nvmlReturn_t error = wait_for_event(&driver, set, &event, timeout_ms);
    if (error == NVML_SUCCESS)
        *data = (nvmlEventData_v1_t){event.device, event.eventType, event.eventData};
    return error;
}
