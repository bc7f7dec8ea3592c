/* A GPU cut into MIG instances, as the scenario lays it out: `mig=1g.10gb,3g.40gb`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

/* What an instance of so many slices has on an H100, as `nvidia-smi mig -lgip` lists it; there are none of 5 and 6. */
static const struct {
    unsigned int first_id, multiprocessors, engines, optical_flow;
} sizes[MAX_INSTANCES + 1] = {
    [1] = {7, 16, 1, 0}, [2] = {3, 32, 2, 0}, [3] = {2, 60, 3, 0}, [4] = {1, 64, 4, 0}, [7] = {0, 132, 7, 1},
};

/* Whether a setting names a profile, as `3g.40gb` or `1g.10gb+me`: slices of 7 and eighths of the memory. */
static bool parse_profile(const struct gpu *gpu, const char *text, struct instance *instance)
{
    unsigned int slices, gib;
    int read = 0;
    if (sscanf(text, "%1ug.%4ugb%n", &slices, &gib, &read) != 2 || read == 0)
        return false;
    if ((text[read] != '\0' && strcmp(text + read, "+me") != 0) || strlen(text) >= sizeof instance->name)
        return false;
    if (slices > MAX_INSTANCES || sizes[slices].multiprocessors == 0)
        return false;
    double eighths = gib * 1024.0 * 8 / gpu->number[MEMORY_TOTAL_MIB];
    instance->slices = slices;
    instance->eighths = eighths < 1 ? 1 : eighths > 8 ? 8 : rounded(eighths);
    instance->multiprocessors = sizes[slices].multiprocessors;
    instance->engines = sizes[slices].engines;
    instance->optical_flow = text[read] != '\0' ? 1 : sizes[slices].optical_flow; /* only `+me` may follow */
    snprintf(instance->name, sizeof instance->name, "%s", text);
    return true;
}

/* The instances up to the first that is no profile or has no room left; 0 where MIG is off. */
unsigned int mig_layout(const struct gpu *gpu, struct instance layout[MAX_INSTANCES])
{
    char text[TEXT_SIZE], *rest = NULL;
    unsigned int count = 0, slices = 0, eighths = 0, taken[8] = {0};
    memcpy(text, gpu->text[MIG], TEXT_SIZE);
    for (char *name = strtok_r(text, ",", &rest); name && count < MAX_INSTANCES; name = strtok_r(NULL, ",", &rest)) {
        struct instance *next = &layout[count];
        memset(next, 0, sizeof *next);
        if (!parse_profile(gpu, name, next))
            break;
        slices += next->slices;
        eighths += next->eighths;
        if (slices > 7 || eighths > 8)
            break;
        unsigned int first = sizes[next->slices].first_id, of_its_size = taken[next->slices]++;
        /* The first of three slices gets the number 2 and the second 1, which also that of four slices has. */
        next->gpu_instance_id = next->slices == 3 ? first - of_its_size : first + of_its_size;
        count++;
    }
    return is_set(gpu, MIG_MODE) && gpu->number[MIG_MODE] == 0 ? 0 : count;
}

/* Where the scenario does not say, a GPU with a layout has MIG on. */
bool mig_enabled(const struct gpu *gpu)
{
    struct instance layout[MAX_INSTANCES];
    return number_or(gpu, MIG_MODE, mig_layout(gpu, layout) > 0) > 0;
}

bool mig_has(const struct gpu *gpu, int instance)
{
    struct instance layout[MAX_INSTANCES];
    return instance < (int)mig_layout(gpu, layout);
}

void mig_uuid(const struct gpu *gpu, const struct instance *instance, char text[TEXT_SIZE])
{
    unsigned long long high = hash_text(gpu->text[UUID], 0xcbf29ce484222325ULL + instance->gpu_instance_id);
    uuid_text(text, "MIG-", high, hash_text(instance->name, high));
}

/* Holders go round the instances, since a device file says nothing of which one a process uses. */
int mig_instance_of_holder(const struct gpu *gpu, unsigned int holder)
{
    struct instance layout[MAX_INSTANCES];
    unsigned int count = mig_layout(gpu, layout);
    return count == 0 ? -1 : (int)(holder % count);
}

/* How many of the GPU's holders use the instance that `gpu` names. */
unsigned int mig_holders(const struct gpu *gpu)
{
    unsigned int count = 0;
    for (unsigned int holder = 0; holder < gpu->holder_count; holder++)
        count += mig_instance_of_holder(gpu, holder) == gpu->instance;
    return count;
}
