/* Clocks, why they are not at their highest, and for how long they were not. */
#include "state.h"

static nvmlReturn_t clock_of(const double mhz_of_type[4], unsigned int type, unsigned int *mhz)
{
    REQUIRE(mhz && type <= NVML_CLOCK_VIDEO);
    *mhz = rounded(mhz_of_type[type]);
    return NVML_SUCCESS;
}

static nvmlReturn_t clock_now(const struct gpu *gpu, unsigned int type, unsigned int *mhz)
{
    double sm = model_sm_clock_mhz(gpu);
    const double clocks[] = {number_or(gpu, GRAPHICS_CLOCK_MHZ, sm), sm, model_memory_clock_mhz(gpu),
                             number_or(gpu, VIDEO_CLOCK_MHZ, sm)};
    return clock_of(clocks, type, mhz);
}

static nvmlReturn_t clock_most(const struct gpu *gpu, unsigned int type, unsigned int *mhz)
{
    double sm = gpu->number[MAX_SM_CLOCK_MHZ];
    const double clocks[] = {sm, sm, gpu->number[MAX_MEMORY_CLOCK_MHZ], sm};
    return clock_of(clocks, type, mhz);
}

static nvmlReturn_t clock_wanted(const struct gpu *gpu, unsigned int type, unsigned int *mhz)
{
    double sm = number_or(gpu, APPLICATION_SM_CLOCK_MHZ, gpu->number[MAX_SM_CLOCK_MHZ]);
    double memory = number_or(gpu, APPLICATION_MEMORY_CLOCK_MHZ, gpu->number[MAX_MEMORY_CLOCK_MHZ]);
    const double clocks[] = {sm, sm, memory, sm};
    return clock_of(clocks, type, mhz);
}

#define CLOCK_CALL(function, clock) \
    NVML_API nvmlReturn_t function(nvmlDevice_t device, unsigned int type, unsigned int *mhz) \
    { \
        ENTER_DEVICE(device); \
        return clock(&gpu, type, mhz); \
    }

CLOCK_CALL(nvmlDeviceGetClockInfo, clock_now)
CLOCK_CALL(nvmlDeviceGetMaxClockInfo, clock_most)
CLOCK_CALL(nvmlDeviceGetApplicationsClock, clock_wanted)
CLOCK_CALL(nvmlDeviceGetDefaultApplicationsClock, clock_most)
CLOCK_CALL(nvmlDeviceGetMaxCustomerBoostClock, clock_most)

NVML_API nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t device, unsigned int type, unsigned int which, unsigned int *mhz)
{
    ENTER_DEVICE(device);
    switch (which) {
    case 0: return clock_now(&gpu, type, mhz);
    case 1: return clock_wanted(&gpu, type, mhz);
    case 2: case 3: return clock_most(&gpu, type, mhz);
    default: return NVML_ERROR_INVALID_ARGUMENT;
    }
}

NVML_API nvmlReturn_t nvmlDeviceGetSupportedMemoryClocks(nvmlDevice_t device, unsigned int *count, unsigned int *mhz)
{
    ENTER_DEVICE(device);
    REQUIRE(count);
    unsigned int room = *count;
    *count = 1;
    if (room < 1 || !mhz)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    mhz[0] = rounded(gpu.number[MAX_MEMORY_CLOCK_MHZ]);
    return NVML_SUCCESS;
}

/* From the highest down to the idle clock in steps of 15 MHz. */
NVML_API nvmlReturn_t nvmlDeviceGetSupportedGraphicsClocks(nvmlDevice_t device, unsigned int memory_mhz,
                                                           unsigned int *count, unsigned int *mhz)
{
    ENTER_DEVICE(device);
    REQUIRE(count);
    if (memory_mhz != rounded(gpu.number[MAX_MEMORY_CLOCK_MHZ]))
        return NVML_ERROR_NOT_FOUND;
    unsigned int most = rounded(gpu.number[MAX_SM_CLOCK_MHZ]), room = *count;
    *count = most > 345 ? (most - 345) / 15 + 1 : 1;
    if (room < *count || !mhz)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int step = 0; step < *count; step++)
        mhz[step] = most - 15 * step;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceSetApplicationsClocks(nvmlDevice_t device, unsigned int memory_mhz, unsigned int mhz)
{
    ENTER_DEVICE(device);
    (void)memory_mhz, (void)mhz;
    return NVML_ERROR_NOT_SUPPORTED;
}

