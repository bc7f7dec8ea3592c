/*
 * GPM, the counters of a GPU's units: two samples, and what they say of the time between them. The stand-in's samples
 * hold rates rather than counters, and the later one's are the answer.
 */
#include <stdlib.h>
#include <string.h>

#include "state.h"

enum { HOPPER = 9, METRICS_MOST = 477 };

static const struct metric {
    unsigned int id;
    enum gpu_number key;
    const char *name, *unit;
} metrics[] = {
    {1, GPM_GRAPHICS_PERCENT, "Graphics activity", "%"},
    {2, GPM_SM_PERCENT, "SM activity", "%"},
    {3, GPM_SM_OCCUPANCY_PERCENT, "SM occupancy", "%"},
    {4, GPM_INTEGER_PERCENT, "Integer activity", "%"},
    {5, GPM_TENSOR_PERCENT, "Tensor activity", "%"},
    {6, GPM_DFMA_TENSOR_PERCENT, "DFMA tensor activity", "%"},
    {7, GPM_HMMA_TENSOR_PERCENT, "HMMA tensor activity", "%"},
    {8, GPM_DMMA_TENSOR_PERCENT, "DMMA tensor activity", "%"},
    {9, GPM_IMMA_TENSOR_PERCENT, "IMMA tensor activity", "%"},
    {10, GPM_DRAM_PERCENT, "DRAM activity", "%"},
    {11, GPM_FP64_PERCENT, "FP64 activity", "%"},
    {12, GPM_FP32_PERCENT, "FP32 activity", "%"},
    {13, GPM_FP16_PERCENT, "FP16 activity", "%"},
    {20, GPM_PCIE_TX_MIB_PER_SECOND, "PCIe sent", "MiB/s"},
    {21, GPM_PCIE_RX_MIB_PER_SECOND, "PCIe received", "MiB/s"},
    {60, GPM_NVLINK_RX_MIB_PER_SECOND, "NVLink received", "MiB/s"},
    {61, GPM_NVLINK_TX_MIB_PER_SECOND, "NVLink sent", "MiB/s"},
};
enum { METRIC_COUNT = sizeof metrics / sizeof metrics[0] };

struct gpm_sample {
    bool taken;
    unsigned int index;
    int instance; /* -1 for the whole GPU */
    double when;
    double value[METRIC_COUNT];
};

NVML_API nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, nvmlGpmSupport_t *support)
{
    ENTER_DEVICE(device);
    REQUIRE(support);
    if (support->version != 1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    support->isSupportedDevice = gpu.number[ARCHITECTURE] >= HOPPER;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *sample)
{
    ENTER_LIBRARY();
    REQUIRE(sample);
    *sample = calloc(1, sizeof **sample);
    return *sample ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}

NVML_API nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t sample)
{
    THIS_CALL(RULE_OF_DRIVER); /* without a driver too: what was handed out can be given back */
    REQUIRE(sample);
    free(sample);
    return NVML_SUCCESS;
}

/* Of the whole GPU, or of the instance that `gpu` names: who holds another one gives it no load. */
static nvmlReturn_t take(struct gpu *gpu, nvmlGpmSample_t sample)
{
    REQUIRE(sample);
    if (gpu->number[ARCHITECTURE] < HOPPER)
        return NVML_ERROR_NOT_SUPPORTED;
    sample->taken = true;
    sample->index = gpu->index;
    sample->instance = gpu->instance;
    if (gpu->instance >= 0)
        gpu->holder_count = mig_holders(gpu);
    sample->when = gpu->now;
    for (unsigned int i = 0; i < METRIC_COUNT; i++)
        sample->value[i] = model_gpm(gpu, metrics[i].key);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t device, nvmlGpmSample_t sample)
{
    ENTER_DEVICE(device);
    return take(&gpu, sample);
}

NVML_API nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t device, unsigned int gpu_instance, nvmlGpmSample_t sample)
{
    ENTER_DEVICE(device);
    struct instance layout[MAX_INSTANCES];
    unsigned int count = mig_layout(&gpu, layout);
    for (unsigned int i = 0; i < count; i++)
        if (layout[i].gpu_instance_id == gpu_instance) {
            gpu.instance = (int)i;
            return take(&gpu, sample);
        }
    return NVML_ERROR_NOT_FOUND;
}

static void answer(nvmlGpmMetric_t *metric, nvmlGpmSample_t sample)
{
    for (unsigned int i = 0; i < METRIC_COUNT; i++)
        if (metrics[i].id == metric->metricId) {
            metric->nvmlReturn = NVML_SUCCESS;
            metric->value = sample->value[i];
            metric->metricInfo.shortName = metrics[i].name;
            metric->metricInfo.longName = metrics[i].name;
            metric->metricInfo.unit = metrics[i].unit;
            return;
        }
    metric->nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
}

/*
 * The array behind the header grew over the years under one version number, so that only the number of metrics that the
 * caller names says how much of it is there: nothing beyond is touched.
 */
NVML_API nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *asked)
{
    ENTER_LIBRARY();
    REQUIRE(asked);
    if (asked->version != 1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    REQUIRE(asked->numMetrics > 0 && asked->numMetrics <= METRICS_MOST && asked->sample1 && asked->sample2);
    const struct gpm_sample *first = asked->sample1, *second = asked->sample2;
    REQUIRE(first->taken && second->taken && first->when < second->when);
    REQUIRE(first->index == second->index && first->instance == second->instance);
    for (unsigned int i = 0; i < asked->numMetrics; i++)
        answer(&asked->metrics[i], asked->sample2);
    return NVML_SUCCESS;
}
