"""What people and runs may ask of burn-ins: each request of the interface as one method, without HTTP."""

from collections.abc import Callable, Collection, Mapping, Sequence

from fleetward.model.burn_ins import (
    BurnIn,
    BurnInJob,
    StartedBurnIn,
)
from fleetward.model.claims import Claim, is_burn_in, owned_reason
from fleetward.model.errors import ConflictError, UsageError
from fleetward.model.fleet import Node
from fleetward.operations.qualification.batch import limit_of
from fleetward.operations.qualification.certificate import Standing
from fleetward.operations.qualification.course import Candidate, check
from fleetward.operations.qualification.workload import Scope, Workload
from fleetward.operations.qualification.workload_list import required, workload
from fleetward.runbooks.nodes import NodeKeeper, is_out
from fleetward.server.site import Site
from fleetward.server.standings import Records, Standings
from fleetward.slurm.answers import Node as SlurmNode
from fleetward.slurm.client import SlurmClient
from fleetward.store.burn_ins import NewBurnIn

MOST_BURN_INS = 1000
WAIT_SECONDS = 12 * 3600.0
"""That jobs of others on the nodes may still take, beside what the workloads take themselves."""


class BurnInService:
    """Answers requests about burn-ins; safe to use from many threads. `who` is the user's name."""

    def __init__(
        self,
        records: Records,
        standings: Standings,
        site: Site,
        slurm: SlurmClient,
        keeper: NodeKeeper,
        site_list: Sequence[str] | None,
        news: Callable[[], None],
    ) -> None:
        """`site_list` is what the site requires, None for the usual; `news` has the next round come at once."""
        self._records = records
        self.standings = standings
        self._site = site
        self._slurm = slurm
        self._keeper = keeper
        self._site_list = site_list
        self._news = news

    def start(
        self,
        names: Sequence[str],
        workloads: Sequence[str],
        seconds: float | None,
        who: str,
        lifts: Mapping[str, str] | None = None,
    ) -> StartedBurnIn:
        """Begin to burn nodes in; an empty list of workloads stands for what they must pass.

        Nodes that somebody has taken out of service are left out; `lifts` is the owner whose claim is no reason to, by
        the node.
        UsageError where a name is unknown or no node is left; ConflictError where another burn-in has one of them.
        """
        declared = self._site.nodes()
        if unknown := [name for name in names if name not in declared]:
            raise UsageError(f"the inventory has no node {unknown[0][:100]!r} that runs jobs")
        in_slurm = {node.name: node for node in self._slurm.nodes().items}
        left_out: dict[str, str] = {}
        candidates: list[Candidate] = []
        for name in dict.fromkeys(names):
            node = declared[name]
            why = _why_not(node, in_slurm.get(name), (lifts or {}).get(name, ""))
            if why or node.profile is None:
                left_out[name] = why
            else:
                candidates.append(Candidate(name, node.profile, node.leaf_switch or ""))
        if not candidates:
            raise UsageError("; ".join(f"{name}: {why}" for name, why in left_out.items()) or "name a node")
        for profile in {one.profile.name: one.profile for one in candidates}.values():
            required(profile, self._site_list)  # now, rather than when the certificates are due
        chosen = self._chosen(candidates, workloads)
        check(candidates, chosen)
        made = self._records.burn_ins.begin(
            NewBurnIn(
                nodes={one.name: one.profile.name for one in candidates},
                workloads=[one.id for one in chosen],
                seconds=seconds if seconds is not None else WAIT_SECONDS + 4 * limit_of(chosen),
                made_by=who,
                lifts=lifts or {},
            )
        )
        self._news()
        return StartedBurnIn(made, left_out)

    def burn_in(self, node: str, workloads: Sequence[str], seconds: float, owner: str, asked_by: str) -> BurnIn:
        """Return the burn-in that was begun by this name; begin it where there is none (`node.qualify`)."""
        found = self._records.burn_ins.of(asked_by)
        if found is not None:
            return found
        names = [node, *self._partner(node, workloads)]
        return self.start(names, workloads, seconds, asked_by, lifts={node: owner}).burn_in

    def latest(self, limit: int) -> tuple[BurnIn, ...]:
        """Return the latest, latest first."""
        return self._records.burn_ins.list(max(1, min(limit, MOST_BURN_INS)))

    def show(self, burn_in: int) -> BurnIn:
        """Return one, its jobs without their logs."""
        return self._records.burn_ins.get(burn_in)

    def log(self, burn_in: int, job: int) -> BurnInJob:
        """Return one of its jobs with its log."""
        return self._records.burn_ins.log(burn_in, job)

    def abort(self, burn_in: int, who: str) -> BurnIn:
        """End one: its jobs are cancelled, and its nodes have no result."""
        found = self._records.burn_ins.abort(burn_in, who)
        self._news()
        return found

    def clear(self, node: str, why: str, who: str) -> tuple[Claim, ...]:
        """Release what burn-ins hold a node for, once a person has looked after it; returns what was released."""
        if not why.strip():
            raise UsageError("say why the node is fit again, so that others can read it")
        held = [claim for claim in self._records.claims.open(node) if is_burn_in(claim.owner)]
        if not held:
            raise ConflictError(f"no burn-in holds {node[:100]}; `fleetward nodes` says who does")
        for claim in held:
            self._keeper.release(node, claim.owner, f"{who}: {why}")
        return tuple(held)

    def _partner(self, name: str, workloads: Sequence[str]) -> list[str]:
        """Return an idle, qualified node to test one with; none where its workloads want no other node.

        ConflictError where there is none at the moment.
        """
        node = self._site.nodes().get(name)
        if node is None or node.profile is None:
            return []  # `start` says so
        chosen = self._chosen([Candidate(name, node.profile)], workloads)
        if not any(one.scope is not Scope.NODE and one.fits(node.profile) for one in chosen):
            return []
        idle = {one.name for one in self._slurm.nodes().items if one.state == "IDLE" and not one.flags}
        busy = {one.name for going in self._records.burn_ins.going() for one in going.nodes}
        declared = self._site.nodes()
        fit = [
            declared[one.node]
            for one in self.standings.all()
            if one.standing == Standing.VALID and one.node in idle - busy and one.node != name
        ]
        alike = [one for one in fit if one.profile == node.profile]
        if not alike:
            raise ConflictError(f"no node of profile {node.profile.name} is qualified and idle, to test {name} with")
        return [min(alike, key=lambda one: (one.leaf_switch != node.leaf_switch, one.name)).name]

    def _chosen(self, candidates: Collection[Candidate], workloads: Sequence[str]) -> Sequence[Workload]:
        if workloads:
            return [workload(id) for id in dict.fromkeys(workloads)]
        profiles = {one.profile.name: one.profile for one in candidates}
        needed = [one for profile in profiles.values() for one in required(profile, self._site_list)]
        return list({one.id: one for one in needed}.values())


def _why_not(declared: Node, node: SlurmNode | None, lifts: str) -> str:
    """Say why a node cannot be burned in now; empty where it can."""
    if declared.profile is None:
        return "its hardware profile is not declared"
    if node is None:
        return "Slurm does not know it"
    own = owned_reason(node.reason)
    if is_out(node) and not (own is not None and (own.owner == lifts or is_burn_in(own.owner))):
        return f"it is out of service: {node.reason or node.state}"
    return ""
