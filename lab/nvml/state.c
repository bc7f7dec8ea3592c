/* How every call gets in: the trace, the driver's state, and a copy of the GPU that the call asks about. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "state.h"

struct gpu_handle {
    unsigned int index;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int users;
static struct gpu_handle handles[MAX_GPUS];
static struct {
    bool begun;
    double last; /* seconds of the monotonic clock */
    double joules;
} energy[MAX_GPUS];

/* Slots of the eight GPUs of an HGX H100 board on the PCIe buses, then free ones. */
static const unsigned int buses[MAX_GPUS] = {0x1b, 0x43, 0x52, 0x61, 0x9d, 0xc3, 0xd1, 0xdf,
                                             0x04, 0x05, 0x06, 0x08, 0x84, 0x85, 0x86, 0x88};

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A test counts calls in this file: one function's name a line. */
static void trace(const char *function)
{
    const char *path = environment_or("FLEETWARD_NVML_TRACE", "");
    if (*path == '\0')
        return;
    char line[128];
    int length = snprintf(line, sizeof line, "%s\n", function);
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0)
        return;
    if (write(file, line, (size_t)length) < 0) {
        /* Nothing to do: a trace that cannot be written must not change what callers see. */
    }
    close(file);
}

nvmlDevice_t handle_of(unsigned int index)
{
    return &handles[index];
}

unsigned int index_of(nvmlDevice_t handle)
{
    for (unsigned int index = 0; index < MAX_GPUS; index++)
        if (handle == &handles[index])
            return index;
    return MAX_GPUS;
}

static unsigned long long hash_text(const char *text, unsigned long long hash)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3ULL; /* FNV-1a */
    return hash;
}

static void fill_identity(const struct settings *settings, unsigned int index, struct gpu *gpu)
{
    char host[TEXT_SIZE] = "";
    const char *seed = settings->driver_text[SEED];
    if (*seed == '\0' && gethostname(host, sizeof host - 1) == 0)
        seed = host;
    unsigned long long hash = hash_text(seed, 0xcbf29ce484222325ULL);
    unsigned long long high = (unsigned long long)(model_noise(index, 11, (double)(hash >> 32)) * 1e18);
    unsigned long long low = (unsigned long long)(model_noise(index, 12, (double)(hash & 0xffffffff)) * 1e18);
    memcpy(gpu->text, settings->gpu_text[index], sizeof gpu->text);
    if (gpu->text[UUID][0] == '\0')
        snprintf(gpu->text[UUID], TEXT_SIZE, "GPU-%08llx-%04llx-%04llx-%04llx-%012llx", high >> 28 & 0xffffffff,
                 high >> 12 & 0xffff, 0x4000 | (high & 0xfff), 0x8000 | (low >> 48 & 0x3fff),
                 (low ^ high << 7) & 0xffffffffffffULL);
    if (gpu->text[SERIAL][0] == '\0')
        snprintf(gpu->text[SERIAL], TEXT_SIZE, "165%010llu", low % 10000000000ULL);
    if (gpu->text[PCI_BUS_ID][0] == '\0')
        snprintf(gpu->text[PCI_BUS_ID], TEXT_SIZE, "00000000:%02X:00.0", buses[index]);
}

static void fill_device(const struct settings *settings, unsigned int index, struct gpu *gpu)
{
    memset(gpu, 0, sizeof *gpu);
    gpu->index = index;
    memcpy(gpu->number, settings->gpu_number[index], sizeof gpu->number);
    fill_identity(settings, index, gpu);
    const struct holders *holders = holders_current();
    gpu->holder_count = holders->count[index];
    memcpy(gpu->holder_pid, holders->pid[index], sizeof gpu->holder_pid);
    gpu->now = seconds(CLOCK_REALTIME);

    double now = seconds(CLOCK_BOOTTIME);
    if (!energy[index].begun) {
        energy[index].begun = true;
        energy[index].joules = model_idle_power_watts(gpu) * now;
    } else {
        energy[index].joules += model_power_watts(gpu) * (now - energy[index].last);
    }
    energy[index].last = now;
    gpu->energy_joules = energy[index].joules;
}

