"""From a post of Alertmanager's to incidents: recorded before it is answered, thought about right after."""

import logging
from collections.abc import Sequence

from fleetward.model.errors import OutOfReachError
from fleetward.model.incidents import Alert
from fleetward.server.autopilot import Autopilot
from fleetward.server.metrics import Legs
from fleetward.server.shelf import Shelf
from fleetward.store.events import Events
from fleetward.store.incidents import Incidents, Taken

log = logging.getLogger(__name__)


class Intake:
    """Takes alerts in."""

    def __init__(self, incidents: Incidents, events: Events, shelf: Shelf, autopilot: Autopilot, legs: Legs) -> None:
        self._incidents = incidents
        self._events = events
        self._shelf = shelf
        self._autopilot = autopilot
        self._legs = legs

    def take(self, alerts: Sequence[Alert]) -> tuple[Taken, ...]:
        """Record alerts and begin what follows from them.

        StoreOutOfReachError where they could not be recorded: then Alertmanager must send them again. What follows
        from a recorded alert is done by the next round where it cannot be done now.
        """
        taken = self._incidents.take(alerts, page=self._shelf.page_id_for)
        for each in taken:
            if each.opened:
                began = min(
                    (alert.starts_at for alert in alerts if alert.name == each.incident.alert_name), default=None
                )
                self._legs.opened(each.incident, began)
                log.info("i%d opened: %s", each.incident.id, each.incident.alert_name)
        try:
            for each in taken:
                if each.opened and each.incident.node:
                    self._events.tell(each.incident)
            for each in taken:
                if each.changed and each.incident.firing:
                    self._autopilot.consider(each.incident)
        except OutOfReachError as error:
            log.warning("what follows from an alert has to wait: %s", error)
        if any(each.changed for each in taken):
            self._autopilot.hurry()
        return taken
