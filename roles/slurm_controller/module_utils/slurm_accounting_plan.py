"""What to do with sacctmgr so that QOS, accounts and users become as declared: a pure function of both states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# Ansible ships this file with the module under ansible.module_utils, where only a relative import finds its neighbour.
from .slurm_accounting_fields import (  # noqa: TID252
    ACCOUNT_FIELDS,
    QOS_FIELDS,
    Field,
    Kind,
    setting,
    tres,
)

KEPT_QOS = "normal"
"""Slurm's own QOS, which associations without any other fall back to."""
ROOT = "root"
"""Slurm's own account, and its own user."""
KEPT_USERS = frozenset({ROOT, "fleetward"})
"""Users that no inventory declares: Slurm's own, and the daemon's, which the role fleetward_server makes."""

Operation = tuple[str, ...]
"""Arguments for sacctmgr."""
Values = Mapping[str, str]
"""Canonical values by the names of fields; a field that is missing is unset."""


@dataclass(frozen=True)
class Account:
    """An account on one cluster."""

    parent: str
    description: str | None = None
    """Lower case, as Slurm keeps it; None leaves what is there."""
    organization: str | None = None
    values: Values = field(default_factory=dict)


@dataclass(frozen=True)
class User:
    """A user on one cluster."""

    default_account: str
    accounts: frozenset[str]


@dataclass(frozen=True)
class State:
    """QOS, accounts and users of one cluster, declared or found."""

    qos: Mapping[str, Values] = field(default_factory=dict)
    accounts: Mapping[str, Account] = field(default_factory=dict)
    users: Mapping[str, User] = field(default_factory=dict)


@dataclass(frozen=True)
class Busy:
    """Who has jobs that run or wait."""

    accounts: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    qos: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Plan:
    """What is to be done, in order, and what is not."""

    operations: tuple[Operation, ...]
    undeclared: tuple[str, ...]
    """What is found, not declared, and left, each with why."""
    deferred: tuple[str, ...]
    """Limits on a TRES that the database learns of when slurmctld has taken up its configuration."""


@dataclass(frozen=True)
class _Change:
    options: tuple[str, ...]
    deferred: tuple[str, ...]


def plan(
    cluster: str,
    declared: State,
    found: State,
    *,
    known_tres: frozenset[str],
    prune: bool = False,
    busy: Busy | None = None,
) -> Plan:
    """Return what turns `found` into `declared`, parents before children and removals last.

    Undeclared entities are removed where `prune` is set and they have no jobs; with `busy` unknown none is. Slurm's own
    are never removed. Raises ValueError where the declared accounts' parents form no tree.
    """
    operations: list[Operation] = []
    deferred: list[str] = []
    operations += [("add", "qos", name) for name in sorted(set(declared.qos) - set(found.qos))]
    for name in sorted(declared.qos):  # all are there now, and may preempt each other
        change = _change(declared.qos[name], found.qos.get(name, {}), QOS_FIELDS, known_tres, f"QOS {name}")
        deferred += change.deferred
        if change.options:
            operations.append(("modify", "qos", "where", f"name={name}", "set", *change.options))
    for name in _parents_first(declared.accounts):
        made, later = _account_operations(cluster, name, declared.accounts[name], found, known_tres)
        operations += made
        deferred += later
    for name in sorted(declared.users):
        operations += _user_operations(cluster, name, declared.users[name], found.users.get(name))
    removals = _removals(cluster, declared, found, busy if prune else None)
    return Plan(tuple(operations + removals.operations), tuple(removals.left), tuple(deferred))


def _change(declared: Values, found: Values, fields: tuple[Field, ...], known: frozenset[str], what: str) -> _Change:
    """Return the options that make the values of one entity as declared."""
    options: list[str] = []
    deferred: list[str] = []
    for each in fields:
        wanted, is_now = declared.get(each.name, each.unset), found.get(each.name, each.unset)
        if wanted == is_now:
            continue
        if each.kind is not Kind.TRES:
            options.append(f"{each.option}={setting(each, wanted)}")
            continue
        wants, has = tres(wanted), tres(is_now)
        unknown = [name for name in wants if name not in known]
        deferred += [f"{each.name} of {what}: the TRES {name} is not known" for name in unknown]
        counts = {name: count for name, count in wants.items() if has.get(name) != count and name in known}
        counts |= {name: -1 for name in has if name not in wants}
        if counts:
            options.append(f"{each.option}={','.join(f'{name}={counts[name]}' for name in sorted(counts))}")
    return _Change(tuple(options), tuple(deferred))


