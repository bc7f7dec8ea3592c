"""How much Fleetward may take out of service by itself at once."""

from dataclasses import dataclass
from math import floor

from fleetward.model.errors import RefusedError


@dataclass(frozen=True, slots=True)
class Guardrail:
    """At most so many nodes held at once, as a number and as a share of the fleet: the smaller of the two.

    A tenth alone would be 300 nodes of a fleet of 3,000, and none of a fleet of 3: so the number bounds large
    fleets, and one node may always be held.
    """

    absolute: int = 20
    share: float = 0.1

    def allowed(self, nodes: int) -> int:
        """Return how many of a fleet of so many nodes may be held at once."""
        # What is a whole number on paper may fall just short of it as a float: 0.29 * 100 is 28.999999999999996.
        return max(1, min(self.absolute, floor(self.share * nodes + 1e-9)))

    def check(self, node: str, held: frozenset[str], nodes: int) -> None:
        """Raise RefusedError where one more node would be too many; `held` are those held by Fleetward itself now."""
        allowed = self.allowed(nodes)
        if node in held or len(held) < allowed:
            return
        raise RefusedError(
            f"{node} is not drained: Fleetward itself already holds {_listed(held)} out of {nodes} nodes and may hold"
            f" {allowed} at once; look why so many fail, release one of them, or drain this one yourself"
        )


def _listed(nodes: frozenset[str]) -> str:
    named = sorted(nodes)
    more = f" and {len(named) - 5} more" if len(named) > 5 else ""
    return f"{len(named)} ({', '.join(named[:5])}{more})"
