/*
 * Which calls were made, in a file that a test reads: `FUNCTION DEVICE MICROSECONDS` a line, written when the call
 * returns; the device is `-` where the call is about none. Each line is one write to a file open for appending, so that
 * lines of several threads and processes do not mix.
 */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "state.h"

struct call call_begin(const char *function, int device)
{
    bool traced = *environment_or("FLEETWARD_NVML_TRACE", "") != '\0';
    return (struct call){function, device, traced ? seconds_of(CLOCK_MONOTONIC) : 0};
}

void call_end(struct call *call)
{
    const char *path = environment_or("FLEETWARD_NVML_TRACE", "");
    if (*path == '\0')
        return;
    double microseconds = (seconds_of(CLOCK_MONOTONIC) - call->begun) * 1e6;
    char line[128];
    char device[16] = "-";
    if (call->device >= 0)
        snprintf(device, sizeof device, "%d", call->device);
    int length = snprintf(line, sizeof line, "%s %s %.0f\n", call->function, device, microseconds);
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0)
        return;
    if (write(file, line, (size_t)length) < 0) {
        /* Nothing to do: a trace that cannot be written must not change what callers see. */
    }
    close(file);
}
