/* The batched field values: numbers that NVML also, or only, hands out by an id. */
#include "state.h"

/* One more than the highest id that the driver knows; build.sh sets it where it imitates an older one. */
#ifndef FIELD_COUNT
#define FIELD_COUNT 308
#endif

static struct answer answer_of(unsigned int type, double value)
{
    return (struct answer){.code = NVML_SUCCESS, .type = type, .value = value};
}

static struct answer uint_of(double value)
{
    return answer_of(NVML_VALUE_TYPE_UNSIGNED_INT, value);
}

static struct answer wide_of(double value)
{
    return answer_of(NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, value);
}

static struct answer not_supported(void)
{
    return (struct answer){.code = NVML_ERROR_NOT_SUPPORTED};
}

/* Fields that are a key as it stands. */
static const struct {
    unsigned int id;
    enum gpu_number key;
    unsigned int type;
} plain[] = {
    {1, ECC_MODE, NVML_VALUE_TYPE_UNSIGNED_INT},
    {29, RETIRED_PAGES_CORRECTED, NVML_VALUE_TYPE_UNSIGNED_INT},
    {30, RETIRED_PAGES_UNCORRECTED, NVML_VALUE_TYPE_UNSIGNED_INT},
    {31, RETIRED_PAGES_PENDING, NVML_VALUE_TYPE_UNSIGNED_INT},
    {91, NVLINK_COUNT, NVML_VALUE_TYPE_UNSIGNED_INT},
    {94, PCIE_REPLAYS, NVML_VALUE_TYPE_UNSIGNED_INT},
    {95, PCIE_REPLAY_ROLLOVERS, NVML_VALUE_TYPE_UNSIGNED_INT},
    {142, REMAPPED_ROWS_CORRECTED, NVML_VALUE_TYPE_UNSIGNED_INT},
    {143, REMAPPED_ROWS_UNCORRECTED, NVML_VALUE_TYPE_UNSIGNED_INT},
    {144, REMAPPED_ROWS_PENDING, NVML_VALUE_TYPE_UNSIGNED_INT},
    {145, REMAPPED_ROWS_FAILED, NVML_VALUE_TYPE_UNSIGNED_INT},
    {169, PCIE_L0_TO_RECOVERY, NVML_VALUE_TYPE_UNSIGNED_INT},
    {173, PCIE_CORRECTABLE_ERRORS, NVML_VALUE_TYPE_UNSIGNED_INT},
    {174, PCIE_NAKS_RECEIVED, NVML_VALUE_TYPE_UNSIGNED_INT},
    {175, PCIE_RECEIVER_ERRORS, NVML_VALUE_TYPE_UNSIGNED_INT},
    {176, PCIE_BAD_TLPS, NVML_VALUE_TYPE_UNSIGNED_INT},
    {177, PCIE_NAKS_SENT, NVML_VALUE_TYPE_UNSIGNED_INT},
    {178, PCIE_BAD_DLLPS, NVML_VALUE_TYPE_UNSIGNED_INT},
    {179, PCIE_NON_FATAL_ERRORS, NVML_VALUE_TYPE_UNSIGNED_INT},
    {180, PCIE_FATAL_ERRORS, NVML_VALUE_TYPE_UNSIGNED_INT},
    {181, PCIE_UNSUPPORTED_REQUESTS, NVML_VALUE_TYPE_UNSIGNED_INT},
    {182, PCIE_LCRC_ERRORS, NVML_VALUE_TYPE_UNSIGNED_INT},
    {183, PCIE_LANE_ERRORS, NVML_VALUE_TYPE_UNSIGNED_INT},
    {193, TLIMIT_SHUTDOWN, NVML_VALUE_TYPE_SIGNED_INT},
    {194, TLIMIT_SLOWDOWN, NVML_VALUE_TYPE_SIGNED_INT},
    {195, TLIMIT_MEMORY_MAX, NVML_VALUE_TYPE_SIGNED_INT},
    {196, TLIMIT_GPU_MAX, NVML_VALUE_TYPE_SIGNED_INT},
    {230, RECOVERY_ACTION, NVML_VALUE_TYPE_UNSIGNED_INT},
};

/* ECC errors by place: from 7 on since the driver was loaded, from 18 on over the GPU's life; a CBU corrects none. */
static struct answer ecc_place_field(const struct gpu *gpu, unsigned int id)
{
    bool aggregate = id >= 18;
    unsigned int nth = id - (aggregate ? 18 : 7);
    bool cbu = nth == 10;
    return wide_of(ecc_at(gpu, cbu ? 6 : nth / 2, cbu || nth % 2, aggregate));
}

