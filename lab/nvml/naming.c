/* What a GPU and its MIG instances are called where the scenario does not say: the same at every start of a node. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state.h"

/* Slots of the eight GPUs of an HGX H100 board on the PCIe buses, then free ones. */
static const unsigned int buses[MAX_GPUS] = {0x1b, 0x43, 0x52, 0x61, 0x9d, 0xc3, 0xd1, 0xdf,
                                             0x04, 0x05, 0x06, 0x08, 0x84, 0x85, 0x86, 0x88};

unsigned long long hash_text(const char *text, unsigned long long hash)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3ULL; /* FNV-1a */
    return hash;
}

void uuid_text(char text[TEXT_SIZE], const char *prefix, unsigned long long high, unsigned long long low)
{
    snprintf(text, TEXT_SIZE, "%s%08llx-%04llx-%04llx-%04llx-%012llx", prefix, high >> 28 & 0xffffffff,
             high >> 12 & 0xffff, 0x4000 | (high & 0xfff), 0x8000 | (low >> 48 & 0x3fff),
             (low ^ high << 7) & 0xffffffffffffULL);
}

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

nvmlReturn_t copy_text(const char *text, char *buffer, unsigned int length)
{
    REQUIRE(buffer != NULL);
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memcpy(buffer, text, strlen(text) + 1);
    return NVML_SUCCESS;
}
