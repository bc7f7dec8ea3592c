"""Slurm's reasons for a job that waits: what each means, and who can change it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Who(StrEnum):
    """Who can have it start."""

    TIME = "time"
    """Nobody needs to: it comes up by itself."""
    OWNER = "owner"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Reason:
    """What one of Slurm's reasons means."""

    sentence: str
    who: Who
    advice: str = ""


_LESS = "ask for less, or wait until jobs of yours have ended"
_TIME, _OWNER, _OPERATOR = Who.TIME, Who.OWNER, Who.OPERATOR

REASONS: Mapping[str, Reason] = {
    "Resources": Reason("it is next, and waits for nodes to become free", _TIME),
    "Priority": Reason("jobs of higher priority are before it", _TIME),
    "None": Reason("Slurm has not looked at it yet", _TIME),
    "BeginTime": Reason("it may not start yet; after a requeue Slurm holds it back for two minutes", _TIME),
    "Dependency": Reason("it waits for other jobs", _TIME),
    "DependencyNeverSatisfied": Reason(
        "the job that it waits for ended otherwise: it will never start", _OWNER, "cancel it and submit it anew"
    ),
    "JobHeldUser": Reason("it is held", _OWNER, "release it: scontrol release"),
    "JobHeldAdmin": Reason("an operator holds it", _OPERATOR, "ask who runs the cluster"),
    "JobHoldMaxRequeue": Reason(
        "it was requeued so often that Slurm holds it", _OWNER, "see how its attempts ended, then release it"
    ),
    "ReqNodeNotAvail": Reason("a node that it wants is not in service", _OPERATOR),
    "NodeDown": Reason("a node that it wants is down", _OPERATOR),
    "PartitionDown": Reason("its partition starts no jobs", _OPERATOR, "use another partition"),
    "PartitionInactive": Reason("its partition is inactive", _OPERATOR, "use another partition"),
    "PartitionTimeLimit": Reason("it asks for more time than its partition allows", _OWNER, "lower its time limit"),
    "PartitionNodeLimit": Reason("it asks for more nodes than its partition has or allows", _OWNER, "ask for fewer"),
    "PartitionConfig": Reason("its partition cannot take it as it is", _OWNER, "use another partition"),
    "BadConstraints": Reason("no node can ever have what it asks for", _OWNER, "change what it asks for"),
    "Reservation": Reason("it waits for its reservation", _TIME),
    "ReservationDeleted": Reason("its reservation is gone", _OWNER, "submit it without"),
    "Licenses": Reason("it waits for a licence", _TIME),
    "JobArrayTaskLimit": Reason("as many tasks of its array run as it allows itself", _TIME),
    "InvalidAccount": Reason("its account is not valid any more", _OWNER, "submit it with another account"),
    "InvalidQOS": Reason("its QOS is not valid any more", _OWNER, "submit it with another QOS"),
    "AccountNotAllowed": Reason("its partition does not take its account", _OWNER, "use another partition"),
    "QOSNotAllowed": Reason("its partition does not take its QOS", _OWNER, "use another partition"),
    "QOSJobLimit": Reason("as many jobs of its QOS run as may", _TIME, _LESS),
    "Prolog": Reason("its prolog runs", _TIME),
    "Cleaning": Reason("its last attempt is still being cleaned up", _TIME),
    "SystemFailure": Reason("Slurm failed inside", _OPERATOR, "ask who runs the cluster"),
}
_BEGINNINGS: Mapping[str, Reason] = {
    "launch failed requeued held": Reason(
        "it could not be started and is held", _OPERATOR, "ask who runs the cluster: its prolog failed"
    ),
    "QOSMax": Reason("it asks for more than its QOS allows one job or one user", _OWNER, _LESS),
    "QOSGrp": Reason("all jobs of its QOS together have as much as they may", _TIME, _LESS),
    "QOS": Reason("a limit of its QOS holds it back", _OWNER, _LESS),
    "AssocMax": Reason("it asks for more than its account allows one job or one user", _OWNER, _LESS),
    "AssocGrp": Reason("all jobs of its account together have as much as they may", _TIME, _LESS),
    "Assoc": Reason("a limit of its account holds it back", _OWNER, _LESS),
    "MaxMemPerLimit": Reason("it asks for more memory than a job may", _OWNER, "ask for less memory"),
    "BurstBuffer": Reason("it waits for its burst buffer", _TIME),
    "Nodes required for job are DOWN": Reason(
        "the nodes that it could use are down, drained, or kept for others", _OPERATOR, "see which: fleetward nodes"
    ),
}
"""For reasons that come with more words; the longest beginning that fits counts."""


def reason_of(words: str) -> Reason:
    """Return what a reason means; one that is not known here is told as it is."""
    short = words.partition(",")[0].strip()
    found = REASONS.get(short)
    if found is not None:
        return found
    fitting = [beginning for beginning in _BEGINNINGS if words.startswith(beginning)]
    return _BEGINNINGS[max(fitting, key=len)] if fitting else Reason(f"Slurm says {short!r}", Who.OPERATOR)
