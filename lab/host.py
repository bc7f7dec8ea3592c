"""What this machine is and can do: engine, control groups, limits, disk; and why a lab cannot run on it."""

import os
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path

from fleetward.model.errors import FleetwardError, OutOfReachError
from fleetward.operations.command import CommandError, run

GIB = 2**30
BUILD_BYTES = 4 * GIB
"""An image takes 0.9 GiB as an archive, as much unpacked, and as much again while it is imported."""
START_BYTES = GIB // 2


@dataclass(frozen=True)
class HostFacts:
    """What decides how containers are started here."""

    engine: str
    """podman or docker"""
    runtime: str | None
    """OCI runtime to name, None to leave the engine its own"""
    unified_cgroups: bool
    """whether the host has cgroup v2 alone, which systemd can use as it finds it"""
    storage: Path
    """folder that the engine keeps images and containers in"""
    open_files: int
    processes: int


def require_root() -> None:
    """Refuse an ordinary user: bridges, device nodes and systemd in containers need root."""
    if os.geteuid() != 0:
        raise FleetwardError("a lab makes bridges and device nodes: run it as root, or with sudo")


def find_engine() -> str:
    """Return podman, or docker where a docker engine answers."""
    if shutil.which("podman"):
        return "podman"
    if shutil.which("docker"):
        try:
            run(["docker", "info", "--format", "{{.ServerVersion}}"], seconds=20)
        except (CommandError, OutOfReachError):
            pass
        else:
            return "docker"
    raise OutOfReachError("no container engine: install podman (`make lab` does it: apt-get install podman)")


def read_facts() -> HostFacts:
    """Ask the machine; nothing is assumed of it."""
    engine = find_engine()
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    template = "{{.Store.GraphRoot}}" if engine == "podman" else "{{.DockerRootDir}}"
    storage = Path(run([engine, "info", "--format", template]).text.strip() or "/")
    # crun refuses a hybrid hierarchy ("cgroups in hybrid mode not supported"); runc runs on every one.
    runtime = "runc" if engine == "podman" and not unified and shutil.which("runc") else None
    most_pids = int(Path("/proc/sys/kernel/pid_max").read_text())
    return HostFacts(
        engine=engine,
        runtime=runtime,
        unified_cgroups=unified,
        storage=storage,
        open_files=_at_most(resource.RLIMIT_NOFILE, 1048576),
        # podman itself never asks for more processes than pid_max, and without CAP_SYS_RESOURCE a limit
        # once lowered cannot be raised again
        processes=min(_at_most(resource.RLIMIT_NPROC, 4194304), most_pids),
    )


def _at_most(limit: int, ceiling: int) -> int:
    hard = resource.getrlimit(limit)[1]
    return ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)


def require_disk(folder: Path, needed: int, what_for: str) -> None:
    """Refuse to begin what would fill the disk half-way."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FleetwardError(
            f"{what_for} needs {needed / GIB:.1f} GiB free at {folder}, where {free / GIB:.1f} GiB are left:"
            " free some space"
        )


def machine_facts() -> dict[str, str]:
    """Return what a measurement must be read with: CPUs, memory, kernel, system."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpus": str(os.cpu_count()),
        "memory": f"{memory / GIB:.0f} GiB",
        "kernel": os.uname().release,
        "system": release.get("PRETTY_NAME", "unknown").strip('"'),
    }
