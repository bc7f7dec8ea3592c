"""What a scrape is answered from: the last snapshot, the slower facts, and what was counted so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetward.exporters.slurm.waits import Histogram
from fleetward.slurm.answers import Diagnostics, Reservation, Share
from fleetward.slurm.snapshot import Part, Snapshot


@dataclass(frozen=True, slots=True)
class OwnCalls:
    """What slurmctld spent on the calls of the user that this program runs as, and what share of its time that is."""

    count: int
    seconds: float
    ratio: float | None = None
    """Of the time between the last two looks; None before there were two."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All that the exporter knows."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    reservations: Part[Reservation] = field(default_factory=Part)
    shares: Part[Share] = field(default_factory=Part)
    diagnostics: Part[Diagnostics] = field(default_factory=Part)
    """One, where slurmctld has told it."""
    own_calls: OwnCalls | None = None
    ends: Mapping[str, int] = field(default_factory=dict)
    waits: Mapping[str, Histogram] = field(default_factory=dict)

    @property
    def up(self) -> bool:
        """Return whether slurmctld answered when it was last asked for its nodes."""
        return not self.snapshot.nodes.problem

    @property
    def parts(self) -> Mapping[str, Part[object]]:
        """Return what is asked for by itself, by its name."""
        return {
            **self.snapshot.parts,
            "reservations": self.reservations,
            "shares": self.shares,
            "diagnostics": self.diagnostics,
        }
