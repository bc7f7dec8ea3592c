"""The way to the daemon: typed requests over its unix socket, read models back.

The daemon knows who asks from the socket itself (SO_PEERCRED): nothing here says who the user is.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast
from urllib.parse import quote

from fleetward.model.burn_ins import BurnIn, BurnInJob, NodeStanding, StartedBurnIn
from fleetward.model.changes import Change, ChangeView, PlannedChange
from fleetward.model.claims import Claim, ClaimClass
from fleetward.model.daemon_views import DaemonError, EventView, IncidentView, Modes, NodeAnswer, RunbookView
from fleetward.model.errors import ExitCode, FleetwardError, OutOfReachError, RefusedError, UsageError
from fleetward.model.fleet_view import DaemonStatus, FleetView
from fleetward.model.incidents import Incident
from fleetward.model.runs import Mode, Run

if TYPE_CHECKING:
    import httpx
    from pydantic import TypeAdapter

SECONDS = 10.0
_CONNECT_SECONDS = 2.0
_ERRORS: Mapping[int, type[FleetwardError]] = {
    ExitCode.USAGE: UsageError,
    ExitCode.OUT_OF_REACH: OutOfReachError,
    ExitCode.REFUSED: RefusedError,
}

T = TypeVar("T")


class DaemonOutOfReachError(OutOfReachError):
    """The daemon's socket is not there, not ours to open, or nobody answers behind it."""


