"""What goes wrong in a GPU and on its links: ECC, remaps, PCIe, NVLink, fabric."""

from collections.abc import Iterator

from fleetward.exporters.gpu.series import Call, Family, FieldValue, Labelled, Series, one, some

MOST_NVLINKS = 18
"""Of one GPU, up to Blackwell."""


def health_series() -> Iterator[Series]:
    """Yield them in the order of the page."""
    yield from _errors()
    yield from _bus()
    yield from _nvlink()
    yield from _fabric()


def _errors() -> Iterator[Series]:
    totals: Labelled = {"corrected": FieldValue(3), "uncorrected": FieldValue(4)}
    yield from some("gpu_ecc_errors_total", "ECC errors since the driver was loaded.", "type", totals, counter=True)
    lifetime: Labelled = {"corrected": FieldValue(5), "uncorrected": FieldValue(6)}
    yield from some(
        "gpu_ecc_lifetime_errors_total", "ECC errors over the life of the GPU.", "type", lifetime, counter=True
    )
    places = {"dram": 2, "sram": 7}
    for name, count, help_text in (
        ("gpu_ecc_location_errors_total", 0, "ECC errors since the driver was loaded, by where they were."),
        ("gpu_ecc_location_lifetime_errors_total", 1, "ECC errors over the life of the GPU, by where they were."),
    ):
        family = Family(name, help_text, counter=True)
        for place, number in places.items():
            for kind, of in (("corrected", 0), ("uncorrected", 1)):
                source = Call("nvmlDeviceGetMemoryErrorCounter", (of, count, number))
                yield Series(family, source, labels=(("location", place), ("type", kind)))
    yield from one(
        "gpu_sram_ecc_threshold_active",
        "1 where the GPU's own memories had more uncorrected errors than it is good for.",
        Call("nvmlDeviceGetSramEccErrorStatus", take="bThresholdExceeded"),
    )
    rows: Labelled = {"corrected": FieldValue(142), "uncorrected": FieldValue(143)}
    yield from some(
        "gpu_remapped_rows", "Memory rows replaced by spare ones, by the kind of error that caused it.", "type", rows
    )
    yield from one("gpu_row_remap_pending", "1 where a row waits for a reset to be replaced.", FieldValue(144))
    yield from one("gpu_row_remap_failed", "1 where a row could not be replaced.", FieldValue(145))
    spares: Labelled = {
        name: Call("nvmlDeviceGetRowRemapperHistogram", take=name) for name in ("max", "high", "partial", "low", "none")
    }
    yield from some("gpu_memory_banks", "Memory banks by how many spare rows they have left.", "spare_rows", spares)
    pages: Labelled = {"corrected": FieldValue(29), "uncorrected": FieldValue(30)}
    yield from some("gpu_retired_pages", "Memory pages taken out of use, before Ampere.", "type", pages)
    yield from one("gpu_retired_pages_pending", "1 where a page waits for a reset.", FieldValue(31))
    yield from one(
        "gpu_recovery_action",
        "What the driver asks for: 0 nothing, 1 GPU reset, 2 node reboot, 3 drain of peers, 4 drain and reset.",
        FieldValue(230),
    )


def _bus() -> Iterator[Series]:
    yield from one("gpu_pcie_replay_total", "Packets sent again on the PCIe link.", FieldValue(94), counter=True)
    for name, function, help_text in (
        ("generation", "CurrPcieLinkGeneration", "PCIe generation in use."),
        ("generation_max", "MaxPcieLinkGeneration", "PCIe generation that GPU and slot allow."),
        ("width", "CurrPcieLinkWidth", "PCIe lanes in use."),
        ("width_max", "MaxPcieLinkWidth", "PCIe lanes that GPU and slot allow."),
    ):
        yield from one(f"gpu_pcie_link_{name}", help_text, Call(f"nvmlDeviceGet{function}"))
    traffic: Labelled = {"tx": FieldValue(197), "rx": FieldValue(198)}
    yield from some("gpu_pcie_bytes_total", "Bytes over PCIe.", "direction", traffic, counter=True)
    faults: Labelled = {
        "correctable": FieldValue(173),
        "naks_received": FieldValue(174),
        "receiver": FieldValue(175),
        "bad_tlp": FieldValue(176),
        "naks_sent": FieldValue(177),
        "bad_dllp": FieldValue(178),
        "non_fatal": FieldValue(179),
        "fatal": FieldValue(180),
        "unsupported_request": FieldValue(181),
        "lcrc": FieldValue(182),
        "lane": FieldValue(183),
    }
    yield from some("gpu_pcie_errors_total", "Errors on the PCIe link.", "type", faults, counter=True)


def _nvlink() -> Iterator[Series]:
    family = Family("gpu_nvlink_up", "1 where an NVLink is up.")
    for link in range(MOST_NVLINKS):
        yield Series(family, FieldValue(165, link), labels=(("link", str(link)),))
    errors = Family("gpu_nvlink_errors_total", "Errors on one NVLink.", counter=True)
    for kind, number in {"replay": 161, "recovery": 162, "crc": 163}.items():
        for link in range(MOST_NVLINKS):
            yield Series(errors, FieldValue(number, link), labels=(("link", str(link)), ("type", kind)))
    traffic = Family("gpu_nvlink_bytes_total", "Data over one NVLink.", counter=True)
    for direction, number in {"tx": 138, "rx": 139}.items():
        for link in range(MOST_NVLINKS):
            labels = (("link", str(link)), ("direction", direction))
            yield Series(traffic, FieldValue(number, link), 1024, labels)


def _fabric() -> Iterator[Series]:
    function = "nvmlDeviceGetGpuFabricInfoV"
    yield from one(
        "gpu_fabric_state",
        "How far the GPU has joined the NVLink fabric: 0 it has none, 1 not begun, 2 under way, 3 done.",
        Call(function, take="state"),
    )
    yield from one(
        "gpu_fabric_status_code", "How joining ended, as NVML's return code: 0 is well.", Call(function, take="status")
    )
    family = Family("gpu_fabric_trouble_active", "1 for each trouble that the fabric has with the GPU.")
    for trouble, shift in FABRIC_TROUBLES.items():
        yield Series(family, Call(function, take="healthMask"), labels=(("trouble", trouble),), bit=1 << shift)


FABRIC_TROUBLES = {"degraded_bandwidth": 0, "route_recovery": 2, "route_unhealthy": 4, "access_timeout_recovery": 6}
"""Where in NVML's mask each stands in two bits, 1 for yes and 2 for no (nvml.h, nvmlGpuFabricHealthMask)."""