NVML_API nvmlReturn_t nvmlDeviceResetApplicationsClocks(nvmlDevice_t device)
{
    ENTER_DEVICE(device);
    return NVML_ERROR_NOT_SUPPORTED;
}

UINT_CALL(nvmlDeviceGetPerformanceState, gpu.number[PERFORMANCE_STATE])
UINT_CALL(nvmlDeviceGetPowerState, gpu.number[PERFORMANCE_STATE])

#define REASONS_CALL(function, reasons_of_gpu) \
    NVML_API nvmlReturn_t function(nvmlDevice_t device, unsigned long long *reasons) \
    { \
        ENTER_DEVICE(device); \
        REQUIRE(reasons); \
        *reasons = (reasons_of_gpu); \
        return NVML_SUCCESS; \
    }

REASONS_CALL(nvmlDeviceGetCurrentClocksEventReasons, model_clock_event_reasons(&gpu))
REASONS_CALL(nvmlDeviceGetCurrentClocksThrottleReasons, model_clock_event_reasons(&gpu))
REASONS_CALL(nvmlDeviceGetSupportedClocksEventReasons, (unsigned long long)gpu.number[SUPPORTED_CLOCK_EVENT_REASONS])
REASONS_CALL(nvmlDeviceGetSupportedClocksThrottleReasons, (unsigned long long)gpu.number[SUPPORTED_CLOCK_EVENT_REASONS])

/* The clock event reasons during which each counter runs. */
static unsigned long long running_with(enum gpu_number key)
{
    switch (key) {
    case THROTTLE_LOW_UTILIZATION_NS: return 0x1;
    case THROTTLE_APPLICATION_CLOCKS_NS: return 0x2;
    case THROTTLE_POWER_NS: return 0x4;
    case THROTTLE_SYNC_BOOST_NS: return 0x10;
    case THROTTLE_SW_THERMAL_NS: return 0x20;
    case THROTTLE_HW_THERMAL_NS: return 0x40;
    case THROTTLE_THERMAL_NS: return 0x60;
    case THROTTLE_POWER_BRAKE_NS: return 0x80;
    case THROTTLE_BOARD_LIMIT_NS: return 0x200;
    case THROTTLE_RELIABILITY_NS: return 0x400;
    default: return 0;
    }
}

/* A counter as the scenario sets it, and on top of that the time since `throttle_since` where its reason holds now. */
double throttle_ns(const struct gpu *gpu, enum gpu_number key)
{
    double since = number_or(gpu, THROTTLE_SINCE, gpu->now);
    bool runs = (model_clock_event_reasons(gpu) & running_with(key)) != 0 && since < gpu->now;
    double sum = gpu->number[key] + (runs ? (gpu->now - since) * 1e9 : 0);
    return sum < COUNTER_MAX ? sum : COUNTER_MAX;
}

NVML_API nvmlReturn_t nvmlDeviceGetViolationStatus(nvmlDevice_t device, unsigned int policy, nvmlViolationTime_t *time)
{
    ENTER_DEVICE(device);
    static const enum gpu_number keys[] = {
        THROTTLE_POWER_NS, THROTTLE_THERMAL_NS, THROTTLE_SYNC_BOOST_NS,
        THROTTLE_BOARD_LIMIT_NS, THROTTLE_LOW_UTILIZATION_NS, THROTTLE_RELIABILITY_NS,
    };
    REQUIRE(time && (policy <= 5 || policy == 10 || policy == 11));
    enum gpu_number other = policy == 10 ? THROTTLE_APPLICATION_CLOCKS_NS : THROTTLE_BASE_CLOCKS_NS;
    time->referenceTime = (unsigned long long)(gpu.now * 1e6);
    time->violationTime = (unsigned long long)throttle_ns(&gpu, policy <= 5 ? keys[policy] : other);
    return NVML_SUCCESS;
}
