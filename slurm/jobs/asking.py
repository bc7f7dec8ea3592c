"""What is asked of the cluster before a job is handed in, and how it is told: for the command and for the screen."""

import os
import pwd
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from fleetward.model.errors import OutOfReachError
from fleetward.slurm.answers import Estimate
from fleetward.slurm.client import NoEstimateError, SlurmClient, SlurmRefusedError
from fleetward.slurm.jobs.preflight import Cluster, Preflight, preflight
from fleetward.slurm.jobs.spec import JobSpec, UnfitJobError
from fleetward.slurm.looking import Looker
from fleetward.slurm.verdicts.judging import clock
from fleetward.slurm.verdicts.waiting import in_words

Note = Callable[[str], None]
T = TypeVar("T")


def looked_at(client: SlurmClient, note: Note) -> Cluster:
    """Return the cluster as far as Slurm tells it; what it does not is noted."""

    def asked(ask: Callable[[], Sequence[T]]) -> tuple[T, ...]:
        try:
            return tuple(ask())
        except (OutOfReachError, SlurmRefusedError) as error:
            note(f"not checked: {error}")
            return ()

    picture = Looker(client).look(jobs=False)
    for part in (picture.nodes, picture.partitions):
        if part.problem or part.unread:
            note(f"not checked: {part.problem or f'what Slurm says cannot be read: {part.unread[0][:200]}'}")
    return Cluster(
        picture.partitions.items,
        picture.nodes.items,
        asked(lambda: client.qos().items),
        asked(lambda: client.associations().items),
        asked(lambda: client.shares().items),
    )


def checked(
    client: SlurmClient, spec: JobSpec, script: str, where: Path, note: Note
) -> tuple[Preflight, Estimate | None]:
    """Hold a job against the cluster, and ask Slurm when it would start.

    UnfitJobError names the fields that are wrong; SlurmRefusedError is Slurm's own word where no field is known for it.
    """
    found = preflight(spec, _me(), looked_at(client, note))
    if found.complaints:
        raise UnfitJobError(found.complaints)
    for text in _paths(spec, where):
        note(text)
    try:
        return found, client.estimate(script, where)
    except (OutOfReachError, NoEstimateError) as error:
        note(f"not checked: {error}")
        return found, None


def told(found: Preflight, estimate: Estimate | None) -> Iterator[str]:
    """Yield what a person wants to know before the job is in the queue, a line each."""
    if estimate is not None:
        nodes = f" on {len(estimate.nodes)} nodes" if len(estimate.nodes) > 1 else f" on {''.join(estimate.nodes)}"
        yield f"would start about {clock(estimate.starts_at)}{nodes} of partition {estimate.partition}"
    if found.less is not None:
        yield f"would start now with {in_words(found.less)}"
    if found.gpu_hours:
        yield f"takes at most {found.gpu_hours:.1f} GPU-hours"
    if found.share is not None and found.share.fair_share is not None:
        share = found.share
        used, due = f"{share.effective_usage:.0%}", f"{share.normalized_shares:.0%}"
        who = f"{share.user} in {share.account}"
        yield f"fair share of {who} is {share.fair_share:.2f}: used {used} of late, where {due} is due"


def _paths(spec: JobSpec, where: Path) -> Iterator[str]:
    """Yield what is not on this machine; the nodes may have it all the same."""
    if not where.is_dir():
        yield f"{where} is no folder here; the nodes need it, or the job fails as it starts"
        return
    log = where / PurePosixPath(spec.output).parent
    if "%" not in str(log) and not log.is_dir():
        yield f"output: {log} is no folder here; without it on the nodes the job fails without a log"
    if spec.container is not None and spec.container.image.startswith("/") and not Path(spec.container.image).exists():
        yield f"container.image: {spec.container.image} is not here; the nodes need it"
    program = spec.command[0]
    if spec.container is None and "/" in program and "{" not in program and not os.access(where / program, os.X_OK):
        yield f"command: {where / program} is no program here; the nodes need it"


def _me() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user known to no directory of this machine
        return str(os.getuid())
