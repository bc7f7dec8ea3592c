"""The one place that takes nodes out of service and gives them back: claims, the breaker, and Slurm's drain.

Slurm has no compare-and-set: each write comes after a look and is followed by another. Where a person was faster,
what the person wrote stays. A drain whose reason is not ours is never cleared and never rewritten.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from fleetward.model.claims import Claim, ClaimClass, OwnedReason, is_change, owned_reason
from fleetward.model.errors import FleetwardError, UsageError
from fleetward.model.guardrails import Guardrail
from fleetward.runbooks.clock import Clock
from fleetward.slurm.answers import Node
from fleetward.slurm.client import SlurmClient, SlurmRefusedError

_PERSON = "p-"
_SLURMS_OWN = ("Not responding", "Node unexpectedly rebooted")
"""Reasons by which slurmctld sets a node DOWN, and which do not keep it from coming back."""
_ON_ITS_WAY = frozenset(
    {"REBOOT_REQUESTED", "REBOOT_ISSUED", "POWER_DOWN", "POWERING_DOWN", "POWERED_DOWN", "POWERING_UP"}
)
"""While a node is rebooted or switched, RESUME would call that off."""


class ClaimStore(Protocol):
    """The durable record of claims; StoreOutOfReachError where the database does not answer."""

    def add(self, node: str, owner: str, kind: ClaimClass, why: str, made_by: str) -> Claim:
        """Record a claim; the open one of this owner on this node where there is one."""

    def release(self, node: str, owner: str, by: str) -> Claim | None:
        """Record that this owner's claim is released; None where there is no open one."""

    def open(self, node: str | None = None) -> tuple[Claim, ...]:
        """Return the claims that are not released, the oldest first."""


class HoldResult(StrEnum):
    """What became of a node that was to be held."""

    DRAINED = "drained"
    ALREADY = "already drained by Fleetward; the claim was added"
    THEIRS = "left as somebody else had taken it out of service; the claim was added"


@dataclass(frozen=True, slots=True)
class Held:
    """A node with a claim on it, and the reason that Slurm shows now."""

    claim: Claim
    result: HoldResult
    reason: str
    reason_by: str


class ReleaseResult(StrEnum):
    """What became of a node after a claim was released."""

    RESUMED = "resumed"
    HELD = "still held"
    THEIRS = "left as somebody else had taken it out of service"
    LATER = "not resumed while it is rebooted or switched off"
    IN_SERVICE = "was in service"
    GONE = "not known to Slurm"


@dataclass(frozen=True, slots=True)
class Released:
    """A node after a claim on it was released, with those that are left and the reason that Slurm shows now."""

    node: str
    result: ReleaseResult
    claims: tuple[Claim, ...]
    reason: str = ""
    reason_by: str = ""


class DriftKind(StrEnum):
    """How Slurm and the claims differ."""

    UNDRAINED = "claimed, and in service"
    UNCLAIMED = "drained by Fleetward, and nobody claims it"


@dataclass(frozen=True, slots=True)
class Drift:
    """A node where Slurm and the claims differ, and what was done about it."""

    node: str
    kind: DriftKind
    done: str


def is_automatic(owner: str) -> bool:
    """Say whether a claim of this owner is Fleetward's own: an incident's or a run's.

    Behind a change stands a person's word, as behind a person's own claim: it was approved with its batches.
    """
    return not owner.startswith(_PERSON) and not is_change(owner)


def held_by_fleetward(nodes: Iterable[Node], claims: Iterable[Claim]) -> frozenset[str]:
    """Return the nodes that Fleetward itself holds: by a claim, or by a drain of ours that outlived its claim."""
    every = {node.name: node for node in nodes}
    claimed = {claim.node for claim in claims if is_automatic(claim.owner)}
    drained = {
        name for name, node in every.items() if is_drained(node) and (own := _ours(node)) and is_automatic(own.owner)
    }
    return frozenset(claimed & every.keys() | drained)