/* The error that the driver itself answers with; call with the lock held. */
static nvmlReturn_t driver_error(const struct settings *settings)
{
    if (settings->driver_number[MISMATCH] > 0)
        return NVML_ERROR_LIB_RM_VERSION_MISMATCH;
    return settings->driver_number[LOADED] > 0 ? NVML_SUCCESS : NVML_ERROR_DRIVER_NOT_LOADED;
}

static unsigned int gpu_count(const struct settings *settings)
{
    return (unsigned int)settings->driver_number[GPU_COUNT];
}

nvmlReturn_t enter_library(const char *function, struct driver *driver)
{
    trace(function);
    pthread_mutex_lock(&lock);
    const struct settings *settings = settings_current();
    driver->gpu_count = gpu_count(settings);
    memcpy(driver->number, settings->driver_number, sizeof driver->number);
    memcpy(driver->text, settings->driver_text, sizeof driver->text);
    nvmlReturn_t error = users == 0 ? NVML_ERROR_UNINITIALIZED : driver_error(settings);
    pthread_mutex_unlock(&lock);
    return error;
}

static nvmlReturn_t device_error(const struct settings *settings, unsigned int index)
{
    if (settings->gpu_number[index][LOST] > 0)
        return NVML_ERROR_GPU_IS_LOST;
    return (nvmlReturn_t)settings->gpu_number[index][ERROR];
}

nvmlReturn_t enter_device(const char *function, nvmlDevice_t handle, struct gpu *gpu)
{
    trace(function);
    unsigned int index = index_of(handle);
    pthread_mutex_lock(&lock);
    const struct settings *settings = settings_current();
    nvmlReturn_t error = users == 0 ? NVML_ERROR_UNINITIALIZED : driver_error(settings);
    if (error == NVML_SUCCESS && index >= gpu_count(settings))
        error = NVML_ERROR_INVALID_ARGUMENT;
    if (error == NVML_SUCCESS)
        error = device_error(settings, index);
    double delay_ms = index < MAX_GPUS ? settings->gpu_number[index][DELAY_MS] : 0;
    if (error == NVML_SUCCESS)
        fill_device(settings, index, gpu);
    pthread_mutex_unlock(&lock);
    if (delay_ms > 0) {
        long long nanoseconds = (long long)(delay_ms * 1e6);
        struct timespec pause = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
        nanosleep(&pause, NULL);
    }
    return error;
}

nvmlReturn_t device_by_index(unsigned int index, nvmlDevice_t *handle)
{
    pthread_mutex_lock(&lock);
    const struct settings *settings = settings_current();
    bool there = index < gpu_count(settings);
    nvmlReturn_t error = there ? device_error(settings, index) : NVML_ERROR_INVALID_ARGUMENT;
    pthread_mutex_unlock(&lock);
    if (error == NVML_SUCCESS)
        *handle = &handles[index];
    return error;
}

void identity_of(unsigned int index, struct gpu *gpu)
{
    pthread_mutex_lock(&lock);
    fill_identity(settings_current(), index, gpu);
    pthread_mutex_unlock(&lock);
}

nvmlReturn_t copy_text(const char *text, char *buffer, unsigned int length)
{
    REQUIRE(buffer != NULL);
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memcpy(buffer, text, strlen(text) + 1);
    return NVML_SUCCESS;
}

static nvmlReturn_t initialise(const char *function)
{
    trace(function);
    pthread_mutex_lock(&lock);
    nvmlReturn_t error = driver_error(settings_current());
    if (error == NVML_SUCCESS) {
        for (unsigned int index = 0; index < MAX_GPUS; index++)
            handles[index].index = index;
        users++;
    }
    pthread_mutex_unlock(&lock);
    return error;
}

NVML_API nvmlReturn_t nvmlInit(void)
{
    return initialise(__func__);
}

NVML_API nvmlReturn_t nvmlInit_v2(void)
{
    return initialise(__func__);
}

NVML_API nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    (void)flags;
    return initialise(__func__);
}

NVML_API nvmlReturn_t nvmlShutdown(void)
{
    trace(__func__);
    pthread_mutex_lock(&lock);
    nvmlReturn_t error = users == 0 ? NVML_ERROR_UNINITIALIZED : NVML_SUCCESS;
    if (users > 0)
        users--;
    pthread_mutex_unlock(&lock);
    return error;
}
