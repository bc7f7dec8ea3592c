"""Burn-ins over HTTP: what the daemon answers on its unix socket."""

from fleetward.server.answering import Ask, BurnInBody, CloseBody, EmptyBody, Handler
from fleetward.server.burn_ins import BurnInService
from fleetward.server.host_lists import expanded


def burn_in_routes(burn_ins: BurnInService) -> tuple[tuple[str, str, Handler], ...]:
    """Return method, path and handler of each request."""

    def start(ask: Ask) -> object:
        body = ask.read(BurnInBody)
        return burn_ins.start(expanded(body.nodes), body.workloads, body.seconds, ask.who)

    def abort(ask: Ask) -> object:
        ask.read(EmptyBody)
        return burn_ins.abort(ask.number("id"), ask.who)

    def clear(ask: Ask) -> object:
        return burn_ins.clear(ask.path["node"], ask.read(CloseBody).why, ask.who)

    return (
        ("GET", "/v1/burn-ins", lambda ask: burn_ins.latest(ask.count("limit", 50))),
        ("POST", "/v1/burn-ins", start),
        ("GET", "/v1/burn-ins/{id}", lambda ask: burn_ins.show(ask.number("id"))),
        ("GET", "/v1/burn-ins/{id}/jobs/{job}", lambda ask: burn_ins.log(ask.number("id"), ask.number("job"))),
        ("POST", "/v1/burn-ins/{id}/abort", abort),
        ("GET", "/v1/standings", lambda ask: burn_ins.standings.all()),
        ("GET", "/v1/standings/{node}", lambda ask: burn_ins.standings.of(ask.path["node"])),
        ("POST", "/v1/nodes/{node}/clear", clear),
    )
