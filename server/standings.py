"""Whether nodes are qualified: their certificates, held against what they told since, and the inventory."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fleetward.model.burn_ins import CertificateRow, NodeStanding
from fleetward.model.errors import UsageError
from fleetward.model.fleet import Node
from fleetward.operations.qualification.certificate import Judged, Standing, standing
from fleetward.operations.qualification.fingerprint import (
    Fingerprint,
    FingerprintError,
    Kind,
    differences,
    read_fingerprint,
)
from fleetward.operations.qualification.outcomes import certificate_of
from fleetward.operations.qualification.workload_list import required
from fleetward.server.site import Site
from fleetward.store.burn_ins import BurnIns
from fleetward.store.certificates import Certificates
from fleetward.store.claims import Claims
from fleetward.store.fingerprints import Fingerprints

RECENT_SECONDS = 15.0


@dataclass(frozen=True)
class Records:
    """What is on record."""

    burn_ins: BurnIns
    certificates: Certificates
    fingerprints: Fingerprints
    claims: Claims


class Standings:
    """Judges certificates; safe to use from many threads."""

    def __init__(self, records: Records, site: Site, site_list: Sequence[str] | None) -> None:
        """`site_list` is what the site requires, None for the usual."""
        self._records = records
        self._site = site
        self._site_list = site_list
        self._recent: tuple[float, tuple[NodeStanding, ...]] | None = None
        self.kept: Callable[[], frozenset[str]] = frozenset
        """Whom the gate keeps out."""

    def all(self) -> tuple[NodeStanding, ...]:
        """Return how every node that runs jobs stands; UsageError where the inventory cannot be used."""
        rows = self._records.certificates.latest()
        told = self._records.fingerprints.all()
        now, kept = datetime.now(UTC), self.kept()
        found = []
        for name, node in self._site.nodes().items():
            row = rows.get(name)
            newest = told.get(name)
            later = newest.parts if newest is not None and row is not None and newest.told_at > row.issued_at else None
            judged = self._judged(node, row, later, now)
            found.append(NodeStanding(name, str(judged.standing), judged.why, judged.told, row, name in kept))
        return tuple(found)

    def recent(self) -> tuple[NodeStanding, ...]:
        """Return them as they were some seconds ago at most: for who asks often."""
        now = time.monotonic()
        if self._recent is None or now - self._recent[0] > RECENT_SECONDS:
            self._recent = now, self.all()
        return self._recent[1]

    def void_changed(self) -> None:
        """Revoke the certificates of nodes that have told of a change: what cannot be read later is no way back."""
        told = self._records.fingerprints.all()
        for node, row in self._records.certificates.latest().items():
            newest = told.get(node)
            if row.revoked_at is not None or newest is None or newest.told_at <= row.issued_at:
                continue
            try:
                found = differences(certificate_of(row).fingerprint, read_fingerprint(newest.parts))
            except FingerprintError:
                continue  # what is kept of it cannot be read: its standing says so
            if changed := [one.words for one in found if one.kind is Kind.CHANGED]:
                self._records.certificates.revoke(node, "; ".join(changed))

    def of(self, node: str) -> NodeStanding:
        """Return how one node stands; UsageError where there is none of this name."""
        found = next((one for one in self.all() if one.node == node), None)
        if found is None:
            raise UsageError(f"the inventory has no node {node[:100]!r} that runs jobs")
        return found

    def _judged(self, node: Node, row: CertificateRow | None, parts: str | None, now: datetime) -> Judged:
        """Judge a certificate by what the node told later than it was issued, if anything."""
        profile = node.profile
        if row is None or profile is None:
            return standing(None, None, now)
        if row.revoked_at is not None:
            return Judged(Standing.VOID, (row.revoked_why,))
        try:
            certificate = certificate_of(row)
            fingerprint: Fingerprint = read_fingerprint(parts) if parts is not None else certificate.fingerprint
        except FingerprintError as error:
            return Judged(Standing.VOID, (str(error),))
        needed = required(profile, self._site_list)
        return standing(certificate, fingerprint, now, profile=profile.name, required=needed)
