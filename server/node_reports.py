"""What becomes of what nodes post: events and fingerprints on record, and health as alerts.

A node is believed only about itself. Nothing here acts on a node.
"""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fleetward.model.errors import UsageError
from fleetward.model.node_reports import EventsAnswer, FingerprintAnswer, HealthAnswer
from fleetward.server.health_alerts import addresses_of, judge
from fleetward.server.intake import Intake
from fleetward.server.metrics import Reports
from fleetward.server.node_posts import read_events, read_health, read_parts
from fleetward.store.events import MOST_AN_HOUR, Events
from fleetward.store.fingerprints import Fingerprints

LATE_SECONDS = 600.0
"""A report older than this says nothing of how the node is now."""
EARLY_SECONDS = 60.0
"""How far a node's clock may be ahead of the daemon's."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Records:
    """Where reports are kept, and who is told of them."""

    events: Events
    intake: Intake
    metrics: Reports
    fingerprints: Fingerprints


class NodeReports:
    """Takes what nodes post; safe to use from many threads."""

    def __init__(
        self, records: Records, nodes: Callable[[], Collection[str]], clock: Callable[[], float] = time.time
    ) -> None:
        """`nodes` returns every node of the fleet, or nothing where that is not known."""
        self._records = records
        self._nodes = nodes
        self._clock = clock

    def is_known(self, node: str) -> bool:
        """Say whether there is such a node; everybody is believed where nobody knows."""
        nodes = self._nodes()
        return not nodes or node in nodes

    def events(self, node: str, body: bytes) -> EventsAnswer:
        """Put a node's events on record; UsageError where the post as a whole is none."""
        found, refused = read_events(body)
        latest = self._clock() + EARLY_SECONDS  # by a clock that is far ahead an event would stay the newest for ever
        new, full = self._records.events.take(node, [replace(one, at=min(one.at, latest)) for one in found])
        self._records.metrics.events(new, len(refused) + len(full))
        why = f"{MOST_AN_HOUR} events of its severity were taken of {node} within the hour, and no more are"
        return EventsAnswer(
            taken=tuple(event.key for event in found if event.key not in full),
            refused={**refused, **dict.fromkeys(sorted(full), why)},
        )

    def health(self, node: str, body: bytes) -> HealthAnswer:
        """Turn a report into alerts, and take them in; UsageError where it is none, or of another time."""
        report = read_health(body)
        now = self._clock()
        if not now - LATE_SECONDS <= report.at <= now + EARLY_SECONDS:
            raise UsageError(
                f"at: the report was made {now - report.at:.0f} s ago by the daemon's clock; set the node's clock"
            )
        addresses = addresses_of(report)
        gpus = self._records.events.gpus_at(node, addresses) if addresses else {}
        at = datetime.fromtimestamp(report.at, UTC)
        became = self._records.intake.take_report(node, at, lambda firing: judge(node, report, firing, gpus))
        self._records.metrics.report(report)
        if became is None:
            return HealthAnswer()
        if became.left_out:
            log.warning(
                "%s reports more new troubles within an hour than are taken: %d left out", node, became.left_out
            )
        return HealthAnswer(became.incidents)

    def fingerprint(self, node: str, body: bytes) -> FingerprintAnswer:
        """Keep what a node consists of, by the daemon's clock; UsageError where it is none."""
        text, found = read_parts(body)
        at = datetime.fromtimestamp(self._clock(), UTC)
        changed = self._records.fingerprints.tell(node, text, found.digest, at)
        self._records.metrics.fingerprint(changed=changed)
        if changed:
            log.info("%s tells a fingerprint that is new of it: %s", node, found.digest)
        return FingerprintAnswer(changed)
