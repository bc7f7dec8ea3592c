"""Every setting of daemon, command and screen: its default, the files and variables that may change it, and who did.

Later ones win: defaults < /etc/fleetward/config.toml < $XDG_CONFIG_HOME/fleetward/config.toml <
FLEETWARD_<SECTION>_<KEY> < what was typed. A key that does not exist is refused wherever it stands.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleetward.model.errors import UsageError
from fleetward.model.inventory_schema import nearest

SYSTEM_FILE = Path("/etc/fleetward/config.toml")
DEFAULT_SOURCE = "default"
SECRETS = frozenset({"daemon.database_url"})
LISTS_ARE_PARTED_BY = os.pathsep
_TRUTHS = {"true": True, "false": False}

Address = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+):\d{1,5}$")]
WebAddress = Annotated[str, Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DaemonSettings(_Section):
    """Section `daemon`: where it is found, what it keeps, and whom it asks."""

    socket: str = "/run/fleetward/daemon/socket"
    """The unix socket on which command and screen ask the daemon."""
    listen: Address = "127.0.0.1:9720"
    """Where Alertmanager, browsers and Prometheus find it."""
    database_url: str = ""
    """PostgreSQL, such as `postgresql:///fleetward`; empty: `serve --embedded` runs one of its own."""
    database_url_file: str = ""
    """A file that holds the URL, where it has a password in it."""
    embedded_folder: str = ""
    """Data of the embedded PostgreSQL; empty: `fleetward/postgresql` in the state folder of whoever serves."""
    webhook_token_file: str = ""
    """Holds the token that Alertmanager must send; empty: the webhook takes nothing."""
    node_key_file: str = ""
    """Holds the key that the tokens of nodes follow from; a second line with the key before keeps old tokens good.
    Empty: no node may report."""
    prometheus_url: WebAddress = "http://127.0.0.1:9090"
    pages_url: WebAddress = "http://127.0.0.1:9720"
    """How a browser reaches what `listen` serves."""
    inventory: str = ""
    """The inventory through which nodes are reached by Ansible; empty: steps on nodes cannot be run."""


class ProvisionSettings(_Section):
    """Section `provision`: what the daemon plays on nodes."""

    inventory: str = ""
    """The site's whole inventory on the daemon's host; empty: no playbook is played from here."""
    vault_password_file: str = ""
    """A file with the password of Ansible Vault, or a program that prints it; empty: nothing in it is encrypted."""


class QualificationSettings(_Section):
    """Section `qualification`: how nodes are burned in, and what one must have passed."""

    gate: bool = False
    """Whether nodes without a valid certificate are kept from production."""
    required: tuple[str, ...] = ()
    """Workloads that a node must pass; empty: the usual ones of its hardware profile."""
    lifetime_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """How long a certificate counts."""
    partition: str = ""
    """Of burn-in jobs; empty: the cluster's default."""
    account: str = ""
    qos: str = ""
    path: tuple[str, ...] = ()
    """Folders on the nodes with programs that are not on PATH, such as that of nccl-tests."""
    scratch: str = "/var/tmp"  # noqa: S108  a folder of an unforeseeable name is made in it
    """On the disk that is measured."""
    python: str = "python3"
    """One that has PyTorch, for the matrix product."""
    mpi_type: str = "pmix"
    log_folder: str = ""
    """For the logs, on a file system that nodes and daemon share; empty: they lie on the nodes, and are fetched."""


class GuardrailSettings(_Section):
    """Section `guardrails`: how many nodes Fleetward may hold out of service by itself."""

    absolute: Annotated[int, Field(ge=1)] = 20
    share: Annotated[float, Field(gt=0, le=1)] = 0.1


class RunbookSettings(_Section):
    """Section `runbooks`."""

    folders: tuple[str, ...] = ()
    """Folders with pages of the site's own; one with an id of the library's replaces it."""


class ClusterSettings(_Section):
    """Section `cluster`."""

    name: str = ""
    """What the screen calls the fleet; empty: what Slurm calls it."""


