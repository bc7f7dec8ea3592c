/*
 * Every key that the defaults and the scenario file may set: its name, lowest and highest value, and built-in value.
 * UNSET means that the value follows from who holds the device file (see model.c) or from another key.
 * A GPU's key is written `gpu.N.KEY=VALUE` or `all.KEY=VALUE`, one of the driver `driver.KEY=VALUE`; a link's key is
 * written in place of a GPU's as `nvlink.L.KEY` or `nvlink.all.KEY`, and a fault of one function as
 * `call.FUNCTION.KEY`. lab/scenario_keys.py reads these tables too, by the shape of their lines.
 */
#ifndef FLEETWARD_NVML_KEYS_H
#define FLEETWARD_NVML_KEYS_H

#define UNSET (__builtin_nan(""))
#define COUNTER_MAX 9007199254740992.0 /* 2^53: what a double counts exactly */
#define UINT_MOST 4294967295.0

#include "keys_errors.h"

/* build.sh sets these where it imitates an older driver. */
#ifndef BUILT_IN_DRIVER
#define BUILT_IN_DRIVER "570.133.20"
#define BUILT_IN_CUDA 12080
#endif

#define GPU_NUMBERS_FAULTS(X) \
    X(LOST, "lost", 0, 1, 0) \
    X(ERROR, "error", 0, 999, 0) \
    X(DELAY_MS, "delay_ms", 0, 600000, 0) \
    X(HANG, "hang", 0, 1, 0) \
    X(RECOVERY_ACTION, "recovery_action", 0, 7, 0) \
    X(REPAIR_CHANNEL_PENDING, "repair_channel_pending", 0, 1, 0) \
    X(REPAIR_TPC_PENDING, "repair_tpc_pending", 0, 1, 0)

#define GPU_NUMBERS_IDENTITY(X) \
    X(MINOR_NUMBER, "minor_number", 0, 255, UNSET) \
    X(ARCHITECTURE, "architecture", 2, 20, 9) \
    X(BRAND, "brand", 0, 20, 14) \
    X(COMPUTE_CAPABILITY, "compute_capability", 1, 20, 9.0) \
    X(CORE_COUNT, "core_count", 1, 1000000, 16896) \
    X(MEMORY_BUS_BITS, "memory_bus_bits", 1, 100000, 5120) \
    X(BOARD_ID, "board_id", 0, UINT_MOST, UNSET) \
    X(MODULE_ID, "module_id", 0, 255, UNSET) \
    X(NUMA_NODE, "numa_node", 0, 63, UNSET) \
    X(FAN_COUNT, "fan_count", 0, 8, 0) \
    X(PERSISTENCE_MODE, "persistence_mode", 0, 1, 1) \
    X(COMPUTE_MODE, "compute_mode", 0, 3, 0) \
    X(DISPLAY_ACTIVE, "display_active", 0, 1, 0) \
    X(POWER_SOURCE, "power_source", 0, 2, 0) \
    X(GSP_MODE, "gsp_mode", 0, 1, 1) \
    X(MIG_MODE, "mig_mode", 0, 1, UNSET) \
    X(MIG_MODE_PENDING, "mig_mode_pending", 0, 1, UNSET) \
    X(MIG_ENCODERS, "mig_encoders", 0, 64, 0) \
    X(INFOROM_CHECKSUM, "inforom_checksum", 0, UINT_MOST, 0x5a17c0de) \
    X(INFOROM_VALID, "inforom_valid", 0, 1, 1) \
    X(PLATFORM_SLOT, "platform_slot", 0, 127, 0) \
    X(PLATFORM_TRAY, "platform_tray", 0, 127, 0) \
    X(PLATFORM_HOST, "platform_host", 0, 127, 0) \
    X(PLATFORM_PEER_TYPE, "platform_peer_type", 0, 127, 0)