static struct answer throttle_field(const struct gpu *gpu, unsigned int id)
{
    static const enum gpu_number policies[] = {
        THROTTLE_POWER_NS, THROTTLE_THERMAL_NS, THROTTLE_SYNC_BOOST_NS, THROTTLE_BOARD_LIMIT_NS,
        THROTTLE_LOW_UTILIZATION_NS, THROTTLE_RELIABILITY_NS, THROTTLE_APPLICATION_CLOCKS_NS, THROTTLE_BASE_CLOCKS_NS,
    };
    static const enum gpu_number reasons[] = {THROTTLE_SW_THERMAL_NS, THROTTLE_HW_THERMAL_NS, THROTTLE_POWER_BRAKE_NS};
    return wide_of(throttle_ns(gpu, id < 269 ? policies[id - 74] : reasons[id - 269]));
}

static struct answer power_field(const struct gpu *gpu, unsigned int id)
{
    double limit = gpu->number[POWER_LIMIT_WATTS], now = model_power_watts(gpu);
    switch (id) {
    case 185: return uint_of(number_or(gpu, POWER_AVERAGE_WATTS, now) * 1000);
    case 186: return uint_of(now * 1000);
    case 187: return uint_of(gpu->number[POWER_MIN_LIMIT_WATTS] * 1000);
    case 188: return uint_of(number_or(gpu, POWER_MAX_LIMIT_WATTS, limit) * 1000);
    case 189: return uint_of(number_or(gpu, POWER_DEFAULT_LIMIT_WATTS, limit) * 1000);
    case 190: return uint_of(number_or(gpu, POWER_ENFORCED_LIMIT_WATTS, limit) * 1000);
    default: return uint_of(limit * 1000);
    }
}

static struct answer other_field(const struct gpu *gpu, unsigned int id)
{
    switch (id) {
    case 2: return uint_of(number_or(gpu, ECC_MODE_PENDING, gpu->number[ECC_MODE]));
    case 3: case 4: case 5: case 6: return wide_of(ecc_total(gpu, id % 2 == 0, id >= 5));
    case 82: return uint_of(model_memory_temperature(gpu));
    case 83: case 191: return wide_of(number_or(gpu, ENERGY_JOULES, gpu->counters.energy_joules) * 1000);
    case 197: return wide_of(number_or(gpu, PCIE_TX_BYTES, gpu->counters.pcie_tx_bytes));
    case 198: return wide_of(number_or(gpu, PCIE_RX_BYTES, gpu->counters.pcie_rx_bytes));
    default: return not_supported();
    }
}

static struct answer field_of(const struct gpu *gpu, const struct links *links, unsigned int id, unsigned int scope)
{
    if (id >= FIELD_COUNT)
        return not_supported();
    if (is_link_field(id))
        return link_field(gpu, links, id, scope);
    if (id >= 7 && id <= 28)
        return ecc_place_field(gpu, id);
    if ((id >= 74 && id <= 81) || (id >= 269 && id <= 271))
        return throttle_field(gpu, id);
    if ((id >= 185 && id <= 190) || id == 192)
        return power_field(gpu, id);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (plain[i].id == id)
            return answer_of(plain[i].type, gpu->number[plain[i].key]);
    return other_field(gpu, id);
}

static void fill(nvmlFieldValue_t *field, struct answer answer)
{
    field->value.ullVal = 0;
    field->nvmlReturn = answer.code;
    if (answer.code != NVML_SUCCESS)
        return;
    field->valueType = answer.type;
    if (answer.type == NVML_VALUE_TYPE_UNSIGNED_LONG_LONG)
        field->value.ullVal = (unsigned long long)answer.value;
    else if (answer.type == NVML_VALUE_TYPE_SIGNED_INT)
        field->value.siVal = (int)answer.value;
    else
        field->value.uiVal = rounded(answer.value);
}

NVML_API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *fields)
{
    ENTER_DEVICE(device);
    REQUIRE(fields && count > 0);
    struct links links;
    links_of(gpu.index, &links);
    for (int i = 0; i < count; i++) {
        fields[i].timestamp = (long long)(gpu.now * 1e6);
        fields[i].latencyUsec = 1;
        fill(&fields[i], field_of(&gpu, &links, fields[i].fieldId, fields[i].scopeId));
    }
    return NVML_SUCCESS;
}
