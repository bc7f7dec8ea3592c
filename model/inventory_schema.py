"""What people write in the `fleet_*` variables, as pydantic models, and the sentences for what is wrong with it."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    StringConstraints,
    ValidationError,
)

from fleetward.model.compatibility_schema import ALLOWED_KEYS, CompatibilityDeclaration
from fleetward.model.host_ranges import expand
from fleetward.model.software import NvidiaModules, OperatingSystem, Version, shown
from fleetward.model.yaml_files import Sexagesimal

SLURM_PARAMETER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def slurm_text(value: object) -> str:
    """Return a value as it is written after `=` in Slurm's files; ValueError where it cannot be written there.

    Lists are joined by commas, maps become `key=value,key=value`, booleans YES and NO.
    """
    if isinstance(value, Sexagesimal):
        raise ValueError(f"{value.text} is read by YAML as the number {int(value)}; put it in quotes")
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return ",".join(slurm_text(item) for item in value)
    if isinstance(value, Mapping):
        return ",".join(f"{slurm_text(key)}={slurm_text(item)}" for key, item in value.items())
    if not isinstance(value, str):
        raise ValueError(f"{value!r} ({type(value).__name__}) is no value for Slurm; write text, a number or a list")
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    for character, name in (('"', "a double quote"), ("#", "'#'"), ("\\", "a backslash")):
        if character in text:
            raise ValueError(f"{value!r} holds {name}, which Slurm's files cannot; write it without")
    if not text.isprintable():
        raise ValueError(f"{value!r} holds a line break or another control character; write it on one line")
    return text


def _whole(value: object) -> object:
    if isinstance(value, bool | Sexagesimal) or not isinstance(value, int | float):
        raise ValueError(f"needs a number, not {value!r}")
    return value


def _names(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _device_files(value: str) -> str:
    try:
        files = expand(value)
    except ValueError:
        files = []
    if not files or not all(file.startswith("/") for file in files):
        raise ValueError(f"{value!r} is not a pattern of paths such as /dev/nvidia[0-7]")
    return value


def _version(value: object) -> object:
    return Version.parse(_quoted(value))


def _system(value: object) -> object:
    return OperatingSystem.parse(_quoted(value))


def _quoted(value: object) -> str:
    """Return what was written, where YAML took it for text: as a number 1.30 is 1.3, and 010 is 8."""
    if isinstance(value, Sexagesimal):
        raise ValueError(f"{value.text} is read by YAML as the number {int(value)}; put it in quotes")
    if not isinstance(value, str):
        raise ValueError(f"is read by YAML as {value!r} ({type(value).__name__}), not as text; put it in quotes")
    return value


PositiveInteger = Annotated[int, BeforeValidator(_whole), Field(gt=0)]
Word = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=63)]
LowerWord = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=63)]
SlurmText = Annotated[str, BeforeValidator(slurm_text)]
VariablePrefix = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z][A-Za-z0-9_]*_$", max_length=63)]
Line = Annotated[str, StringConstraints(strict=True, pattern=r"^[^\x00-\x1f\x7f]+$")]


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GpuDeclaration(_Declared):
    """`gpu` of a hardware profile."""

    model: Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z][a-z0-9_.-]*$")]
    count: Annotated[PositiveInteger, Field(le=64)]
    # What these three are, only those have to say who set up Slurm: see adopted.py.
    product_name: Line = ""
    memory_mib: PositiveInteger = 0
    device_files: Annotated[str, AfterValidator(_device_files)] = ""
    power_limit_watts: PositiveInteger | None = None
    nvlinks: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=18)] = 0
    nvswitch: Annotated[bool, Field(strict=True)] = False
    generation: Annotated[str, StringConstraints(strict=True, pattern=r"^([a-z][a-z0-9_-]*)?$", max_length=40)] = ""


class InfinibandDeclaration(_Declared):
    """`infiniband` of a hardware profile."""

    devices: Annotated[tuple[Word, ...], BeforeValidator(_names), Field(min_length=1)]
    rate_gbits_per_second: PositiveInteger


_Bandwidth = Annotated[float, BeforeValidator(_whole), Field(gt=0)]


class BandwidthDeclaration(_Declared):
    """`bandwidth_gbytes_per_second` of a hardware profile."""

    nvlink_all_reduce: _Bandwidth | None = None
    host_to_device: _Bandwidth | None = None
    infiniband: _Bandwidth | None = None


class ProfileDeclaration(_Declared):
    """One value of `fleet_hardware_profiles`."""

    sockets: PositiveInteger
    cores_per_socket: PositiveInteger
    threads_per_core: PositiveInteger
    memory_mib: PositiveInteger
    gpu: GpuDeclaration | None = None
    infiniband: InfinibandDeclaration | None = None
    bandwidth_gbytes_per_second: BandwidthDeclaration = BandwidthDeclaration()


class PartitionDeclaration(BaseModel):
    """One value of `fleet_partitions`: its nodes, and any parameter of Slurm's PartitionName line."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, SlurmText]

    nodes: Annotated[tuple[str, ...], BeforeValidator(_names), Field(min_length=1)]


