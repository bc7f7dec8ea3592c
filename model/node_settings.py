"""How the programs on a GPU node are set up: one TOML file, written by the roles, for exporter and checks alike.

A node has no pydantic, and no user's settings either: what is not in the file holds as it stands here.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from fleetward.model.errors import UsageError
from fleetward.model.gpu_fault_tables import Table, content_of

NODE_SETTINGS = Path("/etc/fleetward/node.toml")
KERNEL_LOG = Path("/dev/kmsg")


class GpuNumbers(StrEnum):
    """What Slurm's numbers of GPUs are."""

    MINOR = "minor"
    """The N of /dev/nvidiaN: gres.conf lists the files, from 0 on."""
    INDEX = "index"
    """NVML's index: gres.conf says AutoDetect=nvml, and Slurm is older than 25.11, which tells UUIDs too."""


@dataclass(frozen=True, slots=True)
class DaemonAddress:
    """Section `daemon`: to whom a node reports."""

    url: str = ""
    """Such as `http://head:9720`; empty where there is no daemon."""
    token_file: Path | None = None
    """Holds the node's own token."""
    ca_file: Path | None = None
    """Certificates that the daemon's is checked by; None: those of the system."""


@dataclass(frozen=True, slots=True)
class LocalDrain:
    """Section `local_drain`: what the node does by itself where no daemon answers."""

    checks: tuple[str, ...] = ()
    """Checks that drain the node when they find it unhealthy; empty: none does."""
    streak: int = 3
    """So many runs in a row must find it."""
    absolute: int = 20
    """At most so many nodes of the fleet may be drained by nodes themselves,"""
    share: float = 0.1
    """and at most this share of them; the smaller of the two, but one at least."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """All of the file."""

    node: str = ""
    """The node's name in Slurm; empty: what the host calls itself, up to the first point."""
    profile: Path | None = None
    """What the node should be: TOML or JSON with the tables of a hardware profile."""
    fault_catalogues: tuple[Path, ...] = ()
    """The site's own files on top of the shipped catalogue of faults, the later over the earlier."""
    checks_left_out: tuple[str, ...] = ()
    """Checks that are not run here, by their ids."""
    kernel_log: Path = KERNEL_LOG
    """Where the checks read it; another file where it is played."""
    slurm_gpu_numbers: GpuNumbers = GpuNumbers.MINOR
    daemon: DaemonAddress = field(default_factory=DaemonAddress)
    local_drain: LocalDrain = field(default_factory=LocalDrain)


_KEYS: Mapping[str, tuple[str, ...]] = {
    "": (
        "node",
        "profile",
        "fault_catalogues",
        "checks_left_out",
        "kernel_log",
        "slurm_gpu_numbers",
        "daemon",
        "local_drain",
    ),
    "daemon": ("url", "token_file", "ca_file"),
    "local_drain": ("checks", "streak", "absolute", "share"),
}


def read_node_settings(file: Path = NODE_SETTINGS) -> NodeSettings:
    """Return what the file says; the defaults where it does not exist and its name was not typed.

    Raises UsageError that names file, section and key, and says what is allowed.
    """
    if file == NODE_SETTINGS and not _is_there(file):
        return NodeSettings()
    try:
        tree = tomllib.loads(content_of(file).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: is not TOML in UTF-8: {error}; correct it there") from error
    top, daemon, local = (_section(file, tree, name) for name in _KEYS)
    return NodeSettings(
        node=top.text("node", ""),
        profile=_path(top, "profile"),
        fault_catalogues=tuple(map(Path, _texts(top, "fault_catalogues"))),
        checks_left_out=_texts(top, "checks_left_out"),
        kernel_log=_path(top, "kernel_log") or KERNEL_LOG,
        slurm_gpu_numbers=top.word("slurm_gpu_numbers", GpuNumbers) if "slurm_gpu_numbers" in top else GpuNumbers.MINOR,
        daemon=DaemonAddress(_url(daemon), _path(daemon, "token_file"), _path(daemon, "ca_file")),
        local_drain=_local_drain(local),
    )


def _is_there(file: Path) -> bool:
    """Say whether there is such a file; UsageError where its folder is closed to this user, who cannot know."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be read ({error.strerror}); run this as root, or open {file.parent} to this user"
        ) from error
    return True


def _section(file: Path, tree: Mapping[str, object], name: str) -> Table:
    values = tree.get(name, {}) if name else tree
    place = f"{file}: [{name}]" if name else str(file)
    if not isinstance(values, dict):
        raise UsageError(f"{place}: is no section; write it as [{name}]")
    for key in values:
        if key not in _KEYS[name]:
            raise UsageError(f"{place}: {key!r} is no key; write one of {', '.join(_KEYS[name])}")
    return Table(place, values)


def _texts(table: Table, key: str) -> tuple[str, ...]:
    return () if table.values.get(key, []) == [] else table.texts(key)


def _path(table: Table, key: str) -> Path | None:
    text = table.text(key, "")
    if text and not text.startswith("/"):
        raise table.error(key, text, "a path from the root, such as /etc/fleetward/node.token")
    return Path(text) if text else None


def _url(table: Table) -> str:
    text = table.text("url", "")
    try:
        parts = urlsplit(text)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        port_is_right = False
    if text and not (port_is_right and parts.scheme in {"http", "https"} and parts.hostname and not parts.query):
        raise table.error("url", text, "http://HOST:PORT or https://HOST:PORT")
    return text.rstrip("/")


def _local_drain(table: Table) -> LocalDrain:
    usual = LocalDrain()
    share = table.values.get("share", usual.share)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise table.error("share", share, "a number above 0 and at most 1")
    return LocalDrain(
        checks=_texts(table, "checks"),
        streak=table.number("streak", 1, 1000) if "streak" in table else usual.streak,
        absolute=table.number("absolute", 1, 1_000_000) if "absolute" in table else usual.absolute,
        share=float(share),
    )
