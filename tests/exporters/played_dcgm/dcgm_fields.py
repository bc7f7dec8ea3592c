"""Plays NVIDIA's module of this name: what is known of a field, by its number."""

import dcgm_structs

_DOUBLES = {155, 157, *range(160, 165), *range(1001, 1009), 1016}
_TEXTS = {1, 2, 50, 53, 54, 57, 85}
_GLOBAL = {1, 2, 5}


class c_dcgm_field_meta_t:
    def __init__(self, field: int) -> None:
        self.fieldId = field
        self.fieldType = "d" if field in _DOUBLES else "s" if field in _TEXTS else "i"
        self.of_nobody = field in _GLOBAL


def DcgmFieldGetById(fieldId: int) -> c_dcgm_field_meta_t | None:
    """Return None for a field that this release of libdcgm does not have."""
    dcgm_structs.check_loaded()
    return None if fieldId in dcgm_structs.played()["unknown_fields"] else c_dcgm_field_meta_t(fieldId)
