"""What slurmdbd and the priority plugin tell, by Slurm's own programs."""

from datetime import datetime

from fleetward.model.errors import UsageError
from fleetward.slurm import parse_accounting, parse_records
from fleetward.slurm.accounting import Association, Attempt, Priority, Qos, Step
from fleetward.slurm.answers import Listing, Share
from fleetward.slurm.client import SlurmRefusedError
from fleetward.slurm.programs import Programs, checked_job_id, is_array


class RecordPrograms(Programs):
    """sacct, sacctmgr, sshare and sprio."""

    backend = "command-line"

    def shares(self) -> Listing[Share]:
        """Return the fair shares of all accounts and users, in the order of the tree."""
        fields = ",".join(parse_records.SHARE_FIELDS)
        found, unread = parse_records.shares(self.ask("sshare", "--all", "--noheader", "--parsable2", "-o", fields))
        return Listing(found, self.backend, unread)

    def attempts(self, job_id: str) -> tuple[Attempt, ...]:
        """Return all that slurmdbd recorded under a job's number, the oldest first; empty where it has nothing yet."""
        separator = self.separator()
        answer = self._sacct(
            separator,
            parse_accounting.ATTEMPT_FIELDS,
            "--allocations",
            "--duplicates",
            f"--jobs={checked_job_id(job_id)}",
        )
        found, unread = parse_accounting.attempts(answer, separator)
        if unread:
            raise SlurmRefusedError(f"sacct's record of job {job_id} cannot be read: {unread[0]!r}")
        own = tuple(record for record in found if record.job_id == job_id)
        if found and not own:
            raise is_array(job_id)
        return own

    def steps(self, job_id: str) -> tuple[Step, ...]:
        """Return the steps of a job's last attempt, in the order in which they began."""
        separator = self.separator()
        answer = self._sacct(separator, parse_accounting.STEP_FIELDS, f"--jobs={checked_job_id(job_id)}")
        found, unread = parse_accounting.steps(answer, separator)
        if unread:
            raise SlurmRefusedError(f"sacct's steps of job {job_id} cannot be read: {unread[0]!r}")
        return tuple(step for step in found if step.job_id == job_id)

    def attempts_between(self, since: datetime, until: datetime) -> Listing[Attempt]:
        """Return the attempts of everybody that ran in this time, those that still run too."""
        if until <= since:
            raise UsageError(f"{since:%Y-%m-%d %H:%M} is not before {until:%Y-%m-%d %H:%M}")
        separator = self.separator()
        span = (f"--starttime=uts{since.timestamp():.0f}", f"--endtime=uts{until.timestamp():.0f}")
        chosen = ("--allocations", "--duplicates", "--allusers", *span)
        answer = self._sacct(separator, parse_accounting.ATTEMPT_FIELDS, *chosen)
        found, unread = parse_accounting.attempts(answer, separator)
        return Listing(tuple(one for one in found if one.started_at is not None), self.backend, unread)

    def qos(self) -> Listing[Qos]:
        """Return every QOS, by name."""
        found, unread = parse_accounting.qos(self._sacctmgr("qos", parse_accounting.QOS_FIELDS))
        return Listing(tuple(sorted(found, key=lambda one: one.name)), self.backend, unread)

    def associations(self) -> Listing[Association]:
        """Return what every account and every user in one may do, in the order of the tree."""
        answer = self._sacctmgr("associations", parse_accounting.ASSOCIATION_FIELDS)
        found, unread = parse_accounting.associations(answer)
        return Listing(found, self.backend, unread)

    def priorities(self) -> Listing[Priority]:
        """Return the parts of the priority of every job that waits for resources, by number."""
        form = parse_accounting.DELIMITER.join((*parse_accounting.PRIORITY_FIELDS, ""))
        found, unread = parse_accounting.priorities(self.ask("sprio", "--noheader", "-o", form))
        return Listing(tuple(sorted(found, key=lambda one: one.number)), self.backend, unread)

    def _sacct(self, separator: str, fields: tuple[str, ...], *chosen: str) -> str:
        form = ("--noheader", "--parsable", f"--delimiter={separator}", f"--format={','.join(fields)}")
        return self.ask("sacct", *form, *chosen)

    def _sacctmgr(self, what: str, fields: tuple[str, ...]) -> str:
        return self.ask("sacctmgr", "--noheader", "--parsable2", "show", what, f"format={','.join(fields)}")
