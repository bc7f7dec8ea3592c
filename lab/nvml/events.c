/*
 * XIDs from an append-only file, one `xid GPU CODE` a line. A set begins at the file's end as it is when its first device
 * is registered, and keeps its own place in the file, so that every set sees every event once and in order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "state.h"

static const long POLL_NANOSECONDS = 20000000;

struct event_set {
    bool registered;
    unsigned long long wanted[MAX_GPUS];
    ino_t inode; /* 0 while the file is not there */
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
    return *set ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}

NVML_API nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
    ENTER_LIBRARY();
    REQUIRE(set);
    free(set);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types)
{
    ENTER_DEVICE(device);
    REQUIRE(types);
    *types = NVML_EVENT_XID;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set)
{
    ENTER_DEVICE(device);
    REQUIRE(set);
    if (types & ~(unsigned long long)NVML_EVENT_XID)
        return NVML_ERROR_NOT_SUPPORTED;
    struct stat status;
    if (!set->registered && stat(event_file(), &status) == 0) {
        set->inode = status.st_ino;
        set->offset = status.st_size;
    }
    set->registered = true;
    set->wanted[gpu.index] |= types;
    return NVML_SUCCESS;
}

static bool parse_event(const char *line, unsigned int *index, unsigned long long *code)
{
    char rest;
    return sscanf(line, "xid %u %llu %c", index, code, &rest) == 2;
}

/* The next event that the set wants; false where the file holds none yet. A line counts once its newline is written. */
static bool next_event(nvmlEventSet_t set, nvmlEventData_t *data)
{
    struct stat status;
    FILE *file = fopen(event_file(), "re");
    if (!file)
        return false;
    if (fstat(fileno(file), &status) != 0) {
        fclose(file);
        return false;
    }
    if (status.st_ino != set->inode || status.st_size < set->offset) { /* a new file: all of it is new */
        set->inode = status.st_ino;
        set->offset = 0;
    }
    bool found = false;
    char line[256];
    if (status.st_size > set->offset && fseeko(file, set->offset, SEEK_SET) == 0)
        while (!found && fgets(line, sizeof line, file)) {
            size_t length = strlen(line);
            if (line[length - 1] != '\n' && length < sizeof line - 1)
                break; /* still being written */
            set->offset += (off_t)length;
            unsigned int index;
            unsigned long long code;
            if (parse_event(line, &index, &code) && index < MAX_GPUS && (set->wanted[index] & NVML_EVENT_XID)) {
                *data = (nvmlEventData_t){handle_of(index), NVML_EVENT_XID, code, 0xffffffff, 0xffffffff};
                found = true;
            }
        }
    fclose(file);
    return found;
}

static bool file_has_more(nvmlEventSet_t set)
{
    struct stat status;
    return stat(event_file(), &status) == 0 && (status.st_ino != set->inode || status.st_size != set->offset);
}

static double monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

NVML_API nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
    ENTER_LIBRARY();
    REQUIRE(set && data);
    double deadline = monotonic_ms() + timeout_ms;
    for (;;) {
        if (file_has_more(set) && next_event(set, data))
            return NVML_SUCCESS;
        if (driver.number[EVENT_WAIT_ERROR] > 0)
            return (nvmlReturn_t)driver.number[EVENT_WAIT_ERROR];
        if (monotonic_ms() >= deadline)
            return NVML_ERROR_TIMEOUT;
        nanosleep(&(struct timespec){.tv_nsec = POLL_NANOSECONDS}, NULL);
    }
}
