"""Rendered files of an inventory on disk, made again only when one of its files has changed.

Ansible evaluates lookups in short-lived forks, one for each host and task. So what was rendered is also kept in a
folder that the forks share, and only the first of them imports and runs the reader.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from fleetward.model.errors import UsageError

NODE_FILE = "node.json"
"""The one file that is different for each host."""

_Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class RenderedInventory:
    """The files that follow from an inventory, or the problems for which there are none."""

    shared: Mapping[str, str]
    """By name, what is the same for all nodes."""
    nodes: Mapping[str, str]
    """`node.json` by host."""
    problems: tuple[str, ...]
    incompatibilities: tuple[str, ...] = ()
    """What declared software does not go together with; the files are there all the same, for all that only watches."""

    def text(self, name: str, host: str | None = None) -> str:
        """Return one file; UsageError where there is no such file or host."""
        if name == NODE_FILE:
            if host is None or host not in self.nodes:
                raise UsageError(f"{NODE_FILE} is of one host, and {host!r} is not in the inventory; name one that is")
            return self.nodes[host]
        if name not in self.shared:
            known = ", ".join([*sorted(self.shared), NODE_FILE])
            raise UsageError(f"the inventory renders no file {name!r}; there are: {known}")
        return self.shared[name]


def rendered(path: Path, cache: Path | None = None) -> RenderedInventory:
    """Return the files of an inventory, or its problems.

    `cache` is a folder that only this user can write; None where none is to be used.
    """
    return _rendered(path, _stamp(path), cache)


@lru_cache(maxsize=4)
def _rendered(path: Path, stamp: _Stamp, cache: Path | None) -> RenderedInventory:
    if cache is None:
        return _render(path)
    digest = hashlib.sha256(json.dumps([str(path), stamp]).encode()).hexdigest()
    file = cache / f"fleetward-{digest}.json"
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        return RenderedInventory(
            kept["shared"], kept["nodes"], tuple(kept["problems"]), tuple(kept["incompatibilities"])
        )
    result = _render(path)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=cache, delete=False) as scratch:
        json.dump(asdict(result), scratch)
    Path(scratch.name).replace(file)
    return result


def _render(path: Path) -> RenderedInventory:
    # Imported here, for a fork that finds the files in the cache needs none of it.
    from fleetward.model.compatibility_files import CompatibilityRulesError, incompatibilities
    from fleetward.model.inventory import InventoryError, read_fleet
    from fleetward.slurm.configuration import render, render_node

    try:
        fleet = read_fleet(path)
    except InventoryError as error:
        return RenderedInventory({}, {}, error.problems)
    nodes = {node.name: render_node(fleet, node) for node in fleet.nodes.values()}
    try:
        wrong = tuple(map(str, incompatibilities(fleet)))
    except CompatibilityRulesError as error:
        wrong = (str(error),)
    return RenderedInventory(render(fleet), nodes, (), wrong)


def _stamp(path: Path) -> _Stamp:
    """Return name, time and size of every file that the inventory may be made of."""
    statuses = ((str(file), file.stat()) for file in sorted(_files(path)))
    return tuple((name, status.st_mtime_ns, status.st_size) for name, status in statuses)


def _files(path: Path) -> Iterator[Path]:
    roots = [path] if path.is_dir() else [path.parent / "group_vars", path.parent / "host_vars"]
    if path.is_file():
        yield path
    for root in roots:
        for folder, _, names in os.walk(root):
            yield from (Path(folder, name) for name in names if not name.startswith("."))
