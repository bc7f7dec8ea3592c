/*
 * The keys of what can go wrong in memory and on links: a part of keys.h, in the same form.
 * A total of ECC errors that is not set is the sum over the places; what a total has beyond them counts as DRAM's.
 * Numbers over the life of a GPU that are not set are those since the driver was loaded.
 */
#ifndef FLEETWARD_NVML_KEYS_ERRORS_H
#define FLEETWARD_NVML_KEYS_ERRORS_H

/* The places stand in the order of NVML's memory locations, four keys each: see ecc_key() in errors.c. */
#define GPU_NUMBERS_MEMORY(X) \
    X(ECC_MODE, "ecc_mode", 0, 1, 1) \
    X(ECC_MODE_PENDING, "ecc_mode_pending", 0, 1, UNSET) \
    X(ECC_CORRECTED, "ecc_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_UNCORRECTED, "ecc_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_CORRECTED, "ecc_aggregate_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_UNCORRECTED, "ecc_aggregate_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_L1_CORRECTED, "ecc_l1_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_L1_UNCORRECTED, "ecc_l1_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_L1_CORRECTED, "ecc_aggregate_l1_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_L1_UNCORRECTED, "ecc_aggregate_l1_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_L2_CORRECTED, "ecc_l2_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_L2_UNCORRECTED, "ecc_l2_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_L2_CORRECTED, "ecc_aggregate_l2_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_L2_UNCORRECTED, "ecc_aggregate_l2_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_DRAM_CORRECTED, "ecc_dram_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_DRAM_UNCORRECTED, "ecc_dram_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_DRAM_CORRECTED, "ecc_aggregate_dram_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_DRAM_UNCORRECTED, "ecc_aggregate_dram_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_REGISTER_CORRECTED, "ecc_register_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_REGISTER_UNCORRECTED, "ecc_register_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_REGISTER_CORRECTED, "ecc_aggregate_register_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_REGISTER_UNCORRECTED, "ecc_aggregate_register_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_TEXTURE_CORRECTED, "ecc_texture_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_TEXTURE_UNCORRECTED, "ecc_texture_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_TEXTURE_CORRECTED, "ecc_aggregate_texture_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_TEXTURE_UNCORRECTED, "ecc_aggregate_texture_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_SHARED_CORRECTED, "ecc_shared_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_SHARED_UNCORRECTED, "ecc_shared_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_SHARED_CORRECTED, "ecc_aggregate_shared_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_SHARED_UNCORRECTED, "ecc_aggregate_shared_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_CBU_CORRECTED, "ecc_cbu_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_CBU_UNCORRECTED, "ecc_cbu_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_CBU_CORRECTED, "ecc_aggregate_cbu_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_CBU_UNCORRECTED, "ecc_aggregate_cbu_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_SRAM_CORRECTED, "ecc_sram_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_SRAM_UNCORRECTED, "ecc_sram_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_SRAM_CORRECTED, "ecc_aggregate_sram_corrected", 0, COUNTER_MAX, UNSET) \
    X(ECC_AGGREGATE_SRAM_UNCORRECTED, "ecc_aggregate_sram_uncorrected", 0, COUNTER_MAX, UNSET) \
    X(SRAM_PARITY, "sram_parity", 0, COUNTER_MAX, 0) \
    X(SRAM_SECDED, "sram_secded", 0, COUNTER_MAX, 0) \
    X(SRAM_AGGREGATE_PARITY, "sram_aggregate_parity", 0, COUNTER_MAX, UNSET) \
    X(SRAM_AGGREGATE_SECDED, "sram_aggregate_secded", 0, COUNTER_MAX, UNSET) \
    X(SRAM_BUCKET_L2, "sram_bucket_l2", 0, COUNTER_MAX, 0) \
    X(SRAM_BUCKET_SM, "sram_bucket_sm", 0, COUNTER_MAX, 0) \
    X(SRAM_BUCKET_PCIE, "sram_bucket_pcie", 0, COUNTER_MAX, 0) \
    X(SRAM_BUCKET_MCU, "sram_bucket_mcu", 0, COUNTER_MAX, 0) \
    X(SRAM_BUCKET_OTHER, "sram_bucket_other", 0, COUNTER_MAX, 0) \
    X(SRAM_THRESHOLD_EXCEEDED, "sram_threshold_exceeded", 0, 1, 0) \
    X(RETIRED_PAGES_CORRECTED, "retired_pages_corrected", 0, 64, 0) \
    X(RETIRED_PAGES_UNCORRECTED, "retired_pages_uncorrected", 0, 64, 0) \
    X(RETIRED_PAGES_PENDING, "retired_pages_pending", 0, 1, 0) \
    X(REMAPPED_ROWS_CORRECTED, "remapped_rows_corrected", 0, 100000, 0) \
    X(REMAPPED_ROWS_UNCORRECTED, "remapped_rows_uncorrected", 0, 100000, 0) \
    X(REMAPPED_ROWS_PENDING, "remapped_rows_pending", 0, 1, 0) \
    X(REMAPPED_ROWS_FAILED, "remapped_rows_failed", 0, 1, 0) \
    X(REMAP_BANKS_MAX, "remap_banks_max", 0, 100000, 2560) \
    X(REMAP_BANKS_HIGH, "remap_banks_high", 0, 100000, 0) \
    X(REMAP_BANKS_PARTIAL, "remap_banks_partial", 0, 100000, 0) \
    X(REMAP_BANKS_LOW, "remap_banks_low", 0, 100000, 0) \
    X(REMAP_BANKS_NONE, "remap_banks_none", 0, 100000, 0)

