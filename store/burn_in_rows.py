"""Burn-ins with their nodes and jobs, and certificates, read from their rows."""

from collections.abc import Iterable

from psycopg.rows import DictRow

from fleetward.model.burn_ins import (
    BurnIn,
    BurnInJob,
    BurnInNode,
    BurnInState,
    CertificateRow,
    JobState,
    Phase,
    WorkloadOutcome,
)
from fleetward.model.errors import UsageError
from fleetward.store.database import Connection

_JOB = "id, burn_in, phase, round, nodes, workloads, token, state, slurm_job, why, made_at, ended_at"


def get(connection: Connection, burn_in: int, *, lock: bool = False, logs: bool = False) -> BurnIn:
    """Return a burn-in, its row locked where asked; UsageError where there is none."""
    select = "select * from burn_ins where id = %s"
    found = whole(connection, connection.execute(select + " for no key update" if lock else select, [burn_in]), logs)
    if not found:
        raise UsageError(f"there is no burn-in q{burn_in}: `fleetward qualify list` shows the newest.")
    return found[0]


def whole(connection: Connection, rows: Iterable[DictRow], logs: bool = False) -> tuple[BurnIn, ...]:
    """Return the burn-ins of these rows with nodes and jobs, in their order; logs of jobs only where asked."""
    burn_ins = [*rows]
    nodes: dict[int, list[BurnInNode]] = {row["id"]: [] for row in burn_ins}
    jobs: dict[int, list[BurnInJob]] = {row["id"]: [] for row in burn_ins}
    which = [[*nodes]]
    for row in connection.execute("select * from burn_in_nodes where burn_in = any(%s) order by burn_in, node", which):
        nodes[row["burn_in"]].append(
            BurnInNode(row["node"], row["profile"], row["outcome"], tuple(row["why"]), row["certificate"], row["lifts"])
        )
    columns = f"{_JOB}, log" if logs else f"{_JOB}, '' as log"
    select = f"select {columns} from burn_in_jobs where burn_in = any(%s) order by burn_in, id"  # noqa: S608
    for row in connection.execute(select.encode(), which):
        jobs[row["burn_in"]].append(job(row))
    return tuple(_read(row, tuple(nodes[row["id"]]), tuple(jobs[row["id"]])) for row in burn_ins)


def job(row: DictRow) -> BurnInJob:
    """Read a row of the table burn_in_jobs."""
    return BurnInJob(
        phase=Phase(row["phase"]),
        state=JobState(row["state"]),
        nodes=tuple(row["nodes"]),
        workloads=tuple(row["workloads"]),
        **{name: row[name] for name in ("id", "round", "token", "slurm_job", "why", "made_at", "ended_at", "log")},
    )


def certificate(row: DictRow) -> CertificateRow:
    """Read a row of the table certificates."""
    results = {
        workload: WorkloadOutcome(told["outcome"], told["why"], tuple(told["evidence"]))
        for workload, told in row["results"].items()
    }
    names = ("id", "node", "burn_in", "profile", "fingerprint", "issued_at", "expires_at", "revoked_at", "revoked_why")
    return CertificateRow(results=results, **{name: row[name] for name in names})


def _read(row: DictRow, nodes: tuple[BurnInNode, ...], jobs: tuple[BurnInJob, ...]) -> BurnIn:
    names = ("id", "why", "seconds", "made_by", "made_at", "ended_at")
    return BurnIn(
        state=BurnInState(row["state"]),
        workloads=tuple(row["workloads"]),
        nodes=nodes,
        jobs=jobs,
        **{name: row[name] for name in names},
    )
