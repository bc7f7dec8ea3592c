/* Heat and power. */
#include <string.h>

#include "state.h"

NVML_API nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensor, unsigned int *celsius)
{
    ENTER_DEVICE(device);
    REQUIRE(celsius && sensor == 0);
    *celsius = rounded(model_temperature(&gpu));
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_v1_t *info)
{
    ENTER_DEVICE(device);
    REQUIRE(info);
    if (info->version != NVML_VERSION_OF(nvmlTemperature_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    REQUIRE(info->sensorType == 0);
    info->temperature = (int)rounded(model_temperature(&gpu));
    return NVML_SUCCESS;
}

static int whole(double value)
{
    return (int)(value < 0 ? value - 0.5 : value + 0.5);
}

/* How far the GPU is from the temperature at which its clocks go down. */
NVML_API nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMarginTemperature_v1_t *info)
{
    ENTER_DEVICE(device);
    REQUIRE(info);
    if (info->version != NVML_VERSION_OF(nvmlMarginTemperature_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    double margin = gpu.number[THRESHOLD_GPU_MAX] - model_temperature(&gpu);
    info->marginTemperature = whole(number_or(&gpu, MARGIN_TEMPERATURE, margin));
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, unsigned int kind, unsigned int *celsius)
{
    ENTER_DEVICE(device);
    static const enum gpu_number keys[] = {THRESHOLD_SHUTDOWN, THRESHOLD_SLOWDOWN, THRESHOLD_MEMORY_MAX,
                                           THRESHOLD_GPU_MAX};
    REQUIRE(celsius);
    if (kind >= sizeof keys / sizeof keys[0])
        return NVML_ERROR_NOT_SUPPORTED;
    *celsius = rounded(gpu.number[keys[kind]]);
    return NVML_SUCCESS;
}

/* One sensor, that of the GPU itself; asked for by its place, or for all places with 15. */
NVML_API nvmlReturn_t nvmlDeviceGetThermalSettings(nvmlDevice_t device, unsigned int sensor,
                                                   nvmlGpuThermalSettings_t *settings)
{
    ENTER_DEVICE(device);
    REQUIRE(settings && (sensor == 0 || sensor == 15));
    memset(settings, 0, sizeof *settings);
    settings->count = 1;
    settings->sensor[0] = (nvmlGpuThermalSensor_t){
        .controller = 1, /* inside the GPU */
        .defaultMinTemp = 0,
        .defaultMaxTemp = whole(gpu.number[THRESHOLD_GPU_MAX]),
        .currentTemp = whole(model_temperature(&gpu)),
        .target = 1, /* the GPU */
    };
    return NVML_SUCCESS;
}

#define MILLIWATT_CALL(function, watts_of_gpu) UINT_CALL(function, rounded((watts_of_gpu) * 1000))

MILLIWATT_CALL(nvmlDeviceGetPowerUsage, model_power_watts(&gpu))
MILLIWATT_CALL(nvmlDeviceGetPowerManagementLimit, gpu.number[POWER_LIMIT_WATTS])
MILLIWATT_CALL(nvmlDeviceGetEnforcedPowerLimit,
               number_or(&gpu, POWER_ENFORCED_LIMIT_WATTS, gpu.number[POWER_LIMIT_WATTS]))
MILLIWATT_CALL(nvmlDeviceGetPowerManagementDefaultLimit,
               number_or(&gpu, POWER_DEFAULT_LIMIT_WATTS, gpu.number[POWER_LIMIT_WATTS]))

UINT_CALL(nvmlDeviceGetPowerManagementMode, gpu.number[POWER_MANAGEMENT_MODE])
UINT_CALL(nvmlDeviceGetPowerSource, gpu.number[POWER_SOURCE])
UINT_CALL(nvmlDeviceGetNumFans, gpu.number[FAN_COUNT])

NVML_API nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned int *least,
                                                                   unsigned int *most)
{
    ENTER_DEVICE(device);
    REQUIRE(least && most);
    *least = rounded(gpu.number[POWER_MIN_LIMIT_WATTS] * 1000);
    *most = rounded(number_or(&gpu, POWER_MAX_LIMIT_WATTS, gpu.number[POWER_LIMIT_WATTS]) * 1000);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules)
{
    ENTER_DEVICE(device);
    REQUIRE(millijoules);
    *millijoules = (unsigned long long)(number_or(&gpu, ENERGY_JOULES, gpu.counters.energy_joules) * 1000);
    return NVML_SUCCESS;
}
