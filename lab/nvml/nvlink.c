/* NVLinks: their state, what is at their other end, what went over them, and what went wrong, each link by itself. */
#include <stdio.h>
#include <string.h>

#include "state.h"

enum { NVLINK_VERSION_5 = 7, SCOPE_OF_ALL_LINKS = 0xffffffff };

static unsigned int link_count(const struct gpu *gpu)
{
    return (unsigned int)gpu->number[NVLINK_COUNT];
}

/* Megabits a second of one link, by NVML's number of its version: 26562 is what an H100 shows. */
static double speed_of_version(double version)
{
    static const double speeds[] = {0, 20000, 25781, 25781, 25781, 25781, 26562, 53125, 106250};
    return speeds[(unsigned int)version];
}

/* What a link shows where its own key is not set. */
static double unset_value(const struct gpu *gpu, enum link_number key, unsigned int link)
{
    double share = link_count(gpu) ? 1.0 / link_count(gpu) : 0, first = link == 0;
    bool down = (unsigned long long)gpu->number[NVLINK_DOWN_MASK] >> link & 1;
    switch (key) {
    case LINK_STATE: return !down;
    case LINK_VERSION: return gpu->number[NVLINK_VERSION];
    case LINK_SPEED_MBPS: return down ? 0 : speed_of_version(gpu->number[NVLINK_VERSION]);
    case LINK_REMOTE_BUS: return 0x07 + link % 4; /* each ends at one of an HGX board's four NVSwitch chips */
    case LINK_REMOTE_LINK: return link;
    case LINK_REPLAY_ERRORS: return first * gpu->number[NVLINK_REPLAY_ERRORS];
    case LINK_RECOVERY_ERRORS: return first * gpu->number[NVLINK_RECOVERY_ERRORS];
    case LINK_CRC_ERRORS: return first * gpu->number[NVLINK_CRC_ERRORS];
    case LINK_TX_KIB: case LINK_RAW_TX_KIB: return gpu->counters.nvlink_tx_bytes / 1024 * share;
    case LINK_RX_KIB: case LINK_RAW_RX_KIB: return gpu->counters.nvlink_rx_bytes / 1024 * share;
    case LINK_XMIT_BYTES: return gpu->counters.nvlink_tx_bytes * share;
    case LINK_RCV_BYTES: return gpu->counters.nvlink_rx_bytes * share;
    case LINK_XMIT_PACKETS: return gpu->counters.nvlink_tx_bytes / 256 * share;
    case LINK_RCV_PACKETS: return gpu->counters.nvlink_rx_bytes / 256 * share;
    default: return 0;
    }
}

static double of_link(const struct gpu *gpu, const struct links *links, enum link_number key, unsigned int link)
{
    double set = links->number[link][key];
    return __builtin_isnan(set) ? unset_value(gpu, key, link) : set;
}

static double of_all_links(const struct gpu *gpu, const struct links *links, enum link_number key)
{
    double sum = 0;
    for (unsigned int link = 0; link < link_count(gpu); link++)
        sum += of_link(gpu, links, key, link);
    return sum < COUNTER_MAX ? sum : COUNTER_MAX;
}

enum scope { ONE_LINK, LINK_OR_ALL, ALL_LINKS };

/* Fields of links. Those of `LINK_OR_ALL` take all links where the scope names none. */
static const struct link_field_of {
    unsigned int id;
    enum link_number key;
    enum scope scope;
    bool wide, fifth;
} link_fields[] = {
    {38, LINK_CRC_ERRORS, ALL_LINKS, true, false},
    {45, LINK_CRC_DATA_ERRORS, ALL_LINKS, true, false},
    {52, LINK_REPLAY_ERRORS, ALL_LINKS, true, false},
    {59, LINK_RECOVERY_ERRORS, ALL_LINKS, true, false},
    {138, LINK_TX_KIB, LINK_OR_ALL, true, false},
    {139, LINK_RX_KIB, LINK_OR_ALL, true, false},
    {140, LINK_RAW_TX_KIB, LINK_OR_ALL, true, false},
    {141, LINK_RAW_RX_KIB, LINK_OR_ALL, true, false},
    {146, LINK_REMOTE_LINK, ONE_LINK, false, false},
    {160, LINK_ECC_ERRORS, ALL_LINKS, true, false},
    {161, LINK_REPLAY_ERRORS, ONE_LINK, true, false},
    {162, LINK_RECOVERY_ERRORS, ONE_LINK, true, false},
    {163, LINK_CRC_ERRORS, ONE_LINK, true, false},
    {164, LINK_SPEED_MBPS, ONE_LINK, false, false},
    {165, LINK_STATE, ONE_LINK, false, false},
    {166, LINK_VERSION, ONE_LINK, false, false},
    {201, LINK_XMIT_PACKETS, ONE_LINK, true, true},
    {202, LINK_XMIT_BYTES, ONE_LINK, true, true},
    {203, LINK_RCV_PACKETS, ONE_LINK, true, true},
    {204, LINK_RCV_BYTES, ONE_LINK, true, true},
    {206, LINK_MALFORMED_PACKET_ERRORS, ONE_LINK, true, true},
    {207, LINK_BUFFER_OVERRUN_ERRORS, ONE_LINK, true, true},
    {208, LINK_RCV_ERRORS, ONE_LINK, true, true},
    {209, LINK_RCV_REMOTE_ERRORS, ONE_LINK, true, true},
    {210, LINK_RCV_GENERAL_ERRORS, ONE_LINK, true, true},
    {211, LINK_LOCAL_LINK_INTEGRITY_ERRORS, ONE_LINK, true, true},
    {212, LINK_XMIT_DISCARDS, ONE_LINK, true, true},
    {213, LINK_RECOVERY_SUCCESSFUL_EVENTS, ONE_LINK, true, true},
    {214, LINK_RECOVERY_FAILED_EVENTS, ONE_LINK, true, true},
    {215, LINK_RECOVERY_EVENTS, ONE_LINK, true, true},
    {219, LINK_EFFECTIVE_ERRORS, ONE_LINK, true, true},
    {220, LINK_EFFECTIVE_BER, ONE_LINK, true, true},
    {221, LINK_SYMBOL_ERRORS, ONE_LINK, true, true},
    {222, LINK_SYMBOL_BER, ONE_LINK, true, true},
};

