"""When a node takes itself out of service, and when it comes back: the rules, as pure functions.

Only checks that the site lists do so, only where no daemon has taken the report, and only under a cap over the fleet.
What a check does not know changes nothing. docs/decisions/0012 has the reasons.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fleetward.model.claims import ClaimClass, OwnedReason
from fleetward.model.guardrails import Guardrail
from fleetward.model.node_settings import LocalDrain
from fleetward.node.results import Finding, Problem, Status

LOCAL = "fleetward:local-"
"""How the reason of every such drain begins."""
LONGEST_PAUSE_SECONDS = 3600.0
"""Runs that are further apart are not in a row."""
LATEST_SECONDS = 600.0
"""Later than this a drain that was written is not expected to show any more."""
FEWEST_ASKED = 16
"""So many streaks long a fault stands, until Slurm is no longer asked less and less often."""
NEVER = 1 << 62
"""In place of a time."""

_UP = frozenset({"idle", "allocated", "mixed"})
_ON_ITS_WAY = frozenset(
    {
        *("reboot_requested", "reboot_issued", "power_down", "power_drain"),
        *("powering_down", "powered_down", "power_up", "powering_up"),
    }
)
"""While a node is rebooted or switched, a resume would call that off."""
_OUT = frozenset({"drain", "down", "fail", "error", "invalid_reg", "future"})


class Standing(StrEnum):
    """How a listed check stands after one run."""

    FAILS = "fails"
    PASSES = "passes"
    UNKNOWN = "unknown"
    """Or it was not run: nothing follows from it."""
    NEITHER = "neither"
    """Something is wrong that drains no node, such as a program of a user's."""


@dataclass(frozen=True)
class Streak:
    """How often in a row a check has failed, or passed; at most one of the two is not 0."""

    failed: int = 0
    passed: int = 0

    def after(self, standing: Standing) -> "Streak":
        """Return the streak with one more run."""
        match standing:
            case Standing.FAILS:
                return Streak(failed=self.failed + 1)
            case Standing.PASSES:
                return Streak(passed=self.passed + 1)
            case Standing.UNKNOWN:
                return self
            case Standing.NEITHER:
                return Streak()


@dataclass(frozen=True)
class OwnDrain:
    """A drain that this node wrote, or was about to write."""

    check: str
    reason: str
    """Word for word."""
    at: float = 0.0
    """When, in Unix time."""
    settled: bool = False
    """Whether Slurm was looked at after the write, and there was room for it."""


@dataclass(frozen=True)
class LocalState:
    """What a node keeps from one run to the next."""

    streaks: Mapping[str, Streak] = field(default_factory=dict)
    """By check."""
    at: float = 0.0
    """When the last run was, in Unix time."""
    drain: OwnDrain | None = None

    def streak(self, check: str) -> Streak:
        """Return the streak of a check."""
        return self.streaks.get(check, Streak())

    def begun_anew(self, check: str) -> "LocalState":
        """Return the state in which a check has not been seen yet."""
        return replace(self, streaks={name: one for name, one in self.streaks.items() if name != check})


@dataclass(frozen=True)
class SlurmNode:
    """A node as Slurm shows it."""

    name: str
    state: frozenset[str]
    """Words in lower case, as `idle` and `drain`."""
    reason: str
    """It stays when the node is resumed, until there is another one."""
    reason_at: int
    """Unix time by slurmctld's clock; 0 where there is none."""

    @property
    def is_in_service(self) -> bool:
        """Return whether it takes jobs: nobody has taken it out, and it is not about to be rebooted or switched off."""
        return bool(self.state & _UP) and not self.state & (_OUT | _ON_ITS_WAY)

    @property
    def is_drained(self) -> bool:
        """Return whether it is drained or draining, whatever else it may be."""
        return "drain" in self.state

    @property
    def is_resumable(self) -> bool:
        """Return whether a resume would end a drain and do nothing else."""
        return self.is_drained and self.state.isdisjoint(_ON_ITS_WAY | _OUT - {"drain"})

    @property
    def has_drained_itself(self) -> bool:
        """Return whether the drain is one of those that are written here."""
        return self.is_drained and self.reason.startswith(LOCAL)


