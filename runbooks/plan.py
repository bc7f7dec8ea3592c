"""From a page and an incident to a run that can be approved: parameters checked, placeholders filled, all pinned."""

import hashlib
import json
from collections.abc import Mapping

from fleetward.model.errors import UsageError
from fleetward.model.incidents import Incident
from fleetward.model.runs import Mode, RunState, Step
from fleetward.runbooks.page import Page
from fleetward.runbooks.page_params import resolve
from fleetward.runbooks.template import fill
from fleetward.store.runs import NewRun

_FIRST_STATE = {
    Mode.OBSERVE: RunState.PLANNED,
    Mode.PROPOSE: RunState.PROPOSED,
    Mode.AUTO: RunState.RUNNING,
}


def plan(
    page: Page,
    params: Mapping[str, str],
    incident: Incident | None,
    mode: Mode,
    policy: Mapping[str, object],
    *,
    asked_by: str = "fleetward",
) -> NewRun:
    """Return the run of a page; UsageError where it has no steps, or a parameter has no fit value.

    `params` are what a person gave; the rest comes from the incident's labels. `policy` is what the guardrails allow at
    this moment, JSON-ready: it is part of what is approved.
    """
    if not page.steps:
        raise UsageError(f"runbook {page.id} has no steps to run; follow it by hand")
    values = resolve(page.params, params, incident)
    return NewRun(
        runbook=page.id,
        title=page.title,
        incident=incident.id if incident else None,
        params=values,
        page=page.text,
        policy=policy,
        digest=run_digest(page, values, policy),
        mode=mode,
        state=_FIRST_STATE[mode],
        asked_by=asked_by,
        blast=page.blast.value,
        steps=planned_steps(page, values),
        about=incident.alert_name if incident else "",
    )


def planned_steps(page: Page, values: Mapping[str, str]) -> tuple[Step, ...]:
    """Return the steps with their arguments as they will be used; counted from 0."""
    return tuple(
        Step(index, step.name, step.section, step.action, fill(step.arguments, step.action, values))
        for index, step in enumerate(page.steps)
    )


def run_digest(page: Page, values: Mapping[str, str], policy: Mapping[str, object]) -> str:
    """Return SHA-256 over page, parameters and policy: what an approval is of."""
    pinned = {"page": page.text, "params": dict(values), "policy": dict(policy)}
    return hashlib.sha256(json.dumps(pinned, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
