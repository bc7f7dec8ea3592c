"""The backend that runs Slurm's own programs, with text formats and explicit field lists.

`--json` of a queue of 20,000 jobs took 13 s and 3 GB where squeue with a list of fields took 0.2 s (26.05).
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fleetward.model.errors import UsageError
from fleetward.model.host_ranges import fold
from fleetward.slurm import parse_diagnostics, parse_listings, parse_records
from fleetward.slurm.answers import (
    Controller,
    Diagnostics,
    Estimate,
    Job,
    JobDetail,
    Listing,
    Node,
    Partition,
    Reservation,
    Submitted,
)
from fleetward.slurm.client import JobUpdate, SlurmOutOfReachError, SlurmRefusedError
from fleetward.slurm.command_line_records import RecordPrograms
from fleetward.slurm.programs import (
    checked_job_id,
    checked_node,
    checked_reason,
    checked_word,
    is_array,
    no_such_job,
    program_error,
)

_PING = re.compile(r"Slurmctld\([^)]*\) at (?P<host>\S+) is (?P<state>UP|DOWN)")


class CommandLineClient(RecordPrograms):
    """Slurm through squeue, scontrol, sbatch, scancel, sacct, sacctmgr, sshare, sprio and sdiag."""

    backend = "command-line"

    def nodes(self) -> Listing[Node]:
        """Return every node, by name."""
        answer = self.ask("scontrol", "--all", "-o", "-d", "show", "nodes")
        found, unread = parse_listings.nodes(answer)
        return Listing(found, self.backend, unread)

    def jobs(self) -> Listing[Job]:
        """Return the jobs that slurmctld knows, those that ended a short while ago too."""
        found, unread = parse_listings.jobs(*self._queue(parse_listings.JOB_FIELDS))
        return Listing(found, self.backend, unread)

    def partitions(self) -> Listing[Partition]:
        """Return every partition, the hidden ones too, by name."""
        found, unread = parse_records.partitions(self.ask("scontrol", "--all", "-o", "show", "partitions"))
        return Listing(found, self.backend, unread)

    def reservations(self) -> Listing[Reservation]:
        """Return the reservations that have not ended, by name."""
        found, unread = parse_records.reservations(self.ask("scontrol", "--all", "-o", "show", "reservations"))
        return Listing(found, self.backend, unread)

    def diagnostics(self) -> Diagnostics:
        """Return what slurmctld says of itself."""
        try:
            return parse_diagnostics.diagnostics(self.ask("sdiag"))
        except ValueError as error:
            raise SlurmRefusedError(f"sdiag: {error}") from error

    def job(self, job_id: str) -> JobDetail:
        """Return one job, the GPUs it holds, and what only its own page tells."""
        answer, separator = self._queue(parse_listings.DETAIL_FIELDS, "--jobs", checked_job_id(job_id))
        found, _ = parse_listings.job(answer, separator)
        if not found:
            raise no_such_job(job_id)
        if len(found) > 1:
            raise is_array(job_id)
        detail = found[0]
        if not detail.job.nodes:
            return detail
        shown = self.ask("scontrol", "-d", "show", "job", str(detail.job.number))
        return replace(detail, gpus=parse_listings.job_gpus(shown, detail.job.name))

    def submit(self, script: str, working_directory: Path) -> Submitted:
        """Hand a batch script in; the directory is one of the nodes.

        After SlurmOutOfReachError the job may be in the queue all the same: look before a second try.
        """
        done = self.run("sbatch", "--parsable", f"--chdir={working_directory}", stdin=script)
        if done.exit_code:
            raise program_error("sbatch", done)
        return Submitted(done.stdout.strip().partition(";")[0], self.backend)

    def estimate(self, script: str, working_directory: Path) -> Estimate:
        """Return when a batch script would start, and hand nothing in; SlurmRefusedError says why it would not."""
        done = self.run("sbatch", "--test-only", f"--chdir={working_directory}", stdin=script, stamps=True)
        if done.exit_code:
            raise program_error("sbatch", done)
        return parse_listings.estimate(done.stderr)

    def cancel(self, job_id: str) -> None:
        """Cancel a job; nothing happens to one that has ended."""
        # scancel says nothing, and exits 0, where there is no such job.
        self._queue(("JobID",), "--jobs", checked_job_id(job_id))
        self.ask("scancel", job_id)

    def requeue(self, job_id: str) -> None:
        """Put a running or ended batch job back into the queue."""
        self.ask("scontrol", "requeue", checked_job_id(job_id))

    def start_now(self, job_id: str) -> None:
        """Lift the delay of a waiting job: slurmctld holds one that was requeued back for two minutes."""
        self.ask("scontrol", "update", f"jobid={checked_job_id(job_id)}", "starttime=now")

    def hold(self, job_id: str) -> None:
        """Keep a waiting job from starting until it is released."""
        self.ask("scontrol", "hold", checked_job_id(job_id))

    def release(self, job_id: str) -> None:
        """Let a held job start."""
        self.ask("scontrol", "release", checked_job_id(job_id))

    def update_job(self, job_id: str, changes: JobUpdate) -> None:
        """Change what a job has asked for; an ordinary user may only make it less."""
        words = {
            "timelimit": None if changes.time_limit is None else -(-changes.time_limit // 60),
            "partition": changes.partition,
            "qos": changes.qos,
            "account": changes.account,
            "nice": changes.nice,
        }
        asked = [f"{name}={checked_word(name, value)}" for name, value in words.items() if value is not None]
        if changes.excluded is not None:
            asked.append(f"excnodelist={','.join(map(checked_node, changes.excluded))}")
        if not asked:
            raise UsageError("nothing is to be changed of the job")
        self.ask("scontrol", "update", f"jobid={checked_job_id(job_id)}", *asked)

    def drain(self, node: str, reason: str) -> None:
        """Take a node out of service once its jobs have ended; replaces the reason that it has."""
        self.ask(
            "scontrol", "update", f"nodename={checked_node(node)}", "state=drain", f"reason={checked_reason(reason)}"
        )

    def resume(self, node: str) -> None:
        """Put a drained or DOWN node back into service; SlurmRefusedError where it is neither."""
        self.ask("scontrol", "update", f"nodename={checked_node(node)}", "state=resume")

    def reboot(self, node: str, reason: str) -> None:
        """Have Slurm reboot a node once its jobs have ended; it takes no new ones until it is back."""
        name, why = checked_node(node), f"reason={checked_reason(reason)}"
        self.ask("scontrol", "reboot", "ASAP", "nextstate=RESUME", why, name)

    def reserve(self, name: str, nodes: Sequence[str], user: str) -> None:
        """Keep exactly these nodes for a user from now on without an end; what runs there goes on to its end."""
        kept = "nodes=" + fold(checked_node(node) for node in nodes)
        called = f"reservationname={checked_word('name of a reservation', name)}"
        if any(one.name == name for one in self.reservations().items):
            self.ask("scontrol", "update", called, kept)
            return
        always = ("starttime=now", "duration=infinite", "flags=ignore_jobs")
        self.ask("scontrol", "create", called, kept, f"users={checked_word('user', user)}", *always)

    def unreserve(self, name: str) -> None:
        """Give a reservation's nodes back; SlurmRefusedError where there is none, or jobs of it still run."""
        self.ask("scontrol", "delete", f"reservationname={checked_word('name of a reservation', name)}")

    def ping(self) -> tuple[Controller, ...]:
        """Return the controllers, at least one of which answers."""
        done = self.run("scontrol", "ping")
        found = tuple(Controller(match["host"], match["state"] == "UP") for match in _PING.finditer(done.stdout))
        if not any(controller.answers for controller in found):
            where = ", ".join(controller.host for controller in found) or done.stderr.strip()
            raise SlurmOutOfReachError(f"slurmctld does not answer ({where}); is it running, is its host reachable?")
        return found

    def _queue(self, fields: tuple[str, ...], *selection: str) -> tuple[str, str]:
        """Return squeue's answer, and the separator that ends each field of it."""
        separator = self.separator()
        asked = ",".join(f"{field}:0{separator}" for field in fields)
        return self.ask("squeue", "--all", "--noheader", "--states=all", *selection, f"--Format={asked}"), separator