def is_drained(node: Node) -> bool:
    """Say whether the node is drained or draining."""
    return "DRAIN" in node.flags or node.state in {"DRAINED", "DRAINING"}


def is_out(node: Node) -> bool:
    """Say whether the node is drained or DOWN."""
    return is_drained(node) or node.state == "DOWN"


class NodeKeeper:
    """Holds and releases nodes; one call at a time, from any thread."""

    def __init__(self, slurm: SlurmClient, claims: ClaimStore, guardrail: Guardrail, clock: Clock) -> None:
        self._slurm = slurm
        self._claims = claims
        self._guardrail = guardrail
        self._clock = clock
        # Whose claim was the last on a node, and when it was released: a drain of that owner from before is an old one.
        self._given_back: dict[str, tuple[str, datetime]] = {}
        # The breaker counts before it acts: two runs must not both take what is the last place.
        self._lock = threading.Lock()

    def node(self, name: str) -> Node:
        """Return a node as slurmctld sees it now; UsageError where it knows none of this name."""
        return _find(self._slurm.nodes().items, name)

    def claims_on(self, name: str) -> tuple[Claim, ...]:
        """Return the claims on a node that are not released."""
        return self._claims.open(name)

    def holds(self, name: str, owner: str) -> bool:
        """Say whether this owner holds the node: it has its claim and is out of service."""
        return any(claim.owner == owner for claim in self._claims.open(name)) and _is_kept_out(self.node(name))

    def hold(self, node: str, owner: str, kind: ClaimClass, why: str, who: str, *, override: bool = False) -> Held:
        """Claim a node and see to it that it is drained.

        RefusedError where Fleetward itself would hold too many; claims of people and changes, and `override`, are not
        counted against that. Nothing is claimed then, nor where Slurm refuses the drain.
        """
        with self._lock:
            nodes = self._slurm.nodes().items
            found = _find(nodes, node)
            claims = self._claims.open()
            _check_owner(owner, kind)
            is_new = not any(claim.node == node and claim.owner == owner for claim in claims)
            if is_new and is_automatic(owner) and not override:
                self._guardrail.check(node, held_by_fleetward(nodes, claims), len(nodes))
            claim = self._claims.add(node, owner, kind, why, who)
            if _is_kept_out(found):
                result = HoldResult.ALREADY if _ours(found) else HoldResult.THEIRS
                found = self._renamed(found, self._claims.open(node))
                return Held(claim, result, found.reason, found.reason_by)
            try:
                self._slurm.drain(node, _reason(claim))
            except SlurmRefusedError:
                if is_new:
                    self._claims.release(node, owner, who)
                raise
            after = self.node(node)
            if not is_out(after):
                raise FleetwardError(f"{node}: Slurm took the drain, and shows the node as {after.state} all the same")
            result = HoldResult.DRAINED if _ours(after) else HoldResult.THEIRS
            return Held(claim, result, after.reason, after.reason_by)

    def release(self, node: str, owner: str, who: str) -> Released:
        """Release a claim, and resume the node where no claim is left and its drain is ours."""
        with self._lock:
            nodes = self._slurm.nodes().items
            self._claims.release(node, owner, who)
            left = self._claims.open(node)
            found = next((each for each in nodes if each.name == node), None)
            if found is None:
                return Released(node, ReleaseResult.GONE, left)
            if left:
                found = self._renamed(found, left)
                return Released(node, ReleaseResult.HELD, left, found.reason, found.reason_by)
            self._given_back[node] = (owner, self._clock.now())
            return self._resume(found)

    def reconcile(self, nodes: Iterable[Node]) -> list[Drift]:
        """Bring Slurm and the claims together again where they differ, as after a controller's crash.

        `nodes` may be some seconds old: a node that seems to differ is looked at again before anything is done.
        A drain of ours that nobody claims is undone only where this keeper gave the node back after it was set;
        else it is only told, since it may be all that is left of a record that was lost.
        """
        claimed = {claim.node for claim in self._claims.open()}
        suspects = {node.name for node in nodes if _differs(node, node.name in claimed)}
        if not suspects:
            return []
        with self._lock:
            now = {node.name: node for node in self._slurm.nodes().items}
            return [drift for name in sorted(suspects & now.keys()) if (drift := self._settle(now[name]))]

    def _settle(self, node: Node) -> Drift | None:
        claims = self._claims.open(node.name)
        if claims and not _is_kept_out(node):
            try:
                self._slurm.drain(node.name, _reason(claims[0]))
            except SlurmRefusedError as error:  # the others shall have their turn
                return Drift(node.name, DriftKind.UNDRAINED, f"not drained again for {claims[0].owner}: {error}")
            return Drift(node.name, DriftKind.UNDRAINED, f"drained again for {claims[0].owner}")
        own = _ours(node)
        if claims or own is None or not is_drained(node):
            return None
        owner, at = self._given_back.get(node.name, ("", None))
        if own.owner == owner and at and node.reason_at and node.reason_at <= at:
            return Drift(node.name, DriftKind.UNCLAIMED, str(self._resume(node).result))
        advice = f"look at the node, then say `fleetward resume {node.name}`"
        return Drift(node.name, DriftKind.UNCLAIMED, f"left drained for {own.owner}; {advice}")

    def _renamed(self, node: Node, claims: tuple[Claim, ...]) -> Node:
        """See to it that a drain of ours names somebody who claims the node, and return the node as it is then."""
        own = _ours(node)
        if own is None or own.owner in {claim.owner for claim in claims}:
            return node
        self._slurm.drain(node.name, _reason(claims[0]))
        return self.node(node.name)

    def _resume(self, node: Node) -> Released:
        result = _what_keeps(node)
        if result is None:
            try:
                self._slurm.resume(node.name)
            except SlurmRefusedError:
                # It says so too where there was nothing to undo but the drain, which is gone then.
                if _what_keeps(self.node(node.name)) is None:
                    raise
            node = self.node(node.name)
            own = is_drained(node) and _ours(node)
            if own:
                raise FleetwardError(f"{node.name}: Slurm took the resume, and still shows `{node.reason}`")
            result = ReleaseResult.THEIRS if is_drained(node) else ReleaseResult.RESUMED
        return Released(node.name, result, (), node.reason, node.reason_by)


