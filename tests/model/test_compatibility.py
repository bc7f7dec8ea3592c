"""Which rule is broken by what a fleet declares, and that thousands of hosts are judged by their kinds."""

import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model import compatibility
from fleetward.model.compatibility import Incompatibility, check_compatibility, facts_of, judge
from fleetward.model.compatibility_constraints import KINDS, Kind, parse_constraint
from fleetward.model.compatibility_files import read_rules
from fleetward.model.compatibility_table import Rules
from fleetward.model.fleet import Fleet, GpuProfile, HardwareProfile, InfinibandProfile, Node
from fleetward.model.software import Fact, NvidiaModules, OperatingSystem, Software, Version

RULES = read_rules()
Said = Mapping[str, str | bool]

CASES: list[tuple[str, Said, Said]] = [
    # rule, what breaks it, what differs in a host that does not break it
    ("modules-before-turing", {"gpu_model": "v100", "nvidia_modules": "open"}, {"nvidia_modules": "proprietary"}),
    ("modules-before-turing", {"gpu_model": "p100", "nvidia_driver": "580.95.05"}, {"nvidia_driver": "550.163.01"}),
    ("modules-blackwell", {"gpu_model": "b200", "nvidia_modules": "proprietary"}, {"nvidia_modules": "open"}),
    ("modules-blackwell", {"gpu_model": "b200", "nvidia_modules": "proprietary"}, {"gpu_model": "h100"}),
    ("modules-grace-hopper", {"gpu_model": "gh200_480gb", "nvidia_modules": "proprietary"}, {"gpu_model": "h200"}),
    ("modules-grace-hopper", {"gpu_model": "gh200", "nvidia_driver": "550.163.01"}, {"nvidia_driver": "570.172.08"}),
    ("modules-from-620", {"nvidia_driver": "620.1", "nvidia_modules": "proprietary"}, {"nvidia_driver": "615.1"}),
    ("modules-open-from-515", {"nvidia_driver": "510.47.03", "nvidia_modules": "open"}, {"nvidia_driver": "515.43.04"}),
    ("driver-kepler", {"gpu_model": "k80", "nvidia_driver": "510"}, {"nvidia_driver": "470.256.02"}),
    ("driver-maxwell-to-volta", {"gpu_model": "v100", "nvidia_driver": "590.48.01"}, {"nvidia_driver": "580.95.05"}),
    ("driver-a100", {"gpu_model": "a100-sxm4-80gb", "nvidia_driver": "440.33"}, {"nvidia_driver": "450.80.02"}),
    ("driver-ada", {"gpu_model": "l40s", "nvidia_driver": "515.65.01"}, {"nvidia_driver": "535.274.02"}),
    ("driver-hopper", {"gpu_model": "h200", "nvidia_driver": "515.65.01"}, {"nvidia_driver": "535.274.02"}),
    ("driver-b200", {"gpu_model": "gb200", "nvidia_driver": "570.86.15"}, {"nvidia_driver": "570.133.20"}),
    ("driver-b200", {"gpu_model": "b200", "nvidia_driver": "570.86.15"}, {"nvidia_driver": "570"}),
    ("driver-b300", {"gpu_model": "b300", "nvidia_driver": "575.57.08"}, {"nvidia_driver": "580.82.07"}),
    (
        "driver-rtx-pro-blackwell",
        {"gpu_model": "rtx_pro_6000_blackwell_server_edition", "nvidia_driver": "570.172.08"},
        {"nvidia_driver": "575.57.08"},
    ),
    ("cuda-10.0-driver", {"cuda": "10.0", "nvidia_driver": "396.26"}, {"nvidia_driver": "418.39"}),
    ("cuda-10.1-driver", {"cuda": "10.1", "nvidia_driver": "410.48"}, {"nvidia_driver": "418.39"}),
    ("cuda-10.2-driver", {"cuda": "10.2", "nvidia_driver": "418.39"}, {"nvidia_driver": "440.33"}),
    ("cuda-11-driver", {"cuda": "11.8", "nvidia_driver": "440.33"}, {"nvidia_driver": "450.80.02"}),
    ("cuda-12-driver", {"cuda": "12.4", "nvidia_driver": "520.61.05"}, {"nvidia_driver": "525.60.13"}),
    ("cuda-12-driver", {"cuda": "12", "nvidia_driver": "470"}, {"nvidia_driver": "580"}),
    ("cuda-13-driver", {"cuda": "13.0", "nvidia_driver": "575.57.08"}, {"nvidia_driver": "580.65.06"}),
    ("cuda-13-driver", {"cuda": "13.0", "nvidia_driver": "575.57.08"}, {"cuda": "12.9"}),
    ("cuda-kepler", {"gpu_model": "k80", "cuda": "12.0"}, {"cuda": "11.8"}),
    ("cuda-maxwell-to-volta", {"gpu_model": "v100", "cuda": "13.0"}, {"cuda": "12.9"}),
    ("cuda-turing", {"gpu_model": "t4", "cuda": "9.2"}, {"cuda": "10.2"}),
    ("cuda-ampere", {"gpu_model": "a30", "cuda": "10.2"}, {"cuda": "11.0"}),
    ("cuda-ada-and-hopper", {"gpu_model": "h100", "cuda": "11.7"}, {"cuda": "11.8"}),
    ("cuda-blackwell", {"gpu_model": "b200", "cuda": "12.6"}, {"cuda": "12.8"}),
    ("cuda-b300", {"gpu_model": "b300", "cuda": "12.8"}, {"cuda": "12.9"}),
    ("kernel-driver-470", {"nvidia_driver": "470.256.02", "kernel": "6.12.38+deb13-amd64"}, {"kernel": "6.8"}),
    ("kernel-driver-535", {"nvidia_driver": "535.274.02", "kernel": "6.19"}, {"kernel": "6.18.3"}),
    ("kernel-driver-550", {"nvidia_driver": "550.163.01", "kernel": "6.17.13-2-pve"}, {"kernel": "6.12"}),
    ("kernel-driver-565", {"nvidia_driver": "565.77", "kernel": "6.13"}, {"kernel": "6.12"}),
    ("kernel-driver-570.153", {"nvidia_driver": "570.153.02", "kernel": "6.15"}, {"nvidia_driver": "570.172.08"}),
    (
        "kernel-driver-580.95",
        {"nvidia_driver": "580.95.05", "nvidia_modules": "open", "kernel": "6.18"},
        {"nvidia_modules": "proprietary"},
    ),
    ("kernel-driver-580.126", {"nvidia_driver": "580.126.09", "kernel": "6.19"}, {"kernel": "6.18"}),
    ("kernel-driver-580.159", {"nvidia_driver": "580.142", "kernel": "7.1"}, {"nvidia_driver": "580.159.04"}),
    ("kernel-driver-590.48", {"nvidia_driver": "590.48.01", "kernel": "6.19"}, {"kernel": "6.18"}),
    (
        "fabric-manager-equals-driver",
        {"fabric_manager": "580.95.05", "nvidia_driver": "580.82.07"},
        {"nvidia_driver": "580.95.05"},
    ),
    ("fabric-manager-equals-driver", {"fabric_manager": "580.95.05"}, {"nvidia_driver": "580"}),
    (
        "fabric-manager-needs-nvswitch",
        {"gpu_model": "h100", "fabric_manager": "580.95.05", "nvidia_driver": "580.95.05"},
        {"nvswitch": True},
    ),
    ("dcgm-driver", {"dcgm": "3.3.9", "nvidia_driver": "440.33"}, {"nvidia_driver": "450.80.02"}),
    ("dcgm-hopper", {"gpu_model": "h100", "dcgm": "2.4.7"}, {"dcgm": "3.3.9"}),
    ("dcgm-hgx-h100", {"gpu_model": "h100", "nvswitch": True, "dcgm": "3.1.3"}, {"nvswitch": False}),
    ("dcgm-ada", {"gpu_model": "l4", "dcgm": "3.0.4"}, {"dcgm": "3.1.3"}),
    ("doca-connectx-8", {"infiniband_rate": "800", "doca": "2.9.4"}, {"doca": "2.10"}),
    ("doca-connectx-8", {"infiniband_rate": "800", "doca": "2.9.4"}, {"infiniband_rate": "400"}),
    ("doca-system-of-2.5.2", {"os": "rhel-9.4", "doca": "2.5.1"}, {"os": "rhel-9"}),
    ("kubernetes-cgroup-v1", {"os": "ubuntu-20.04", "kubernetes": "1.35"}, {"os": "ubuntu-22.04"}),
    ("kubernetes-cgroup-v1", {"os": "rocky-8.10", "kubernetes": "v1.36.0"}, {"kubernetes": "1.34"}),
    ("kubernetes-cgroup-v2-kernel", {"kubernetes": "1.35", "kernel": "5.4"}, {"kernel": "5.14.0-427.el9"}),
    ("kubernetes-containerd-1", {"kubernetes": "1.36", "containerd": "1.7.31"}, {"containerd": "2.1"}),
    (
        "container-toolkit-containerd-2",
        {"containerd": "2.1", "container_toolkit": "1.16.2"},
        {"container_toolkit": "1.17.4"},
    ),
]


