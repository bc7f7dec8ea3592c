"""The daemon's two faces over HTTP: a unix socket for people's programs, a TCP port for Alertmanager and browsers.

Handlers are plain functions that run in threads; what they raise becomes an answer with the sentence and its exit code.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from fleetward.model.errors import ExitCode, UsageError
from fleetward.server import webhook
from fleetward.server.answering import (
    MOST_BYTES,
    AckBody,
    ApproveBody,
    Ask,
    ChangeBody,
    CloseBody,
    DecideBody,
    DrainBody,
    EmptyBody,
    GiveBackBody,
    Handler,
    ModeBody,
    ResumeChangeBody,
    RunBody,
    answering,
    client_of,
    error_answer,
    http_error,
    mistake,
    unauthorized,
)
from fleetward.server.burn_in_routes import burn_in_routes
from fleetward.server.burn_ins import BurnInService
from fleetward.server.changes import Asked, ChangeService
from fleetward.server.intake import Intake
from fleetward.server.node_posts import MOST_BYTES as MOST_REPORT_BYTES
from fleetward.server.node_posts import MOST_FINGERPRINT_BYTES
from fleetward.server.node_reports import NodeReports
from fleetward.server.node_tokens import speaks_for
from fleetward.server.pages import error_html, page_html, security_policy
from fleetward.server.service import Service

log = logging.getLogger(__name__)


def local_app(service: Service, changes: ChangeService, burn_ins: BurnInService) -> Starlette:
    """Return the interface of command and screen; the scope's client is the user, as PeerProtocol says it."""

    def runs(ask: Ask) -> object:
        return service.runs(ask.count("limit", 50))

    def events(ask: Ask) -> object:
        asked = {name: ask.query.get(name, "") for name in ("node", "gpu", "severity")}
        return service.events(**asked, seconds=ask.count("seconds", 86_400), limit=ask.count("limit", 200))

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

    def plan_change(ask: Ask) -> object:
        body = ask.read(ChangeBody)
        asked = Asked(body.page, body.nodes, body.params, body.at_once, body.budget, body.work_seconds)
        return changes.plan(asked, ask.who)

    def resume_change(ask: Ask) -> object:
        body = ask.read(ResumeChangeBody)
        return changes.resume(ask.number("id"), body.budget, retry=body.retry, who=ask.who)

    def give_back(ask: Ask) -> object:
        body = ask.read(GiveBackBody)
        return changes.give_back(ask.number("id"), body.node, body.why, ask.who)

    table: tuple[tuple[str, str, Handler], ...] = (
        ("GET", "/v1/status", lambda ask: service.status()),
        ("GET", "/v1/fleet", lambda ask: service.fleet()),
        ("GET", "/v1/events", events),
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
        ("GET", "/v1/changes", lambda ask: changes.list(ask.count("limit", 50))),
        ("POST", "/v1/changes", plan_change),
        ("GET", "/v1/changes/{id}", lambda ask: changes.show(ask.number("id"))),
        (
            "POST",
            "/v1/changes/{id}/approve",
            lambda ask: changes.approve(ask.number("id"), ask.read(ApproveBody).digest, ask.who),
        ),
        ("POST", "/v1/changes/{id}/pause", lambda ask: changes.pause(ask.number("id"), ask.who)),
        ("POST", "/v1/changes/{id}/resume", resume_change),
        ("POST", "/v1/changes/{id}/abort", lambda ask: changes.abort(ask.number("id"), ask.who)),
        ("POST", "/v1/changes/{id}/give-back", give_back),
        ("GET", "/v1/modes", lambda ask: service.modes()),
        ("POST", "/v1/modes", set_mode),
        ("POST", "/v1/nodes/{node}/drain", drain),
        ("POST", "/v1/nodes/{node}/resume", resume),
        *burn_in_routes(burn_ins),
    )
    return Starlette(
        routes=[Route(path, answering(handler, MOST_BYTES), methods=[method]) for method, path, handler in table],
        exception_handlers={HTTPException: http_error, Exception: mistake},
    )


@dataclass(frozen=True)
class Secrets:
    """What programs elsewhere show to be let in."""

    webhook_token: str = field(repr=False)
    node_keys: Sequence[bytes] = field(default=(), repr=False)


def _why_not(node: str, secrets: Secrets) -> str:
    if not secrets.node_keys:
        return (
            "no node may report here: the daemon has no key for their tokens; name its file with daemon.node_key_file"
        )
    return f"the token is missing, or is not that of {node[:80]}"


def public_app(
    service: Service, intake: Intake, reports: NodeReports, secrets: Secrets, registry: CollectorRegistry
) -> Starlette:
    """Return what Alertmanager and nodes post to, browsers read and Prometheus scrapes."""

    async def alertmanager(request: Request) -> Response:
        if not webhook.is_authorized(request.headers.get("authorization", ""), secrets.webhook_token):
            log.warning("a post without the webhook's token was refused, from %s", client_of(request))
            return unauthorized("the webhook's token is missing or wrong")

        def take(ask: Ask) -> object:
            taken = intake.take(webhook.read_post(ask.body))
            return {"incidents": [each.incident.id for each in taken]}

        return await answering(take, webhook.MOST_BYTES)(request)

    def from_node(
        take: Callable[[str, bytes], object], most_bytes: int = MOST_REPORT_BYTES
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            node = str(request.path_params["node"])
            if not speaks_for(node, request.headers.get("authorization", ""), secrets.node_keys):
                log.warning(
                    "a post for %r without that node's token was refused, from %s", node[:80], client_of(request)
                )
                return unauthorized(_why_not(node, secrets))
            if not await run_in_threadpool(reports.is_known, node):
                return error_answer(f"there is no node {node} in this fleet", ExitCode.USAGE, HTTPStatus.NOT_FOUND)
            return await answering(lambda ask: take(node, ask.body), most_bytes)(request)

        return answer

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
            Route("/v1/nodes/{node}/events", from_node(reports.events), methods=["POST"]),
            Route("/v1/nodes/{node}/health", from_node(reports.health), methods=["POST"]),
            Route(
                "/v1/nodes/{node}/fingerprint",
                from_node(reports.fingerprint, MOST_FINGERPRINT_BYTES),
                methods=["POST"],
            ),
            Route("/runbooks/{id}", runbook),
            Route("/metrics", metrics),
            Route("/healthz", healthz),
        ],
        exception_handlers={HTTPException: http_error, Exception: mistake},
    )