def _account_operations(
    cluster: str, name: str, wanted: Account, found: State, known: frozenset[str]
) -> tuple[list[Operation], tuple[str, ...]]:
    is_now = found.accounts.get(name)
    operations: list[Operation] = []
    if is_now is None:
        operations.append(("add", "account", name, f"cluster={cluster}", f"parent={wanted.parent}"))
        is_now = Account(parent=wanted.parent)
    words = {"Description": (wanted.description, is_now.description)}
    words["Organization"] = (wanted.organization, is_now.organization)
    texts = tuple(f"{option}={text}" for option, (text, old) in words.items() if text is not None and text != old)
    if texts:
        operations.append(("modify", "account", "where", f"name={name}", "set", *texts))
    change = _change(wanted.values, is_now.values, ACCOUNT_FIELDS, known, f"account {name}")
    options = (*((f"parent={wanted.parent}",) if wanted.parent != is_now.parent else ()), *change.options)
    if options:
        where = (f"name={name}", f"cluster={cluster}")
        operations.append(("modify", "account", "where", *where, "set", *options))
    return operations, change.deferred


def _user_operations(cluster: str, name: str, wanted: User, is_now: User | None) -> list[Operation]:
    has = is_now.accounts if is_now else frozenset()
    # The first account that a user gets is the default one.
    missing = sorted(wanted.accounts - has, key=lambda account: (account != wanted.default_account, account))
    operations: list[Operation] = [
        ("add", "user", name, f"account={account}", f"cluster={cluster}") for account in missing
    ]
    default = is_now.default_account if is_now else wanted.default_account
    if default != wanted.default_account:
        where = (f"name={name}", f"cluster={cluster}")
        operations.append(("modify", "user", "where", *where, "set", f"DefaultAccount={wanted.default_account}"))
    return operations


@dataclass
class _Removals:
    """What removes all that is not declared, and what of it is left and why."""

    cluster: str
    busy: Busy | None
    operations: list[Operation] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def spares(self, what: str, has_jobs: bool, holds_others: bool = False) -> bool:
        """Tell whether something stays, and note why."""
        if self.busy is None:
            self.left.append(f"{what} is not declared")
        elif has_jobs or holds_others:
            self.left.append(f"{what} is not declared and {'has jobs' if has_jobs else 'holds what is kept'}")
        return self.busy is None or has_jobs or holds_others

    def remove(self, kind: str, *where: str) -> None:
        """Note what removes something."""
        self.operations.append(("delete", kind, "where", *where))


def _removals(cluster: str, declared: State, found: State, busy: Busy | None) -> _Removals:
    removals = _Removals(cluster, busy)
    has_jobs = busy or Busy()
    kept_in = {ROOT} | _remove_users(removals, declared, found, has_jobs)
    # Where each account stands once all that is declared is done.
    after = dict(found.accounts) | dict(declared.accounts)
    for name in reversed(list(_parents_first(after))):
        spared = name in declared.accounts or name == ROOT
        if spared or removals.spares(f"account {name}", name in has_jobs.accounts, name in kept_in):
            kept_in.add(after[name].parent)
        else:
            removals.remove("account", f"name={name}", f"cluster={cluster}")
    for name in sorted(set(found.qos) - set(declared.qos) - {KEPT_QOS}):
        if not removals.spares(f"QOS {name}", name in has_jobs.qos):
            removals.remove("qos", f"name={name}")
    return removals


def _remove_users(removals: _Removals, declared: State, found: State, has_jobs: Busy) -> set[str]:
    """Note what becomes of users, and return the accounts that hold one who stays without being declared."""
    kept_in: set[str] = set()
    for name in sorted(found.users):
        wanted = declared.users.get(name)
        extra = found.users[name].accounts - (wanted.accounts if wanted else frozenset())
        what = f"user {name} of {', '.join(sorted(extra))}"
        if name in KEPT_USERS or (extra and removals.spares(what, name in has_jobs.users)):
            kept_in |= extra
        elif extra and wanted is None:
            removals.remove("user", f"name={name}", f"cluster={removals.cluster}")
        else:
            for account in sorted(extra):
                removals.remove("user", f"name={name}", f"account={account}", f"cluster={removals.cluster}")
    return kept_in


def _parents_first(accounts: Mapping[str, Account]) -> Iterator[str]:
    """Yield the names of accounts, each after its parent; a parent that is not among them counts as there."""
    done: set[str] = set()
    waiting = sorted(accounts)
    while waiting:
        ready = [name for name in waiting if accounts[name].parent in done or accounts[name].parent not in accounts]
        if not ready:
            raise ValueError(
                f"the accounts {', '.join(waiting)} are each other's parents: one of them must be below root"
            )
        yield from ready
        done |= set(ready)
        waiting = [name for name in waiting if name not in done]