def fact(name: str, value: str | bool) -> Fact:
    if isinstance(value, bool) or KINDS[name] is Kind.WORD:
        return value
    return OperatingSystem.parse(value) if KINDS[name] is Kind.SYSTEM else Version.parse(value)


def software(said: Said) -> Software:
    fields = {name: fact(name, value) for name, value in said.items() if name in Software.__dataclass_fields__}
    return Software(**fields)


def gpu(model: str = "h100", **traits: object) -> GpuProfile:
    return replace(GpuProfile(model, 8, "a GPU", 81559, "/dev/nvidia[0-7]"), **traits)


def node(name: str, said: Said, groups: frozenset[str] = frozenset()) -> Node:
    """Return a host that declares what is said; the GPU's facts and the rate become its profile."""
    profile = HardwareProfile("p", 2, 8, 1, 16000)
    if "gpu_model" in said:
        profile = replace(profile, gpu=gpu(str(said["gpu_model"]), nvswitch=said.get("nvswitch", False)))
    if "infiniband_rate" in said:
        profile = replace(profile, infiniband=InfinibandProfile(("mlx5_0",), int(said["infiniband_rate"])))
    return Node(name, name, False, groups, profile, software=software(said))


def fleet(*nodes: Node) -> Fleet:
    groups = {group: tuple(one.name for one in nodes if group in one.groups) for one in nodes for group in one.groups}
    return Fleet("c", {one.name: one for one in nodes}, groups, (), (), (), {}, {})


