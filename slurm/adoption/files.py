"""The files of an adopted inventory as text, each with a digest by which a change by hand is noticed."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import yaml

from fleetward.model.adopted import ADOPTED_GROUP
from fleetward.model.fleet import GPU_EXPORTER_GROUP, NODE_EXPORTER_GROUP
from fleetward.model.host_ranges import natural_key
from fleetward.slurm.adoption.adopting import AdoptedProfile, Adoption

HOSTS_FILE = "hosts.yml"
HARDWARE_FILE = "group_vars/all/hardware.yml"
SLURM_FILE = "group_vars/all/slurm.yml"
EXPORTERS = (GPU_EXPORTER_GROUP, NODE_EXPORTER_GROUP)
"""Groups that adopted nodes may be put into."""

_HEADER = "---\n# Written by `fleetward adopt` from what Slurm says; sha256 of what follows: "
_ADVICE = """\
# `fleetward adopt --update` writes this file anew as long as nobody has changed it. Put facts of your own into other
# files of group_vars and host_vars: those are let alone.

"""
_WRITTEN = re.compile(re.escape(_HEADER) + r"(?P<digest>[0-9a-f]{64})\n(?P<rest>.*)", re.DOTALL)
_HOSTS_COMMENT = f"""\
# Others configure this Slurm: its nodes are in the group {ADOPTED_GROUP}, which is watched and never set up. The
# inventory is refused where a host is in slurm_controller, slurm_database, slurm_node or slurm_client beside it.
"""
_HARDWARE_COMMENT = """\
# CPUs are Slurm's count, written as one socket: how many sockets there are was not asked. Memory is the RealMemory of
# the node that has least. What Slurm does not tell of GPUs (product_name, memory_mib, device_files) is not here.
"""
_SLURM_COMMENT = """\
# What stays as it is from day to day. Who may use a partition, and whether it is up, Slurm is asked each time.
"""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./]*(?:-[A-Za-z0-9_./]+)*", re.ASCII)
_NOT_PLAIN = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
"""Words that some reader of YAML takes for something else than text."""
_INTEGER_DIGITS = 18
_MOST_HOSTS_OF_A_RANGE = 100_000


def inventory_files(cluster: str, adoption: Adoption, exporters: Collection[str] = ()) -> dict[str, str]:
    """Return the text of each file by its path in the inventory's folder, the one that lists the hosts last.

    `exporters` are those of EXPORTERS that Fleetward is to install on the nodes, and Prometheus to ask.
    """
    partitions = {
        partition.name: {
            "nodes": partition.members[0] if len(partition.members) == 1 else list(partition.members),
            **partition.parameters,
        }
        for partition in adoption.partitions
    }
    hardware = {profile.name: _hardware(profile) for profile in adoption.profiles}
    return {
        HARDWARE_FILE: _text(_HARDWARE_COMMENT, {"fleet_hardware_profiles": hardware}),
        SLURM_FILE: _text(_SLURM_COMMENT, {"fleet_cluster": cluster, "fleet_partitions": partitions}),
        HOSTS_FILE: _text(_HOSTS_COMMENT, {"all": {"children": _groups(adoption, exporters)}}),
    }


def is_as_written(text: str) -> bool:
    """Say whether a file's text is one that `adopt` wrote and nobody changed since."""
    match = _WRITTEN.fullmatch(text)
    return match is not None and match["digest"] == _digest(match["rest"])


def exporters_of(text: str) -> tuple[str, ...]:
    """Return which exporters a HOSTS_FILE has, as it was written."""
    children = yaml.safe_load(text)["all"]["children"]
    return tuple(name for name in EXPORTERS if name in children)


def cluster_of(text: str) -> str:
    """Return the cluster's name in a SLURM_FILE, as it was written."""
    return str(yaml.safe_load(text)["fleet_cluster"])


def ansible_ranges(names: Iterable[str]) -> list[str]:
    """Fold names as Ansible writes it, `gpu[001:128]`: patterns that together are these names, each once."""
    stems: dict[str, set[str]] = defaultdict(set)
    for name in names:
        at = max(len(name.rstrip("0123456789")), len(name) - _INTEGER_DIGITS)
        stems[name[:at]].add(name[at:])
    return [pattern for stem in sorted(stems, key=natural_key) for pattern in _ranges_of_stem(stem, stems[stem])]


def _ranges_of_stem(stem: str, indices: set[str]) -> Iterator[str]:
    if "" in indices:
        yield stem
    padded = {len(digits) for digits in indices if len(digits) > 1 and digits[0] == "0"}
    families: dict[int, list[str]] = defaultdict(list)  # by width; 0 is what is not padded
    for digits in indices - {""}:
        families[len(digits) if len(digits) in padded else 0].append(digits)
    for _, family in sorted(families.items()):
        for first, last in _runs(sorted(family, key=int)):
            yield stem + first if first == last else f"{stem}[{first}:{last}]"


def _runs(indices: list[str]) -> Iterator[tuple[str, str]]:
    """Yield first and last of each run of numbers without a gap."""
    first = last = indices[0]
    for digits in indices[1:]:
        if int(digits) != int(last) + 1 or int(digits) - int(first) >= _MOST_HOSTS_OF_A_RANGE:
            yield first, last
            first = digits
        last = digits
    yield first, last


def _groups(adoption: Adoption, exporters: Collection[str]) -> dict[str, Any]:
    adopted: dict[str, Any] = {}
    if adoption.bare:
        adopted["hosts"] = _hosts(adoption.bare)
    if adoption.profiles:
        adopted["children"] = {
            profile.group: {"vars": {"fleet_hardware_profile": profile.name}, "hosts": _hosts(profile.nodes)}
            for profile in adoption.profiles
        }
    groups: dict[str, Any] = {ADOPTED_GROUP: adopted}
    if GPU_EXPORTER_GROUP in exporters and (with_gpus := adoption.with_gpus()):
        groups[GPU_EXPORTER_GROUP] = {"children": {profile.group: {} for profile in with_gpus}}
    if NODE_EXPORTER_GROUP in exporters:
        groups[NODE_EXPORTER_GROUP] = {"children": {ADOPTED_GROUP: {}}}
    return groups


def _hosts(names: Iterable[str]) -> dict[str, Any]:
    return {pattern: {} for pattern in ansible_ranges(names)}


def _hardware(profile: AdoptedProfile) -> dict[str, Any]:
    hardware: dict[str, Any] = {
        "sockets": 1,
        "cores_per_socket": profile.cpus,
        "threads_per_core": 1,
        "memory_mib": profile.memory_mib,
    }
    if profile.model:
        hardware["gpu"] = {"model": profile.model, "count": profile.gpu_types[0][1]}
    return hardware


class _Dumper(yaml.SafeDumper):
    """Safe YAML in which text is in quotes unless every reader takes it for text, and nothing is an alias."""

    def ignore_aliases(self, data: object) -> bool:
        """Write what comes twice twice."""
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Write text plain or in quotes."""
        plain = _PLAIN.fullmatch(text) is not None and text.lower() not in _NOT_PLAIN
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


def _text(comment: str, document: Mapping[str, Any]) -> str:
    body = yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, width=float("inf"), allow_unicode=False)
    rest = f"{_ADVICE}{comment}{body}"
    return f"{_HEADER}{_digest(rest)}\n{rest}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
