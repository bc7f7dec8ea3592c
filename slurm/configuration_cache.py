"""Rendered files of an inventory on disk, read again only when one of its files has changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fleetward.model.errors import UsageError
from fleetward.model.fleet import Fleet
from fleetward.model.inventory import InventoryError, read_fleet
from fleetward.model.inventory_schema import nearest
from fleetward.slurm.configuration import NODE_FILE, render, render_node

_Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, eq=False)
class RenderedInventory:
    """A fleet and the files that follow from it."""

    fleet: Fleet
    shared: dict[str, str]
    """By name, what is the same for all nodes."""

    def text(self, name: str, host: str | None = None) -> str:
        """Return one file; UsageError where there is no such file or host."""
        if name == NODE_FILE:
            node = self.fleet.nodes.get(host) if host is not None else None
            if node is None:
                raise UsageError(f"{NODE_FILE} is of one host: {host!r} is not in the inventory; name one that is")
            return render_node(self.fleet, node)
        if name not in self.shared:
            raise UsageError(f"the inventory renders no file {name!r}; {nearest(name, [*self.shared, NODE_FILE])}")
        return self.shared[name]


def rendered(path: Path) -> RenderedInventory:
    """Return the files of an inventory; InventoryError where it cannot be used."""
    return _rendered(path, _stamp(path))


def problems_of(path: Path) -> tuple[str, ...]:
    """Return what is wrong with an inventory, one sentence each; empty where nothing is."""
    try:
        rendered(path)
    except InventoryError as error:
        return error.problems
    return ()


@lru_cache(maxsize=4)
def _rendered(path: Path, stamp: _Stamp) -> RenderedInventory:
    fleet = read_fleet(path)
    return RenderedInventory(fleet, render(fleet))


def _stamp(path: Path) -> _Stamp:
    """Return name, time and size of every file that the inventory may be made of."""
    return tuple(
        (str(file), status.st_mtime_ns, status.st_size) for file in sorted(_files(path)) for status in [file.stat()]
    )


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        folder = path.parent
        roots = [folder / "group_vars", folder / "host_vars"]
    else:
        roots = [path]
    for root in roots:
        yield from (file for file in root.rglob("*") if file.is_file())
