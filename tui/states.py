"""How every state looks: a glyph, a word and a colour, so that none of the three is needed to tell states apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fleetward.model.incidents import IncidentState, Severity
from fleetward.model.runs import RunState, StepState

GOOD, BUSY, WARN, BAD, CALM, ASKS = "green", "cyan", "yellow", "bold red", "bright_black", "bold #d787ff"


@dataclass(frozen=True, slots=True)
class Look:
    """How one state is drawn."""

    glyph: str
    word: str
    style: str

    def __str__(self) -> str:
        return f"{self.glyph} {self.word}"


SEVERITIES: Mapping[Severity, Look] = MappingProxyType(
    {
        Severity.CRITICAL: Look("!", "critical", BAD),
        Severity.WARNING: Look("▲", "warning", WARN),
        Severity.INFO: Look("i", "info", BUSY),
    }
)
INCIDENTS: Mapping[IncidentState, Look] = MappingProxyType(
    {
        IncidentState.OPEN: Look("●", "open", BAD),
        IncidentState.ACKNOWLEDGED: Look("◐", "acked", WARN),
        IncidentState.CLOSED: Look("✓", "closed", GOOD),
    }
)
RUNS: Mapping[RunState, Look] = MappingProxyType(
    {
        RunState.PLANNED: Look("·", "planned", CALM),
        RunState.PROPOSED: Look("?", "proposed", ASKS),
        RunState.RUNNING: Look("▶", "running", BUSY),
        RunState.WAITING: Look("◌", "waiting", WARN),
        RunState.STOPPED: Look("■", "stopped", ASKS),
        RunState.DONE: Look("✓", "done", GOOD),
        RunState.FAILED: Look("✗", "failed", BAD),
        RunState.ABORTED: Look("⊘", "aborted", CALM),
    }
)
STEPS: Mapping[StepState, Look] = MappingProxyType(
    {
        StepState.PENDING: Look("·", "pending", CALM),
        StepState.RESERVED: Look("▶", "acting", BUSY),
        StepState.WAITING: Look("◌", "waiting", WARN),
        StepState.DONE: Look("✓", "done", GOOD),
        StepState.FAILED: Look("✗", "failed", BAD),
        StepState.UNKNOWN: Look("?", "unknown", ASKS),
        StepState.SKIPPED: Look("-", "skipped", CALM),
    }
)

_JOBS = {
    "RUNNING": Look("▶", "running", GOOD),
    "PENDING": Look("◌", "pending", WARN),
    "COMPLETING": Look("◑", "completing", BUSY),
    "CONFIGURING": Look("◔", "configuring", BUSY),
    "REQUEUED": Look("↻", "requeued", WARN),
    "SUSPENDED": Look("‖", "suspended", WARN),
    "COMPLETED": Look("✓", "completed", GOOD),
    "CANCELLED": Look("⊘", "cancelled", CALM),
}
_LOST_NODES = ("down", "fail", "error", "not_responding", "powered_down")
_NODES = {"idle": ("○", GOOD), "mixed": ("◐", BUSY), "allocated": ("●", BUSY)}


def job_look(state: str) -> Look:
    """Return how a job's state is drawn; one that is not known looks like trouble, under Slurm's own word."""
    return _JOBS.get(state.upper()) or Look("✗", state.lower() or "unknown", BAD)


def node_look(state: str) -> Look:
    """Return how a node's state is drawn: Slurm's words, with drain told as `draining` (jobs left) or `drained`."""
    base, *flags = state.lower().split("+")
    if base in _LOST_NODES or any(flag in _LOST_NODES for flag in flags):
        return Look("✗", "+".join([base, *flags]), BAD)
    if "drain" in flags or base in ("drain", "drained", "draining"):
        draining = base in ("mixed", "allocated", "draining")
        return Look("▼", "draining", WARN) if draining else Look("▽", "drained", WARN)
    if base not in _NODES:
        return Look("?", "+".join([base, *flags]) or "unknown", WARN)
    glyph, style = _NODES[base]
    return Look(glyph, "+".join([base, *flags]), style)