def standings(findings: Iterable[Finding], checks: Iterable[str]) -> dict[str, tuple[Standing, str]]:
    """Return how each listed check stands, and why where it fails."""
    found: dict[str, list[Finding]] = {check: [] for check in checks}
    for one in findings:
        if one.check in found:
            found[one.check].append(one)
    return {check: _standing(ones) for check, ones in found.items()}


def _standing(findings: Sequence[Finding]) -> tuple[Standing, str]:
    for one in findings:
        if one.status is Status.UNHEALTHY and one.problem is Problem.NODE:
            return Standing.FAILS, f"{one.entity}: {one.why}" if one.entity else one.why
    statuses = {one.status for one in findings}
    if not statuses or Status.UNKNOWN in statuses:
        return Standing.UNKNOWN, ""
    return (Standing.PASSES if statuses == {Status.HEALTHY} else Standing.NEITHER), ""


def counted(state: LocalState, standing: Mapping[str, Standing], now: float) -> LocalState:
    """Return the state with one more run; checks that are no longer listed are forgotten."""
    in_a_row = abs(now - state.at) <= LONGEST_PAUSE_SECONDS
    streaks = {check: (state.streak(check) if in_a_row else Streak()).after(one) for check, one in standing.items()}
    return replace(state, streaks=streaks, at=now)


def to_drain_for(state: LocalState, standing: Mapping[str, Standing], settings: LocalDrain) -> str:
    """Return the listed check for which the node is to be drained now; empty where there is none."""
    for check in settings.checks:
        fails = standing.get(check) is Standing.FAILS
        if state.drain is None and fails and _is_due(state.streak(check).failed, settings.streak):
            return check
    return ""


def _is_due(failed: int, streak: int) -> bool:
    """Say whether it is time: after a streak, then after twice as long and so on, where there was no room before.

    A fault that a whole fleet has, such as a file server that is away, must not have every node ask Slurm every minute.
    """
    times, rest = divmod(failed, streak)
    if rest or not times:
        return False
    return times % FEWEST_ASKED == 0 if times > FEWEST_ASKED else times & (times - 1) == 0


def may_resume(state: LocalState, standing: Mapping[str, Standing], settings: LocalDrain) -> bool:
    """Say whether the check for which the node was drained passes again, and no other one is in its way."""
    if state.drain is None or Standing.FAILS in standing.values():
        return False
    check = state.drain.check
    return standing.get(check) is Standing.PASSES and state.streak(check).passed >= settings.streak


def reason_of(check: str, why: str) -> str:
    """Return the reason as it is written into Slurm: harmless there, and not long."""
    return str(OwnedReason(f"local-{check}", ClaimClass.NODE_PROBLEM, why))


def is_own(node: SlurmNode, drain: OwnDrain) -> bool:
    """Say whether the node is drained as this node wrote it, word for word."""
    return node.is_drained and node.reason == drain.reason


def is_gone(node: SlurmNode, drain: OwnDrain, now: float) -> bool:
    """Say whether somebody has ended the drain, or has put a word of their own over it.

    What was written and not seen since may still come: a slurmctld that was busy takes an order up late.
    """
    if node.is_drained:
        return node.reason != drain.reason
    return drain.settled or abs(now - drain.at) > LATEST_SECONDS


def has_room(fleet: Mapping[str, SlurmNode], node: str, settings: LocalDrain) -> bool:
    """Say whether one more node may drain itself."""
    held = {one.name for one in fleet.values() if one.has_drained_itself} - {node}
    return len(held) < allowed(fleet, settings)


def is_surplus(fleet: Mapping[str, SlurmNode], node: str, settings: LocalDrain) -> bool:
    """Say whether more nodes than allowed have drained themselves, and this is one of those that came last.

    Slurm has no compare-and-set, so that several may see room for one. Who came first stands in Slurm, by the second;
    the names decide among those of the same second. One that cannot tell when it came is the last in its own eyes.
    """
    held = sorted(
        (one.reason_at or (NEVER if one.name == node else 0), one.name)
        for one in fleet.values()
        if one.has_drained_itself
    )
    return node in {name for _, name in held[allowed(fleet, settings) :]}


def allowed(fleet: Mapping[str, SlurmNode], settings: LocalDrain) -> int:
    """Return how many nodes of a fleet may be drained by nodes themselves."""
    return Guardrail(settings.absolute, settings.share).allowed(len(fleet))