static const struct link_field_of *find(unsigned int id)
{
    for (size_t i = 0; i < sizeof link_fields / sizeof link_fields[0]; i++)
        if (link_fields[i].id == id)
            return &link_fields[i];
    return NULL;
}

bool is_link_field(unsigned int id)
{
    return find(id) != NULL;
}

struct answer link_field(const struct gpu *gpu, const struct links *links, unsigned int id, unsigned int scope)
{
    const struct link_field_of *field = find(id);
    bool all = field->scope == ALL_LINKS || (field->scope == LINK_OR_ALL && scope == SCOPE_OF_ALL_LINKS);
    if (link_count(gpu) == 0 || (field->fifth && gpu->number[NVLINK_VERSION] < NVLINK_VERSION_5))
        return (struct answer){.code = NVML_ERROR_NOT_SUPPORTED};
    if (!all && scope >= link_count(gpu))
        return (struct answer){.code = NVML_ERROR_INVALID_ARGUMENT};
    return (struct answer){
        .code = NVML_SUCCESS,
        .type = field->wide ? NVML_VALUE_TYPE_UNSIGNED_LONG_LONG : NVML_VALUE_TYPE_UNSIGNED_INT,
        .value = all ? of_all_links(gpu, links, field->key) : of_link(gpu, links, field->key, scope),
    };
}

/* Enter a call on one link of a device, with `links` filled in. */
#define ENTER_LINK(device, link) \
    ENTER_DEVICE(device); \
    REQUIRE((link) < link_count(&gpu)); \
    struct links links; \
    links_of(gpu.index, &links)

#define LINK_CALL(function, value_of_link) \
    NVML_API nvmlReturn_t function(nvmlDevice_t device, unsigned int link, unsigned int *value) \
    { \
        ENTER_LINK(device, link); \
        REQUIRE(value); \
        *value = (unsigned int)(value_of_link); \
        return NVML_SUCCESS; \
    }

LINK_CALL(nvmlDeviceGetNvLinkState, of_link(&gpu, &links, LINK_STATE, link) > 0)
LINK_CALL(nvmlDeviceGetNvLinkVersion, of_link(&gpu, &links, LINK_VERSION, link))
LINK_CALL(nvmlDeviceGetNvLinkRemoteDeviceType, of_link(&gpu, &links, LINK_REMOTE_TYPE, link))

NVML_API nvmlReturn_t nvmlDeviceGetNvLinkCapability(nvmlDevice_t device, unsigned int link, unsigned int capability,
                                                    unsigned int *has)
{
    ENTER_LINK(device, link);
    REQUIRE(has && capability < 6);
    *has = (unsigned int)of_link(&gpu, &links, LINK_CAPABILITIES, link) >> capability & 1;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t device, unsigned int link, unsigned int counter,
                                                      unsigned long long *errors)
{
    ENTER_LINK(device, link);
    static const enum link_number keys[] = {LINK_REPLAY_ERRORS, LINK_RECOVERY_ERRORS, LINK_CRC_ERRORS,
                                            LINK_CRC_DATA_ERRORS, LINK_ECC_ERRORS};
    REQUIRE(errors && counter < sizeof keys / sizeof keys[0]);
    *errors = (unsigned long long)of_link(&gpu, &links, keys[counter], link);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned int link, nvmlPciInfo_t *pci)
{
    ENTER_LINK(device, link);
    REQUIRE(pci);
    memset(pci, 0, sizeof *pci);
    pci->bus = (unsigned int)of_link(&gpu, &links, LINK_REMOTE_BUS, link);
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "0000:%02X:00.0", pci->bus & 0xff);
    snprintf(pci->busId, sizeof pci->busId, "00000000:%02X:00.0", pci->bus & 0xff);
    return NVML_SUCCESS;
}