def broken(said: Said, rules: Rules = RULES) -> set[str]:
    return {one.rule for one in check_compatibility(fleet(node("n1", said)), rules)}


def only(found: list[Incompatibility]) -> Incompatibility:
    [one] = found
    return one


@pytest.mark.parametrize(("rule", "breaks", "differs"), CASES)
def test_each_rule_is_broken_and_kept(rule: str, breaks: Said, differs: Said) -> None:
    assert rule in broken(breaks)
    assert rule not in broken({**breaks, **differs})


def test_every_shipped_rule_has_a_case() -> None:
    assert {rule for rule, _, _ in CASES} == {rule.id for rule in RULES.rules}


@pytest.mark.parametrize(("rule", "breaks", "_differs"), CASES)
def test_nothing_is_held_against_what_nobody_declared(rule: str, breaks: Said, _differs: Said) -> None:
    needed = next(one for one in RULES.rules if one.id == rule)
    if needed.undeclared_when is None and (declared := needed.needs.keys() & Software.__dataclass_fields__.keys()):
        assert rule not in broken({name: value for name, value in breaks.items() if name not in declared})


def test_a_finding_says_rule_hosts_reason_source_and_remedy() -> None:
    said = {"gpu_model": "b200", "nvidia_modules": "proprietary"}
    one = only(list(check_compatibility(fleet(node("n1", said), node("n2", said)), RULES)))
    assert one.hosts == ("n1", "n2")
    assert one.sentence == (
        "gpu.generation blackwell needs fleet_nvidia_modules to be open, but it is proprietary: the proprietary "
        "modules do not support Blackwell"
    )
    assert "Open-Source GPU Kernel Modules" in one.source
    assert str(one).startswith("n[1-2]: gpu.generation blackwell needs ")
    assert str(one).endswith("; set fleet_nvidia_modules: open for these hosts")
    assert "(rule modules-blackwell, from: NVIDIA Technical Blog" in str(one)


