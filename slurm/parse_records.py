"""Readers of what Slurm keeps beside nodes and jobs: partitions, reservations, fair shares.

`scontrol -o` writes a record a line, as words `Key=value`; no name in these records may have a blank. What cannot be
read is handed back, never dropped.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from fleetward.slurm import parse
from fleetward.slurm.answers import Partition, Reservation, Share

SHARE_FIELDS = ("Account", "User", "RawShares", "NormShares", "RawUsage", "EffectvUsage", "FairShare")
"""Fields of `sshare -P -o`."""
DELIMITER = "|"
"""Between the fields of sshare, which has no option for another; neither accounts nor users may have it in a name."""

T = TypeVar("T")
Fields = Mapping[str, str]

_FIELD = re.compile(r"(?:^|(?<= ))([A-Z][A-Za-z]*)=(\S*)")
_EVERYBODY = "ALL"


def partitions(text: str) -> tuple[tuple[Partition, ...], tuple[str, ...]]:
    """Read `scontrol -o --all show partitions`: the partitions by name, and the lines that are none."""
    found, unread = _all(text, _fields, _partition)
    return tuple(sorted(found, key=lambda one: one.name)), unread


def reservations(text: str) -> tuple[tuple[Reservation, ...], tuple[str, ...]]:
    """Read `scontrol -o --all show reservations`, times as seconds; there may be none."""
    if text.strip() == "No reservations in the system":
        return (), ()
    found, unread = _all(text, _fields, _reservation)
    return tuple(sorted(found, key=lambda one: one.name)), unread


def shares(text: str) -> tuple[tuple[Share, ...], tuple[str, ...]]:
    """Read sshare's answer, SHARE_FIELDS in their order; accounts come before the users in them."""
    return _all(text, _columns, _share)


def _partition(fields: Fields) -> Partition:
    most_nodes = fields["MaxNodes"]
    return Partition(
        name=fields["PartitionName"],
        state=fields["State"],
        default=fields["Default"] == "YES",
        nodes=parse.hosts(fields["Nodes"]),
        gpus=parse.gpus_of_tres(fields.get("TRES", "")),
        time_limit=parse.length(fields["MaxTime"]),
        default_time=parse.length(fields["DefaultTime"].replace("NONE", "")),
        least_nodes=int(fields["MinNodes"]),
        most_nodes=None if most_nodes == "UNLIMITED" else int(most_nodes),
        accounts=_names(fields, "AllowAccounts"),
        accounts_denied=_names(fields, "DenyAccounts"),
        allowed_qos=_names(fields, "AllowQos"),
        qos_denied=_names(fields, "DenyQos"),
        qos=_word(fields, "QoS"),
        tier=int(fields["PriorityTier"]),
        preemption=fields["PreemptMode"],
        reservation_only=fields["ReqResv"] == "YES",
    )


def _reservation(fields: Fields) -> Reservation:
    return Reservation(
        name=fields["ReservationName"],
        active=fields["State"] == "ACTIVE",
        starts_at=parse.moment(fields["StartTime"]),
        ends_at=parse.moment(fields["EndTime"]),
        nodes=parse.hosts(fields["Nodes"]),
        flags=_names(fields, "Flags"),
        users=_names(fields, "Users"),
        accounts=_names(fields, "Accounts"),
        partition=_word(fields, "PartitionName"),
    )


def _share(fields: Fields) -> Share:
    number, factor = fields["RawShares"], fields["FairShare"]
    return Share(
        account=fields["Account"].strip(),
        user=fields["User"].strip(),
        shares=int(number) if number.isdigit() else None,
        normalized_shares=float(fields["NormShares"] or 0),
        usage=int(fields["RawUsage"]),
        effective_usage=float(fields["EffectvUsage"] or 0),
        fair_share=float(factor) if factor else None,
    )


def _fields(line: str) -> Fields:
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(line):
        fields.setdefault(name, value)  # free text comes last: it changes nothing that was said before
    return fields


def _columns(line: str) -> Fields:
    return dict(zip(SHARE_FIELDS, line.split(DELIMITER), strict=True))


def _names(fields: Fields, name: str) -> tuple[str, ...]:
    text = fields.get(name, "")
    return () if parse.is_none(text) or text == _EVERYBODY else tuple(text.split(","))


def _word(fields: Fields, name: str) -> str:
    text = fields.get(name, "")
    return "" if parse.is_none(text) else text


def _all(
    text: str, split: Callable[[str], Fields], read: Callable[[Fields], T]
) -> tuple[tuple[T, ...], tuple[str, ...]]:
    found: list[T] = []
    unread: list[str] = []
    for line in _lines(text):
        try:
            found.append(read(split(line)))
        except (KeyError, ValueError):
            unread.append(line)
    return tuple(found), tuple(unread)


def _lines(text: str) -> Iterator[str]:
    return (line for line in text.split("\n") if line.strip())