def _what_keeps(node: Node) -> ReleaseResult | None:
    """Return why a node that nobody claims is not to be resumed; None where it is."""
    if not is_out(node):
        return ReleaseResult.IN_SERVICE
    if not _ours(node):
        return ReleaseResult.THEIRS
    return ReleaseResult.LATER if _ON_ITS_WAY.intersection(node.flags) else None


def _differs(node: Node, claimed: bool) -> bool:
    return not _is_kept_out(node) if claimed else is_drained(node) and _ours(node) is not None


def _is_kept_out(node: Node) -> bool:
    """Say whether the node stays out of service by itself: drained, or DOWN for another reason than Slurm's own."""
    return is_drained(node) or (node.state == "DOWN" and node.reason != "" and not node.reason.startswith(_SLURMS_OWN))


def _ours(node: Node) -> OwnedReason | None:
    return owned_reason(node.reason)


def _check_owner(owner: str, kind: ClaimClass) -> None:
    if owned_reason(str(OwnedReason(owner, kind, "why"))) is None:
        raise UsageError(f"{owner!r} cannot own a drain: a name has letters, digits, `.`, `_` and `-` only")


def _reason(claim: Claim) -> str:
    return str(OwnedReason(claim.owner, claim.kind, claim.why))


def _find(nodes: Iterable[Node], name: str) -> Node:
    found = next((node for node in nodes if node.name == name), None)
    if found is None:
        raise UsageError(f"Slurm knows no node {name!r}; `fleetward nodes` lists those that it knows")
    return found
