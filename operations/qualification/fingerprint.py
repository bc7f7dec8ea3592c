"""The software and hardware that a certificate was issued for: named parts, one digest, and differences in words.

A part is what a node told (node/fingerprint.py), the empty word where the node has no such thing, and None where it
could not be read. None is recorded like any other value and is equal to nothing: it neither proves nor disproves a
change.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from fleetward.model.errors import FleetwardError
from fleetward.operations.qualification.measuring import shown

LONGEST_PART = 200
MOST_GPUS = 256
_NUMBERS = re.compile(r"\d+")


class FingerprintError(FleetwardError):
    """What a node told is no fingerprint."""


@dataclass(frozen=True, slots=True)
class GpuPart:
    """One GPU, by the slot that it is in."""

    slot: str
    """PCI address, as the kernel writes it."""
    uuid: str | None = None
    serial: str | None = None
    vbios: str | None = None
    mig: str | None = None
    """Profiles of its instances, as in `3g.40gb 3g.40gb`; empty where MIG has not cut it."""


@dataclass(frozen=True, slots=True)
class HcaPart:
    """One InfiniBand or RoCE device."""

    device: str
    firmware: str | None = None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """All parts of a node."""

    kernel: str | None = None
    driver: str | None = None
    module_flavour: str | None = None
    """`open` or `proprietary`."""
    fabric_manager: str | None = None
    cuda: str | None = None
    nccl: str | None = None
    ofed: str | None = None
    """OFED or DOCA."""
    bios: str | None = None
    dcgm: str | None = None
    hcas: tuple[HcaPart, ...] | None = None
    gpus: tuple[GpuPart, ...] | None = None

    def canonical(self) -> str:
        """Return a text that is the same for the same parts, whatever order they were told in: a line for each."""
        # As JSON, so that no text can pass for another one, for two, or for none.
        return "".join(sorted(f"{json.dumps(part)}\n" for part in _flat(self)))

    @property
    def digest(self) -> str:
        """Return SHA-256 over the canonical text, in hexadecimal."""
        return hashlib.sha256(self.canonical().encode("ascii")).hexdigest()

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return the names of parts that could not be read."""
        return tuple(sorted(name for name, value in _flat(self) if value is None))


class Kind(StrEnum):
    """What happened to a part."""

    CHANGED = "changed"
    BECAME_UNKNOWN = "became_unknown"
    BECAME_KNOWN = "became_known"


@dataclass(frozen=True, slots=True)
class Difference:
    """One part that is not as it was."""

    part: str
    kind: Kind
    words: str


_NAMES = {
    "kernel": "kernel",
    "driver": "NVIDIA driver",
    "module_flavour": "flavour of NVIDIA's kernel module",
    "fabric_manager": "fabric manager",
    "cuda": "CUDA toolkit",
    "nccl": "NCCL",
    "ofed": "OFED",
    "bios": "BIOS",
    "dcgm": "DCGM",
}


