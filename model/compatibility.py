"""Whether what a fleet declares goes together: kernels, drivers, CUDA, DOCA, Kubernetes, Slurm.

Hosts that declare the same are judged once. Nothing is held against a fact that nobody declared, unless a rule says
that leaving it out is a trap.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fleetward.model.compatibility_constraints import label, words_of
from fleetward.model.compatibility_table import Constraints, Rule, Rules, Skew
from fleetward.model.fleet import Fleet, GpuProfile, Node
from fleetward.model.host_ranges import fold
from fleetward.model.software import SOFTWARE, Fact, Software, Version

Facts = Mapping[str, Fact]
"""What is known of a host, by the names that rules have for it."""
UNKNOWN_GENERATION = "gpu-generation"
"""The rule that a generation which is nearly a known one is misspelt."""


@dataclass(frozen=True)
class Incompatibility:
    """What does not go together on some hosts."""

    rule: str
    hosts: tuple[str, ...]
    sentence: str
    source: str
    """The document that says so, and where in it."""
    remedy: str

    def __str__(self) -> str:
        """Say all of it in one line."""
        return f"{fold(self.hosts)}: {self.sentence} (rule {self.rule}, from: {self.source}); {self.remedy}"


def check_compatibility(fleet: Fleet, rules: Rules) -> Iterator[Incompatibility]:
    """Yield what does not go together, in the order of the rules."""
    found: dict[Incompatibility, list[str]] = {}
    for (software, gpu, rate), hosts in _alike(fleet).items():
        for one in judge(facts_of(software, gpu, rate, rules), rules):
            found.setdefault(one, []).extend(hosts)
    order = {rule.id: at for at, rule in enumerate(rules.rules)}
    for one in sorted(found, key=lambda one: order.get(one.rule, -1)):
        yield Incompatibility(one.rule, tuple(found[one]), one.sentence, one.source, one.remedy)
    for skew in rules.skews:
        if not skew.accepted:
            yield from _skewed(fleet, skew)


_Alike = tuple[Software, GpuProfile | None, int | None]


def _alike(fleet: Fleet) -> dict[_Alike, list[str]]:
    """Return the hosts by what rules can look at; thousands of them come in a few kinds."""
    alike: dict[_Alike, list[str]] = {}
    for node in fleet.nodes.values():
        profile = node.profile
        infiniband = profile.infiniband if profile is not None else None
        key = (
            node.software,
            profile.gpu if profile is not None else None,
            infiniband.rate_gbits_per_second if infiniband is not None else None,
        )
        alike.setdefault(key, []).append(node.name)
    return alike


def facts_of(software: Software, gpu: GpuProfile | None, infiniband_rate: int | None, rules: Rules) -> Facts:
    """Return the facts of a host by the names that rules have for them."""
    facts = software.declared()
    if gpu is not None:
        model, generation = rules.known_model(gpu.model) or (gpu.model, "")
        facts |= {"gpu_model": model, "nvswitch": gpu.nvswitch}
        if generation := gpu.generation or generation:
            facts["gpu_generation"] = generation
    if infiniband_rate is not None:
        facts["infiniband_rate"] = Version((infiniband_rate,), str(infiniband_rate))
    return facts


def judge(facts: Facts, rules: Rules) -> tuple[Incompatibility, ...]:
    """Return what does not go together among the facts of one host, which is not named."""
    found = [_broken(rule, facts) for rule in rules.rules if not rule.accepted]
    return tuple(one for one in (_misspelt(facts, rules), *found) if one is not None)


def _broken(rule: Rule, facts: Facts) -> Incompatibility | None:
    if not _all_hold(rule.when, facts):
        return None
    missing_matters = rule.undeclared_when is not None and _all_hold(rule.undeclared_when, facts)
    wrong: dict[str, str] = {}
    for fact, constraint in rule.needs.items():
        if fact in facts:
            if constraint.holds(facts[fact], facts) is False:
                wrong[label(fact)] = words_of(facts[fact])
        elif missing_matters:
            wrong[label(fact)] = "not declared"
    if not wrong:
        return None
    given = " and ".join(f"{label(fact)} {words_of(facts[fact])}" for fact in rule.when)
    needed = " and ".join(f"{label(fact)} to be {constraint}" for fact, constraint in rule.needs.items())
    found = " and ".join(f"{'it' if len(rule.needs) == 1 else name} is {value}" for name, value in wrong.items())
    sentence = f"{given} needs {needed}, but {found}: {rule.because}"
    return Incompatibility(rule.id, (), sentence, rule.source, rule.remedy or _change_one(rule))


def _all_hold(constraints: Constraints, facts: Facts) -> bool:
    """Say whether everything is declared and certain to hold."""
    return all(fact in facts and constraint.holds(facts[fact], facts) for fact, constraint in constraints.items())


def _change_one(rule: Rule) -> str:
    needed = " and ".join(f"a {label(fact)} that is {constraint}" for fact, constraint in rule.needs.items())
    others = [label(fact) for fact in rule.when if fact in SOFTWARE]
    return f"choose {needed}" + (f", or another {' or '.join(others)}" if others else "")


def _misspelt(facts: Facts, rules: Rules) -> Incompatibility | None:
    """Return that a generation is nearly a known one; another one is taken, for a site may be ahead of the rules."""
    generation = facts.get("gpu_generation")
    if not isinstance(generation, str) or generation in rules.generations:
        return None
    close = difflib.get_close_matches(generation, rules.generations, 1, 0.75)
    if not close:
        return None
    return Incompatibility(
        UNKNOWN_GENERATION,
        (),
        f"gpu.generation {generation} is none that a rule knows: nothing would be held against it",
        "the generations of model/compatibility_rules",
        f"did you mean {close[0]}? if not, list its models in fleet_compatibility.generations",
    )


def _skewed(fleet: Fleet, skew: Skew) -> Iterator[Incompatibility]:
    """Yield each pair of versions that may not be in one fleet, with the hosts that have to follow."""
    leading = _versions(fleet.members(skew.against), skew.fact)
    for follows, hosts in _versions(fleet.members(skew.of), skew.fact).items():
        for leads, others in leading.items():
            if skew.allows(follows, leads) is not False:
                continue
            apart = "ahead of" if follows > leads else "too far behind"
            sentence = (
                f"{label(skew.fact)} is {follows} in {skew.of}, {apart} {leads} of {fold(others)} in {skew.against}: "
                f"{skew.because}"
            )
            yield Incompatibility(skew.id, tuple(hosts), sentence, skew.source, skew.remedy)


def _versions(nodes: tuple[Node, ...], fact: str) -> dict[Version, list[str]]:
    """Return the names of nodes by the version that they declare."""
    versions: dict[Version, list[str]] = {}
    for node in nodes:
        version = getattr(node.software, fact)
        if isinstance(version, Version):
            versions.setdefault(version, []).append(node.name)
    return versions