#define GPU_NUMBERS_LOAD(X) \
    X(UTILIZATION_PERCENT, "utilization_percent", 0, 100, UNSET) \
    X(MEMORY_UTILIZATION_PERCENT, "memory_utilization_percent", 0, 100, UNSET) \
    X(ENCODER_PERCENT, "encoder_percent", 0, 100, 0) \
    X(DECODER_PERCENT, "decoder_percent", 0, 100, 0) \
    X(JPEG_PERCENT, "jpeg_percent", 0, 100, 0) \
    X(OPTICAL_FLOW_PERCENT, "optical_flow_percent", 0, 100, 0) \
    X(MEMORY_TOTAL_MIB, "memory_total_mib", 1, 16777216, 81559) \
    X(MEMORY_RESERVED_MIB, "memory_reserved_mib", 0, 16777216, 551) \
    X(MEMORY_USED_MIB, "memory_used_mib", 0, 16777216, UNSET) \
    X(BAR1_TOTAL_MIB, "bar1_total_mib", 1, 16777216, 131072) \
    X(BAR1_USED_MIB, "bar1_used_mib", 0, 16777216, 2) \
    X(GPM_GRAPHICS_PERCENT, "gpm_graphics_percent", 0, 100, UNSET) \
    X(GPM_SM_PERCENT, "gpm_sm_percent", 0, 100, UNSET) \
    X(GPM_SM_OCCUPANCY_PERCENT, "gpm_sm_occupancy_percent", 0, 100, UNSET) \
    X(GPM_INTEGER_PERCENT, "gpm_integer_percent", 0, 100, UNSET) \
    X(GPM_TENSOR_PERCENT, "gpm_tensor_percent", 0, 100, UNSET) \
    X(GPM_DFMA_TENSOR_PERCENT, "gpm_dfma_tensor_percent", 0, 100, UNSET) \
    X(GPM_HMMA_TENSOR_PERCENT, "gpm_hmma_tensor_percent", 0, 100, UNSET) \
    X(GPM_DMMA_TENSOR_PERCENT, "gpm_dmma_tensor_percent", 0, 100, UNSET) \
    X(GPM_IMMA_TENSOR_PERCENT, "gpm_imma_tensor_percent", 0, 100, UNSET) \
    X(GPM_DRAM_PERCENT, "gpm_dram_percent", 0, 100, UNSET) \
    X(GPM_FP64_PERCENT, "gpm_fp64_percent", 0, 100, UNSET) \
    X(GPM_FP32_PERCENT, "gpm_fp32_percent", 0, 100, UNSET) \
    X(GPM_FP16_PERCENT, "gpm_fp16_percent", 0, 100, UNSET) \
    X(GPM_PCIE_TX_MIB_PER_SECOND, "gpm_pcie_tx_mib_per_second", 0, 1000000, UNSET) \
    X(GPM_PCIE_RX_MIB_PER_SECOND, "gpm_pcie_rx_mib_per_second", 0, 1000000, UNSET) \
    X(GPM_NVLINK_TX_MIB_PER_SECOND, "gpm_nvlink_tx_mib_per_second", 0, 10000000, UNSET) \
    X(GPM_NVLINK_RX_MIB_PER_SECOND, "gpm_nvlink_rx_mib_per_second", 0, 10000000, UNSET)

#define GPU_NUMBERS_HEAT(X) \
    X(TEMPERATURE, "temperature", 0, 200, UNSET) \
    X(MEMORY_TEMPERATURE, "memory_temperature", 0, 200, UNSET) \
    X(MARGIN_TEMPERATURE, "margin_temperature", -200, 200, UNSET) \
    X(THRESHOLD_SHUTDOWN, "threshold_shutdown", 0, 200, 92) \
    X(THRESHOLD_SLOWDOWN, "threshold_slowdown", 0, 200, 89) \
    X(THRESHOLD_MEMORY_MAX, "threshold_memory_max", 0, 200, 95) \
    X(THRESHOLD_GPU_MAX, "threshold_gpu_max", 0, 200, 87) \
    X(TLIMIT_SHUTDOWN, "tlimit_shutdown", -200, 200, -8) \
    X(TLIMIT_SLOWDOWN, "tlimit_slowdown", -200, 200, -2) \
    X(TLIMIT_MEMORY_MAX, "tlimit_memory_max", -200, 200, 0) \
    X(TLIMIT_GPU_MAX, "tlimit_gpu_max", -200, 200, 0) \
    X(POWER_WATTS, "power_watts", 0, 10000, UNSET) \
    X(POWER_AVERAGE_WATTS, "power_average_watts", 0, 10000, UNSET) \
    X(POWER_LIMIT_WATTS, "power_limit_watts", 1, 10000, 700) \
    X(POWER_ENFORCED_LIMIT_WATTS, "power_enforced_limit_watts", 1, 10000, UNSET) \
    X(POWER_DEFAULT_LIMIT_WATTS, "power_default_limit_watts", 1, 10000, UNSET) \
    X(POWER_MIN_LIMIT_WATTS, "power_min_limit_watts", 0, 10000, 200) \
    X(POWER_MAX_LIMIT_WATTS, "power_max_limit_watts", 1, 10000, UNSET) \
    X(POWER_MANAGEMENT_MODE, "power_management_mode", 0, 1, 1) \
    X(ENERGY_JOULES, "energy_joules", 0, COUNTER_MAX, UNSET)