class DaemonClient:
    """Asks the daemon behind one socket; may be used from several threads.

    Every method raises DaemonOutOfReachError where the daemon does not answer within `seconds`, and otherwise what the
    daemon itself raised: UsageError, OutOfReachError (of what it needs), RefusedError or FleetwardError.
    """

    def __init__(self, socket: Path, seconds: float = SECONDS) -> None:
        """Open nothing yet; httpx is imported only here, for it takes longer than many a command."""
        import httpx

        self.socket = socket
        self._seconds = seconds
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)),
            base_url="http://daemon",
            timeout=httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS)),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def status(self) -> DaemonStatus:
        """Return how the daemon itself is."""
        return self._get(DaemonStatus, "/v1/status")

    def fleet(self) -> FleetView:
        """Return nodes and jobs of one moment."""
        return self._get(FleetView, "/v1/fleet")

    def incidents(self, state: str = "") -> tuple[Incident, ...]:
        """Return incidents, newest first: open, acknowledged, closed or all; without `state` those not closed."""
        return self._get(tuple[Incident, ...], "/v1/incidents", {"state": state} if state else None)

    def incident(self, incident: int) -> IncidentView:
        """Return one incident with its timeline and runs."""
        return self._get(IncidentView, f"/v1/incidents/{incident}")

    def events(
        self, node: str = "", gpu: str = "", severity: str = "", seconds: int = 86_400, limit: int = 200
    ) -> tuple[EventView, ...]:
        """Return what nodes told of faults in the last seconds, newest first; of one severity and what is worse."""
        asked = {"node": node, "gpu": gpu, "severity": severity, "seconds": str(seconds), "limit": str(limit)}
        return self._get(tuple[EventView, ...], "/v1/events", asked)

    def acknowledge(self, incident: int, note: str = "") -> Incident:
        """Say that the user of this process looks after an incident."""
        return self._post(Incident, f"/v1/incidents/{incident}/ack", {"note": note})

    def close_incident(self, incident: int, why: str) -> Incident:
        """Close an incident by hand."""
        return self._post(Incident, f"/v1/incidents/{incident}/close", {"why": why})

    def runbooks(self) -> tuple[RunbookView, ...]:
        """Return every page of the library, without text."""
        return self._get(tuple[RunbookView, ...], "/v1/runbooks")

    def runbook(self, page: str) -> RunbookView:
        """Return one page with its text."""
        return self._get(RunbookView, f"/v1/runbooks/{_segment(page)}")

    def propose(self, page: str, params: Mapping[str, str], incident: int | None = None) -> Run:
        """Plan a run; it begins once it is approved."""
        return self._post(Run, "/v1/runs", {"runbook": page, "params": dict(params), "incident": incident})

    def runs(self, limit: int = 50) -> tuple[Run, ...]:
        """Return the newest runs, newest first."""
        return self._get(tuple[Run, ...], "/v1/runs", {"limit": str(limit)})

    def run(self, run: int) -> Run:
        """Return one run with its steps."""
        return self._get(Run, f"/v1/runs/{run}")

    def approve(self, run: int, digest: str) -> Run:
        """Approve a run's start, or the `approve` step that it waits at; refused where the digest is another."""
        return self._post(Run, f"/v1/runs/{run}/approve", {"digest": digest})

    def decide(self, run: int, step: int, decision: str) -> Run:
        """Tell a stopped run what became of a step: done, again or abort."""
        return self._post(Run, f"/v1/runs/{run}/decide", {"step": step, "decision": decision})

    def abort(self, run: int) -> Run:
        """End a run where it stands; what it did is not undone."""
        return self._post(Run, f"/v1/runs/{run}/abort", {})

    def plan_change(self, asked: Mapping[str, object]) -> PlannedChange:
        """Plan a change (`page`, `nodes`, `params`, `at_once`, `budget`, `work_seconds`)."""
        return self._post(PlannedChange, "/v1/changes", asked)

    def changes(self, limit: int = 50) -> tuple[Change, ...]:
        """Return the newest changes, newest first."""
        return self._get(tuple[Change, ...], "/v1/changes", {"limit": str(limit)})

    def change(self, change: int) -> ChangeView:
        """Return one change with its history."""
        return self._get(ChangeView, f"/v1/changes/{change}")

    def tell_change(self, change: int, word: str, body: Mapping[str, object] | None = None) -> Change:
        """Say a word about a change: approve, pause, resume, abort or give-back."""
        return self._post(Change, f"/v1/changes/{change}/{_segment(word)}", body or {})

    def start_burn_in(self, nodes: str, workloads: Sequence[str], seconds: float | None) -> StartedBurnIn:
        """Begin to burn nodes in: a host list; no workloads stand for what they must pass."""
        asked = {"nodes": nodes, "workloads": list(workloads), "seconds": seconds}
        return self._post(StartedBurnIn, "/v1/burn-ins", asked)

    def burn_ins(self, limit: int = 50) -> tuple[BurnIn, ...]:
        """Return the newest burn-ins, newest first."""
        return self._get(tuple[BurnIn, ...], "/v1/burn-ins", {"limit": str(limit)})

    def burn_in(self, burn_in: int) -> BurnIn:
        """Return one, its jobs without their logs."""
        return self._get(BurnIn, f"/v1/burn-ins/{burn_in}")

    def burn_in_job(self, burn_in: int, job: int) -> BurnInJob:
        """Return one of its jobs with its log."""
        return self._get(BurnInJob, f"/v1/burn-ins/{burn_in}/jobs/{job}")

    def abort_burn_in(self, burn_in: int) -> BurnIn:
        """End one; its nodes have no result then."""
        return self._post(BurnIn, f"/v1/burn-ins/{burn_in}/abort", {})

    def standings(self) -> tuple[NodeStanding, ...]:
        """Return whether each node that runs jobs is qualified."""
        return self._get(tuple[NodeStanding, ...], "/v1/standings")

    def clear(self, node: str, why: str) -> tuple[Claim, ...]:
        """Release what burn-ins hold a node for; returns what was released."""
        return self._post(tuple[Claim, ...], f"/v1/nodes/{_segment(node)}/clear", {"why": why})

    def modes(self) -> Modes:
        """Return the mode of each page by its id."""
        return self._get(dict[str, Mode], "/v1/modes")

    def set_mode(self, page: str, mode: Mode) -> Modes:
        """Set how far the daemon goes by itself with one page, or with `all`; returns the modes as they are then."""
        return self._post(dict[str, Mode], "/v1/modes", {"runbook": page, "mode": str(mode)})

    def drain(self, node: str, why: str, kind: ClaimClass) -> NodeAnswer:
        """Claim a node for the user of this process, and drain it."""
        return self._post(NodeAnswer, f"/v1/nodes/{_segment(node)}/drain", {"why": why, "class": str(kind)})

    def resume(self, node: str) -> NodeAnswer:
        """Release the user's claim on a node; it returns where no other is left."""
        return self._post(NodeAnswer, f"/v1/nodes/{_segment(node)}/resume", {})

    def _get(self, shape: type[T], path: str, query: Mapping[str, str] | None = None) -> T:
        return self._read(shape, self._send("GET", path, query=query))

    def _post(self, shape: type[T], path: str, body: Mapping[str, object]) -> T:
        return self._read(shape, self._send("POST", path, body=body))

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> bytes:
        import httpx

        try:
            answer = self._http.request(method, path, params=query, json=body)
        except httpx.ConnectError as error:
            raise DaemonOutOfReachError(f"{self.socket}: {_no_connection(error)}") from error
        except httpx.TimeoutException as error:
            raise DaemonOutOfReachError(
                f"{self.socket}: the daemon did not answer within {self._seconds:g} s{_maybe_done(method)}"
            ) from error
        except httpx.TransportError as error:
            raise DaemonOutOfReachError(
                f"{self.socket}: the daemon went away before it answered{_maybe_done(method)}; is it restarting?"
                " See `systemctl status fleetward` on the head"
            ) from error
        if answer.is_success:
            return answer.content
        raise self._error(answer)

    def _error(self, answer: "httpx.Response") -> FleetwardError:
        try:
            told = self._read(DaemonError, answer.content)
        except FleetwardError:
            return FleetwardError(
                f"{self.socket}: answered HTTP {answer.status_code} without saying why; is that the daemon's socket?"
                " See `journalctl -u fleetward` on the head"
            )
        return _ERRORS.get(told.exit_code, FleetwardError)(told.error)

    def _read(self, shape: type[T], content: bytes) -> T:
        import pydantic

        try:
            return cast("T", _adapter(cast("Hashable", shape)).validate_json(content))
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the answer"
            raise FleetwardError(
                f"{self.socket}: answered what this fleetward does not read ({where}: {first['msg']});"
                " are daemon and command of one version?"
            ) from error


@cache
def _adapter(shape: Hashable) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(cast("type[Any]", shape))


def _segment(text: str) -> str:
    """Return a name as one segment of a path; UsageError for what would be another path."""
    if text in {"", ".", ".."}:
        raise UsageError(f"{text!r} is not a name")
    return quote(text, safe="")


def _no_connection(error: BaseException) -> str:
    """Say why there was no connection, and what to do about it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PermissionError):
            return "you may not open the daemon's socket: an administrator can add you to the group fleetward"
        if isinstance(cause, FileNotFoundError):
            return (
                "there is no such socket: is the daemon on this host? Run this on the head, start it there with"
                " `systemctl start fleetward`, or name its socket with --socket"
            )
        if isinstance(cause, ConnectionRefusedError):
            return "nobody listens: start the daemon with `systemctl start fleetward`"
        cause = cause.__cause__ or cause.__context__
    return f"no connection to the daemon: {error}"


def _maybe_done(method: str) -> str:
    return "; what you asked for may have been done: look before you ask again" if method == "POST" else ""
