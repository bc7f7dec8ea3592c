/*
 * What adds up while a GPU runs: energy and bytes. Each process sums up by itself from its first look on; before that a
 * GPU is taken to have been idle since the machine started, so that processes agree but for a load seen by one alone.
 */
#include <time.h>

#include "state.h"

static struct {
    bool begun;
    double last; /* seconds since the machine started */
    struct counters sum;
} kept[MAX_GPUS];

static void add(struct counters *sum, const struct counters *rate, double seconds)
{
    sum->energy_joules += rate->energy_joules * seconds;
    sum->pcie_tx_bytes += rate->pcie_tx_bytes * seconds;
    sum->pcie_rx_bytes += rate->pcie_rx_bytes * seconds;
    sum->nvlink_tx_bytes += rate->nvlink_tx_bytes * seconds;
    sum->nvlink_rx_bytes += rate->nvlink_rx_bytes * seconds;
}

struct counters counters_now(const struct gpu *gpu)
{
    double now = seconds_of(CLOCK_BOOTTIME);
    struct counters rate = {
        .energy_joules = model_power_watts(gpu),
        .pcie_tx_bytes = model_gpm(gpu, GPM_PCIE_TX_MIB_PER_SECOND) * MIB,
        .pcie_rx_bytes = model_gpm(gpu, GPM_PCIE_RX_MIB_PER_SECOND) * MIB,
        .nvlink_tx_bytes = model_gpm(gpu, GPM_NVLINK_TX_MIB_PER_SECOND) * MIB,
        .nvlink_rx_bytes = model_gpm(gpu, GPM_NVLINK_RX_MIB_PER_SECOND) * MIB,
    };
    if (!kept[gpu->index].begun) {
        kept[gpu->index].begun = true;
        kept[gpu->index].sum = (struct counters){.energy_joules = model_idle_power_watts(gpu) * now};
    } else {
        add(&kept[gpu->index].sum, &rate, now - kept[gpu->index].last);
    }
    kept[gpu->index].last = now;
    return kept[gpu->index].sum;
}
