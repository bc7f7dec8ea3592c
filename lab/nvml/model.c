/*
 * What an H100 shows, idle and at work, as a function of the GPU, the time and whether anyone holds its device file.
 * A value set in the scenario always wins. The noise depends on index and second alone: two readers see the same.
 */
#include "state.h"

static const double IDLE_SM_CLOCK_MHZ = 345;

bool is_set(const struct gpu *gpu, enum gpu_number key)
{
    return !__builtin_isnan(gpu->number[key]);
}

unsigned int rounded(double value)
{
    return (unsigned int)(value + 0.5);
}

double number_or(const struct gpu *gpu, enum gpu_number key, double otherwise)
{
    return is_set(gpu, key) ? gpu->number[key] : otherwise;
}

static bool held(const struct gpu *gpu)
{
    return gpu->holder_count > 0;
}

/* A number in [0, 1) that stays for a second: a 64-bit finaliser (SplitMix64) over its arguments. */
double model_noise(unsigned int index, unsigned int salt, double now)
{
    unsigned long long hash = (unsigned long long)now * 0x9e3779b97f4a7c15ULL + index * 0xd1b54a32d192ed03ULL + salt;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
    hash ^= hash >> 31;
    return (double)(hash >> 11) / 9007199254740992.0;
}

static double noise(const struct gpu *gpu, unsigned int salt)
{
    return model_noise(gpu->index, salt, gpu->now);
}

double model_utilization_percent(const struct gpu *gpu)
{
    return number_or(gpu, UTILIZATION_PERCENT, held(gpu) ? 90 + 9 * noise(gpu, 1) : 0);
}

double model_memory_utilization_percent(const struct gpu *gpu)
{
    return number_or(gpu, MEMORY_UTILIZATION_PERCENT, held(gpu) ? 35 + 20 * noise(gpu, 2) : 0);
}

double model_memory_used_bytes(const struct gpu *gpu)
{
    double share = 0.55 + 0.1 * model_noise(gpu->index, 3, 0);
    double mib = number_or(gpu, MEMORY_USED_MIB, held(gpu) ? share * gpu->number[MEMORY_TOTAL_MIB] : 0);
    double most = gpu->number[MEMORY_TOTAL_MIB] - gpu->number[MEMORY_RESERVED_MIB];
    if (most < 0)
        most = 0;
    return (double)(unsigned long long)((mib < most ? mib : most) * MIB);
}

double model_temperature(const struct gpu *gpu)
{
    return number_or(gpu, TEMPERATURE, held(gpu) ? 58 + 8 * noise(gpu, 4) : 28 + 4 * noise(gpu, 4));
}

double model_memory_temperature(const struct gpu *gpu)
{
    return number_or(gpu, MEMORY_TEMPERATURE, held(gpu) ? 70 + 8 * noise(gpu, 5) : 38 + 4 * noise(gpu, 5));
}

double model_idle_power_watts(const struct gpu *gpu)
{
    return 0.1 * gpu->number[POWER_LIMIT_WATTS];
}

double model_power_watts(const struct gpu *gpu)
{
    double limit = gpu->number[POWER_LIMIT_WATTS];
    double idle = model_idle_power_watts(gpu) + 3 * noise(gpu, 6);
    return number_or(gpu, POWER_WATTS, held(gpu) ? limit * (0.72 + 0.2 * noise(gpu, 6)) : idle);
}

double model_sm_clock_mhz(const struct gpu *gpu)
{
    double most = gpu->number[MAX_SM_CLOCK_MHZ];
    double busy = most - 15 * (double)(int)(12 * noise(gpu, 7)); /* clocks step by 15 MHz */
    return number_or(gpu, SM_CLOCK_MHZ, held(gpu) ? busy : IDLE_SM_CLOCK_MHZ);
}

double model_memory_clock_mhz(const struct gpu *gpu)
{
    return number_or(gpu, MEMORY_CLOCK_MHZ, gpu->number[MAX_MEMORY_CLOCK_MHZ]);
}

unsigned long long model_clock_event_reasons(const struct gpu *gpu)
{
    return (unsigned long long)number_or(gpu, CLOCK_EVENT_REASONS, held(gpu) ? 0 : NVML_CLOCK_REASON_GPU_IDLE);
}

/* What GPM shows of a GPU in training: its highest value, of which a third wanders from second to second. */
double model_gpm(const struct gpu *gpu, enum gpu_number key)
{
    static const struct {
        enum gpu_number key;
        double most;
    } at_work[] = {
        {GPM_GRAPHICS_PERCENT, 99}, {GPM_SM_PERCENT, 92}, {GPM_SM_OCCUPANCY_PERCENT, 48}, {GPM_INTEGER_PERCENT, 21},
        {GPM_TENSOR_PERCENT, 55}, {GPM_HMMA_TENSOR_PERCENT, 54}, {GPM_DRAM_PERCENT, 61}, {GPM_FP32_PERCENT, 12},
        {GPM_FP16_PERCENT, 6}, {GPM_PCIE_TX_MIB_PER_SECOND, 900}, {GPM_PCIE_RX_MIB_PER_SECOND, 1400},
        {GPM_NVLINK_TX_MIB_PER_SECOND, 90000}, {GPM_NVLINK_RX_MIB_PER_SECOND, 90000},
    };
    double value = 0;
    for (unsigned int i = 0; held(gpu) && i < sizeof at_work / sizeof at_work[0]; i++)
        if (at_work[i].key == key)
            value = at_work[i].most * (0.67 + 0.33 * noise(gpu, 20 + (unsigned int)key));
    return number_or(gpu, key, value);
}
