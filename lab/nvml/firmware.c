/* What is stored on the board and runs there: VBIOS, InfoROM, GSP; where the board stands, and repairs that wait. */
#include <stdio.h>
#include <string.h>

#include "state.h"

TEXT_CALL(nvmlDeviceGetVbiosVersion, gpu.text[VBIOS_VERSION])
TEXT_CALL(nvmlDeviceGetInforomImageVersion, gpu.text[INFOROM_IMAGE])

NVML_API nvmlReturn_t nvmlDeviceGetInforomVersion(nvmlDevice_t device, unsigned int object, char *version,
                                                  unsigned int length)
{
    ENTER_DEVICE(device);
    static const enum gpu_text keys[] = {INFOROM_OEM, INFOROM_ECC, INFOROM_POWER};
    REQUIRE(object < 4);
    if (object == 3 || gpu.text[keys[object]][0] == '\0')
        return NVML_ERROR_NOT_SUPPORTED;
    return copy_text(gpu.text[keys[object]], version, length);
}

NVML_API nvmlReturn_t nvmlDeviceValidateInforom(nvmlDevice_t device)
{
    ENTER_DEVICE(device);
    return gpu.number[INFOROM_VALID] > 0 ? NVML_SUCCESS : NVML_ERROR_CORRUPTED_INFOROM;
}

NVML_API nvmlReturn_t nvmlDeviceGetInforomConfigurationChecksum(nvmlDevice_t device, unsigned int *checksum)
{
    ENTER_DEVICE(device);
    REQUIRE(checksum);
    if (gpu.number[INFOROM_VALID] == 0)
        return NVML_ERROR_CORRUPTED_INFOROM;
    *checksum = (unsigned int)gpu.number[INFOROM_CHECKSUM];
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGspFirmwareMode(nvmlDevice_t device, unsigned int *enabled, unsigned int *standard)
{
    ENTER_DEVICE(device);
    REQUIRE(enabled && standard);
    *enabled = (unsigned int)gpu.number[GSP_MODE];
    *standard = 1;
    return NVML_SUCCESS;
}

/* The caller's buffer is of 64 bytes by agreement. */
NVML_API nvmlReturn_t nvmlDeviceGetGspFirmwareVersion(nvmlDevice_t device, char *version)
{
    ENTER_DEVICE(device);
    if (gpu.number[GSP_MODE] == 0)
        return NVML_ERROR_NOT_SUPPORTED;
    return copy_text(gpu.text[GSP_VERSION], version, 64);
}

/* Both versions of the struct have one layout. A board that is not in a rack-scale system has no such place. */
NVML_API nvmlReturn_t nvmlDeviceGetPlatformInfo(nvmlDevice_t device, nvmlPlatformInfo_t *info)
{
    ENTER_DEVICE(device);
    REQUIRE(info);
    if (info->version != NVML_VERSION_OF(nvmlPlatformInfo_t, 1) &&
        info->version != NVML_VERSION_OF(nvmlPlatformInfo_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (gpu.text[PLATFORM_CHASSIS_SERIAL][0] == '\0' && gpu.text[PLATFORM_IB_GUID][0] == '\0')
        return NVML_ERROR_NOT_SUPPORTED;
    memset(info->ibGuid, 0, sizeof info->ibGuid);
    memset(info->chassisSerialNumber, 0, sizeof info->chassisSerialNumber);
    memcpy(info->ibGuid, gpu.text[PLATFORM_IB_GUID], strnlen(gpu.text[PLATFORM_IB_GUID], sizeof info->ibGuid));
    memcpy(info->chassisSerialNumber, gpu.text[PLATFORM_CHASSIS_SERIAL],
           strnlen(gpu.text[PLATFORM_CHASSIS_SERIAL], sizeof info->chassisSerialNumber));
    info->slotNumber = (unsigned char)gpu.number[PLATFORM_SLOT];
    info->trayIndex = (unsigned char)gpu.number[PLATFORM_TRAY];
    info->hostId = (unsigned char)gpu.number[PLATFORM_HOST];
    info->peerType = (unsigned char)gpu.number[PLATFORM_PEER_TYPE];
    info->moduleId = (unsigned char)number_or(&gpu, MODULE_ID, gpu.index + 1);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetRepairStatus(nvmlDevice_t device, nvmlRepairStatus_t *status)
{
    ENTER_DEVICE(device);
    REQUIRE(status);
    if (status->version != NVML_VERSION_OF(nvmlRepairStatus_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    status->bChannelRepairPending = (unsigned int)gpu.number[REPAIR_CHANNEL_PENDING];
    status->bTpcRepairPending = (unsigned int)gpu.number[REPAIR_TPC_PENDING];
    return NVML_SUCCESS;
}
