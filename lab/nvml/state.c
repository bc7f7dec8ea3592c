/* How every call gets in: the driver's state, what the scenario does to the call, and a copy of the GPU asked about. */
#include <pthread.h>
#include <string.h>

#include "state.h"

static const double HANG_LOOK_MS = 10;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int users;
static void fill_device(const struct settings *settings, unsigned int index, struct gpu *gpu)
{
    gpu->index = index;
    gpu->instance = -1;
    memcpy(gpu->number, settings->gpu_number[index], sizeof gpu->number);
    name_gpu(settings, index, gpu);
    const struct holders *holders = holders_current();
    gpu->holder_count = holders->count[index];
    memcpy(gpu->holder_pid, holders->pid[index], sizeof gpu->holder_pid);
    gpu->now = seconds_of(CLOCK_REALTIME);
    gpu->counters = counters_now(gpu);
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

/* Wait while the call hangs, then take the lock: what it returns holds until the lock is given back. */
static const struct settings *lock_settings(const struct call *call, int device, struct fault *fault)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        const struct settings *settings = settings_current();
        *fault = fault_of(settings, call->function, device);
        if (!fault->hang)
            return settings;
        pthread_mutex_unlock(&lock);
        sleep_ms(HANG_LOOK_MS);
    }
}

static void copy_driver(const struct settings *settings, struct driver *driver)
{
    driver->gpu_count = gpu_count(settings);
    memcpy(driver->number, settings->driver_number, sizeof driver->number);
    memcpy(driver->text, settings->driver_text, sizeof driver->text);
}

nvmlReturn_t enter_library(struct call *call, struct driver *driver)
{
    struct fault fault;
    const struct settings *settings = lock_settings(call, RULE_OF_DRIVER, &fault);
    copy_driver(settings, driver);
    nvmlReturn_t error = users == 0 ? NVML_ERROR_UNINITIALIZED : driver_error(settings);
    pthread_mutex_unlock(&lock);
    sleep_ms(fault.delay_ms);
    return error == NVML_SUCCESS ? fault.error : error;
}

void look_at_driver(struct driver *driver)
{
    pthread_mutex_lock(&lock);
    copy_driver(settings_current(), driver);
    pthread_mutex_unlock(&lock);
}

nvmlReturn_t enter_device(struct call *call, nvmlDevice_t handle, bool instances_too, struct gpu *gpu)
{
    int instance;
    int index = locate(handle, &instance);
    struct fault fault;
    const struct settings *settings = lock_settings(call, index, &fault);
    nvmlReturn_t error = users == 0 ? NVML_ERROR_UNINITIALIZED : driver_error(settings);
    if (error == NVML_SUCCESS && (index < 0 || (unsigned int)index >= gpu_count(settings)))
        error = NVML_ERROR_INVALID_ARGUMENT;
    if (error == NVML_SUCCESS)
        error = fault.error;
    if (error == NVML_SUCCESS) {
        fill_device(settings, (unsigned int)index, gpu);
        gpu->instance = instance;
    }
    pthread_mutex_unlock(&lock);
    sleep_ms(fault.delay_ms);
    if (error == NVML_SUCCESS && instance >= 0 && !mig_has(gpu, instance))
        return NVML_ERROR_INVALID_ARGUMENT;
    return error == NVML_SUCCESS && instance >= 0 && !instances_too ? NVML_ERROR_NOT_SUPPORTED : error;
}

nvmlReturn_t device_by_index(struct call *call, unsigned int index, nvmlDevice_t *handle)
{
    if (index >= MAX_GPUS)
        return NVML_ERROR_INVALID_ARGUMENT;
    call->device = (int)index;
    struct fault fault;
    const struct settings *settings = lock_settings(call, (int)index, &fault);
    bool there = index < gpu_count(settings);
    pthread_mutex_unlock(&lock);
    if (!there)
        return NVML_ERROR_INVALID_ARGUMENT;
    sleep_ms(fault.delay_ms);
    if (fault.error == NVML_SUCCESS)
        *handle = handle_of(index, -1);
    return fault.error;
}

void identity_of(unsigned int index, struct gpu *gpu)
{
    pthread_mutex_lock(&lock);
    const struct settings *settings = settings_current();
    gpu->index = index;
    memcpy(gpu->number, settings->gpu_number[index], sizeof gpu->number);
    name_gpu(settings, index, gpu);
    pthread_mutex_unlock(&lock);
}

void links_of(unsigned int index, struct links *links)
{
    pthread_mutex_lock(&lock);
    *links = settings_current()->links[index];
    pthread_mutex_unlock(&lock);
}

static nvmlReturn_t initialise(struct call *call)
{
    struct fault fault;
    const struct settings *settings = lock_settings(call, RULE_OF_DRIVER, &fault);
    nvmlReturn_t error = driver_error(settings);
    if (error == NVML_SUCCESS)
        error = fault.error;
    if (error == NVML_SUCCESS)
        users++;
    pthread_mutex_unlock(&lock);
    sleep_ms(fault.delay_ms);
    return error;
}

NVML_API nvmlReturn_t nvmlInit(void)
{
    THIS_CALL(RULE_OF_DRIVER);
    return initialise(&call);
}

NVML_API nvmlReturn_t nvmlInit_v2(void)
{
    THIS_CALL(RULE_OF_DRIVER);
    return initialise(&call);
}

NVML_API nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    THIS_CALL(RULE_OF_DRIVER);
    (void)flags;
    return initialise(&call);
}

NVML_API nvmlReturn_t nvmlShutdown(void)
{
    THIS_CALL(RULE_OF_DRIVER);
    struct fault fault;
    lock_settings(&call, RULE_OF_DRIVER, &fault);
    nvmlReturn_t error = users == 0 ? NVML_ERROR_UNINITIALIZED : fault.error;
    if (error == NVML_SUCCESS)
        users--;
    pthread_mutex_unlock(&lock);
    sleep_ms(fault.delay_ms);
    return error;
}
