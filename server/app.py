"""The daemon's two faces over HTTP: a unix socket for people's programs, a TCP port for Alertmanager and browsers.

Handlers are plain functions that run in threads; what they raise becomes an answer with the sentence and its exit code.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from fleetward.model.claims import ClaimClass
from fleetward.model.errors import ConflictError, ExitCode, FleetwardError, UsageError
from fleetward.model.runs import Mode
from fleetward.server import webhook
from fleetward.server.intake import Intake
from fleetward.server.pages import error_html, page_html, security_policy
from fleetward.server.service import Decision, Service

MOST_BYTES = 256 * 1024
"""Length of a request on the unix socket."""
_STATUS: Mapping[ExitCode, HTTPStatus] = {
    ExitCode.USAGE: HTTPStatus.BAD_REQUEST,
    ExitCode.REFUSED: HTTPStatus.CONFLICT,
    ExitCode.OUT_OF_REACH: HTTPStatus.SERVICE_UNAVAILABLE,
}

log = logging.getLogger(__name__)


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


Handler = Callable[[Ask], object]


def local_app(service: Service) -> Starlette:
    """Return the interface of command and screen; the scope's client is the user, as PeerProtocol says it."""

    def runs(ask: Ask) -> object:
        limit = ask.query.get("limit", "50")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
            raise UsageError(f"limit={limit[:40]!r} is no number")
        return service.runs(int(limit))

    def propose(ask: Ask) -> object:
        body = ask.read(RunBody)
        return service.propose(body.runbook, body.params, body.incident, ask.who)

    def decide(ask: Ask) -> object:
        body = ask.read(DecideBody)
        return service.decide(ask.number("id"), body.step, body.decision, ask.who)

    def set_mode(ask: Ask) -> object:
        body = ask.read(ModeBody)
        return service.set_mode(body.runbook, body.mode, ask.who)

    def drain(ask: Ask) -> object:
        body = ask.read(DrainBody)
        return service.drain(ask.path["node"], body.why, body.kind, ask.who)

    def resume(ask: Ask) -> object:
        ask.read(EmptyBody)
        return service.resume(ask.path["node"], ask.who)

    table: tuple[tuple[str, str, Handler], ...] = (
        ("GET", "/v1/status", lambda ask: service.status()),
        ("GET", "/v1/fleet", lambda ask: service.fleet()),
        ("GET", "/v1/incidents", lambda ask: service.incidents(ask.query.get("state", ""))),
        ("GET", "/v1/incidents/{id}", lambda ask: service.incident(ask.number("id"))),
        (
            "POST",
            "/v1/incidents/{id}/ack",
            lambda ask: service.acknowledge(ask.number("id"), ask.read(AckBody).note, ask.who),
        ),
        (
            "POST",
            "/v1/incidents/{id}/close",
            lambda ask: service.close(ask.number("id"), ask.read(CloseBody).why, ask.who),
        ),
        ("GET", "/v1/runbooks", lambda ask: service.runbooks()),
        ("GET", "/v1/runbooks/{id}", lambda ask: service.runbook(ask.path["id"])),
        ("GET", "/v1/runs", runs),
        ("POST", "/v1/runs", propose),
        ("GET", "/v1/runs/{id}", lambda ask: service.run(ask.number("id"))),
        (
            "POST",
            "/v1/runs/{id}/approve",
            lambda ask: service.approve(ask.number("id"), ask.read(ApproveBody).digest, ask.who),
        ),
        ("POST", "/v1/runs/{id}/decide", decide),
        ("POST", "/v1/runs/{id}/abort", lambda ask: service.abort(ask.number("id"), ask.who)),
        ("GET", "/v1/modes", lambda ask: service.modes()),
        ("POST", "/v1/modes", set_mode),
        ("POST", "/v1/nodes/{node}/drain", drain),
        ("POST", "/v1/nodes/{node}/resume", resume),
    )
    return Starlette(
        routes=[Route(path, _answering(handler, MOST_BYTES), methods=[method]) for method, path, handler in table],
        exception_handlers={HTTPException: _http_error, Exception: _mistake},
    )


def public_app(service: Service, intake: Intake, token: str, registry: CollectorRegistry) -> Starlette:
    """Return what Alertmanager posts to, browsers read and Prometheus scrapes."""

    async def alertmanager(request: Request) -> Response:
        if not webhook.is_authorized(request.headers.get("authorization", ""), token):
            log.warning("a post without the webhook's token was refused, from %s", _client(request))
            answer = _error("the webhook's token is missing or wrong", ExitCode.REFUSED, HTTPStatus.UNAUTHORIZED)
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer

        def take(ask: Ask) -> object:
            taken = intake.take(webhook.read_post(ask.body))
            return {"incidents": [each.incident.id for each in taken]}

        return await _answering(take, webhook.MOST_BYTES)(request)

    async def runbook(request: Request) -> Response:
        def render() -> HTMLResponse:
            try:
                page = service.page(request.path_params["id"])
            except UsageError as error:
                return HTMLResponse(error_html("No such runbook", str(error)), HTTPStatus.NOT_FOUND)
            return HTMLResponse(page_html(page, dict(request.query_params)))

        answer = await run_in_threadpool(render)
        answer.headers["Content-Security-Policy"] = security_policy()
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    async def metrics(request: Request) -> Response:
        return Response(await run_in_threadpool(generate_latest, registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(request: Request) -> Response:
        problem = await run_in_threadpool(service.is_well)
        status = HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK
        return PlainTextResponse(problem or "ok", status)

    return Starlette(
        routes=[
            Route("/alertmanager", alertmanager, methods=["POST"]),
            Route("/runbooks/{id}", runbook),
            Route("/metrics", metrics),
            Route("/healthz", healthz),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _mistake},
    )


def _answering(handler: Handler, most_bytes: int) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        body = await _body(request, most_bytes)
        ask = Ask(_client(request), request.path_params, dict(request.query_params), body)
        try:
            found = await run_in_threadpool(lambda: to_json(handler(ask), inf_nan_mode="null"))
        except ConflictError as error:
            return _error(str(error), error.exit_code, HTTPStatus.CONFLICT)
        except FleetwardError as error:
            return _error(str(error), error.exit_code, _STATUS.get(error.exit_code, HTTPStatus.INTERNAL_SERVER_ERROR))
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


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _error(sentence: str, exit_code: int, status: HTTPStatus) -> Response:
    return Response(to_json({"error": sentence, "exit_code": int(exit_code)}), status, media_type="application/json")


def _http_error(request: Request, error: Exception) -> Response:
    """Answer what no route takes, and what is too long."""
    assert isinstance(error, HTTPException)  # noqa: S101  registered for that only
    return _error(error.detail, ExitCode.USAGE, HTTPStatus(error.status_code))


def _mistake(request: Request, error: Exception) -> Response:
    """Answer a mistake of ours; Starlette raises it again, for the log."""
    return _error(
        f"a mistake in Fleetward ({type(error).__name__}); see `journalctl --unit fleetward` on the head",
        ExitCode.FAILED,
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
