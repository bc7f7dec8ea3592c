/* The memory of a GPU, and the share of it that a MIG instance has. */
#include "state.h"

struct memory memory_of(const struct gpu *gpu)
{
    struct memory memory = {.total = (unsigned long long)(gpu->number[MEMORY_TOTAL_MIB] * MIB)};
    memory.reserved = (unsigned long long)(gpu->number[MEMORY_RESERVED_MIB] * MIB);
    if (memory.reserved > memory.total)
        memory.reserved = memory.total;
    memory.used = (unsigned long long)model_memory_used_bytes(gpu);
    memory.free = memory.total - memory.reserved - memory.used;
    return memory;
}

/* The memory of the instance that the handle names; what the GPU uses is shared out by process, or else by size. */
struct memory mig_memory(const struct gpu *gpu)
{
    struct instance layout[MAX_INSTANCES];
    unsigned int count = mig_layout(gpu, layout), eighths = 0, holders = mig_holders(gpu);
    struct memory whole = memory_of(gpu), memory = {0};
    for (unsigned int i = 0; i < count; i++)
        eighths += layout[i].eighths;
    unsigned int own = layout[gpu->instance].eighths;
    memory.total = whole.total / 8 * own;
    memory.reserved = whole.reserved / 8 * own;
    memory.used = gpu->holder_count > 0 ? whole.used / gpu->holder_count * holders : whole.used / eighths * own;
    if (memory.used > memory.total - memory.reserved)
        memory.used = memory.total - memory.reserved;
    memory.free = memory.total - memory.reserved - memory.used;
    return memory;
}
