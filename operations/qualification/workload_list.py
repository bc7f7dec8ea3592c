"""Every workload that there is, and which of them a node must pass."""

from collections.abc import Iterable, Mapping

from fleetward.model.errors import UsageError
from fleetward.model.fleet import HardwareProfile
from fleetward.operations.qualification.workload import Workload
from fleetward.operations.qualification.workloads import dcgm, fio, hpl, ib_write, matrix_product, nccl, nvbandwidth

WORKLOADS: tuple[Workload, ...] = (
    *dcgm.WORKLOADS,
    *nvbandwidth.WORKLOADS,
    *nccl.WORKLOADS,
    *hpl.WORKLOADS,
    *matrix_product.WORKLOADS,
    *ib_write.WORKLOADS,
    *fio.WORKLOADS,
)
BY_ID: Mapping[str, Workload] = {one.id: one for one in WORKLOADS}
USUAL = ("dcgm_medium", "nvbandwidth", "nccl_node", "nccl_pair", "ib_write")
"""What a node with GPUs must pass where its site lists nothing else."""
USUAL_WITHOUT_GPU = ("fio",)


def required(profile: HardwareProfile, site: Iterable[str] | None = None) -> tuple[Workload, ...]:
    """Return what a node of this profile must pass; UsageError where the site's list names none, or nothing is left.

    `site` is its list `qualify_required`; what nodes of this profile have no part for is left out of it.
    """
    if site is None:
        ids = list(USUAL if profile.gpu else USUAL_WITHOUT_GPU)
    else:
        ids = list(dict.fromkeys(site))
        for name in ids:
            workload(name)
    fitting = tuple(BY_ID[name] for name in ids if BY_ID[name].fits(profile))
    if not fitting:
        raise UsageError(
            f"qualify_required leaves nothing to run on nodes of profile {profile.name}: "
            f"name one of {', '.join(one.id for one in WORKLOADS if one.fits(profile))}"
        )
    return fitting


def workload(id: str) -> Workload:
    """Return a workload by its id; UsageError where there is none."""
    found = BY_ID.get(id)
    if found is None:
        raise UsageError(f"there is no workload {id!r}; there are {', '.join(BY_ID)}")
    return found
