"""Every check that there is."""

from collections.abc import Mapping

from fleetward.node.checking import AnyCheck
from fleetward.node.checks import (
    bus,
    gpu_heat,
    gpu_jobs,
    gpu_links,
    gpu_memory,
    gpu_state,
    host,
    kernel_lines,
    network,
    services,
    storage,
    xids,
)

CHECKS: tuple[AnyCheck, ...] = (
    *gpu_state.CHECKS,
    *gpu_jobs.CHECKS,
    *gpu_memory.CHECKS,
    *gpu_heat.CHECKS,
    *gpu_links.CHECKS,
    *xids.CHECKS,
    *kernel_lines.CHECKS,
    *bus.CHECKS,
    *network.CHECKS,
    *host.CHECKS,
    *storage.CHECKS,
    *services.CHECKS,
)
BY_ID: Mapping[str, AnyCheck] = {one.id: one for one in CHECKS}
LIMITS: Mapping[str, Mapping[str, float]] = {one.id: one.limits for one in CHECKS}
"""What a site may set, by check, with the values that hold where it does not."""
