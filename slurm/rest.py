"""The backend that asks slurmrestd over HTTP, with a JSON Web Token.

What the interface lacks goes to Slurm's programs: it reads no `#SBATCH` lines in a script, does not say which
partition is the default, and has neither requeue nor reboot (v0.0.42). Answers are whole documents: for a queue of
many thousands of jobs the command line is the better choice.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from fleetward.model.errors import FleetwardError
from fleetward.slurm import parse_rest
from fleetward.slurm.accounting import Attempt
from fleetward.slurm.answers import (
    Controller,
    Diagnostics,
    Job,
    JobDetail,
    Listing,
    Node,
    Reservation,
    Share,
)
from fleetward.slurm.client import (
    NoSuchJobError,
    SlurmClient,
    SlurmOutOfReachError,
    SlurmRefusedError,
)
from fleetward.slurm.handing_on import HandingOn
from fleetward.slurm.programs import checked_job_id, checked_node, checked_reason, is_array, unreachable

VERSIONS = ("v0.0.42", "v0.0.43", "v0.0.44", "v0.0.45")
"""In the order in which they are tried: 24.11 serves up to the first, 26.05 all of them."""
LIMIT = 60.0
"""Seconds a call; slurmrestd gives up on slurmctld by itself."""
_INVALID_JOB = 2017

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RestAddress:
    """Where slurmrestd is, and who asks."""

    url: str
    """`http://HOST:6820`, without a path."""
    user: str
    token: Callable[[], str]
    """Called for each request: tokens end, and others take their place. What it gives is in no message."""


class RestClient(HandingOn):
    """Slurm through slurmrestd, and through `other` what that cannot do."""

    backend = "rest"

    def __init__(
        self,
        address: RestAddress,
        other: SlurmClient,
        clock: Callable[[], float] = time.time,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Ask for nothing yet."""
        self._address = address
        super().__init__(other)
        self._clock = clock
        self._http = httpx.Client(base_url=address.url, timeout=LIMIT, transport=transport, follow_redirects=False)
        self._version = ""

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self._http.close()

    def nodes(self) -> Listing[Node]:
        """Return every node, by name."""
        found = self._list("slurm", "nodes", "nodes", parse_rest.node)
        return Listing(tuple(sorted(found.items, key=lambda one: one.name)), found.backend, found.unread)

    def jobs(self) -> Listing[Job]:
        """Return the jobs that slurmctld knows, those that ended a short while ago too."""
        found = self._list("slurm", "jobs", "jobs", parse_rest.job_at(self._clock()))
        return Listing(tuple(sorted(found.items, key=lambda one: one.number)), found.backend, found.unread)

    def reservations(self) -> Listing[Reservation]:
        """Return the reservations that have not ended, by name."""
        found = self._list("slurm", "reservations", "reservations", parse_rest.reservation_at(self._clock()))
        return Listing(tuple(sorted(found.items, key=lambda one: one.name)), found.backend, found.unread)

    def shares(self) -> Listing[Share]:
        """Return the fair shares of all accounts and users, in the order of the tree."""
        found = self._get("slurm", "shares").get("shares", {})
        return self._listing(found.get("shares"), parse_rest.share)

    def diagnostics(self) -> Diagnostics:
        """Return what slurmctld says of itself."""
        return self._read(parse_rest.diagnostics, self._get("slurm", "diag").get("statistics"))

    def job(self, job_id: str) -> JobDetail:
        """Return one job, the GPUs it holds, and what only its own page tells."""
        entries = self._get("slurm", f"job/{checked_job_id(job_id)}").get("jobs") or []
        read = parse_rest.job_at(self._clock())
        found = [self._read(lambda one: parse_rest.detail(one, read), entry) for entry in entries]
        if not found:
            raise NoSuchJobError(f"slurmctld knows no job {job_id}; slurmdbd may know one that ended earlier")
        if len(found) == 1:
            return found[0]
        own = [one for one in found if one.job.id == job_id]  # of an array slurmrestd tells all tasks
        if not own:
            raise is_array(job_id)
        return own[0]

    def attempts(self, job_id: str) -> tuple[Attempt, ...]:
        """Return all that slurmdbd recorded under a job's number, the oldest first; empty where it has nothing yet."""
        found = self._list("slurmdb", f"job/{checked_job_id(job_id)}", "jobs", parse_rest.attempt)
        if found.unread:
            raise SlurmRefusedError(f"slurmdbd's record of job {job_id} cannot be read: {found.unread[0]!r}")
        own = tuple(record for record in found.items if record.job_id == job_id)
        if found.items and not own:
            raise is_array(job_id)
        return own

    def cancel(self, job_id: str) -> None:
        """Cancel a job; nothing happens to one that has ended."""
        if not self.job(job_id).job.ended:
            self._ask("DELETE", "slurm", f"job/{checked_job_id(job_id)}")

    def hold(self, job_id: str) -> None:
        """Keep a waiting job from starting until it is released."""
        self._change(job_id, {"hold": True})

    def release(self, job_id: str) -> None:
        """Let a held job start."""
        self._change(job_id, {"hold": False})

    def drain(self, node: str, reason: str) -> None:
        """Take a node out of service once its jobs have ended; replaces the reason that it has."""
        changed = {"state": ["DRAIN"], "reason": checked_reason(reason)}
        self._ask("POST", "slurm", f"node/{checked_node(node)}", changed)

    def resume(self, node: str) -> None:
        """Put a drained or DOWN node back into service; SlurmRefusedError where it is neither."""
        self._ask("POST", "slurm", f"node/{checked_node(node)}", {"state": ["RESUME"]})

    def ping(self) -> tuple[Controller, ...]:
        """Return the controllers, at least one of which answers."""
        found = self._list("slurm", "ping", "pings", parse_rest.controller).items
        if not any(controller.answers for controller in found):
            raise SlurmOutOfReachError("slurmctld does not answer slurmrestd; is it running, is its host reachable?")
        return found

    def _change(self, job_id: str, changes: Mapping[str, object]) -> None:
        self._ask("POST", "slurm", f"job/{checked_job_id(job_id)}", changes)

    def _list(self, plugin: str, path: str, name: str, read: Callable[[parse_rest.Entry], T]) -> Listing[T]:
        return self._listing(self._get(plugin, path).get(name), read)

    def _listing(self, found: object, read: Callable[[parse_rest.Entry], T]) -> Listing[T]:
        items, unread = self._read(lambda entries: parse_rest.entries(entries, read), found)
        return Listing(items, self.backend, unread)

    def _read(self, read: Callable[[Any], T], found: object) -> T:
        try:
            return read(found)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise SlurmRefusedError(f"slurmrestd at {self._address.url} answers something else: {error!r}") from error

    def _get(self, plugin: str, path: str) -> dict[str, Any]:
        return self._ask("GET", plugin, path)

    def _ask(self, method: str, plugin: str, path: str, content: object = None) -> dict[str, Any]:
        """Return the document; the first call of all finds out which version is served."""
        if not self._version:
            self._version = next((one for one in VERSIONS if self._serves(one)), "")
        if not self._version:
            raise SlurmRefusedError(f"slurmrestd at {self._address.url} serves none of {', '.join(VERSIONS)}")
        answer = self._send(method, f"/{plugin}/{self._version}/{path}", content)
        return self._document(answer)

    def _serves(self, version: str) -> bool:
        return self._send("GET", f"/slurm/{version}/ping/", None).status_code != httpx.codes.NOT_FOUND

    def _send(self, method: str, path: str, content: object) -> httpx.Response:
        headers = {"X-SLURM-USER-NAME": self._address.user, "X-SLURM-USER-TOKEN": self._address.token()}
        try:
            return self._http.request(method, path, headers=headers, json=content)
        except httpx.HTTPError as error:
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            raise SlurmOutOfReachError(f"slurmrestd at {self._address.url} does not answer ({why})") from error

    def _document(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            document = answer.json()
        except (ValueError, RecursionError):
            document = None
        errors = document.get("errors") if isinstance(document, dict) else None
        if errors:
            raise _error(errors)
        if answer.is_error or not isinstance(document, dict):
            told = " ".join(answer.text[:200].split())
            raise SlurmRefusedError(f"slurmrestd at {self._address.url} answers {answer.status_code}: {told}")
        return document


def _error(errors: object) -> FleetwardError:
    """Return the error of this house for the first that slurmrestd tells."""
    first = errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {}
    words = [str(first.get(name, "")) for name in ("description", "error")]
    message = ": ".join(dict.fromkeys(word for word in words if word)) or str(errors)[:300]
    if first.get("error_number") == _INVALID_JOB:
        return NoSuchJobError(f"slurmrestd: {message}")
    if unreachable(message):
        return SlurmOutOfReachError(f"slurmrestd: {message}")
    return SlurmRefusedError(f"slurmrestd: {message}")
