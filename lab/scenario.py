"""What the NVML stand-in is told: its scenario file, as a value to change and render, and event lines.

The stand-in (`nvml/`) ignores a line that it does not understand, so that a half-right file never takes a node down;
here the same line is an error, so that a person learns of it. A key is one of

    driver.NAME                 gpu.N.NAME                     all.NAME (of all GPUs)
    driver.call.FUNCTION.NAME   gpu.N.call.FUNCTION.NAME       all.call.FUNCTION.NAME
                                gpu.N.nvlink.L.NAME            all.nvlink.L.NAME (L may be `all` too)

with the names of `nvml/keys.h`.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fleetward.lab.scenario_keys import MAX_GPUS, MAX_LINKS, Range, is_function, keys
from fleetward.model.errors import UsageError

Value = float | int | str

BUSES = (0x1B, 0x43, 0x52, 0x61, 0x9D, 0xC3, 0xD1, 0xDF, 0x04, 0x05, 0x06, 0x08, 0x84, 0x85, 0x86, 0x88)
"""The PCI bus of each GPU where the scenario names no address, as in `nvml/state.c`."""

KERNEL_WORDS = {
    48: "An uncorrectable double bit error (DBE) has been detected on GPU.",
    63: "Row Remapper: New row marked for remapping, reset gpu to activate.",
    64: "Row Remapper: Failed to record a row for remapping.",
    74: "NVLink: fatal error detected on link 3(0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)",
    79: "GPU has fallen off the bus.",
    95: "Uncontained ECC error.",
    119: "Timeout after 6s of waiting for RPC response from GPU0 GSP!",
}
"""What NVIDIA's driver writes into the kernel's log after an XID; what comes after the code is of no fixed form."""
RECOVERY_ACTION = 154
"""The XID that tells what a GPU needs; it is of no process."""


@dataclass(frozen=True)
class Scenario:
    """The settings of one node's stand-in, in the order in which they are written; a later one wins."""

    settings: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a key or a value that the stand-in would ignore."""
        for key, value in self.settings.items():
            _check(key, value)
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    def with_gpu(self, index: int | None, **settings: Value) -> "Scenario":
        """Return the scenario with these settings of one GPU, or of all where `index` is None."""
        return self._with("all" if index is None else f"gpu.{index}", settings)

    def with_driver(self, **settings: Value) -> "Scenario":
        """Return the scenario with these settings of the driver."""
        return self._with("driver", settings)

    def without_gpu(self, index: int | None) -> "Scenario":
        """Return the scenario with nothing set for one GPU, or for none at all where `index` is None."""
        prefixes = ("all.", "gpu.") if index is None else (f"gpu.{index}.",)
        return Scenario({key: value for key, value in self.settings.items() if not key.startswith(prefixes)})

    def number_of_gpu(self, index: int, key: str) -> float:
        """Return a number that is set for one GPU, itself or with all of them; 0 where none is."""
        both = {f"gpu.{index}.{key}", f"all.{key}"}
        return next((_number(value) for name, value in reversed(list(self.settings.items())) if name in both), 0.0)

    def render(self) -> str:
        """Return the file's text; write it beside the real one and rename, so that it is never seen half."""
        return "".join(f"{key}={value}\n" for key, value in self.settings.items())

    @staticmethod
    def parse(text: str) -> "Scenario":
        """Read a scenario file's text; raises UsageError with the line that is wrong."""
        settings: dict[str, Value] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if not line or line.startswith("#"):
                continue
            key, separator, value = line.partition("=")
            if not separator:
                raise UsageError(f"scenario line {number}: {line!r} is no KEY=VALUE")
            settings.pop(key, None)
            settings[key] = value
        return Scenario(settings)

    def _with(self, prefix: str, settings: Mapping[str, Value]) -> "Scenario":
        changed = {f"{prefix}.{key}": value for key, value in settings.items()}
        kept = {key: value for key, value in self.settings.items() if key not in changed}
        return Scenario({**kept, **changed})


def xid_event(gpu: int, code: int) -> str:
    """Return the line that raises an XID on a GPU when it is appended to the event file."""
    if not 0 <= gpu < MAX_GPUS:
        raise UsageError(f"GPU {gpu} is not one of 0 to {MAX_GPUS - 1}")
    if not 0 < code < 2**32:
        raise UsageError(f"XID {code} is not a positive 32-bit number")
    return f"xid {gpu} {code}\n"


