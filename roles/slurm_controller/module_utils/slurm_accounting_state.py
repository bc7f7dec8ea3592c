"""The accounting as the inventory declares it, and as sacctmgr lists it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Ansible ships this file with the module under ansible.module_utils, where only a relative import finds its neighbour.
from .slurm_accounting_fields import (  # noqa: TID252
    ACCOUNT_FIELDS,
    QOS_FIELDS,
    Field,
    canonical,
    field_named,
)
from .slurm_accounting_plan import Account, Busy, State, User  # noqa: TID252

QOS_LIST = ("show", "qos", f"format=Name,{','.join(each.name for each in QOS_FIELDS)}")
TRES_LIST = ("show", "tres", "format=Type,Name")
CLUSTER_LIST = ("show", "cluster", "format=Cluster")
ACCOUNT_LIST = ("show", "account", "format=Account,Organization,Description")

_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")


def association_list(cluster: str) -> tuple[str, ...]:
    """Return the arguments that list one cluster's associations, with the limits that were set on each itself."""
    columns = ",".join(["Account", "ParentName", "User", "Partition", *(each.name for each in ACCOUNT_FIELDS)])
    return ("show", "associations", "where", f"cluster={cluster}", "WOPLimits", f"format={columns}")


def user_list(cluster: str) -> tuple[str, ...]:
    """Return the arguments that list the default accounts of one cluster's users."""
    return ("show", "user", "where", f"cluster={cluster}", "withassoc", "format=User,DefaultAccount")


def declared_state(data: Mapping[str, Any]) -> State:
    """Return what `qos`, `accounts` and `users` declare; ValueError says by name what cannot be."""
    qos = {_named(name, "QOS"): _values(limits, QOS_FIELDS, f"QOS {name}") for name, limits in data["qos"].items()}
    accounts = {_named(name, "account"): _account(name, given) for name, given in data["accounts"].items()}
    users = {}
    for name, given in data["users"].items():
        user = User(given["default_account"], frozenset(given["accounts"]))
        unknown = sorted((user.accounts | {user.default_account}) - set(accounts))
        if unknown:
            raise ValueError(f"user {name} is in {', '.join(unknown)}, which is no declared account")
        users[_named(name, "user")] = user
    return State(qos, accounts, users)


def found_state(qos: str, accounts: str, associations: str, users: str) -> State:
    """Return what sacctmgr lists, but for a user's associations with one partition: nothing here declares such."""
    texts = {row[0]: (row[2], row[1]) for row in _rows(accounts, 3)}
    defaults = {row[0]: row[1] for row in _rows(users, 2)}
    found_accounts: dict[str, Account] = {}
    members: dict[str, set[str]] = {}
    for account, parent, user, partition, *values in _rows(associations, 4 + len(ACCOUNT_FIELDS)):
        if user and not partition:
            members.setdefault(user, set()).add(account)
        elif not user:
            description, organization = texts.get(account, ("", ""))
            found_accounts[account] = Account(parent, description, organization, _listed(values, ACCOUNT_FIELDS))
    return State(
        qos={name: _listed(values, QOS_FIELDS) for name, *values in _rows(qos, 1 + len(QOS_FIELDS))},
        accounts=found_accounts,
        users={name: User(defaults.get(name, ""), frozenset(of)) for name, of in members.items()},
    )


def known_tres(listing: str) -> frozenset[str]:
    """Return the names of the TRES that the database knows, such as `cpu` and `gres/gpu:h100`."""
    return frozenset("/".join(filter(None, row)).lower() for row in _rows(listing, 2))


def busy_state(listing: str) -> Busy:
    """Return who has jobs, from squeue's `%a|%u|%q`."""
    rows = _rows(listing, 3)
    return Busy(*(frozenset(row[column] for row in rows) for column in range(3)))


def _account(name: str, given: Mapping[str, Any]) -> Account:
    limits = dict(given.get("limits") or {})
    if given.get("qos"):
        limits["QOS"] = ",".join(given["qos"])
    if given.get("default_qos"):
        limits["DefaultQOS"] = given["default_qos"]
    return Account(
        parent=_named(given.get("parent") or "root", "account"),
        description=_text(given.get("description")),
        organization=_text(given.get("organization")),
        values=_values(limits, ACCOUNT_FIELDS, f"account {name}"),
    )


def _values(limits: Mapping[str, Any], fields: tuple[Field, ...], what: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, text in limits.items():
        try:
            field = field_named(name, fields)
            values[field.name] = canonical(field, str(text))
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from None
    return values


def _named(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of the {what}: use lower-case letters, digits, _, . and -")
    return name


def _text(text: str | None) -> str | None:
    """Return a text as Slurm keeps it: in lower case; without what sacctmgr or its listing take as punctuation."""
    if text is None:
        return None
    return re.sub(r"[\"'|\s\x00-\x1f\x7f]+", " ", text).strip().lower()


def _rows(listing: str, columns: int) -> list[list[str]]:
    """Return the rows of a `--parsable2` listing; ValueError where one has other columns than were asked for."""
    rows = [line.split("|", columns - 1) for line in listing.splitlines() if line]
    for row in rows:
        if len(row) != columns:
            raise ValueError(f"sacctmgr listed {len(row)} columns and not {columns}: {'|'.join(row)}")
    return rows


def _listed(values: list[str], fields: tuple[Field, ...]) -> dict[str, str]:
    found = {field.name: canonical(field, text) for field, text in zip(fields, values, strict=True)}
    return {field.name: found[field.name] for field in fields if found[field.name] != field.unset}
