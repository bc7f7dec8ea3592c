"""A number held against those of other nodes of the same kind, by their median and how far they lie from it.

The score is the modified Z-score of Iglewicz and Hoaglin ("How to Detect and Handle Outliers", 1993), who take 3.5 for
an outlier. It stands on medians, so that it holds while fewer than half of the peers are bad themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median

from fleetward.operations.qualification.workload import Better

LEAST_PEERS = 5
"""With fewer, two odd ones among them decide where the middle is."""
OUTLIER = 3.5
LEAST_GAP = 0.05
"""A smaller share of the median is noise, however alike the peers are: azurehpc-health-checks warns within 5 %."""
_NORMAL = 0.6745
"""Of a normal distribution, the median deviation in standard deviations."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one number lies among those of its peers."""

    peers: int
    median: float
    deviation: float
    """The median of how far the peers lie from their median."""
    score: float
    """How far the number is on the worse side; 0 where it is not."""
    gap: float
    """The same as a share of the median."""

    @property
    def is_outlier(self) -> bool:
        """Say whether the number is worse than those of its peers, beyond what they and noise explain."""
        return self.score > OUTLIER and self.gap > LEAST_GAP


def compared(value: float, peers: Sequence[float], better: Better = Better.HIGHER) -> Comparison | None:
    """Return how a number lies among its peers'; None where there are too few of them."""
    if len(peers) < LEAST_PEERS:
        return None
    middle = median(peers)
    deviation = median(abs(one - middle) for one in peers)
    worse = max(0.0, middle - value if better is Better.HIGHER else value - middle)
    score = _NORMAL * worse / deviation if deviation else (inf if worse else 0.0)
    return Comparison(len(peers), middle, deviation, score, worse / middle if middle else (inf if worse else 0.0))
