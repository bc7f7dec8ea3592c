/* What the files of this library share: the state of the GPUs as one call sees it, and how a call gets it. */
#ifndef FLEETWARD_NVML_STATE_H
#define FLEETWARD_NVML_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "abi.h"
#include "keys.h"

enum { MAX_GPUS = 16, MAX_HOLDERS = 64, MAX_LINKS = 36, MAX_INSTANCES = 7, MAX_RULES = 256, TEXT_SIZE = 96 };

#define MIB 1048576.0 /* bytes */

#define AS_ENUM(key, ...) key,
enum gpu_number { GPU_NUMBERS(AS_ENUM) GPU_NUMBER_COUNT };
enum gpu_text { GPU_TEXTS(AS_ENUM) GPU_TEXT_COUNT };
enum link_number { LINK_NUMBERS(AS_ENUM) LINK_NUMBER_COUNT };
enum call_number { CALL_NUMBERS(AS_ENUM) CALL_NUMBER_COUNT };
enum driver_number { DRIVER_NUMBERS(AS_ENUM) DRIVER_NUMBER_COUNT };
enum driver_text { DRIVER_TEXTS(AS_ENUM) DRIVER_TEXT_COUNT };
#undef AS_ENUM

/* Whom a rule about one function is for: a GPU's index, or one of these. */
enum { RULE_OF_DRIVER = -1, RULE_OF_ALL_GPUS = -2 };

struct rule {
    int whom;
    char function[64];
    enum call_number key;
    double value;
};

struct links {
    double number[MAX_LINKS][LINK_NUMBER_COUNT];
};

struct settings {
    double gpu_number[MAX_GPUS][GPU_NUMBER_COUNT];
    char gpu_text[MAX_GPUS][GPU_TEXT_COUNT][TEXT_SIZE];
    struct links links[MAX_GPUS];
    double driver_number[DRIVER_NUMBER_COUNT];
    char driver_text[DRIVER_TEXT_COUNT][TEXT_SIZE];
    struct rule rules[MAX_RULES]; /* in the order of the files: a later one wins */
    unsigned int rule_count;
};

/* What has added up since the machine started, as modelled. */
struct counters {
    double energy_joules, pcie_tx_bytes, pcie_rx_bytes, nvlink_tx_bytes, nvlink_rx_bytes;
};

/* One GPU as one call sees it: a copy, so that no lock is held while an answer is made. */
struct gpu {
    unsigned int index;
    int instance; /* which MIG instance the handle names; -1 for the whole GPU */
    double number[GPU_NUMBER_COUNT];
    char text[GPU_TEXT_COUNT][TEXT_SIZE];
    unsigned int holder_count;
    unsigned int holder_pid[MAX_HOLDERS];
    double now; /* seconds since the epoch */
    struct counters counters;
};

struct driver {
    unsigned int gpu_count;
    double number[DRIVER_NUMBER_COUNT];
    char text[DRIVER_TEXT_COUNT][TEXT_SIZE];
};

/* One call from its entry to its return. */
struct call {
    const char *function;
    int device; /* a GPU's index, or RULE_OF_DRIVER where the call is about none */
    double begun;
};

/* scenario.c, parse.c */
const struct settings *settings_current(void); /* call with the lock of state.c held */
const char *environment_or(const char *name, const char *fallback);
void settings_built_in(struct settings *settings);
bool settings_apply(struct settings *next, const struct settings *before, const char *path);

/* holders.c */
struct holders {
    unsigned int count[MAX_GPUS];
    unsigned int pid[MAX_GPUS][MAX_HOLDERS];
};
const struct holders *holders_current(void); /* call with the lock of state.c held */

/* faults.c */
struct fault {
    nvmlReturn_t error;
    double delay_ms;
    bool hang;
};
struct fault fault_of(const struct settings *settings, const char *function, int device);

/* trace.c */
struct call call_begin(const char *function, int device);
void call_end(struct call *call);

/* naming.c */
void name_gpu(const struct settings *settings, unsigned int index, struct gpu *gpu);
unsigned long long hash_text(const char *text, unsigned long long hash);
void uuid_text(char text[TEXT_SIZE], const char *prefix, unsigned long long high, unsigned long long low);

/* counters.c */
struct counters counters_now(const struct gpu *gpu); /* call with the lock of state.c held */

