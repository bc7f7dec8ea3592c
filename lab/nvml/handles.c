/* What a caller holds of a GPU or of a MIG instance: an address, and nothing behind it. */
#include "state.h"

struct gpu_handle {
    char none;
};

/* Of each GPU: first the handle of the whole, then those of its MIG instances. Only their addresses matter. */
static struct gpu_handle handles[MAX_GPUS][1 + MAX_INSTANCES];

nvmlDevice_t handle_of(unsigned int index, int instance)
{
    return &handles[index][1 + instance];
}

/* Compared one by one, since an address that is not ours may not be subtracted from one that is. */
int locate(nvmlDevice_t handle, int *instance)
{
    for (int index = 0; index < MAX_GPUS; index++)
        for (int place = 0; place <= MAX_INSTANCES; place++)
            if (handle == &handles[index][place]) {
                *instance = place - 1;
                return index;
            }
    *instance = -1;
    return RULE_OF_DRIVER;
}

int device_of(nvmlDevice_t handle)
{
    int instance;
    return locate(handle, &instance);
}
