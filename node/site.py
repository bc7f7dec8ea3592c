"""What a site says of this node: its settings, and the profile and the fault catalogues that they name."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from fleetward.model.errors import UsageError
from fleetward.model.gpu_fault_files import read_catalogue
from fleetward.model.gpu_faults import FaultCatalogue
from fleetward.model.node_settings import NODE_SETTINGS, NodeSettings, read_node_settings
from fleetward.node.check_list import BY_ID, LIMITS
from fleetward.node.checking import CatalogueReader
from fleetward.node.profile import Profile, read_profile
from fleetward.node.results import ProbeError

T = TypeVar("T")


@dataclass(frozen=True)
class SiteFiles:
    """The files by their names; what is named here goes before what the settings name."""

    settings: Path = NODE_SETTINGS
    profile: Path | None = None
    catalogues: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Site:
    """What holds at a site."""

    settings: NodeSettings = field(default_factory=NodeSettings)
    profile: Profile = field(default_factory=Profile)
    catalogue: CatalogueReader = read_catalogue

    @property
    def node(self) -> str:
        """Return the node's name in Slurm."""
        return self.settings.node or os.uname().nodename.partition(".")[0]


def read_site(files: SiteFiles, told: Callable[[UsageError], None]) -> Site:
    """Return what the files say; `told` gets each error, and may raise it.

    Where it does not, the file that is wrong says nothing, and faults that a wrong catalogue would have to judge are
    unknown.
    """
    settings = _said(told, partial(read_node_settings, files.settings), NodeSettings())
    _said(told, partial(_check_names, files.settings, settings), None)
    file = files.profile or settings.profile
    profile = _said(told, partial(read_profile, file, LIMITS), Profile()) if file else Profile()
    own = files.catalogues or settings.fault_catalogues
    catalogue = _said(told, partial(_read, own), _unusable) if own else read_catalogue
    return Site(settings, profile, catalogue)


def _said(told: Callable[[UsageError], None], read: Callable[[], T], instead: T) -> T:
    try:
        return read()
    except UsageError as error:
        told(error)
        return instead


def _check_names(file: Path, settings: NodeSettings) -> None:
    named = {"checks_left_out": settings.checks_left_out, "[local_drain], checks": settings.local_drain.checks}
    for key, names in named.items():
        for name in names:
            if name not in BY_ID:
                raise UsageError(f"{file}: {key} names {name!r}; `fleetward check --list` has all checks")


def _read(files: tuple[Path, ...]) -> CatalogueReader:
    """Read a site's catalogue at once, so that what is wrong in it is told before there is a fault."""
    catalogue = read_catalogue(files)
    return lambda: catalogue


def _unusable() -> FaultCatalogue:
    raise ProbeError("the site's catalogue of faults cannot be read: `fleetward check` says what is wrong in it")