/* state.c */
nvmlReturn_t enter_library(struct call *call, struct driver *driver);
nvmlReturn_t enter_device(struct call *call, nvmlDevice_t handle, bool instances_too, struct gpu *gpu);
nvmlReturn_t device_by_index(struct call *call, unsigned int index, nvmlDevice_t *handle);
void look_at_driver(struct driver *driver);
void identity_of(unsigned int index, struct gpu *gpu); /* what it is called, without asking the device */
void links_of(unsigned int index, struct links *links);
int locate(nvmlDevice_t handle, int *instance); /* the index of its GPU, and which instance, -1 for the whole */
int device_of(nvmlDevice_t handle); /* the index of its GPU; RULE_OF_DRIVER for a handle that is not ours */
nvmlDevice_t handle_of(unsigned int index, int instance);
nvmlReturn_t copy_text(const char *text, char *buffer, unsigned int length);
double seconds_of(int clock);
void sleep_ms(double milliseconds);

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
double model_gpm(const struct gpu *gpu, enum gpu_number key);
unsigned long long model_clock_event_reasons(const struct gpu *gpu);
double number_or(const struct gpu *gpu, enum gpu_number key, double otherwise);
bool is_set(const struct gpu *gpu, enum gpu_number key);
unsigned int rounded(double value);

/* telemetry.c */
struct memory {
    unsigned long long total, reserved, used, free;
};
struct memory memory_of(const struct gpu *gpu); /* of the whole GPU */

/* mig.c */
struct instance {
    char name[32];
    unsigned int slices;  /* of 7 */
    unsigned int eighths; /* of the GPU's memory */
    unsigned int multiprocessors;
    unsigned int engines; /* for copies, of decoders, for JPEG */
    unsigned int optical_flow;
    unsigned int gpu_instance_id;
};
bool mig_enabled(const struct gpu *gpu);
unsigned int mig_layout(const struct gpu *gpu, struct instance layout[MAX_INSTANCES]);
bool mig_has(const struct gpu *gpu, int instance);
void mig_uuid(const struct gpu *gpu, const struct instance *instance, char text[TEXT_SIZE]);
struct memory mig_memory(const struct gpu *gpu);
int mig_instance_of_holder(const struct gpu *gpu, unsigned int holder); /* -1 where it has the whole GPU */
unsigned int mig_holders(const struct gpu *gpu);

/* clocks.c, errors.c, nvlink.c: what the field values show too */
double throttle_ns(const struct gpu *gpu, enum gpu_number key);
double ecc_total(const struct gpu *gpu, bool uncorrected, bool aggregate);
double ecc_at(const struct gpu *gpu, unsigned int place, bool uncorrected, bool aggregate);

/* One field's value: its code and, where that is NVML_SUCCESS, one of NVML's value types. */
struct answer {
    nvmlReturn_t code;
    unsigned int type;
    double value;
};
struct answer link_field(const struct gpu *gpu, const struct links *links, unsigned int id, unsigned int scope);
bool is_link_field(unsigned int id);

/* The call that a function is: traced until it returns, and subject to what the scenario says of it. */
#define THIS_CALL(device) \
    struct call call __attribute__((cleanup(call_end))) = call_begin(__func__, (device))

#define RETURN_ERROR(entering) \
    do { \
        nvmlReturn_t entered = (entering); \
        if (entered != NVML_SUCCESS) \
            return entered; \
    } while (0)

/* Enter a call on one device: returns its error, or goes on with `gpu` filled in. A MIG instance is refused. */
#define ENTER_DEVICE(handle) \
    THIS_CALL(device_of(handle)); \
    struct gpu gpu; \
    RETURN_ERROR(enter_device(&call, (handle), false, &gpu))

/* The same for a call that MIG instances answer too. */
#define ENTER_DEVICE_OR_INSTANCE(handle) \
    THIS_CALL(device_of(handle)); \
    struct gpu gpu; \
    RETURN_ERROR(enter_device(&call, (handle), true, &gpu))

/* Enter a call that concerns no single device. */
#define ENTER_LIBRARY() \
    THIS_CALL(RULE_OF_DRIVER); \
    struct driver driver; \
    RETURN_ERROR(enter_library(&call, &driver))

#define REQUIRE(condition) \
    do { \
        if (!(condition)) \
            return NVML_ERROR_INVALID_ARGUMENT; \
    } while (0)

/* A function that answers one number of a device, `gpu` being the name of the device in the expression. */
#define UINT_CALL(function, value_of_gpu) \
    NVML_API nvmlReturn_t function(nvmlDevice_t device, unsigned int *value) \
    { \
        ENTER_DEVICE(device); \
        REQUIRE(value); \
        *value = (unsigned int)(value_of_gpu); \
        return NVML_SUCCESS; \
    }

#define TEXT_CALL(function, text_of_gpu) \
    NVML_API nvmlReturn_t function(nvmlDevice_t device, char *buffer, unsigned int length) \
    { \
        ENTER_DEVICE(device); \
        return copy_text(text_of_gpu, buffer, length); \
    }

#endif
