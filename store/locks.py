"""The locks under which alerts and events are taken in; each is held until the transaction ends.

Whoever takes both takes that of the node first.
"""

from fleetward.store.database import Connection

_DELIVERY = 0x666C6465
_NODE = 0x666C6E6F


def lock_incidents(connection: Connection) -> None:
    """Let one at a time open incidents, or tell something to all that are open.

    Two deliveries would lock the same alerts and incidents crosswise; and of an incident and an event that belongs to
    it, whichever comes second sees the first.
    """
    connection.execute("select pg_advisory_xact_lock(%s)", [_DELIVERY])


def lock_node(connection: Connection, node: str) -> None:
    """Let one at a time take in the events of a node."""
    connection.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", [_NODE, node])
