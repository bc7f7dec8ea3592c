/* What went wrong in a device's memory so far: ECC errors by place, retired pages, remapped rows. */
#include <string.h>

#include "state.h"

enum { ECC_PLACES = 8, ECC_DRAM = 2, ECC_SRAM = 7 };

/* The four keys of a place stand together, as keys_errors.h says. */
static enum gpu_number ecc_key(unsigned int place, bool uncorrected, bool aggregate)
{
    return (enum gpu_number)((unsigned int)ECC_L1_CORRECTED + 4 * place + 2 * aggregate + uncorrected);
}

static enum gpu_number total_key(bool uncorrected, bool aggregate)
{
    if (aggregate)
        return uncorrected ? ECC_AGGREGATE_UNCORRECTED : ECC_AGGREGATE_CORRECTED;
    return uncorrected ? ECC_UNCORRECTED : ECC_CORRECTED;
}

static double sram_detail(const struct gpu *gpu, bool uncorrected, bool aggregate)
{
    if (!uncorrected)
        return 0;
    double parity = gpu->number[SRAM_PARITY], secded = gpu->number[SRAM_SECDED];
    return aggregate ? number_or(gpu, SRAM_AGGREGATE_PARITY, parity) + number_or(gpu, SRAM_AGGREGATE_SECDED, secded)
                     : parity + secded;
}

/* Of any place but the memory, where a total's remainder goes. */
static double ecc_beside(const struct gpu *gpu, unsigned int place, bool uncorrected, bool aggregate)
{
    if (is_set(gpu, ecc_key(place, uncorrected, aggregate)))
        return gpu->number[ecc_key(place, uncorrected, aggregate)];
    if (place == ECC_SRAM && sram_detail(gpu, uncorrected, aggregate) > 0)
        return sram_detail(gpu, uncorrected, aggregate);
    return aggregate ? ecc_beside(gpu, place, uncorrected, false) : 0;
}

double ecc_at(const struct gpu *gpu, unsigned int place, bool uncorrected, bool aggregate)
{
    if (place != ECC_DRAM)
        return ecc_beside(gpu, place, uncorrected, aggregate);
    if (is_set(gpu, ecc_key(place, uncorrected, aggregate)))
        return gpu->number[ecc_key(place, uncorrected, aggregate)];
    if (!is_set(gpu, total_key(uncorrected, aggregate)))
        return aggregate ? ecc_at(gpu, place, uncorrected, false) : 0;
    double left = gpu->number[total_key(uncorrected, aggregate)];
    for (unsigned int other = 0; other < ECC_PLACES; other++)
        if (other != ECC_DRAM)
            left -= ecc_beside(gpu, other, uncorrected, aggregate);
    return left > 0 ? left : 0;
}

double ecc_total(const struct gpu *gpu, bool uncorrected, bool aggregate)
{
    double sum = 0;
    for (unsigned int place = 0; place < ECC_PLACES; place++)
        sum += ecc_at(gpu, place, uncorrected, aggregate);
    return number_or(gpu, total_key(uncorrected, aggregate), sum < COUNTER_MAX ? sum : COUNTER_MAX);
}

/*
 * A GPU that is cut into instances tells the errors since the driver was loaded by instance alone, and of an instance
 * no others than uncorrectable ones beside the memory. Which instance had them the scenario does not say: the first.
 */
static bool has_errors(const struct gpu *gpu, bool uncorrected, bool aggregate, unsigned int place)
{
    if (gpu->number[ECC_MODE] == 0)
        return false;
    if (gpu->instance < 0)
        return aggregate || !mig_enabled(gpu);
    return uncorrected && !aggregate && place != ECC_DRAM;
}