def test_where_the_data_names_no_remedy_one_of_the_facts_is_to_change() -> None:
    one = only(list(check_compatibility(fleet(node("n", {"cuda": "13.0", "nvidia_driver": "550"})), RULES)))
    assert one.remedy == "choose a fleet_nvidia_driver that is 580 or later, or another fleet_cuda"
    assert "needs fleet_nvidia_driver to be 580 or later, but it is 550" in one.sentence


def test_a_version_that_is_told_in_part_is_not_held_against_a_host() -> None:
    assert broken({"gpu_model": "b200", "nvidia_driver": "570", "nvidia_modules": "open", "cuda": "12"}) == set()


def test_what_is_missing_is_said_where_that_is_a_trap() -> None:
    one = only(list(check_compatibility(fleet(node("n", {"fabric_manager": "580.95.05"})), RULES)))
    assert "fleet_nvidia_driver to be the same as fleet_fabric_manager, but it is not declared" in one.sentence


def test_a_profile_names_the_generation_of_a_model_that_no_rule_knows() -> None:
    unknown = gpu("x900")
    said = software({"nvidia_modules": "proprietary"})
    assert judge(facts_of(said, unknown, None, RULES), RULES) == ()
    named = replace(unknown, generation="blackwell")
    assert [one.rule for one in judge(facts_of(said, named, None, RULES), RULES)] == ["modules-blackwell"]


def test_a_generation_that_is_nearly_a_known_one_is_misspelt_and_a_new_one_is_not() -> None:
    misspelt = only(list(judge(facts_of(Software(), gpu("x900", generation="hoper"), None, RULES), RULES)))
    assert (misspelt.rule, misspelt.remedy[:23]) == ("gpu-generation", "did you mean hopper? if")
    assert judge(facts_of(Software(), gpu("x900", generation="rubin"), None, RULES), RULES) == ()


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("h100", ("h100", "hopper")),
        ("nvidia_h100_80gb_hbm3", ("h100", "hopper")),
        ("NVIDIA-A100-SXM4-80GB", ("a100", "ampere")),
        ("a100x", ("a100x", "ampere")),
        ("tesla_v100", ("v100", "volta")),
        ("rtx_pro_6000_blackwell", ("rtx_pro_6000", "blackwell")),
        ("rtx_6000_ada", None),
        ("h1000", None),
        ("gpu", None),
        ("", None),
    ],
)
def test_models_are_known_by_the_names_that_slurm_has_for_them(model: str, known: tuple[str, str] | None) -> None:
    assert RULES.known_model(model) == known


# Across hosts.

CONTROLLER, DATABASE, COMPUTE, CLIENT = "slurm_controller", "slurm_database", "slurm_node", "slurm_client"
PLANE, KUBELET = "kubernetes_control_plane", "kubernetes_node"
SKEWS: list[tuple[str, str, str, str, str, str, bool]] = [
    # skew, fact, following group and its version, leading group and its version, whether that is fine
    ("slurmctld-slurmdbd", "slurm", CONTROLLER, "25.11.2", DATABASE, "25.11.0", True),
    ("slurmctld-slurmdbd", "slurm", CONTROLLER, "24.05", DATABASE, "25.11", True),
    ("slurmctld-slurmdbd", "slurm", CONTROLLER, "23.11", DATABASE, "25.11", False),
    ("slurmctld-slurmdbd", "slurm", CONTROLLER, "25.11", DATABASE, "25.05", False),
    ("slurmd-slurmctld", "slurm", COMPUTE, "24.11.5", CONTROLLER, "26.05.1", True),
    ("slurmd-slurmctld", "slurm", COMPUTE, "24.05.8", CONTROLLER, "26.05.1", False),
    ("slurmd-slurmctld", "slurm", COMPUTE, "23.02", CONTROLLER, "24.05", True),
    ("slurmd-slurmctld", "slurm", COMPUTE, "22.05", CONTROLLER, "24.05", False),
    ("slurmd-slurmctld", "slurm", COMPUTE, "26.05", CONTROLLER, "25.11", False),
    ("slurmd-slurmctld", "slurm", COMPUTE, "25.11", CONTROLLER, "31.05", True),
    ("slurmd-slurmctld", "slurm", COMPUTE, "25", CONTROLLER, "22.05", True),
    ("commands-slurmctld", "slurm", CLIENT, "26.05", CONTROLLER, "25.11", False),
    ("commands-slurmctld", "slurm", CLIENT, "25.05", CONTROLLER, "25.11", True),
    ("kubelet-control-plane", "kubernetes", KUBELET, "1.31", PLANE, "v1.34.1", True),
    ("kubelet-control-plane", "kubernetes", KUBELET, "1.30", PLANE, "1.34", False),
    ("kubelet-control-plane", "kubernetes", KUBELET, "1.35", PLANE, "1.34", False),
    ("kubelet-control-plane", "kubernetes", KUBELET, "1.35", PLANE, "2.0", False),
    ("kubernetes-control-planes", "kubernetes", PLANE, "1.33", PLANE, "1.34", True),
    ("kubernetes-control-planes", "kubernetes", PLANE, "1.32", PLANE, "1.34", False),
]


