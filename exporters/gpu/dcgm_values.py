"""What a value that DCGM's bindings hand out holds: a number in base units, a text, or the reason why there is none."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from fleetward.exporters.gpu.dcgm_connection import DcgmObject
from fleetward.exporters.gpu.dcgm_table import DEVICE, PROFILING, DcgmField
from fleetward.exporters.gpu.readings import Values
from fleetward.exporters.gpu.series_list import BY_KEY, SERIES

_INT32_BLANK, _INT64_BLANK, _FP64_BLANK = 0x7FFFFFF0, 0x7FFFFFFFFFFFFFF0, 2.0**47
"""From here on a number says why there is none: it is blank, not found, not supported or not permitted."""
_KINDS_OF_BLANK = 4
_BLANK_TEXT = "<<<"
"""As in `<<<NOT_FOUND>>>`."""
_DOUBLE, _INTEGER, _TEXT, _TIME = map(ord, "dist")
"""DCGM's letters for what a value is."""


def _by_id() -> Mapping[int, list[tuple[int, DcgmField, int]]]:
    """Return what each field is: place in SERIES, the field, and the bits that make it 1."""
    found: dict[int, list[tuple[int, DcgmField, int]]] = defaultdict(list)
    for field in (*DEVICE, *PROFILING):
        found[field.id].append((BY_KEY[field.key], field, SERIES[BY_KEY[field.key]].bit))
    return found


_SERIES_OF = _by_id()


def values_of(found: Iterable[DcgmObject]) -> Values:
    """Return the numbers in base units, each at its place in SERIES."""
    values: Values = [None] * len(SERIES)
    for value in found:
        number = number_of(value)
        if number is None:
            continue
        for place, field, bit in _SERIES_OF.get(int(value.fieldId), ()):
            if bit:
                values[place] = float(bool(int(number) & bit))
            elif field.words is not None:
                values[place] = field.words.get(int(number))
            else:
                values[place] = number * field.scale
    return values


def number_of(value: DcgmObject) -> float | None:
    """Return the number that a value holds; None where it holds none, whatever the reason."""
    kind = int(value.fieldType)
    if value.status or kind not in {_DOUBLE, _INTEGER, _TIME}:
        return None
    if kind == _DOUBLE:
        real = float(value.value.dbl)
        return None if math.isnan(real) or real >= _FP64_BLANK else real
    whole = int(value.value.i64)
    return None if whole >= _INT64_BLANK or 0 <= whole - _INT32_BLANK < _KINDS_OF_BLANK else float(whole)


def whole_of(value: DcgmObject) -> int | None:
    """Return the whole number that a value holds, if any; there may be no value either."""
    number = None if value is None else number_of(value)
    return None if number is None else int(number)


def text_of(value: DcgmObject) -> str:
    """Return the text that a value holds, empty where it holds none; there may be no value either."""
    if value is None or value.status or int(value.fieldType) != _TEXT:
        return ""
    try:
        told = value.value.str
        text = told.decode() if isinstance(told, bytes) else str(told)
    except UnicodeDecodeError:
        return ""
    return "" if text.startswith(_BLANK_TEXT) else text