def read_fingerprint(text: str) -> Fingerprint:
    """Read the JSON that a node tells of itself; FingerprintError where it is none.

    A part that it lacks is None, and one that this version does not know is left out: node and head need not be of one
    version.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FingerprintError(f"the fingerprint is not JSON: {shown(error)}") from error
    told = _object(found, "the fingerprint")
    simple = {name: _word(told.get(name), name) for name in _NAMES}
    hcas = _parts(told.get("hcas"), "hcas")
    gpus = _parts(told.get("gpus"), "gpus")
    return Fingerprint(
        **simple,
        hcas=None if hcas is None else tuple(_unique((HcaPart(**_fields(one, HcaPart)) for one in hcas), "device")),
        gpus=None if gpus is None else tuple(_unique((GpuPart(**_fields(one, GpuPart)) for one in gpus), "slot")),
    )


def differences(before: Fingerprint, now: Fingerprint) -> tuple[Difference, ...]:
    """Return what changed between two fingerprints, and what is no longer or only now known."""
    found = [
        one
        for name, words in _NAMES.items()
        for one in _difference(name, words, getattr(before, name), getattr(now, name))
    ]
    found += _hcas(before.hcas, now.hcas)
    found += _gpus(before.gpus, now.gpus)
    return tuple(found)


def _difference(part: str, words: str, before: str | None, now: str | None) -> Iterator[Difference]:
    if before == now:
        return
    if before is None:
        yield Difference(part, Kind.BECAME_KNOWN, f"{words} could not be read before, and is {_said(now)}")
    elif now is None:
        yield Difference(part, Kind.BECAME_UNKNOWN, f"{words} was {_said(before)}, and cannot be read now")
    elif not before or not now:
        how = f"was added: {now}" if now else f"was taken away: {before}"
        yield Difference(part, Kind.CHANGED, f"{words} {how}")
    else:
        yield Difference(part, Kind.CHANGED, f"{words} {_way(before, now)} from {before} to {now}")


def _said(value: str | None) -> str:
    return value or "none"


def _way(before: str, now: str) -> str:
    """Say which way a version went, where both have as many numbers."""
    was, is_now = ([int(one[:18]) for one in _NUMBERS.findall(text)] for text in (before, now))
    if not was or len(was) != len(is_now) or was == is_now:
        return "changed"
    return "was upgraded" if is_now > was else "was downgraded"


def _list(part: str, words: str, before: object, now: object) -> Iterator[Difference]:
    """Yield that a whole list could not be read at one of two times."""
    if before is None and now is not None:
        yield Difference(part, Kind.BECAME_KNOWN, f"{words} could not be read before")
    if now is None and before is not None:
        yield Difference(part, Kind.BECAME_UNKNOWN, f"{words} cannot be read now")


def _hcas(before: tuple[HcaPart, ...] | None, now: tuple[HcaPart, ...] | None) -> Iterator[Difference]:
    yield from _list("hcas", "InfiniBand devices", before, now)
    if before is None or now is None:
        return
    was, is_now = ({one.device: one for one in told} for told in (before, now))
    for device in sorted(was.keys() | is_now.keys()):
        part = f"hcas.{device}"
        if device not in is_now:
            yield Difference(part, Kind.CHANGED, f"InfiniBand device {device} is gone")
        elif device not in was:
            yield Difference(part, Kind.CHANGED, f"InfiniBand device {device} is new")
        else:
            yield from _difference(part, f"firmware of {device}", was[device].firmware, is_now[device].firmware)


def _gpus(before: tuple[GpuPart, ...] | None, now: tuple[GpuPart, ...] | None) -> Iterator[Difference]:
    yield from _list("gpus", "GPUs", before, now)
    if before is None or now is None:
        return
    was, is_now = ({one.slot: one for one in told} for told in (before, now))
    for slot in sorted(was.keys() | is_now.keys()):
        part = f"gpus.{slot}"
        if slot not in is_now:
            yield Difference(part, Kind.CHANGED, f"slot {slot} had {_called(was[slot])}, and has no GPU now")
        elif slot not in was:
            yield Difference(part, Kind.CHANGED, f"slot {slot} had no GPU, and has {_called(is_now[slot])}")
        elif _is_another(was[slot], is_now[slot]):
            yield Difference(part, Kind.CHANGED, _replaced(was[slot], is_now[slot], before))
        else:
            for name, words in (("uuid", "UUID"), ("serial", "serial number"), ("vbios", "VBIOS"), ("mig", "MIG")):
                old, new = getattr(was[slot], name), getattr(is_now[slot], name)
                yield from _difference(f"{part}.{name}", f"{words} of the GPU in slot {slot}", old, new)


def _is_another(before: GpuPart, now: GpuPart) -> bool:
    """Say whether a slot has another GPU, by what of its names is known at both times."""
    names = ((before.uuid, now.uuid), (before.serial, now.serial))
    return any(was and new and was != new for was, new in names)


def _replaced(before: GpuPart, now: GpuPart, all_before: tuple[GpuPart, ...]) -> str:
    moved = next((one.slot for one in all_before if one.slot != now.slot and now.uuid and one.uuid == now.uuid), None)
    if moved is not None:
        return f"slot {now.slot} has {_called(now)}, which was in slot {moved} before"
    return f"the GPU in slot {now.slot} was replaced: {_called(before)} by {_called(now)}"


def _called(gpu: GpuPart) -> str:
    names = [f"serial {gpu.serial}" if gpu.serial else "", gpu.uuid or ""]
    return " ".join(name for name in names if name) or "a GPU without a name"


def _flat(fingerprint: Fingerprint) -> Iterator[tuple[str, str | None]]:
    """Yield every single value under a name of its own; of a list also how many it has: none is not unknown."""
    for name in _NAMES:
        yield name, getattr(fingerprint, name)
    for name, key in (("hcas", "device"), ("gpus", "slot")):
        told = getattr(fingerprint, name)
        yield name, None if told is None else str(len(told))
        for one in told or ():
            values: dict[str, str | None] = asdict(one)
            place = values.pop(key)
            yield from ((f"{name}.{place}.{field}", value) for field, value in values.items())


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise FingerprintError(f"{where} is no object of JSON")
    return value


def _word(value: object, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > LONGEST_PART or not all(map(str.isprintable, value)):
        raise FingerprintError(f"{where} of the fingerprint is {shown(repr(value))}: it must be a word, or null")
    return value


def _parts(value: object, where: str) -> list[Any] | None:
    if value is not None and (not isinstance(value, list) or len(value) > MOST_GPUS):
        raise FingerprintError(f"{where} of the fingerprint must be a list of at most {MOST_GPUS}, or null")
    return value


def _fields(value: object, kind: type[GpuPart] | type[HcaPart]) -> dict[str, Any]:
    told = _object(value, "a part of the fingerprint")
    words = {one.name: _word(told.get(one.name), one.name) for one in fields(kind)}
    key = fields(kind)[0].name
    if not words[key]:
        raise FingerprintError(f"a part of the fingerprint has no {key}")
    return words


def _unique(parts: Iterator[Any], key: str) -> Iterator[Any]:
    seen: set[str] = set()
    for one in parts:
        name = getattr(one, key)
        if name in seen:
            raise FingerprintError(f"the fingerprint has {key} {name} twice")
        seen.add(name)
        yield one
