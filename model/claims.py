"""Claims on nodes, and the drain reason by which Slurm's own tools show whose claim it is.

A drain's reason reads `fleetward:OWNER CLASS: WHY`. Anything else was set by a person or by Slurm, and no program of
ours clears it.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_REASON = re.compile(
    r"fleetward:(?P<owner>[A-Za-z0-9._-]+) (?P<kind>node_problem|user_problem|maintenance): (?P<why>.*)"
)
_CHANGE = re.compile(r"c[1-9][0-9]*")
_BURN_IN = re.compile(r"q[0-9]{1,18}")
_UNFIT = re.compile(r"[^\x20-\x7e]|[\"'\\=\[\]]")
MAX_WHY = 160
"""Characters of the why in a reason; Slurm keeps longer ones, but its listings cut them."""


class ClaimClass(StrEnum):
    """Why a node is held: its own fault, its user's, or planned work."""

    NODE_PROBLEM = "node_problem"
    USER_PROBLEM = "user_problem"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True)
class Claim:
    """A reason to keep a node out of service; the node returns when no claim is left on it."""

    id: int
    node: str
    owner: str
    """An incident (`i12`), a run (`r7`), a change (`c3`), or a person (`p-alice`)."""
    kind: ClaimClass
    why: str
    made_by: str
    made_at: datetime
    released_at: datetime | None = None
    released_by: str = ""


@dataclass(frozen=True, slots=True)
class OwnedReason:
    """A drain's reason that is ours."""

    owner: str
    kind: ClaimClass
    why: str

    @property
    def of_change(self) -> bool:
        """Whether a change holds the node."""
        return is_change(self.owner)

    def __str__(self) -> str:
        """Write it as Slurm shall keep it, without what its key=value syntax or a terminal would mind."""
        why = " ".join(_UNFIT.sub(" ", self.why).split())[:MAX_WHY].strip() or "no reason that Slurm could show"
        return f"fleetward:{self.owner} {self.kind}: {why}"


def is_change(owner: str) -> bool:
    """Say whether a claim's owner is a change, such as `c3`."""
    return _CHANGE.fullmatch(owner) is not None


def is_burn_in(owner: str) -> bool:
    """Say whether a claim's owner is a burn-in, such as `q3`: its node has failed."""
    return _BURN_IN.fullmatch(owner) is not None


def owned_reason(reason: str) -> OwnedReason | None:
    """Read a node's reason; None where it is somebody else's."""
    match = _REASON.fullmatch(reason)
    return OwnedReason(match["owner"], ClaimClass(match["kind"]), match["why"]) if match else None
