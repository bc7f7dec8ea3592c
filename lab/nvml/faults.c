/* What the scenario says of one call: an error, a delay, or that it hangs until the scenario says otherwise. */
#include <ctype.h>
#include <string.h>

#include "state.h"

/* A rule may leave out the version at the end of a function's name, as pynvml does: `_v2`. */
static bool names_function(const char *rule, const char *function)
{
    size_t length = strlen(rule);
    if (strncmp(function, rule, length) != 0)
        return false;
    const char *rest = function + length;
    return *rest == '\0' || (strncmp(rest, "_v", 2) == 0 && isdigit((unsigned char)rest[2]) && rest[3] == '\0');
}

static bool is_for(const struct rule *rule, int device)
{
    return rule->whom == device || (rule->whom == RULE_OF_ALL_GPUS && device >= 0);
}

struct fault fault_of(const struct settings *settings, const char *function, int device)
{
    bool of_gpu = device >= 0;
    struct fault fault = {
        .error = of_gpu ? (nvmlReturn_t)settings->gpu_number[device][ERROR] : NVML_SUCCESS,
        .delay_ms = of_gpu ? settings->gpu_number[device][DELAY_MS] : settings->driver_number[DRIVER_DELAY_MS],
        .hang = settings->driver_number[DRIVER_HANG] > 0 || (of_gpu && settings->gpu_number[device][HANG] > 0),
    };
    if (of_gpu && settings->gpu_number[device][LOST] > 0)
        fault.error = NVML_ERROR_GPU_IS_LOST;
    for (unsigned int i = 0; i < settings->rule_count; i++) {
        const struct rule *rule = &settings->rules[i];
        if (!is_for(rule, device) || !names_function(rule->function, function))
            continue;
        if (rule->key == CALL_ERROR && fault.error != NVML_ERROR_GPU_IS_LOST)
            fault.error = (nvmlReturn_t)rule->value;
        else if (rule->key == CALL_DELAY_MS)
            fault.delay_ms = rule->value;
        else if (rule->key == CALL_HANG)
            fault.hang = rule->value > 0;
    }
    return fault;
}
