"""From a post of Alertmanager's to incidents: recorded before it is answered, thought about right after."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from fleetward.model.errors import OutOfReachError
from fleetward.model.incidents import Alert
from fleetward.server.autopilot import Autopilot
from fleetward.server.metrics import Legs
from fleetward.server.shelf import Shelf
from fleetward.store.deliveries import Taken
from fleetward.store.health_reports import HealthReports, Judge, ReportTaken
from fleetward.store.incidents import Incidents

log = logging.getLogger(__name__)


class Intake:
    """Takes alerts in."""

    def __init__(
        self, incidents: Incidents, reports: HealthReports, shelf: Shelf, autopilot: Autopilot, legs: Legs
    ) -> None:
        self._incidents = incidents
        self._reports = reports
        self._shelf = shelf
        self._autopilot = autopilot
        self._legs = legs

    def take(self, alerts: Sequence[Alert]) -> tuple[Taken, ...]:
        """Record alerts and begin what follows from them.

        StoreOutOfReachError where they could not be recorded: then Alertmanager must send them again. What follows
        from a recorded alert is done by the next round where it cannot be done now.
        """
        taken = self._incidents.take(alerts, page=self._shelf.page_id_for)
        began: dict[str, datetime] = {}
        for alert in alerts:
            began[alert.name] = min(alert.starts_at, began.get(alert.name, alert.starts_at))
        self._go_on(taken, began)
        return taken

    def take_report(self, node: str, at: datetime, judge: Judge) -> ReportTaken | None:
        """Record the alerts that a node's report makes, and begin what follows from them; errors as in `take`.

        None where a newer report of the node was taken already.
        """
        became = self._reports.take(node, at, judge, page=self._shelf.page_id_for)
        if became is not None:
            self._go_on(became.taken, {each.incident.alert_name: at for each in became.taken})
        return became

    def _go_on(self, taken: Sequence[Taken], began: Mapping[str, datetime]) -> None:
        """Begin what follows; `began` says by its name when an alert began to fire."""
        for each in taken:
            if each.opened:
                self._legs.opened(each.incident, began.get(each.incident.alert_name))
                log.info("i%d opened: %s", each.incident.id, each.incident.alert_name)
        try:
            for each in taken:
                if each.changed and each.incident.firing:
                    self._autopilot.consider(each.incident)
        except OutOfReachError as error:
            log.warning("what follows from an alert has to wait: %s", error)
        if any(each.changed for each in taken):
            self._autopilot.hurry()