class Sections(_Section):
    """All sections."""

    daemon: DaemonSettings = DaemonSettings()
    provision: ProvisionSettings = ProvisionSettings()
    qualification: QualificationSettings = QualificationSettings()
    guardrails: GuardrailSettings = GuardrailSettings()
    runbooks: RunbookSettings = RunbookSettings()
    cluster: ClusterSettings = ClusterSettings()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as `fleetward config show` prints it."""

    name: str
    """Section and key, such as `daemon.socket`."""
    value: object
    """`***` for a secret that is set."""
    source: str
    """`default`, a file, `FLEETWARD_...`, or `option`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that hold, each with where it came from."""

    daemon: DaemonSettings
    provision: ProvisionSettings
    qualification: QualificationSettings
    guardrails: GuardrailSettings
    runbooks: RunbookSettings
    cluster: ClusterSettings
    sources: Mapping[str, str]

    def all(self) -> tuple[Setting, ...]:
        """Return every setting in the order of its section, secrets masked."""
        return tuple(
            Setting(name, self._shown(section, key, name), self.sources.get(name, DEFAULT_SOURCE))
            for name, section, key in _names()
        )

    def _shown(self, section: str, key: str, name: str) -> object:
        value = getattr(getattr(self, section), key)
        return "***" if name in SECRETS and value else value

    def database(self) -> str:
        """Return the URL of the database, empty where none is set; UsageError where its file cannot be read."""
        return self.daemon.database_url or _content(self.daemon.database_url_file, "daemon.database_url_file")

    def webhook_token(self) -> str:
        """Return the token of the webhook, empty where none is set; UsageError where its file cannot be read."""
        return _content(self.daemon.webhook_token_file, "daemon.webhook_token_file")

    def node_keys(self) -> str:
        """Return what the file of the nodes' keys says, empty where none is set; UsageError where it cannot be read."""
        return _content(self.daemon.node_key_file, "daemon.node_key_file")


def read_settings(
    overrides: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    files: tuple[Path, ...] | None = None,
) -> Settings:
    """Return the settings that hold; `overrides` maps names such as `daemon.socket` to what was typed.

    Raises UsageError that names the file or variable, the key, and what is wrong with it.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    layers = [(str(file), _from_file(file)) for file in (setting_files(environment) if files is None else files)]
    layers += [(variable, {name: value}) for variable, name, value in _from_environment(environment)]
    layers += [("option", dict(overrides or {}))]
    for source, layer in layers:
        _check(source, layer)
        values.update(layer)
        sources.update(dict.fromkeys(layer, source))
    made = Sections.model_validate(_nested(values))
    return Settings(
        made.daemon, made.provision, made.qualification, made.guardrails, made.runbooks, made.cluster, sources
    )


def setting_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files that are read where they exist, the weaker first."""
    home = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/")) / ".config"
    return SYSTEM_FILE, Path(home) / "fleetward/config.toml"


def _names() -> Iterator[tuple[str, str, str]]:
    for section, field in Sections.model_fields.items():
        model = field.annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)  # noqa: S101  for the type checker
        for key in model.model_fields:
            yield f"{section}.{key}", section, key


def _from_file(file: Path) -> dict[str, object]:
    try:
        with file.open("rb") as opened:
            tree = tomllib.load(opened)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); correct its permissions") from error
    except ValueError as error:  # also bytes that are no UTF-8
        raise UsageError(f"{file}: is not TOML: {error}") from error
    sections = tuple(Sections.model_fields)
    for section, keys in tree.items():
        if section not in sections or not isinstance(keys, dict):
            raise UsageError(f"{file}: {section} is no section; {nearest(section, sections)}")
    return {
        f"{section}.{key}": tuple(value) if isinstance(value, list) else value
        for section, keys in tree.items()
        for key, value in keys.items()
    }


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    known = {f"FLEETWARD_{section}_{key}".upper(): name for name, section, key in _names()}
    prefixes = tuple(f"FLEETWARD_{section}_".upper() for section in Sections.model_fields)
    for variable, text in sorted(environment.items()):
        if not variable.startswith(prefixes):
            continue
        if variable not in known:
            raise UsageError(f"{variable}: is no setting; {nearest(variable, known)}")
        name = known[variable]
        yield variable, name, _converted(variable, name, text)


def _converted(variable: str, name: str, text: str) -> object:
    """Return a variable's text as the type of its setting."""
    section, key = name.split(".")
    default = getattr(getattr(Sections(), section), key)
    if isinstance(default, tuple):
        return tuple(part for part in text.split(LISTS_ARE_PARTED_BY) if part)
    if isinstance(default, bool):
        if text not in _TRUTHS:
            raise UsageError(f"{variable}: {text!r} is neither `true` nor `false`")
        return _TRUTHS[text]
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            raise UsageError(f"{variable}: {text!r} is no number; write it as {default}") from None
    return text


def _check(source: str, layer: Mapping[str, object]) -> None:
    """Refuse what one source says wrongly, before a stronger one hides it."""
    names = [name for name, _, _ in _names()]
    for name in layer:
        if name not in names:
            raise UsageError(f"{source}: {name} is no setting; {nearest(name, names)}")
    try:
        Sections.model_validate(_nested(layer))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        shown = "" if place in SECRETS else f", not {first['input']!r}"
        raise UsageError(f"{source}: {place}: {first['msg'][:1].lower()}{first['msg'][1:]}{shown}") from None


def _nested(values: Mapping[str, object]) -> dict[str, Any]:
    tree: dict[str, dict[str, object]] = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        tree.setdefault(section, {})[key] = value
    return tree


def _content(file: str, name: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"{name}: {file} cannot be read ({error.strerror}); correct it or its permissions") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: {file} is not text: {error}") from error