#define GPU_NUMBERS_PCIE(X) \
    X(PCIE_GENERATION, "pcie_generation", 1, 8, 5) \
    X(PCIE_MAX_GENERATION, "pcie_max_generation", 1, 8, 5) \
    X(PCIE_WIDTH, "pcie_width", 1, 32, 16) \
    X(PCIE_MAX_WIDTH, "pcie_max_width", 1, 32, 16) \
    X(PCIE_TX_BYTES, "pcie_tx_bytes", 0, COUNTER_MAX, UNSET) \
    X(PCIE_RX_BYTES, "pcie_rx_bytes", 0, COUNTER_MAX, UNSET) \
    X(PCIE_TX_KB_PER_SECOND, "pcie_tx_kb_per_second", 0, UINT_MOST, UNSET) \
    X(PCIE_RX_KB_PER_SECOND, "pcie_rx_kb_per_second", 0, UINT_MOST, UNSET) \
    X(PCIE_REPLAYS, "pcie_replays", 0, UINT_MOST, 0) \
    X(PCIE_REPLAY_ROLLOVERS, "pcie_replay_rollovers", 0, UINT_MOST, 0) \
    X(PCIE_L0_TO_RECOVERY, "pcie_l0_to_recovery", 0, UINT_MOST, 0) \
    X(PCIE_CORRECTABLE_ERRORS, "pcie_correctable_errors", 0, UINT_MOST, 0) \
    X(PCIE_NAKS_RECEIVED, "pcie_naks_received", 0, UINT_MOST, 0) \
    X(PCIE_RECEIVER_ERRORS, "pcie_receiver_errors", 0, UINT_MOST, 0) \
    X(PCIE_BAD_TLPS, "pcie_bad_tlps", 0, UINT_MOST, 0) \
    X(PCIE_NAKS_SENT, "pcie_naks_sent", 0, UINT_MOST, 0) \
    X(PCIE_BAD_DLLPS, "pcie_bad_dllps", 0, UINT_MOST, 0) \
    X(PCIE_NON_FATAL_ERRORS, "pcie_non_fatal_errors", 0, UINT_MOST, 0) \
    X(PCIE_FATAL_ERRORS, "pcie_fatal_errors", 0, UINT_MOST, 0) \
    X(PCIE_UNSUPPORTED_REQUESTS, "pcie_unsupported_requests", 0, UINT_MOST, 0) \
    X(PCIE_LCRC_ERRORS, "pcie_lcrc_errors", 0, UINT_MOST, 0) \
    X(PCIE_LANE_ERRORS, "pcie_lane_errors", 0, UINT_MOST, 0)

#define GPU_NUMBERS_FABRIC(X) \
    X(NVLINK_COUNT, "nvlink_count", 0, 36, 18) \
    X(NVLINK_VERSION, "nvlink_version", 0, 8, 6) \
    X(NVLINK_DOWN_MASK, "nvlink_down_mask", 0, 68719476735.0, 0) \
    X(NVLINK_REPLAY_ERRORS, "nvlink_replay_errors", 0, COUNTER_MAX, 0) \
    X(NVLINK_RECOVERY_ERRORS, "nvlink_recovery_errors", 0, COUNTER_MAX, 0) \
    X(NVLINK_CRC_ERRORS, "nvlink_crc_errors", 0, COUNTER_MAX, 0) \
    X(FABRIC_STATE, "fabric_state", 0, 3, 3) \
    X(FABRIC_STATUS, "fabric_status", 0, 999, 0) \
    X(FABRIC_CLIQUE, "fabric_clique", 0, UINT_MOST, 0) \
    X(FABRIC_HEALTH_MASK, "fabric_health_mask", 0, UINT_MOST, 0x1aa) \
    X(FABRIC_HEALTH_SUMMARY, "fabric_health_summary", 0, 3, 1)

