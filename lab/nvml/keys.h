/*
 * Every key that the defaults and the scenario file may set: its name, lowest and highest value, and built-in value.
 * UNSET means that the value follows from who holds the device file (see model.c) or from another key.
 * A GPU's key is written `gpu.N.KEY=VALUE` or `all.KEY=VALUE`; one of the driver is written `driver.KEY=VALUE`.
 */
#ifndef FLEETWARD_NVML_KEYS_H
#define FLEETWARD_NVML_KEYS_H

#define UNSET (__builtin_nan(""))
#define COUNTER_MAX 9007199254740992.0 /* 2^53: what a double counts exactly */

#define GPU_NUMBERS(X) \
    X(LOST, "lost", 0, 1, 0) \
    X(ERROR, "error", 0, 999, 0) \
    X(DELAY_MS, "delay_ms", 0, 600000, 0) \
    X(MINOR_NUMBER, "minor_number", 0, 255, UNSET) \
    X(UTILIZATION_PERCENT, "utilization_percent", 0, 100, UNSET) \
    X(MEMORY_UTILIZATION_PERCENT, "memory_utilization_percent", 0, 100, UNSET) \
    X(MEMORY_TOTAL_MIB, "memory_total_mib", 1, 16777216, 81559) \
    X(MEMORY_RESERVED_MIB, "memory_reserved_mib", 0, 16777216, 551) \
    X(MEMORY_USED_MIB, "memory_used_mib", 0, 16777216, UNSET) \
    X(TEMPERATURE, "temperature", 0, 200, UNSET) \
    X(MEMORY_TEMPERATURE, "memory_temperature", 0, 200, UNSET) \
    X(POWER_WATTS, "power_watts", 0, 10000, UNSET) \
    X(POWER_LIMIT_WATTS, "power_limit_watts", 1, 10000, 700) \
    X(POWER_DEFAULT_LIMIT_WATTS, "power_default_limit_watts", 1, 10000, UNSET) \
    X(ENERGY_JOULES, "energy_joules", 0, COUNTER_MAX, UNSET) \
    X(SM_CLOCK_MHZ, "sm_clock_mhz", 0, 10000, UNSET) \
    X(MEMORY_CLOCK_MHZ, "memory_clock_mhz", 0, 20000, UNSET) \
    X(MAX_SM_CLOCK_MHZ, "max_sm_clock_mhz", 1, 10000, 1980) \
    X(MAX_MEMORY_CLOCK_MHZ, "max_memory_clock_mhz", 1, 20000, 2619) \
    X(CLOCK_EVENT_REASONS, "clock_event_reasons", 0, 4294967295.0, UNSET) \
    X(ECC_MODE, "ecc_mode", 0, 1, 1) \
    X(ECC_CORRECTED, "ecc_corrected", 0, COUNTER_MAX, 0) \
    X(ECC_UNCORRECTED, "ecc_uncorrected", 0, COUNTER_MAX, 0) \
    X(ECC_AGGREGATE_CORRECTED, "ecc_aggregate_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_UNCORRECTED, "ecc_aggregate_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(RETIRED_PAGES_CORRECTED, "retired_pages_corrected", 0, 64, 0) \
    X(RETIRED_PAGES_UNCORRECTED, "retired_pages_uncorrected", 0, 64, 0) \
    X(RETIRED_PAGES_PENDING, "retired_pages_pending", 0, 1, 0) \
    X(REMAPPED_ROWS_CORRECTED, "remapped_rows_corrected", 0, 100000, 0) \
    X(REMAPPED_ROWS_UNCORRECTED, "remapped_rows_uncorrected", 0, 100000, 0) \
    X(REMAPPED_ROWS_PENDING, "remapped_rows_pending", 0, 1, 0) \
    X(REMAPPED_ROWS_FAILED, "remapped_rows_failed", 0, 1, 0) \
    X(PCIE_REPLAYS, "pcie_replays", 0, 4294967295.0, 0) \
    X(PCIE_GENERATION, "pcie_generation", 1, 8, 5) \
    X(PCIE_MAX_GENERATION, "pcie_max_generation", 1, 8, 5) \
    X(PCIE_WIDTH, "pcie_width", 1, 32, 16) \
    X(PCIE_MAX_WIDTH, "pcie_max_width", 1, 32, 16) \
    X(NVLINK_COUNT, "nvlink_count", 0, 36, 18) \
    X(NVLINK_DOWN_MASK, "nvlink_down_mask", 0, 68719476735.0, 0) \
    X(NVLINK_REPLAY_ERRORS, "nvlink_replay_errors", 0, COUNTER_MAX, 0) \
    X(NVLINK_RECOVERY_ERRORS, "nvlink_recovery_errors", 0, COUNTER_MAX, 0) \
    X(NVLINK_CRC_ERRORS, "nvlink_crc_errors", 0, COUNTER_MAX, 0) \
    X(MIG_MODE, "mig_mode", 0, 1, 0) \
    X(PERSISTENCE_MODE, "persistence_mode", 0, 1, 1) \
    X(RECOVERY_ACTION, "recovery_action", 0, 7, 0)

#define GPU_TEXTS(X) \
    X(NAME, "name", "NVIDIA H100 80GB HBM3") \
    X(UUID, "uuid", "") \
    X(SERIAL, "serial", "") \
    X(PCI_BUS_ID, "pci_bus_id", "") \
    X(VBIOS_VERSION, "vbios_version", "96.00.89.00.01")

#define DRIVER_NUMBERS(X) \
    X(LOADED, "loaded", 0, 1, 1) \
    X(MISMATCH, "mismatch", 0, 1, 0) \
    X(GPU_COUNT, "gpu_count", 0, 16, 8) \
    X(CUDA_VERSION, "cuda_version", 1000, 99999, 12080) \
    X(EVENT_WAIT_ERROR, "event_wait_error", 0, 999, 0)

#define DRIVER_TEXTS(X) \
    X(VERSION, "version", "570.133.20") \
    X(NVML_VERSION, "nvml_version", "12.570.133.20") \
    X(SEED, "seed", "")

#endif