def event_line(kind: str, gpu: int) -> str:
    """Return the line that raises an event without a number on a GPU; its kinds are those of `nvml/events.c`."""
    return f"{kind} {gpu}\n"


def kernel_lines(scenario: Scenario, gpu: int, code: int, microseconds: int, words: str | None = None) -> str:
    """Return the records that the driver puts into the kernel's log with an XID, as /dev/kmsg hands them out.

    `microseconds` is the time since the start of the machine; `words` take the place of the usual ones.
    """
    address = _address(scenario, gpu)
    process = "" if code == RECOVERY_ACTION else "pid='<unknown>', name=<unknown>, "
    texts = [f"NVRM: Xid (PCI:{address}): {code}, {process}{words or KERNEL_WORDS.get(code, 'Ch 00000008')}"]
    if code == 79:
        texts.append(f"NVRM: GPU {address}.0: GPU has fallen off the bus.")
    return kernel_records(texts, microseconds)


def kernel_records(texts: Iterable[str], microseconds: int) -> str:
    """Return messages of the kernel as /dev/kmsg hands them out; `microseconds` is the time since its start."""
    return "".join(f"3,0,{microseconds},-;{text}\n" for text in texts)


def _address(scenario: Scenario, gpu: int) -> str:
    """Return where a GPU is on the bus, as the kernel writes it: `0000:1b:00`."""
    given = scenario.settings.get(f"gpu.{gpu}.pci_bus_id", f"0:{BUSES[gpu]:x}:0.0")
    domain, bus, device = (int(part.partition(".")[0], 16) for part in str(given).split(":"))
    return f"{domain:04x}:{bus:02x}:{device:02x}"


def _check(key: str, value: Value) -> None:
    scope, _, name = key.partition(".")
    if scope == "gpu":
        index, _, name = name.partition(".")
        _check_place(key, "GPU", index, MAX_GPUS)
    elif scope not in {"all", "driver"}:
        raise UsageError(f"scenario key {key!r}: write gpu.N.NAME, all.NAME or driver.NAME")
    if name.startswith("call."):
        _check_call(key, name, value)
    elif scope == "driver":
        _check_named(key, name, value, keys().driver_numbers, keys().driver_texts)
    elif name.startswith("nvlink."):
        _, link, name = (*name.split(".", 2), "")[:3]
        if link != "all":
            _check_place(key, "NVLink", link, MAX_LINKS)
        _check_named(key, name, value, keys().link_numbers, frozenset())
    else:
        _check_named(key, name, value, keys().gpu_numbers, keys().gpu_texts)


def _check_place(key: str, what: str, index: str, most: int) -> None:
    if not (index.isascii() and index.isdigit() and int(index) < most):
        raise UsageError(f"scenario key {key!r}: {what} {index!r} is not one of 0 to {most - 1}")


def _check_call(key: str, name: str, value: Value) -> None:
    _, function, name = (*name.split(".", 2), "")[:3]
    if not re.fullmatch(r"nvml\w{1,58}", function, re.ASCII) or not is_function(function):
        raise UsageError(f"scenario key {key!r}: the stand-in has no function {function!r}; see nvml/calls.txt")
    _check_named(key, name, value, keys().call_numbers, frozenset())


def _check_named(key: str, name: str, value: Value, numbers: Mapping[str, Range], texts: frozenset[str]) -> None:
    if name in numbers:
        _check_number(key, value, numbers[name])
    elif name in texts:
        _check_text(key, value)
    else:
        raise UsageError(f"scenario key {key!r}: no such name; one of {', '.join(sorted({*numbers, *texts}))}")


def _check_number(key: str, value: Value, allowed: Range) -> None:
    try:
        number = _number(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"scenario key {key!r}: {value!r} is no number")
    if not allowed.low <= number <= allowed.high:
        raise UsageError(f"scenario key {key!r}: {value} is not from {allowed.low:.16g} to {allowed.high:.16g}")


def _number(value: Value) -> float:
    return float(int(value, 0)) if isinstance(value, str) and value.startswith("0x") else float(value)


def _check_text(key: str, value: Value) -> None:
    text = str(value)
    if not (0 < len(text) < 96 and text.isascii() and text.isprintable()):
        raise UsageError(f"scenario key {key!r}: {text!r} is not 1 to 95 printable ASCII characters")