/*
 * Of each NVLink: what is not set follows the GPU's own keys, whose errors count on link 0 alone. The last
 * block is of what only NVLink 5 counts.
 */
#define LINK_NUMBERS_ANY(X) \
    X(LINK_STATE, "state", 0, 3, UNSET) \
    X(LINK_SPEED_MBPS, "speed_mbps", 0, 1000000, UNSET) \
    X(LINK_VERSION, "version", 0, 8, UNSET) \
    X(LINK_CAPABILITIES, "capabilities", 0, 63, 0x2f) \
    X(LINK_REMOTE_TYPE, "remote_type", 0, 255, 2) \
    X(LINK_REMOTE_BUS, "remote_bus", 0, 255, UNSET) \
    X(LINK_REMOTE_LINK, "remote_link", 0, 255, UNSET) \
    X(LINK_REPLAY_ERRORS, "replay_errors", 0, COUNTER_MAX, UNSET) \
    X(LINK_RECOVERY_ERRORS, "recovery_errors", 0, COUNTER_MAX, UNSET) \
    X(LINK_CRC_ERRORS, "crc_errors", 0, COUNTER_MAX, UNSET) \
    X(LINK_CRC_DATA_ERRORS, "crc_data_errors", 0, COUNTER_MAX, 0) \
    X(LINK_ECC_ERRORS, "ecc_errors", 0, COUNTER_MAX, 0) \
    X(LINK_TX_KIB, "tx_kib", 0, COUNTER_MAX, UNSET) \
    X(LINK_RX_KIB, "rx_kib", 0, COUNTER_MAX, UNSET) \
    X(LINK_RAW_TX_KIB, "raw_tx_kib", 0, COUNTER_MAX, UNSET) \
    X(LINK_RAW_RX_KIB, "raw_rx_kib", 0, COUNTER_MAX, UNSET)

#define LINK_NUMBERS_FIFTH(X) \
    X(LINK_XMIT_PACKETS, "xmit_packets", 0, COUNTER_MAX, UNSET) \
    X(LINK_XMIT_BYTES, "xmit_bytes", 0, COUNTER_MAX, UNSET) \
    X(LINK_RCV_PACKETS, "rcv_packets", 0, COUNTER_MAX, UNSET) \
    X(LINK_RCV_BYTES, "rcv_bytes", 0, COUNTER_MAX, UNSET) \
    X(LINK_MALFORMED_PACKET_ERRORS, "malformed_packet_errors", 0, COUNTER_MAX, 0) \
    X(LINK_BUFFER_OVERRUN_ERRORS, "buffer_overrun_errors", 0, COUNTER_MAX, 0) \
    X(LINK_RCV_ERRORS, "rcv_errors", 0, COUNTER_MAX, 0) \
    X(LINK_RCV_REMOTE_ERRORS, "rcv_remote_errors", 0, COUNTER_MAX, 0) \
    X(LINK_RCV_GENERAL_ERRORS, "rcv_general_errors", 0, COUNTER_MAX, 0) \
    X(LINK_LOCAL_LINK_INTEGRITY_ERRORS, "local_link_integrity_errors", 0, COUNTER_MAX, 0) \
    X(LINK_XMIT_DISCARDS, "xmit_discards", 0, COUNTER_MAX, 0) \
    X(LINK_RECOVERY_SUCCESSFUL_EVENTS, "recovery_successful_events", 0, COUNTER_MAX, 0) \
    X(LINK_RECOVERY_FAILED_EVENTS, "recovery_failed_events", 0, COUNTER_MAX, 0) \
    X(LINK_RECOVERY_EVENTS, "recovery_events", 0, COUNTER_MAX, 0) \
    X(LINK_EFFECTIVE_ERRORS, "effective_errors", 0, COUNTER_MAX, 0) \
    X(LINK_EFFECTIVE_BER, "effective_ber", 0, COUNTER_MAX, 0) \
    X(LINK_SYMBOL_ERRORS, "symbol_errors", 0, COUNTER_MAX, 0) \
    X(LINK_SYMBOL_BER, "symbol_ber", 0, COUNTER_MAX, 0)

#define LINK_NUMBERS(X) \
    LINK_NUMBERS_ANY(X) \
    LINK_NUMBERS_FIFTH(X)

#endif