class AccountDeclaration(_Declared):
    """One value of `fleet_accounts`."""

    parent: LowerWord = "root"
    description: Line | None = None
    organization: Line | None = None
    users: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]*$")], ...] = ()
    qos: Annotated[tuple[LowerWord, ...], BeforeValidator(_names)] = ()
    default_qos: LowerWord | None = None
    limits: dict[str, SlurmText] = {}


class FleetDeclaration(_Declared):
    """The variables that hold for the whole fleet."""

    fleet_cluster: Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]
    fleet_hardware_profiles: dict[Word, ProfileDeclaration] = {}
    fleet_partitions: dict[Word, PartitionDeclaration] = {}
    fleet_qos: dict[LowerWord, dict[str, SlurmText]] = {}
    fleet_accounts: dict[LowerWord, AccountDeclaration] = {}
    fleet_slurm_parameters: dict[str, SlurmText] = {}
    fleet_cgroup_parameters: dict[str, SlurmText] = {}
    fleet_compatibility: CompatibilityDeclaration = CompatibilityDeclaration()
    fleet_own_prefixes: Annotated[tuple[VariablePrefix, ...], BeforeValidator(_names)] = ()


VersionText = Annotated[InstanceOf[Version], BeforeValidator(_version)]


class NodeDeclaration(_Declared):
    """The variables of one host."""

    ansible_host: Annotated[str, StringConstraints(strict=True)] | None = None
    fleet_hardware_profile: Word | None = None
    fleet_gpu_count: Annotated[int, BeforeValidator(_whole), Field(ge=0)] | None = None
    fleet_rack: Word | None = None
    fleet_leaf_switch: Word | None = None
    fleet_spine_switch: Word | None = None
    # What it runs, by the names of software.Software.
    fleet_os: Annotated[InstanceOf[OperatingSystem], BeforeValidator(_system)] | None = None
    fleet_kernel: VersionText | None = None
    fleet_nvidia_driver: VersionText | None = None
    fleet_nvidia_modules: NvidiaModules | None = None
    fleet_fabric_manager: VersionText | None = None
    fleet_cuda: VersionText | None = None
    fleet_dcgm: VersionText | None = None
    fleet_doca: VersionText | None = None
    fleet_container_toolkit: VersionText | None = None
    fleet_containerd: VersionText | None = None
    fleet_kubernetes: VersionText | None = None
    fleet_slurm: VersionText | None = None


FLEET_VARIABLES = frozenset(FleetDeclaration.model_fields)
NODE_VARIABLES = frozenset(NodeDeclaration.model_fields)
_ALLOWED_KEYS: Mapping[str, Iterable[str]] = {
    "gpu": GpuDeclaration.model_fields,
    "infiniband": InfinibandDeclaration.model_fields,
    "bandwidth_gbytes_per_second": BandwidthDeclaration.model_fields,
    "fleet_hardware_profiles": ProfileDeclaration.model_fields,
    "fleet_accounts": AccountDeclaration.model_fields,
    **ALLOWED_KEYS,
}


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `did you mean X?` where a known word is close, else the list of what there is."""
    choices = sorted(known)
    close = difflib.get_close_matches(word, choices, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"there are: {', '.join(choices)}" if choices else "none is declared"


def error_sentences(error: ValidationError) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield place and sentence for each thing that is wrong; the sentence begins with the place."""
    for item in error.errors(include_url=False):
        place = tuple(str(part) for part in item["loc"] if part != "[key]")
        yield place, f"{'.'.join(place)}: {_what(item['type'], place, item)}"


def _what(kind: str, location: tuple[str, ...], item: Mapping[str, Any]) -> str:
    if kind == "missing":
        return "is missing; add it"
    if kind == "extra_forbidden":
        for part in reversed(location[:-1]):
            if part in _ALLOWED_KEYS:
                return f"is not a key here; {nearest(location[-1], _ALLOWED_KEYS[part])}"
        return "is not a key here; remove it"
    if kind == "string_pattern_mismatch":
        return f"{shown(item['input'])} does not match {item['ctx']['pattern']}"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    return f"{item['msg'][:1].lower()}{item['msg'][1:]}, not {shown(item['input'])}"
