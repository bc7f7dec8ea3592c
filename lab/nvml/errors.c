/* What went wrong on a device so far: ECC, retired pages, remapped rows, and the batched field values. */
#include <time.h>

#include "state.h"

static double ecc_total(const struct gpu *gpu, bool uncorrected, bool aggregate)
{
    double now = gpu->number[uncorrected ? ECC_UNCORRECTED : ECC_CORRECTED];
    return aggregate ? number_or(gpu, uncorrected ? ECC_AGGREGATE_UNCORRECTED : ECC_AGGREGATE_CORRECTED, now) : now;
}

NVML_API nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned int error, unsigned int counter,
                                                  unsigned long long *count)
{
    ENTER_DEVICE(device);
    REQUIRE(count && error <= 1 && counter <= 1);
    if (gpu.number[ECC_MODE] == 0)
        return NVML_ERROR_NOT_SUPPORTED;
    *count = (unsigned long long)ecc_total(&gpu, error == 1, counter == 1);
    return NVML_SUCCESS;
}

/* Errors are modelled as ones of the device memory; every other place reports none. */
NVML_API nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, unsigned int error, unsigned int counter,
                                                      unsigned int location, unsigned long long *count)
{
    ENTER_DEVICE(device);
    REQUIRE(count && error <= 1 && counter <= 1 && location <= 7);
    if (gpu.number[ECC_MODE] == 0)
        return NVML_ERROR_NOT_SUPPORTED;
    *count = location == 2 ? (unsigned long long)ecc_total(&gpu, error == 1, counter == 1) : 0;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t device, unsigned int cause, unsigned int *count,
                                                unsigned long long *addresses)
{
    ENTER_DEVICE(device);
    REQUIRE(count && cause <= 1);
    unsigned int room = *count;
    *count = (unsigned int)gpu.number[cause == 1 ? RETIRED_PAGES_UNCORRECTED : RETIRED_PAGES_CORRECTED];
    if (*count == 0)
        return NVML_SUCCESS;
    if (room < *count || !addresses)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int page = 0; page < *count; page++)
        addresses[page] = 0x10000ULL * (page + 1) + 0x100000000ULL * cause;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device, unsigned int *pending)
{
    ENTER_DEVICE(device);
    REQUIRE(pending);
    *pending = (unsigned int)gpu.number[RETIRED_PAGES_PENDING];
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrected,
                                                unsigned int *uncorrected, unsigned int *pending,
                                                unsigned int *failed)
{
    ENTER_DEVICE(device);
    REQUIRE(corrected && uncorrected && pending && failed);
    *corrected = (unsigned int)gpu.number[REMAPPED_ROWS_CORRECTED];
    *uncorrected = (unsigned int)gpu.number[REMAPPED_ROWS_UNCORRECTED];
    *pending = (unsigned int)gpu.number[REMAPPED_ROWS_PENDING];
    *failed = (unsigned int)gpu.number[REMAPPED_ROWS_FAILED];
    return NVML_SUCCESS;
}

/* Errors of links are modelled on link 0; the scope of a field names the link. */
static double of_first_link(const struct gpu *gpu, enum gpu_number key, unsigned int link)
{
    return link == 0 ? gpu->number[key] : 0;
}

/* Value and type of one field; false where this library does not know the field. */
static bool field_value(const struct gpu *gpu, unsigned int id, unsigned int scope, double *value, bool *wide)
{
    *wide = false;
    switch (id) {
    case 1: case 2: *value = gpu->number[ECC_MODE]; return true;
    case 3: *wide = true; *value = ecc_total(gpu, false, false); return true;
    case 4: *wide = true; *value = ecc_total(gpu, true, false); return true;
    case 5: *wide = true; *value = ecc_total(gpu, false, true); return true;
    case 6: *wide = true; *value = ecc_total(gpu, true, true); return true;
    case 29: *value = gpu->number[RETIRED_PAGES_CORRECTED]; return true;
    case 30: *value = gpu->number[RETIRED_PAGES_UNCORRECTED]; return true;
    case 31: *value = gpu->number[RETIRED_PAGES_PENDING]; return true;
    case 38: *wide = true; *value = gpu->number[NVLINK_CRC_ERRORS]; return true;
    case 52: *wide = true; *value = gpu->number[NVLINK_REPLAY_ERRORS]; return true;
    case 59: *wide = true; *value = gpu->number[NVLINK_RECOVERY_ERRORS]; return true;
    case 82: *value = model_memory_temperature(gpu); return true;
    case 83: *wide = true; *value = number_or(gpu, ENERGY_JOULES, gpu->energy_joules) * 1000; return true;
    case 91: *value = gpu->number[NVLINK_COUNT]; return true;
    case 94: *value = gpu->number[PCIE_REPLAYS]; return true;
    case 142: *value = gpu->number[REMAPPED_ROWS_CORRECTED]; return true;
    case 143: *value = gpu->number[REMAPPED_ROWS_UNCORRECTED]; return true;
    case 144: *value = gpu->number[REMAPPED_ROWS_PENDING]; return true;
    case 145: *value = gpu->number[REMAPPED_ROWS_FAILED]; return true;
    case 161: *wide = true; *value = of_first_link(gpu, NVLINK_REPLAY_ERRORS, scope); return true;
    case 162: *wide = true; *value = of_first_link(gpu, NVLINK_RECOVERY_ERRORS, scope); return true;
    case 163: *wide = true; *value = of_first_link(gpu, NVLINK_CRC_ERRORS, scope); return true;
    case 165: *value = ((unsigned long long)gpu->number[NVLINK_DOWN_MASK] >> scope & 1) == 0; return true;
    case 185: case 186: *value = model_power_watts(gpu) * 1000; return true;
    case 189: *value = number_or(gpu, POWER_DEFAULT_LIMIT_WATTS, gpu->number[POWER_LIMIT_WATTS]) * 1000; return true;
    case 190: case 192: *value = gpu->number[POWER_LIMIT_WATTS] * 1000; return true;
    case 230: *value = gpu->number[RECOVERY_ACTION]; return true;
    default: return false;
    }
}

static bool scope_is_link(unsigned int id)
{
    return id == 161 || id == 162 || id == 163 || id == 165;
}

NVML_API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *fields)
{
    ENTER_DEVICE(device);
    REQUIRE(fields && count > 0);
    for (int i = 0; i < count; i++) {
        nvmlFieldValue_t *field = &fields[i];
        field->timestamp = (long long)(gpu.now * 1e6);
        field->latencyUsec = 1;
        field->value.ullVal = 0;
        if (scope_is_link(field->fieldId) && field->scopeId >= (unsigned int)gpu.number[NVLINK_COUNT]) {
            field->nvmlReturn = NVML_ERROR_INVALID_ARGUMENT;
            continue;
        }
        double value;
        bool wide;
        if (!field_value(&gpu, field->fieldId, field->scopeId, &value, &wide)) {
            field->nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
            continue;
        }
        field->nvmlReturn = NVML_SUCCESS;
        field->valueType = wide ? NVML_VALUE_TYPE_UNSIGNED_LONG_LONG : NVML_VALUE_TYPE_UNSIGNED_INT;
        if (wide)
            field->value.ullVal = (unsigned long long)value;
        else
            field->value.uiVal = (unsigned int)(value + 0.5);
    }
    return NVML_SUCCESS;
}
