"""The gate: which nodes are kept from production since they are not qualified."""

from collections.abc import Collection, Iterable

from fleetward.model.burn_ins import NodeStanding
from fleetward.operations.qualification.certificate import Standing


def kept_out(standings: Iterable[NodeStanding], kept_now: Collection[str], most: int) -> frozenset[str]:
    """Return the nodes that the gate keeps out.

    One that never passed is kept out always. Of those that were qualified and are not any more (expired, or changed) no
    others are taken beyond `most` at once: certificates that end on one day must not empty the fleet.
    """
    out = [one for one in standings if one.standing != Standing.VALID]
    missing = {one.node for one in out if one.standing == Standing.MISSING}
    lapsed = sorted((one.node for one in out if one.node not in missing), key=lambda node: (node not in kept_now, node))
    staying = sum(node in kept_now for node in lapsed)
    return frozenset(missing) | frozenset(lapsed[: max(most, staying)])
