"""A cgroup2 tree of its own for each container, where the host still has cgroup v1 or mixes both.

systemd 262 refuses to start without cgroup2. On such a host the container's first process therefore makes a group
on the host's cgroup2 hierarchy, moves into it, and starts systemd in a new cgroup namespace that shows that group as
the root. The group outlives the container, so `lab down` removes it.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fleetward.operations.command import run

PREFIX = "fleetward-lab"

ENTRY = """
set -e
mkdir -p /run/cgroup2
mount -t cgroup2 none /run/cgroup2
mkdir -p "/run/cgroup2/$1"
echo $$ > "/run/cgroup2/$1/cgroup.procs"
umount /run/cgroup2
rmdir /run/cgroup2
exec unshare --cgroup sh -c '
  umount -R /sys/fs/cgroup 2>/dev/null || true
  mount -t cgroup2 none /sys/fs/cgroup
  exec /sbin/init'
"""
"""Shell program for the container's first process; $1 is the name of the group."""


def group(container: str) -> str:
    """Name of a container's group."""
    return f"{PREFIX}.{container}"


@contextlib.contextmanager
def _hierarchy() -> Iterator[Path]:
    """Yield where cgroup2 is mounted, mounting it for the moment where it is not."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            yield Path(place)
            return
    with tempfile.TemporaryDirectory(prefix="fleetward-cgroup2-") as place:
        run(["mount", "-t", "cgroup2", "none", place])
        try:
            yield Path(place)
        finally:
            run(["umount", place])


def remove(container: str, *, seconds: float = 10) -> bool:
    """Remove a stopped container's group with all that systemd made below it; False where one is still busy."""
    with _hierarchy() as root:
        top = root / group(container)
        until = time.monotonic() + seconds
        while top.exists():
            for folder in sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()
            if top.exists():
                if time.monotonic() > until:
                    return False
                time.sleep(0.1)
    return True