@pytest.mark.parametrize(("skew", "fact_name", "of", "follows", "against", "leads", "fine"), SKEWS)
def test_versions_across_hosts(
    skew: str, fact_name: str, of: str, follows: str, against: str, leads: str, fine: bool
) -> None:
    two = fleet(node("a", {fact_name: follows}, frozenset({of})), node("b", {fact_name: leads}, frozenset({against})))
    found = [one for one in check_compatibility(two, RULES) if one.rule == skew]
    assert [one.hosts for one in found] == ([] if fine else [("a",)])


def test_every_shipped_skew_has_a_case() -> None:
    assert {skew for skew, *_ in SKEWS} == {skew.id for skew in RULES.skews}


def test_a_skew_says_who_is_ahead_of_whom() -> None:
    nodes = [node(f"gpu{index}", {"slurm": "26.05"}, frozenset({COMPUTE})) for index in (1, 2)]
    heads = [node(f"ctl{index}", {"slurm": "25.11"}, frozenset({CONTROLLER})) for index in (1, 2)]
    one = only(list(check_compatibility(fleet(*nodes, *heads), RULES)))
    assert one.sentence.startswith("fleet_slurm is 26.05 in slurm_node, ahead of 25.11 of ctl[1-2] in slurm_controller")
    assert one.hosts == ("gpu1", "gpu2")
    assert one.remedy


def test_hosts_that_say_nothing_of_slurm_are_behind_nobody() -> None:
    assert not list(
        check_compatibility(
            fleet(node("a", {}, frozenset({COMPUTE})), node("b", {"slurm": "26.05"}, frozenset({CONTROLLER}))), RULES
        )
    )


# A fleet of thousands.


