"""How a request is read and answered: bodies as shapes, errors as sentences with their exit codes, lengths bounded."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fleetward.model.claims import ClaimClass
from fleetward.model.errors import ConflictError, ExitCode, FleetwardError, UsageError
from fleetward.model.runs import Mode
from fleetward.server.service import Decision

MOST_BYTES = 256 * 1024
"""Length of a request on the unix socket."""
_STATUS: Mapping[ExitCode, HTTPStatus] = {
    ExitCode.USAGE: HTTPStatus.BAD_REQUEST,
    ExitCode.REFUSED: HTTPStatus.CONFLICT,
    ExitCode.OUT_OF_REACH: HTTPStatus.SERVICE_UNAVAILABLE,
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Words = Annotated[str, Field(max_length=4000)]
Value = Annotated[str, Field(max_length=256)]


class AckBody(_Body):
    """Of POST /v1/incidents/ID/ack."""

    note: Words = ""


class CloseBody(_Body):
    """Of POST /v1/incidents/ID/close."""

    why: Words = ""


class RunBody(_Body):
    """Of POST /v1/runs."""

    runbook: Value
    params: Annotated[dict[Value, Value], Field(max_length=32)] = {}
    incident: int | None = None


class ApproveBody(_Body):
    """Of POST /v1/runs/ID/approve."""

    digest: Value


class DecideBody(_Body):
    """Of POST /v1/runs/ID/decide."""

    step: int
    decision: Decision


class ChangeBody(_Body):
    """Of POST /v1/changes."""

    page: Value
    nodes: Annotated[str, Field(max_length=200_000)]
    params: Annotated[dict[Value, Value], Field(max_length=32)] = {}
    at_once: int = 1
    budget: int = 0
    work_seconds: Annotated[float, Field(ge=0, le=7 * 86_400)]


class BurnInBody(_Body):
    """Of POST /v1/burn-ins."""

    nodes: Annotated[str, Field(max_length=200_000)]
    workloads: Annotated[list[Value], Field(max_length=64)] = []
    seconds: Annotated[float, Field(gt=0, le=30 * 86_400)] | None = None


class ResumeChangeBody(_Body):
    """Of POST /v1/changes/ID/resume."""

    budget: int | None = None
    retry: bool = False


class GiveBackBody(_Body):
    """Of POST /v1/changes/ID/give-back."""

    node: Value
    why: Words


class ModeBody(_Body):
    """Of POST /v1/modes."""

    runbook: Value
    mode: Mode


class DrainBody(_Body):
    """Of POST /v1/nodes/NODE/drain."""

    why: Words
    kind: Annotated[ClaimClass, Field(alias="class")] = ClaimClass.NODE_PROBLEM


class EmptyBody(_Body):
    """Of requests that say all in their address."""


B = TypeVar("B", bound=_Body)


@dataclass(frozen=True)
class Ask:
    """One request: who asks, what the address says, and its body."""

    who: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes

    def read(self, shape: type[B]) -> B:
        """Return the body as one of the shapes above; UsageError where it is none."""
        try:
            return shape.model_validate_json(self.body or b"{}")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "the request"
            raise UsageError(f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None

    def number(self, name: str) -> int:
        """Return a number of the address; UsageError where it is none."""
        text = self.path[name]
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise UsageError(f"{text[:40]!r} is no number")
        return int(text)

    def count(self, name: str, usual: int) -> int:
        """Return a number of the query, the usual one where it is not there; UsageError where it is none."""
        text = self.query.get(name, str(usual))
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise UsageError(f"{name}={text[:40]!r} is no number")
        return int(text)


Handler = Callable[[Ask], object]


def answering(handler: Handler, most_bytes: int) -> Callable[[Request], Awaitable[Response]]:
    """Return a route for a handler: its value as JSON, or its error as a sentence with an exit code."""

    async def answer(request: Request) -> Response:
        body = await _body(request, most_bytes)
        ask = Ask(client_of(request), request.path_params, dict(request.query_params), body)
        try:
            found = await run_in_threadpool(lambda: to_json(handler(ask), inf_nan_mode="null"))
        except ConflictError as error:
            return error_answer(str(error), error.exit_code, HTTPStatus.CONFLICT)
        except FleetwardError as error:
            return error_answer(
                str(error), error.exit_code, _STATUS.get(error.exit_code, HTTPStatus.INTERNAL_SERVER_ERROR)
            )
        return Response(found, media_type="application/json")

    return answer


async def _body(request: Request, most: int) -> bytes:
    """Return a request's body; refused where it is longer than `most`, whatever its length is said to be."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {most} bytes are not taken")
    return body


def unauthorized(sentence: str) -> Response:
    """Return the answer to who has not shown the right token."""
    answer = error_answer(sentence, ExitCode.REFUSED, HTTPStatus.UNAUTHORIZED)
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def client_of(request: Request) -> str:
    """Return who asks: an address, or a user where the socket tells."""
    return request.client.host if request.client else ""


def error_answer(sentence: str, exit_code: int, status: HTTPStatus) -> Response:
    """Return a sentence with the exit code of whoever asked."""
    return Response(to_json({"error": sentence, "exit_code": int(exit_code)}), status, media_type="application/json")


def http_error(request: Request, error: Exception) -> Response:
    """Answer what no route takes, and what is too long."""
    assert isinstance(error, HTTPException)  # noqa: S101  registered for that only
    return error_answer(error.detail, ExitCode.USAGE, HTTPStatus(error.status_code))


def mistake(request: Request, error: Exception) -> Response:
    """Answer a mistake of ours; Starlette raises it again, for the log."""
    return error_answer(
        f"a mistake in Fleetward ({type(error).__name__}); see `journalctl --unit fleetward` on the head",
        ExitCode.FAILED,
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
