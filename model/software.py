"""What runs on a node, as the inventory declares it, and versions that are compared as far as they are told.

A version may be told in part: `580` is any release of that branch. A question that the part cannot answer is answered
None, and nothing is held against a host for it.
"""

import difflib
import re
import reprlib
from dataclasses import dataclass, fields
from enum import StrEnum

_NUMBERS = r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,7}"
_VERSION = re.compile(rf"v?(?P<numbers>{_NUMBERS})(?:(?:rc|b)[0-9]{{1,3}})?(?:[-+~][A-Za-z0-9.+~_-]{{1,80}})?")
_SYSTEM = re.compile(rf"(?P<name>[a-z][a-z0-9]{{0,31}}(?:-[a-z][a-z0-9]{{0,31}}){{0,3}})-(?P<version>{_NUMBERS})")

KNOWN_SYSTEMS = (
    *("almalinux", "amazon", "azurelinux", "centos", "debian", "dgx-os", "fedora", "opensuse-leap", "oracle"),
    *("rhel", "rocky", "sles", "ubuntu"),
)
"""Names that `fleet_os` begins with; another one is taken, unless it is nearly one of these."""

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 64
_SHOWN.maxlevel = 3
_MOST_SHOWN = 160


class NvidiaModules(StrEnum):
    """Which of the two kinds of NVIDIA's kernel modules is installed."""

    OPEN = "open"
    PROPRIETARY = "proprietary"


@dataclass(frozen=True, order=True, slots=True)
class Version:
    """A version: its numbers, and how it was written."""

    numbers: tuple[int, ...]
    text: str

    def __str__(self) -> str:
        """Return it as it was written."""
        return self.text

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Read `6.12`, `580.95.05`, `v1.34.1` or `5.14.0-427.el9.x86_64`; ValueError where it is no version."""
        match = _VERSION.fullmatch(text)
        if match is None:
            raise ValueError(f"{shown(text)} is no version; write one such as 6.12 or 580.95.05")
        return cls(tuple(int(number) for number in match["numbers"].split(".")), text)

    def is_of(self, other: "Version") -> bool | None:
        """Say whether this one is `other` or one of its releases: 6.12.3 is of 6.12."""
        told = min(len(self.numbers), len(other.numbers))
        if self.numbers[:told] != other.numbers[:told]:
            return False
        return True if len(self.numbers) >= len(other.numbers) else None

    def at_least(self, bound: "Version") -> bool | None:
        """Say whether this one is `bound` or later."""
        told = min(len(self.numbers), len(bound.numbers))
        if self.numbers[:told] != bound.numbers[:told]:
            return self.numbers[:told] > bound.numbers[:told]
        return True if not any(bound.numbers[told:]) else None

    def below(self, bound: "Version") -> bool | None:
        """Say whether this one comes before `bound`."""
        at_least = self.at_least(bound)
        return None if at_least is None else not at_least

    def at_most(self, bound: "Version") -> bool | None:
        """Say whether this one comes before `bound` or is of it: 470.256 is at most 470."""
        below, part = self.below(bound), self.is_of(bound)
        if below or part:
            return True
        return None if part is None else below


@dataclass(frozen=True, order=True, slots=True)
class OperatingSystem:
    """A distribution and its version, `debian-13` or `rocky-9.4`."""

    name: str
    version: Version

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.name}-{self.version}"

    @classmethod
    def parse(cls, text: str) -> "OperatingSystem":
        """Read `debian-13`; ValueError where it is no name with a version, or a name that is nearly a known one."""
        match = _SYSTEM.fullmatch(text)
        if match is None:
            raise ValueError(f"{shown(text)} is no system; write name and version, such as debian-13 or ubuntu-24.04")
        name = match["name"]
        if name not in KNOWN_SYSTEMS and (close := difflib.get_close_matches(name, KNOWN_SYSTEMS, 1, 0.75)):
            raise ValueError(f"{shown(text)} is no system; did you mean {close[0]}-{match['version']}?")
        return cls(name, Version.parse(match["version"]))

    def is_of(self, other: "OperatingSystem") -> bool | None:
        """Say whether this one is `other` or one of its releases: rocky-9.4 is of rocky-9."""
        return self.version.is_of(other.version) if self.name == other.name else False


Fact = Version | OperatingSystem | str | bool
"""What a rule can look at; a `str` is one of a set of words."""


@dataclass(frozen=True)
class Software:
    """What a node runs; None where nobody has said. Each is the variable `fleet_` and the field's name."""

    os: OperatingSystem | None = None
    kernel: Version | None = None
    nvidia_driver: Version | None = None
    nvidia_modules: NvidiaModules | None = None
    fabric_manager: Version | None = None
    """Where nobody has said it is the driver's."""
    cuda: Version | None = None
    dcgm: Version | None = None
    doca: Version | None = None
    container_toolkit: Version | None = None
    containerd: Version | None = None
    kubernetes: Version | None = None
    slurm: Version | None = None

    def declared(self) -> dict[str, Fact]:
        """Return what was said, by the field's name."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in said.items() if value is not None}


SOFTWARE = tuple(field.name for field in fields(Software))
"""The names of what a node can be said to run."""


def shown(value: object) -> str:
    """Return a value as an error shows it: on one line, and short."""
    text = _SHOWN.repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