def test_two_thousand_hosts_of_eight_kinds_are_judged_eight_times(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[Said] = [
        {"gpu_model": model, "nvidia_driver": driver, "kernel": kernel, "cuda": "13.0"}
        for model in ("h100", "b200")
        for driver in ("580.95.05", "570.86.15")
        for kernel in ("6.8", "6.17")
    ]
    many = fleet(*(node(f"n{index:04}", kinds[index % 8]) for index in range(2000)))
    calls = []

    def counted(facts: Mapping[str, Fact], rules: Rules) -> tuple[Incompatibility, ...]:
        calls.append(facts)
        return judge(facts, rules)

    monkeypatch.setattr(compatibility, "judge", counted)
    started = time.monotonic()
    found = list(check_compatibility(many, RULES))
    took = time.monotonic() - started
    assert len(calls) == 8
    assert took < 2
    wrong_driver = next(one for one in found if one.rule == "cuda-13-driver")
    assert len(wrong_driver.hosts) == 1000
    assert len({(one.rule, one.sentence) for one in found}) == len(found)


def test_findings_come_in_the_order_of_the_rules() -> None:
    many = fleet(
        node("a", {"cuda": "13.0", "nvidia_driver": "550"}),
        node("b", {"gpu_model": "b200", "nvidia_modules": "proprietary"}),
    )
    order = [rule.id for rule in RULES.rules]
    found = [one.rule for one in check_compatibility(many, RULES)]
    assert found == sorted(found, key=order.index)


# What a rule asks of a fact.


@pytest.mark.parametrize(
    ("name", "written", "value", "holds"),
    [
        ("kernel", ">=6.1 <6.15", "6.12", True),
        ("kernel", ">=6.1 <6.15", "6.15", False),
        ("kernel", ["<5", ">=6.1"], "5.15", False),
        ("kernel", ["<5", ">=6.1"], "4.18", True),
        ("kernel", ["<6.12.3", "7"], "6.12", None),
        ("kernel", [">=6.12.3", "6"], "6.12", True),
        ("kernel", "any", "1", True),
        ("os", ["debian-12", "rocky-9"], "rocky-9.4", True),
        ("nvidia_modules", "open", "proprietary", False),
        ("nvswitch", True, True, True),
        ("infiniband_rate", ">=800", "400", False),
    ],
)
def test_constraints(name: str, written: object, value: str | bool, holds: bool | None) -> None:
    assert parse_constraint(name, written).holds(fact(name, value), {}) is holds


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("kernel", ">=6.1 <6.15", "6.1 or later and before 6.15"),
        ("os", ["debian-12", "debian-13"], "debian-12 or debian-13"),
        ("nvidia_driver", "<=470", "470 or earlier"),
        ("nvidia_driver", {"same_as": "fabric_manager"}, "the same as fleet_fabric_manager"),
        ("nvswitch", True, "true"),
        ("cuda", "any", "declared"),
    ],
)
def test_constraints_in_words(name: str, written: object, words: str) -> None:
    assert str(parse_constraint(name, written)) == words


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("kernle", "6", "'kernle' is no fact; there are: os, kernel"),
        ("kernel", 6.1, "YAML reads 6.1 as something else than text; put it in quotes"),
        ("kernel", "", "is empty"),
        ("kernel", [], "an empty list never holds"),
        ("kernel", ">6.1", "'>6.1' is no version; write such as"),
        ("kernel", ">= 6.1", "'>=' is no version"),
        ("kernel", ">=latest", "'latest' is no version"),
        ("os", ">=debian-12", "'>=debian-12' is no system"),
        ("nvidia_modules", "Open", "'Open' is no word"),
        ("nvswitch", "yes", "'yes' is no flag; write true or false"),
        ("kernel", {"same_as": "os"}, "is no constraint; write same_as: and another such fact"),
        ("kernel", {"same_as": "kernel"}, "is no constraint"),
        ("kernel", {"at_least": "6"}, "is no constraint"),
        ("kernel", {"same_as": ["cuda"]}, "is no constraint"),
    ],
)
def test_what_is_no_constraint_is_refused(name: str, written: object, words: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_constraint(name, written)
    assert words in str(refused.value)


written_constraints = st.recursive(
    st.text(max_size=20) | st.integers() | st.booleans() | st.none() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(st.sampled_from(list(KINDS)), written_constraints)
def test_anything_is_a_constraint_or_refused_in_a_line(name: str, written: object) -> None:
    try:
        parse_constraint(name, written)
    except ValueError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 400


def test_a_rule_that_the_site_accepts_is_not_applied() -> None:
    accepted = replace(
        RULES,
        rules=tuple(replace(rule, accepted="ours builds") for rule in RULES.rules),
        skews=tuple(replace(skew, accepted="for this week") for skew in RULES.skews),
        generations=MappingProxyType({}),
    )
    assert broken({"cuda": "13.0", "nvidia_driver": "550"}, accepted) == set()
    two = fleet(
        node("a", {"slurm": "26.05"}, frozenset({COMPUTE})), node("b", {"slurm": "25.11"}, frozenset({CONTROLLER}))
    )
    assert not list(check_compatibility(two, accepted))


def test_modules_are_words_that_rules_compare() -> None:
    assert parse_constraint("nvidia_modules", "open").holds(NvidiaModules.OPEN, {}) is True
