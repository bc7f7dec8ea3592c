"""From nothing to a cluster that has run a training job, step by step; taken up again where it was cut off."""

import base64
import time
from dataclasses import dataclass, replace
from typing import Any

from fleetward.lab import inventory, lifecycle, sample_job, summary
from fleetward.lab.engine import Engine
from fleetward.lab.progress import Progress
from fleetward.lab.spec import DEFAULT_NAME, DEFAULT_SUBNET, LabSpec, LabState, with_free_subnet
from fleetward.model.errors import UsageError
from fleetward.operations.playbook import PlaybookRun
from fleetward.operations.provision import provision

SITE = "/etc/fleetward/site"
"""Where the lab's own variables have the daemon look (fleetward_server_provision_inventory)."""


@dataclass(frozen=True)
class Asked:
    """What was typed; None stands for what was left out."""

    name: str = DEFAULT_NAME
    suite: str | None = None
    nodes: int | None = None
    subnet: str | None = None
    bare: bool = False
    provision: bool = True
    job: bool = True


def bring_up(asked: Asked, progress: Progress) -> dict[str, Any]:
    """Bring the lab to what was asked for and return its summary.

    A lab that is ready and asked for nothing else is left as it is. One with another number of nodes is grown or
    shrunk. One that was interrupted is taken up again.
    """
    began = time.monotonic()
    engine = lifecycle.open_engine()
    state = LabState.of(asked.name)
    with lifecycle.held(state):
        kept = state.read()
        spec = resolve(asked, kept[0]) if kept else _new(asked, engine)
        if kept == (spec, True) and lifecycle.is_running(engine, spec):
            return summary.of(engine, spec, state, job=None, seconds=time.monotonic() - began)
        state.write(spec, ready=False)
        lifecycle.start(engine, spec, state, progress)
        job = None
        if asked.provision:
            _provision(spec, state, progress)
            _hand_inventory_over(engine, spec, state, progress)
            if asked.job:
                job = _train(engine, spec, state, progress)
        state.write(spec, ready=asked.provision)
    return summary.of(engine, spec, state, job=job, seconds=time.monotonic() - began)


def _new(asked: Asked, engine: Engine) -> LabSpec:
    """Return a lab that does not exist yet; its subnet is one that nothing else has."""
    spec = LabSpec(
        asked.name, asked.suite or LabSpec.suite, LabSpec.nodes if asked.nodes is None else asked.nodes, asked.bare
    )
    if asked.subnet:
        return replace(spec, subnet=asked.subnet)
    reserved = frozenset() if asked.name == DEFAULT_NAME else frozenset({DEFAULT_SUBNET})
    return with_free_subnet(spec, engine.subnets() | reserved)


def resolve(asked: Asked, kept: LabSpec) -> LabSpec:
    """Join what was typed with what the lab already is; refuse what would need another lab."""
    for typed, is_now, option in (
        (asked.suite, kept.suite, "--suite"),
        (asked.subnet, kept.subnet, "--subnet"),
        (asked.bare or None, kept.bare, "--bare"),
    ):
        if typed is not None and typed != is_now:
            raise UsageError(
                f"the lab {kept.name!r} is there with {option} {is_now}: take it down first"
                f" (`fleetward lab down --name {kept.name}`), or give the other one a --name"
            )
    return replace(kept, nodes=kept.nodes if asked.nodes is None else asked.nodes)


def _provision(spec: LabSpec, state: LabState, progress: Progress) -> None:
    with progress.step("ansible-playbook playbooks/site.yml") as detail:
        provision(
            PlaybookRun(
                inventory=inventory.of(spec, state),
                environment={"FLEETWARD_LAB_STATE": str(state.folder)},
                log=state.folder / "ansible.log",
            ),
            detail,
        )


def _hand_inventory_over(engine: Engine, spec: LabSpec, state: LabState, progress: Progress) -> None:
    """Put the inventory where the daemon on the head plays it from, whole or not at all."""
    packed = base64.b64encode(inventory.site_copy(inventory.of(spec, state))).decode()
    script = (
        f"set -e; rm -rf {SITE}.new; mkdir -p {SITE}.new; base64 -d | tar -x -C {SITE}.new;"
        f" rm -rf {SITE}; mv {SITE}.new {SITE}"
    )
    with progress.step("The daemon's copy of the inventory"):
        engine.execute(spec.container(spec.hosts[0].name), ["sh", "-c", script], stdin=packed)


def _train(engine: Engine, spec: LabSpec, state: LabState, progress: Progress) -> dict[str, Any]:
    with progress.step("Sample training job on 2 nodes") as detail:
        detail("putting it on the shared /home")
        sample_job.prepare(engine, spec, state)
        detail("running")
        return sample_job.run(engine, spec)


def train(spec: LabSpec, progress: Progress) -> dict[str, Any]:
    """Run the sample job on a lab that is up, and return its record."""
    state = LabState.of(spec.name)
    with lifecycle.held(state):
        return _train(lifecycle.open_engine(), spec, state, progress)
