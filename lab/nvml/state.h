/* What the files of this library share: the state of the GPUs as one call sees it, and how a call gets it. */
#ifndef FLEETWARD_NVML_STATE_H
#define FLEETWARD_NVML_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "abi.h"
#include "keys.h"

enum { MAX_GPUS = 16, MAX_HOLDERS = 64, TEXT_SIZE = 96 };

#define AS_ENUM(key, ...) key,
enum gpu_number { GPU_NUMBERS(AS_ENUM) GPU_NUMBER_COUNT };
enum gpu_text { GPU_TEXTS(AS_ENUM) GPU_TEXT_COUNT };
enum driver_number { DRIVER_NUMBERS(AS_ENUM) DRIVER_NUMBER_COUNT };
enum driver_text { DRIVER_TEXTS(AS_ENUM) DRIVER_TEXT_COUNT };
#undef AS_ENUM

struct settings {
    double gpu_number[MAX_GPUS][GPU_NUMBER_COUNT];
    char gpu_text[MAX_GPUS][GPU_TEXT_COUNT][TEXT_SIZE];
    double driver_number[DRIVER_NUMBER_COUNT];
    char driver_text[DRIVER_TEXT_COUNT][TEXT_SIZE];
};

/* One GPU as one call sees it: a copy, so that no lock is held while an answer is made. */
struct gpu {
    unsigned int index;
    double number[GPU_NUMBER_COUNT];
    char text[GPU_TEXT_COUNT][TEXT_SIZE];
    unsigned int holder_count;
    unsigned int holder_pid[MAX_HOLDERS];
    double now;           /* seconds since the epoch */
    double energy_joules; /* since boot, as modelled */
};

struct driver {
    unsigned int gpu_count;
    double number[DRIVER_NUMBER_COUNT];
    char text[DRIVER_TEXT_COUNT][TEXT_SIZE];
};

/* scenario.c */
const struct settings *settings_current(void); /* call with the lock of state.c held */
const char *environment_or(const char *name, const char *fallback);

/* holders.c */
struct holders {
    unsigned int count[MAX_GPUS];
    unsigned int pid[MAX_GPUS][MAX_HOLDERS];
};
const struct holders *holders_current(void); /* call with the lock of state.c held */

/* state.c */
nvmlReturn_t enter_library(const char *function, struct driver *driver);
nvmlReturn_t enter_device(const char *function, nvmlDevice_t handle, struct gpu *gpu);
nvmlReturn_t device_by_index(unsigned int index, nvmlDevice_t *handle);
void identity_of(unsigned int index, struct gpu *gpu); /* uuid, serial and bus id, without asking the device */
unsigned int index_of(nvmlDevice_t handle);            /* MAX_GPUS for a handle that is not ours */
nvmlDevice_t handle_of(unsigned int index);
nvmlReturn_t copy_text(const char *text, char *buffer, unsigned int length);

/* model.c */
double model_noise(unsigned int index, unsigned int salt, double now);
double model_utilization_percent(const struct gpu *gpu);
double model_memory_utilization_percent(const struct gpu *gpu);
double model_memory_used_bytes(const struct gpu *gpu);
double model_temperature(const struct gpu *gpu);
double model_memory_temperature(const struct gpu *gpu);
double model_power_watts(const struct gpu *gpu);
double model_idle_power_watts(const struct gpu *gpu);
double model_sm_clock_mhz(const struct gpu *gpu);
double model_memory_clock_mhz(const struct gpu *gpu);
unsigned long long model_clock_event_reasons(const struct gpu *gpu);
double number_or(const struct gpu *gpu, enum gpu_number key, double otherwise);

/* Enter a call on one device: returns its error, or goes on with `gpu` filled in. */
#define ENTER_DEVICE(handle) \
    struct gpu gpu; \
    do { \
        nvmlReturn_t entered = enter_device(__func__, (handle), &gpu); \
        if (entered != NVML_SUCCESS) \
            return entered; \
    } while (0)

/* Enter a call that concerns no single device. */
#define ENTER_LIBRARY() \
    struct driver driver; \
    do { \
        nvmlReturn_t entered = enter_library(__func__, &driver); \
        if (entered != NVML_SUCCESS) \
            return entered; \
    } while (0)

#define REQUIRE(condition) \
    do { \
        if (!(condition)) \
            return NVML_ERROR_INVALID_ARGUMENT; \
    } while (0)

#endif
