"""What the daemon answers beyond the words of the model themselves: read models that tie several of them together.

These are its JSON: field names are part of its interface.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fleetward.model.claims import Claim
from fleetward.model.gpu_faults import FaultKind, Severity
from fleetward.model.incidents import Incident, TimelineEntry
from fleetward.model.runs import Mode, Run


@dataclass(frozen=True, slots=True)
class IncidentView:
    """One incident with all that belongs to it."""

    incident: Incident
    timeline: tuple[TimelineEntry, ...]
    """Oldest first."""
    runs: tuple[Run, ...]
    """Oldest first."""
    page_url: str = ""
    """Where its runbook page is served with its values filled in; empty where it has none."""


@dataclass(frozen=True, slots=True)
class RunbookStepView:
    """One step as the page declares it."""

    name: str
    section: str
    action: str


@dataclass(frozen=True, slots=True)
class RunbookView:
    """One page of the library; `text` and `digest` are there where one page alone was asked for."""

    id: str
    title: str
    severity: str
    mode: Mode
    """As it is set now, else as the page says."""
    alerts: tuple[str, ...]
    blast: str
    params: tuple[str, ...]
    """Names of what a run of it needs."""
    steps: tuple[RunbookStepView, ...]
    problems: tuple[str, ...] = ()
    """What lint found; a page with problems is shown and never run."""
    text: str = ""
    """The page's Markdown."""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What became of a request to drain or resume a node."""

    node: str
    result: str
    """In words, such as `drained` or `still held by i12`."""
    claims: tuple[Claim, ...]
    """Those that are open on it now."""


@dataclass(frozen=True, slots=True)
class EventView:
    """One fault of a GPU or a switch, as its node told of it; the words are those of FaultEvent."""

    id: int
    node: str
    key: str
    at: datetime
    taken_at: datetime
    kind: FaultKind
    code: int
    gpu: str
    """NVML's index; empty for a switch, or a device that NVML does not list."""
    uuid: str
    address: str
    severity: Severity
    action: str
    blame: str
    meaning: str
    source: str
    parent: str
    """Key of the event that this one follows; empty for a fault of its own."""
    line: str


@dataclass(frozen=True, slots=True)
class DaemonError:
    """Any answer but a good one."""

    error: str
    exit_code: int


Modes = Mapping[str, Mode]