#define GPU_NUMBERS_CLOCKS(X) \
    X(PERFORMANCE_STATE, "performance_state", 0, 15, 0) \
    X(SM_CLOCK_MHZ, "sm_clock_mhz", 0, 10000, UNSET) \
    X(GRAPHICS_CLOCK_MHZ, "graphics_clock_mhz", 0, 10000, UNSET) \
    X(VIDEO_CLOCK_MHZ, "video_clock_mhz", 0, 10000, UNSET) \
    X(MEMORY_CLOCK_MHZ, "memory_clock_mhz", 0, 20000, UNSET) \
    X(MAX_SM_CLOCK_MHZ, "max_sm_clock_mhz", 1, 10000, 1980) \
    X(MAX_MEMORY_CLOCK_MHZ, "max_memory_clock_mhz", 1, 20000, 2619) \
    X(APPLICATION_SM_CLOCK_MHZ, "application_sm_clock_mhz", 0, 10000, UNSET) \
    X(APPLICATION_MEMORY_CLOCK_MHZ, "application_memory_clock_mhz", 0, 20000, UNSET) \
    X(CLOCK_EVENT_REASONS, "clock_event_reasons", 0, UINT_MOST, UNSET) \
    X(SUPPORTED_CLOCK_EVENT_REASONS, "supported_clock_event_reasons", 0, UINT_MOST, 0x1ff) \
    X(THROTTLE_SINCE, "throttle_since", 0, COUNTER_MAX, UNSET) \
    X(THROTTLE_POWER_NS, "throttle_power_ns", 0, COUNTER_MAX, 0) \
    X(THROTTLE_THERMAL_NS, "throttle_thermal_ns", 0, COUNTER_MAX, 0) \
    X(THROTTLE_SYNC_BOOST_NS, "throttle_sync_boost_ns", 0, COUNTER_MAX, 0) \
    X(THROTTLE_BOARD_LIMIT_NS, "throttle_board_limit_ns", 0, COUNTER_MAX, 0) \
    X(THROTTLE_LOW_UTILIZATION_NS, "throttle_low_utilization_ns", 0, COUNTER_MAX, 0) \
    X(THROTTLE_RELIABILITY_NS, "throttle_reliability_ns", 0, COUNTER_MAX, 0) \
    X(THROTTLE_APPLICATION_CLOCKS_NS, "throttle_application_clocks_ns", 0, COUNTER_MAX, 0) \
    X(THROTTLE_BASE_CLOCKS_NS, "throttle_base_clocks_ns", 0, COUNTER_MAX, 0) \
    X(THROTTLE_SW_THERMAL_NS, "throttle_sw_thermal_ns", 0, COUNTER_MAX, 0) \
    X(THROTTLE_HW_THERMAL_NS, "throttle_hw_thermal_ns", 0, COUNTER_MAX, 0) \
    X(THROTTLE_POWER_BRAKE_NS, "throttle_power_brake_ns", 0, COUNTER_MAX, 0)

/* What can go wrong with one function, of one GPU or of the driver. */
#define CALL_NUMBERS(X) \
    X(CALL_ERROR, "error", 0, 999, 0) \
    X(CALL_DELAY_MS, "delay_ms", 0, 600000, 0) \
    X(CALL_HANG, "hang", 0, 1, 0)

#define GPU_NUMBERS(X) \
    GPU_NUMBERS_FAULTS(X) \
    GPU_NUMBERS_IDENTITY(X) \
    GPU_NUMBERS_LOAD(X) \
    GPU_NUMBERS_HEAT(X) \
    GPU_NUMBERS_CLOCKS(X) \
    GPU_NUMBERS_MEMORY(X) \
    GPU_NUMBERS_PCIE(X) \
    GPU_NUMBERS_FABRIC(X)

#define GPU_TEXTS(X) \
    X(NAME, "name", "NVIDIA H100 80GB HBM3") \
    X(UUID, "uuid", "") \
    X(SERIAL, "serial", "") \
    X(PCI_BUS_ID, "pci_bus_id", "") \
    X(VBIOS_VERSION, "vbios_version", "96.00.89.00.01") \
    X(BOARD_PART_NUMBER, "board_part_number", "692-2G520-0200-000") \
    X(INFOROM_IMAGE, "inforom_image", "G520.0200.00.05") \
    X(INFOROM_OEM, "inforom_oem", "2.1") \
    X(INFOROM_ECC, "inforom_ecc", "7.16") \
    X(INFOROM_POWER, "inforom_power", "") \
    X(GSP_VERSION, "gsp_version", "") \
    X(MIG, "mig", "") \
    X(FABRIC_CLUSTER_UUID, "fabric_cluster_uuid", "00000000-0000-0000-0000-000000000000") \
    X(PLATFORM_IB_GUID, "platform_ib_guid", "") \
    X(PLATFORM_CHASSIS_SERIAL, "platform_chassis_serial", "")

#define DRIVER_NUMBERS(X) \
    X(LOADED, "loaded", 0, 1, 1) \
    X(MISMATCH, "mismatch", 0, 1, 0) \
    X(DRIVER_HANG, "hang", 0, 1, 0) \
    X(DRIVER_DELAY_MS, "delay_ms", 0, 600000, 0) \
    X(GPU_COUNT, "gpu_count", 0, 16, 8) \
    X(CUDA_VERSION, "cuda_version", 1000, 99999, BUILT_IN_CUDA) \
    X(EVENT_TYPES, "event_types", 0, 65535, 0x19f) \
    X(EVENT_WAIT_ERROR, "event_wait_error", 0, 999, 0)

#define DRIVER_TEXTS(X) \
    X(VERSION, "version", BUILT_IN_DRIVER) \
    X(NVML_VERSION, "nvml_version", "12." BUILT_IN_DRIVER) \
    X(SEED, "seed", "")

#endif
