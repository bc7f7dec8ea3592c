"""Burn-ins: which nodes are tested, by which jobs, and what came of it.

Each method is one transaction. A job is on record, under a name that no other has, before Slurm is asked for it: after
a crash its name tells whether it was.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fleetward.model.burn_ins import BurnIn, BurnInJob, BurnInState, NewJob, NodeOutcome
from fleetward.model.errors import ConflictError, UsageError
from fleetward.store import burn_in_rows, certificates, words
from fleetward.store.database import Connection, Database, the_row

LONGEST_LOG = 1024 * 1024
"""Characters kept of a job's log: the last ones."""
_BEGINNINGS = 0x666C7169


@dataclass(frozen=True, slots=True)
class NewBurnIn:
    """A burn-in that is to begin."""

    nodes: Mapping[str, str]
    """The hardware profile of each."""
    workloads: Sequence[str]
    seconds: float
    made_by: str
    lifts: Mapping[str, str] = field(default_factory=dict)
    """Whose claim is lifted while a node is tested, by the node."""


class BurnIns:
    """The record of burn-ins."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    def begin(self, new: NewBurnIn) -> BurnIn:
        """Record a burn-in; ConflictError where another that has not ended has one of its nodes."""
        with self._database.transaction() as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", [_BEGINNINGS])
            row = connection.execute(
                "select n.node, b.id from burn_in_nodes n join burn_ins b on b.id = n.burn_in"
                " where b.state = 'running' and n.node = any(%s) order by n.node limit 1",
                [[words.key(node) for node in new.nodes]],
            ).fetchone()
            if row is not None:
                raise ConflictError(f"{row['node']} is being burned in by q{row['id']}: wait for its end, or abort it.")
            made = the_row(
                connection.execute(
                    "insert into burn_ins (workloads, seconds, made_by) values (%s, %s, %s) returning id",
                    [words.json([*new.workloads]), new.seconds, words.text(new.made_by)],
                )
            )
            with connection.cursor() as cursor:
                cursor.executemany(
                    "insert into burn_in_nodes (burn_in, node, profile, lifts) values (%s, %s, %s, %s)",
                    [
                        [made["id"], words.key(node), words.text(profile), words.text(new.lifts.get(node, ""))]
                        for node, profile in new.nodes.items()
                    ],
                )
            return burn_in_rows.get(connection, made["id"])

    def get(self, burn_in: int) -> BurnIn:
        """Return a burn-in, its jobs without their logs; UsageError where there is none."""
        with self._database.transaction() as connection:
            return burn_in_rows.get(connection, burn_in)

    def with_logs(self, burn_in: int) -> BurnIn:
        """Return a burn-in, its jobs with their logs; UsageError where there is none."""
        with self._database.transaction() as connection:
            return burn_in_rows.get(connection, burn_in, logs=True)

    def of(self, made_by: str) -> BurnIn | None:
        """Return the newest that was begun by this name; None where there is none."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "select * from burn_ins where made_by = %s order by id desc limit 1", [words.text(made_by)]
            )
            return next(iter(burn_in_rows.whole(connection, rows)), None)

    def log(self, burn_in: int, job: int) -> BurnInJob:
        """Return one of its jobs with its log; UsageError where it has none of this number."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "select * from burn_in_jobs where id = %s and burn_in = %s", [job, burn_in]
            ).fetchone()
        if row is None:
            raise UsageError(f"q{burn_in} has no job {job}: `fleetward qualify status q{burn_in}` lists them.")
        return burn_in_rows.job(row)

    def list(self, limit: int = 100) -> tuple[BurnIn, ...]:
        """Return the latest, latest first."""
        with self._database.transaction() as connection:
            rows = connection.execute("select * from burn_ins order by id desc limit %s", [limit])
            return burn_in_rows.whole(connection, rows)

    def going(self) -> tuple[BurnIn, ...]:
        """Return those that are to be carried on or wound up, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute("select * from burn_ins where not wound_up order by id")
            return burn_in_rows.whole(connection, rows)

    def abort(self, burn_in: int, who: str) -> BurnIn:
        """End it: no other job begins, and its nodes get no result. ConflictError where it has ended."""
        with self._database.transaction() as connection:
            self._end(connection, burn_in, BurnInState.ABORTED, f"aborted by {who}")
            return burn_in_rows.get(connection, burn_in)

    # What the daemon writes.

    def plan(self, burn_in: int, jobs: Sequence[NewJob]) -> None:
        """Record jobs that are to be submitted; nothing where it has ended."""
        with self._database.transaction() as connection:
            if burn_in_rows.get(connection, burn_in, lock=True).state.ended:
                return
            with connection.cursor() as cursor:
                cursor.executemany(
                    "insert into burn_in_jobs (burn_in, phase, round, nodes, workloads, token)"
                    " values (%s, %s, %s, %s, %s, %s)",
                    [
                        [burn_in, str(one.phase), one.round, words.json([*one.nodes]), words.json([*one.workloads]),
                         secrets.token_hex(16)]
                        for one in jobs
                    ],
                )  # fmt: skip

    def submitted(self, job: int, slurm_job: str) -> None:
        """Record a job's number in Slurm."""
        with self._database.transaction() as connection:
            connection.execute(
                "update burn_in_jobs set state = 'submitted', slurm_job = %s where id = %s and state = 'planned'",
                [words.text(slurm_job), job],
            )

    def ended(self, job: int, log: str, why: str = "") -> None:
        """Record a job's end with its log; `why` where there is none, or no whole one."""
        with self._database.transaction() as connection:
            connection.execute(
                "update burn_in_jobs set state = 'ended', log = right(%s, %s), why = %s, ended_at = clock_timestamp()"
                " where id = %s and state <> 'ended'",
                [words.text(log), LONGEST_LOG, words.text(why), job],
            )

    def wound_up(self, burn_in: int) -> None:
        """Record that nothing is left to be done of an aborted burn-in."""
        with self._database.transaction() as connection:
            connection.execute("update burn_ins set wound_up = true where id = %s and state = 'aborted'", [burn_in])

    def finish(self, burn_in: int, outcomes: Mapping[str, NodeOutcome]) -> None:
        """Record what came of every node and issue the certificates; one that failed loses the one that it had.

        ConflictError where it has ended.
        """
        with self._database.transaction() as connection:
            self._end(connection, burn_in, BurnInState.DONE, _counted(outcomes))
            for node, found in outcomes.items():
                certificate = None
                if found.outcome == "passed":
                    certificate = certificates.insert(connection, burn_in, node, found)
                elif found.outcome == "failed":
                    certificates.revoke(connection, node, f"it failed in q{burn_in}")
                connection.execute(
                    "update burn_in_nodes set outcome = %s, why = %s, certificate = %s"
                    " where burn_in = %s and node = %s",
                    [found.outcome, words.json([*found.why]), certificate, burn_in, words.key(node)],
                )

    @staticmethod
    def _end(connection: Connection, burn_in: int, state: BurnInState, why: str) -> None:
        now = burn_in_rows.get(connection, burn_in, lock=True)
        if now.state.ended:
            raise ConflictError(f"{now.owner} has ended already: it is {now.state}.")
        connection.execute(
            "update burn_ins set state = %s, why = %s, ended_at = clock_timestamp(), wound_up = %s where id = %s",
            [str(state), words.text(why), state is BurnInState.DONE, burn_in],
        )


def _counted(outcomes: Mapping[str, NodeOutcome]) -> str:
    counted = {kind: sum(one.outcome == kind for one in outcomes.values()) for kind in ("passed", "failed", "unknown")}
    return ", ".join(f"{count} {kind}" for kind, count in counted.items() if count)