NVML_API nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned int error, unsigned int counter,
                                                  unsigned long long *count)
{
    ENTER_DEVICE(device);
    REQUIRE(count && error <= 1 && counter <= 1);
    if (!has_errors(&gpu, error == 1, counter == 1, ECC_DRAM))
        return NVML_ERROR_NOT_SUPPORTED;
    *count = (unsigned long long)ecc_total(&gpu, error == 1, counter == 1);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, unsigned int error, unsigned int counter,
                                                      unsigned int place, unsigned long long *count)
{
    ENTER_DEVICE_OR_INSTANCE(device);
    REQUIRE(count && error <= 1 && counter <= 1 && place < ECC_PLACES);
    if (!has_errors(&gpu, error == 1, counter == 1, place))
        return NVML_ERROR_NOT_SUPPORTED;
    *count = gpu.instance > 0 ? 0 : (unsigned long long)ecc_at(&gpu, place, error == 1, counter == 1);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t device, nvmlEccSramErrorStatus_t *status)
{
    ENTER_DEVICE(device);
    REQUIRE(status);
    if (status->version != NVML_VERSION_OF(nvmlEccSramErrorStatus_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (gpu.number[ECC_MODE] == 0)
        return NVML_ERROR_NOT_SUPPORTED;
    const double *number = gpu.number;
    status->volatileUncParity = (unsigned long long)number[SRAM_PARITY];
    status->volatileUncSecDed = (unsigned long long)number[SRAM_SECDED];
    status->volatileCor = (unsigned long long)ecc_at(&gpu, ECC_SRAM, false, false);
    status->aggregateUncParity = (unsigned long long)number_or(&gpu, SRAM_AGGREGATE_PARITY, number[SRAM_PARITY]);
    status->aggregateUncSecDed = (unsigned long long)number_or(&gpu, SRAM_AGGREGATE_SECDED, number[SRAM_SECDED]);
    status->aggregateCor = (unsigned long long)ecc_at(&gpu, ECC_SRAM, false, true);
    status->aggregateUncBucketL2 = (unsigned long long)number[SRAM_BUCKET_L2];
    status->aggregateUncBucketSm = (unsigned long long)number[SRAM_BUCKET_SM];
    status->aggregateUncBucketPcie = (unsigned long long)number[SRAM_BUCKET_PCIE];
    status->aggregateUncBucketMcu = (unsigned long long)number[SRAM_BUCKET_MCU];
    status->aggregateUncBucketOther = (unsigned long long)number[SRAM_BUCKET_OTHER];
    status->bThresholdExceeded = (unsigned int)number[SRAM_THRESHOLD_EXCEEDED];
    return NVML_SUCCESS;
}

/* Made-up addresses, different for each page and cause. */
static unsigned long long page_address(unsigned int page, unsigned int cause)
{
    return 0x10000ULL * (page + 1) + 0x100000000ULL * cause;
}

static nvmlReturn_t retired_pages(const struct gpu *gpu, unsigned int cause, unsigned int *count,
                                  unsigned long long *addresses, unsigned long long *times)
{
    REQUIRE(count && cause <= 1);
    unsigned int room = *count;
    *count = (unsigned int)gpu->number[cause == 1 ? RETIRED_PAGES_UNCORRECTED : RETIRED_PAGES_CORRECTED];
    if (*count == 0)
        return NVML_SUCCESS;
    if (room < *count || !addresses)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int page = 0; page < *count; page++) {
        addresses[page] = page_address(page, cause);
        if (times)
            times[page] = 1700000000ULL + page;
    }
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t device, unsigned int cause, unsigned int *count,
                                                unsigned long long *addresses)
{
    ENTER_DEVICE(device);
    return retired_pages(&gpu, cause, count, addresses, NULL);
}

NVML_API nvmlReturn_t nvmlDeviceGetRetiredPages_v2(nvmlDevice_t device, unsigned int cause, unsigned int *count,
                                                   unsigned long long *addresses, unsigned long long *times)
{
    ENTER_DEVICE(device);
    return retired_pages(&gpu, cause, count, addresses, times);
}

UINT_CALL(nvmlDeviceGetRetiredPagesPendingStatus, gpu.number[RETIRED_PAGES_PENDING])

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

/* How many banks have how many spare rows left. */
NVML_API nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device, nvmlRowRemapperHistogramValues_t *banks)
{
    ENTER_DEVICE(device);
    REQUIRE(banks);
    banks->max = (unsigned int)gpu.number[REMAP_BANKS_MAX];
    banks->high = (unsigned int)gpu.number[REMAP_BANKS_HIGH];
    banks->partial = (unsigned int)gpu.number[REMAP_BANKS_PARTIAL];
    banks->low = (unsigned int)gpu.number[REMAP_BANKS_LOW];
    banks->none = (unsigned int)gpu.number[REMAP_BANKS_NONE];
    return NVML_SUCCESS;
}
