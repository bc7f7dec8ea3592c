/*
 * XIDs from an append-only file, one `xid GPU CODE` a line. A set begins at the file's end as it is when its first device
 * is registered, and keeps its own place in the file, so that every set sees every event once and in order.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "state.h"

static const long POLL_NANOSECONDS = 20000000;

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
    ENTER_LIBRARY();
    REQUIRE(set);
    if (set->file >= 0)
        close(set->file);
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
    REQUIRE(set);
    if (types & ~(unsigned long long)NVML_EVENT_XID)
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

static bool parse_event(const char *line, unsigned int *index, unsigned long long *code)
{
    char rest;
    return sscanf(line, "xid %u %llu %c", index, code, &rest) == 2;
}

/* The next event that the set wants; false where the file holds none yet. */
static bool next_event(nvmlEventSet_t set, nvmlEventData_t *data)
{
    char line[256];
    unsigned int index;
    unsigned long long code;
    follow_file(set);
    while (next_line(set, line, sizeof line))
        if (parse_event(line, &index, &code) && index < MAX_GPUS && (set->wanted[index] & NVML_EVENT_XID)) {
            *data = (nvmlEventData_t){handle_of(index), NVML_EVENT_XID, code, 0xffffffff, 0xffffffff};
            return true;
        }
    return false;
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
        if (next_event(set, data))
            return NVML_SUCCESS;
        if (driver.number[EVENT_WAIT_ERROR] > 0)
            return (nvmlReturn_t)driver.number[EVENT_WAIT_ERROR];
        if (monotonic_ms() >= deadline)
            return NVML_ERROR_TIMEOUT;
        nanosleep(&(struct timespec){.tv_nsec = POLL_NANOSECONDS}, NULL);
    }
}
