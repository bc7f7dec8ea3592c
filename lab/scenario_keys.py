"""The keys that the NVML stand-in knows and the functions that it has, read from its own sources.

`nvml/keys.h` and `nvml/keys_errors.h` hold the keys as tables that the C compiler and this module both read;
`nvml/calls.txt` lists the functions. So no second list can fall behind.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import fleetward

MAX_GPUS = 16
"""The most GPUs per node that the stand-in can play."""
MAX_LINKS = 36
"""The most NVLinks of a GPU, as in `nvml/state.h`."""

_TABLE = re.compile(r"#define ((?:GPU|LINK|CALL|DRIVER)_(?:NUMBERS|TEXTS))\w*\(X\)((?:.*\\\n)*.*\n)")
_NUMBER = re.compile(r'X\(\w+, "(\w+)", ([^,]+), ([^,]+), [^)]*\)+ ?\\?\n')
_TEXT = re.compile(r'X\(\w+, "(\w+)"')
_CONSTANTS = {"COUNTER_MAX": 2.0**53, "UINT_MOST": 2.0**32 - 1}


@dataclass(frozen=True)
class Range:
    """The lowest and the highest value of a number."""

    low: float
    high: float


@dataclass(frozen=True)
class Keys:
    """What can be set, by the name of the key without its scope."""

    gpu_numbers: Mapping[str, Range]
    gpu_texts: frozenset[str]
    link_numbers: Mapping[str, Range]
    call_numbers: Mapping[str, Range]
    driver_numbers: Mapping[str, Range]
    driver_texts: frozenset[str]
    functions: frozenset[str]


@lru_cache(maxsize=1)
def keys() -> Keys:
    """Read the tables of the stand-in's sources, once."""
    folder = Path(fleetward.__file__).parent / "lab" / "nvml"
    tables = _tables((folder / "keys.h").read_text() + (folder / "keys_errors.h").read_text())
    calls = (folder / "calls.txt").read_text().splitlines()
    return Keys(
        gpu_numbers=_numbers(tables["GPU_NUMBERS"]),
        gpu_texts=frozenset(_TEXT.findall(tables["GPU_TEXTS"])),
        link_numbers=_numbers(tables["LINK_NUMBERS"]),
        call_numbers=_numbers(tables["CALL_NUMBERS"]),
        driver_numbers=_numbers(tables["DRIVER_NUMBERS"]),
        driver_texts=frozenset(_TEXT.findall(tables["DRIVER_TEXTS"])),
        functions=frozenset(line.split()[0] for line in calls if line and not line.startswith("#")),
    )


def is_function(name: str) -> bool:
    """Return whether the stand-in has a function, whose version (`_v2`) may be left out."""
    return any(function == name or re.fullmatch(rf"{re.escape(name)}_v\d", function) for function in keys().functions)


def _tables(source: str) -> dict[str, str]:
    """Return the rows of each kind of key; a kind may be spread over several macros that begin alike."""
    rows: dict[str, str] = {}
    for kind, body in _TABLE.findall(source):
        rows[kind] = rows.get(kind, "") + body
    return rows


def _numbers(rows: str) -> dict[str, Range]:
    return {name: Range(_bound(low), _bound(high)) for name, low, high in _NUMBER.findall(rows)}


def _bound(text: str) -> float:
    return _CONSTANTS.get(text) or float(text)
