"""Everything that is known of one node or one job, as lines."""

from collections.abc import Callable, Iterable

from fleetward.model.fleet_view import FleetView, GpuView, JobView, NodeView
from fleetward.model.incidents import Incident
from fleetward.printable import length
from fleetward.tui.picture import Picture
from fleetward.tui.states import SEVERITIES, job_look, node_look
from fleetward.tui.text import Line, Span, moment, plain


def node_of(fleet: FleetView | None, name: str) -> NodeView | None:
    """Return a node of a picture."""
    return next((node for node in fleet.nodes if node.name == name), None) if fleet else None


def job_of(fleet: FleetView | None, job: str) -> JobView | None:
    """Return a job of a picture."""
    return next((view for view in fleet.jobs if view.id == job), None) if fleet else None


def node_lines(picture: Picture, name: str) -> list[Line]:
    """Return a node with its GPUs, jobs, claims and incidents."""
    node = node_of(picture.fleet, name)
    if node is None:
        return [((f"{plain(name)} is not in Slurm's list of nodes", ""),)]
    lines = [*node_head(node), *gpu_lines(node.gpus)]
    lines += [
        _fact("CPUs", f"{node.cpus_allocated} of {node.cpus} allocated"),
        _fact("memory", f"{node.memory_allocated} of {node.memory} MiB allocated"),
        _fact("partitions", ", ".join(node.partitions)),
        _fact("rack", node.rack),
        _fact("claims", ", ".join(node.claims) or "none"),
    ]
    lines += [_incident(incident) for incident in picture.incidents if incident.id in node.incidents]
    jobs = (job_of(picture.fleet, job) for job in node.jobs)
    lines += [_job(job) for job in jobs if job is not None]
    return lines


def node_head(node: NodeView) -> list[Line]:
    """Return a node's name, state and reason."""
    look = node_look(node.state)
    about: list[Span] = [(plain(node.name), "bold"), (f"  {look.glyph} {plain(look.word)}", look.style)]
    if node.jobs:
        about.append((f"  jobs {plain(' '.join(node.jobs))}", ""))
    if node.claims:
        about.append((f"  held by {plain(' '.join(node.claims))}", "yellow"))
    if node.incidents:
        about.append((f"  incidents {' '.join(f'i{incident}' for incident in node.incidents)}", "bold red"))
    lines: list[Line] = [tuple(about)]
    if node.reason:
        by = f"  (by {plain(node.reason_by)})" if node.reason_by else ""
        lines.append(((f"reason: {plain(node.reason)}{by}", "yellow"),))
    return lines


def gpu_lines(gpus: Iterable[GpuView]) -> list[Line]:
    """Return a table of GPUs, one column each, eight in a block."""
    gpus = list(gpus)
    lines: list[Line] = []
    for start in range(0, len(gpus), 8):
        block = gpus[start : start + 8]
        lines.append(
            (("GPU       ", "dim"), *((f"{gpu.index:>7}", "bold red" if gpu.up is False else "bold") for gpu in block))
        )
        lines.append(
            (("state     ", "dim"), *((f"{_up(gpu):>7}", "bold red" if gpu.up is False else "") for gpu in block))
        )
        rows: tuple[tuple[str, Callable[[GpuView], str]], ...] = (
            ("busy     %", lambda gpu: _number(gpu.utilization, 100)),
            ("memory   %", lambda gpu: _number(gpu.memory, 100)),
            ("heat     C", lambda gpu: _number(gpu.temperature, 1)),
            ("power    W", lambda gpu: _number(gpu.power, 1)),
            ("job       ", lambda gpu: plain(gpu.job)[:6] or "-"),
        )
        for title, text in rows:
            if any(text(gpu) != "-" for gpu in block):
                lines.append(((title, "dim"), *((f"{text(gpu):>7}", "") for gpu in block)))
    return lines


def job_lines(picture: Picture, job_id: str) -> list[Line]:
    """Return a job with its times and nodes."""
    job = job_of(picture.fleet, job_id)
    if job is None:
        return [((f"Slurm no longer knows job {plain(job_id)}", ""),)]
    look = job_look(job.state)
    return [
        ((f"{plain(job.id)} {plain(job.name)}", "bold"), (f"  {look.glyph} {plain(look.word)}", look.style)),
        _fact("reason", job.reason),
        _fact("user", f"{job.user}, account {job.account}, QOS {job.qos}"),
        _fact("partition", job.partition),
        _fact("nodes", f"{job.node_count}: {' '.join(job.nodes)}"),
        _fact("GPUs", str(job.gpus)),
        _fact("submitted", moment(job.submitted_at)),
        _fact("started", moment(job.started_at)),
        _fact("elapsed", f"{length(job.elapsed)} of {length(job.time_limit)}"),
        _fact("restarts", str(job.restarts)),
    ]


def _fact(name: str, text: str) -> Line:
    return ((f"{name:<11}{plain(text) or '-'}", ""),)


def _incident(incident: Incident) -> Line:
    look = SEVERITIES[incident.severity]
    return ((f"incident   i{incident.id} {look} {plain(incident.alert_name)}: {plain(incident.summary)}", look.style),)


def _job(job: JobView) -> Line:
    look = job_look(job.state)
    return ((f"job        {plain(job.id)} {look} {plain(job.name)} of {plain(job.user)}", look.style),)


def _up(gpu: GpuView) -> str:
    return "?" if gpu.up is None else "up" if gpu.up else "LOST"


def _number(value: float | None, times: float) -> str:
    return "-" if value is None else f"{value * times:.0f}"
