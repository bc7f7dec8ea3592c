"""A run of checks that reports: to the daemon, as metrics, and, where no daemon has it, to the node's own rules."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fleetward.model.node_reports import HealthReport
from fleetward.node.daemon import Reception, Sent, send
from fleetward.node.deadline import Deadline
from fleetward.node.files import replace_file
from fleetward.node.health_metrics import HealthRun, page
from fleetward.node.local_run import LocalRun, Outcome
from fleetward.node.local_slurm import LocalSlurm, SlurmPrograms
from fleetward.node.local_state import RunGoesOnError, StateError, StateFolder
from fleetward.node.reports import as_json, health_report
from fleetward.node.results import Context, Finding
from fleetward.node.site import Site
from fleetward.node.surroundings import Surroundings

ALONE = frozenset({Reception.NOT_SENT, Reception.AWAY})
"""After these nobody else will do anything about the node."""


@dataclass(frozen=True)
class Reported:
    """What came of a run that reports."""

    findings: tuple[Finding, ...] = ()
    reception: Reception = Reception.NOT_SENT
    notes: tuple[str, ...] = ()
    """What was done to the node, and what failed."""


@dataclass(frozen=True)
class Reach:
    """What a run reaches outside of itself."""

    post: Callable[[HealthReport], Sent]
    slurm: LocalSlurm
    states: StateFolder
    metrics: Path | None = None
    """The file for node_exporter; None for none."""
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


def reach_of(
    site: Site, surroundings: Surroundings, states: StateFolder, metrics: Path | None, deadline: Deadline
) -> Reach:
    """Return the real things, all of which end by the deadline."""

    def post(report: HealthReport) -> Sent:
        return send(site.settings.daemon, site.node, as_json(report), deadline.left())

    return Reach(post, SlurmPrograms(surroundings, deadline), states, metrics)


def run_and_report(
    run: Callable[[], tuple[Finding, ...]],
    context: Context,
    site: Site,
    reach: Reach,
    deadline: Deadline,
    *,
    job: str = "",
    wrong: Sequence[str] = (),
) -> Reported:
    """Run the checks and report; nothing is raised for what fails, it is in the notes.

    `wrong` is what could not be read of what the site says: the node changes nothing of itself then. Only periodic
    runs, one at a time, write metrics and have a local part: a streak is to last, and jobs may begin ten a second.
    """
    notes = list(wrong)
    with ExitStack() as held:
        states: StateFolder | None = None
        if context is Context.PERIODIC:
            try:
                held.enter_context(reach.states.held())
                states = reach.states
            except RunGoesOnError as error:
                return Reported(notes=(*notes, str(error)))
            except StateError as error:
                notes.append(str(error))
        findings = run()
        now = reach.clock()
        sent = reach.post(health_report(findings, context, now, job))
        notes += [sent.why] if sent.why else []
        local = Outcome()
        if states is not None and not wrong:
            local = _local(findings, site, reach, states, now, alone=sent.reception in ALONE)
            notes += local.notes
        if context is Context.PERIODIC and reach.metrics is not None:
            accepted = None if sent.reception is Reception.NOT_SENT else sent.reception is Reception.TAKEN
            told = HealthRun(findings, context, now, deadline.spent(), accepted, local.drained_for)
            notes += _written(reach.metrics, page(told))
    return Reported(findings, sent.reception, tuple(notes))


def _local(
    findings: Sequence[Finding], site: Site, reach: Reach, states: StateFolder, now: float, *, alone: bool
) -> Outcome:
    settings = site.settings.local_drain
    if not settings.checks and not states.file.exists():
        return Outcome()
    return LocalRun(site.node, settings, reach.slurm, states, reach.sleep).after(findings, now, alone=alone)


def _written(file: Path, text: str) -> list[str]:
    try:
        replace_file(file, text)
    except OSError as error:
        return [f"the metrics {file} cannot be written: {error.strerror}"]
    return []
