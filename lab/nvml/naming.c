/* What a GPU and its MIG instances are called where the scenario does not say: the same at every start of a node. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state.h"

/* Slots of the eight GPUs of an HGX H100 board on the PCIe buses, then free ones. */
static const unsigned int buses[MAX_GPUS] = {0x1b, 0x43, 0x52, 0x61, 0x9d, 0xc3, 0xd1, 0xdf,
                                             0x04, 0x05, 0x06, 0x08, 0x84, 0x85, 0x86, 0x88};

void name_gpu(const struct settings *settings, unsigned int index, struct gpu *gpu)
{
    char host[TEXT_SIZE] = "";
    const char *seed = settings->driver_text[SEED];
    if (*seed == '\0' && gethostname(host, sizeof host - 1) == 0)
        seed = host;
    unsigned long long hash = hash_text(seed, 0xcbf29ce484222325ULL);
    unsigned long long high = (unsigned long long)(model_noise(index, 11, (double)(hash >> 32)) * 1e18);
    unsigned long long low = (unsigned long long)(model_noise(index, 12, (double)(hash & 0xffffffff)) * 1e18);
    memcpy(gpu->text, settings->gpu_text[index], sizeof gpu->text);
    if (gpu->text[UUID][0] == '\0')
        uuid_text(gpu->text[UUID], "GPU-", high, low);
    if (gpu->text[SERIAL][0] == '\0')
        snprintf(gpu->text[SERIAL], TEXT_SIZE, "165%010llu", low % 10000000000ULL);
    if (gpu->text[PCI_BUS_ID][0] == '\0')
        snprintf(gpu->text[PCI_BUS_ID], TEXT_SIZE, "00000000:%02X:00.0", buses[index]);
    if (gpu->text[GSP_VERSION][0] == '\0')
        memcpy(gpu->text[GSP_VERSION], settings->driver_text[VERSION], TEXT_SIZE);
}
