/* Texts: numbers made of them, and copies that fit. */
#include <stdio.h>
#include <string.h>

#include "state.h"

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

nvmlReturn_t copy_text(const char *text, char *buffer, unsigned int length)
{
    REQUIRE(buffer != NULL);
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memcpy(buffer, text, strlen(text) + 1);
    return NVML_SUCCESS;
}
