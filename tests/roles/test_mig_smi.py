"""What nvidia-smi and scontrol say is read as it is meant, and a node whose GPUs may be divided is told from others."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.claims import ClaimClass, OwnedReason, owned_reason
from fleetward.roles.mig.module_utils.mig_plan import Instance, Profile, place
from fleetward.roles.mig.module_utils.mig_smi import (
    AnswerError,
    GpuState,
    blocked,
    differs,
    read_profiles,
    read_states,
)

# NVIDIA MIG User Guide, Getting Started with MIG: tables of an A100-SXM4-40GB; the second GPU of the query has MIG off.
MODES = "0, Enabled, Enabled\n1, Disabled, Disabled\n2, [N/A], [N/A]\n3, Disabled, Enabled\n"
INSTANCES = """\
+----------------------------------------------------+
| GPU instances:                                     |
| GPU   Name          Profile  Instance   Placement  |
|                       ID       ID       Start:Size |
|====================================================|
|   0  MIG 1g.5gb       19        7          0:1     |
+----------------------------------------------------+
|   0  MIG 1g.5gb       19        8          1:1     |
+----------------------------------------------------+
|   0  MIG 2g.10gb      14        4          2:2     |
+----------------------------------------------------+
|   0  MIG 3g.20gb       9        2          4:4     |
+----------------------------------------------------+
"""
DEVICES = """\
GPU 0: A100-SXM4-40GB (UUID: GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0)
  MIG 3g.20gb     Device  0: (UUID: MIG-c7384736-a75d-5afc-978f-d2f1294409fd)
  MIG 1c.2g.10gb  Device  1: (UUID: MIG-a28ad590-3fda-56dd-84fc-0a0b96edc58d)
GPU 1: A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
"""
PROFILES = """\
+-----------------------------------------------------------------------------+
| GPU instance profiles:                                                      |
| GPU   Name             ID    Instances   Memory     P2P    SM    DEC   ENC  |
|                              Free/Total   GiB              CE    JPEG  OFA  |
|=============================================================================|
|   0  MIG 1g.23gb       19     7/7        20.50      No     18     1     0   |
|                                                             2     1     0   |
+-----------------------------------------------------------------------------+
|   0  MIG 1g.23gb+me    20     1/1        20.50      No     18     1     0   |
|                                                             2     1     1   |
+-----------------------------------------------------------------------------+
|   1  MIG 7g.180gb       0     1/1       178.00      No    148     7     0   |
"""
PLACEMENTS = """\
GPU  0 Profile ID 19 Placements: {0,1,2,3,4,5,6}:1
GPU  0 Profile ID 20 Placements: {0,1,2,3,4,5,6}:1
GPU  0 Profile ID 99 Placements: {0,4}:4
GPU  1 Profile ID  0 Placement : {0}:8
"""
DRAINED = "fleetward:c3 maintenance: MIG layout"


def node(state: str = "IDLE+DRAIN", reason: str = f"{DRAINED} [slurm@2026-11-30T10:00:00]") -> str:
    """Return what scontrol says of a node; a reason that is empty is not told at all."""
    told = f"   Reason={reason}\n" if reason else ""
    return (
        f"NodeName=gpu001 Arch=x86_64 CoresPerSocket=8 \n   Gres=gpu:h100:8\n   State={state} ThreadsPerCore=1\n"
        f"   Partitions=gpu,debug \n{told}"
    )


def test_gpus_are_read_with_their_instances_and_what_programs_can_use() -> None:
    states = read_states(MODES, INSTANCES, DEVICES)
    assert set(states) == {0, 1, 3}, "a GPU that knows no MIG is not told"
    assert states[0] == GpuState(
        mig=True,
        pending=True,
        instances=(
            Instance("1g.5gb", 0),
            Instance("1g.5gb", 1),
            Instance("2g.10gb", 2),
            Instance("3g.20gb", 4),
        ),
        devices=("1c.2g.10gb", "3g.20gb"),
    )
    assert states[1] == GpuState(mig=False, pending=False)
    assert states[3] == GpuState(mig=False, pending=True)


@pytest.mark.parametrize(
    ("modes", "instances"),
    [
        ("Unable to determine the device handle", ""),
        ("0, Enabled", ""),
        (MODES, "|   0  MIG 1g.5gb       19        7 |"),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_not_a_gpu_without_instances(modes: str, instances: str) -> None:
    with pytest.raises(AnswerError, match="nvidia-smi"):
        read_states(modes, instances, "")


@given(modes=st.text(max_size=60), instances=st.text(max_size=120), devices=st.text(max_size=120))
def test_whatever_is_said_is_read_or_an_error(modes: str, instances: str, devices: str) -> None:
    try:
        states = read_states(modes, instances, devices)
    except AnswerError:
        return
    assert all(number >= 0 for number in states)


def test_a_gpu_says_itself_what_it_can_be_divided_into() -> None:
    known = read_profiles(PROFILES, PLACEMENTS, 0)
    seven = (0, 1, 2, 3, 4, 5, 6)
    assert known == {
        "1g.23gb": Profile("1g.23gb", 1, 1, 7, seven),
        "1g.23gb+me": Profile("1g.23gb+me", 1, 1, 1, seven),
    }
    assert place([known["1g.23gb"]] * 8) is None


HALVES = {"3g.40gb": 2}
TWO = (Instance("3g.40gb", 0), Instance("3g.40gb", 4))


@pytest.mark.parametrize(
    ("state", "wanted", "words"),
    [
        (GpuState(True, True, TWO, ("3g.40gb", "3g.40gb")), HALVES, ""),
        (GpuState(False, False), None, ""),
        (GpuState(False, False), HALVES, "has MIG off, and is to have 2 3g.40gb"),
        (GpuState(False, True), HALVES, "has MIG off"),
        (GpuState(False, True), None, "is to be whole"),
        (GpuState(True, True), None, "has MIG on, and is to be whole"),
        (GpuState(True, False, TWO, ("3g.40gb", "3g.40gb")), HALVES, "loses MIG at its next reset"),
        (GpuState(True, True), HALVES, "has no instance, and is to have 2 3g.40gb"),
        (GpuState(True, True, TWO[:1], ("3g.40gb",)), HALVES, "has 1 3g.40gb, and is to have 2 3g.40gb"),
        (GpuState(True, True, TWO, ("3g.40gb",)), HALVES, "has 1 3g.40gb that programs can use"),
        (GpuState(True, True, TWO, ("1c.3g.40gb", "3g.40gb")), HALVES, "1 1c.3g.40gb, 1 3g.40gb that programs can use"),
    ],
)
def test_a_gpu_differs_by_mode_instances_and_what_programs_can_use(
    state: GpuState, wanted: dict[str, int] | None, words: str
) -> None:
    found = differs(state, wanted)
    assert words in found
    assert bool(found) == bool(words)


@given(many=st.dictionaries(st.sampled_from(["1g.10gb", "2g.20gb", "3g.40gb"]), st.integers(1, 3), min_size=1))
def test_where_instances_begin_is_no_difference(many: dict[str, int]) -> None:
    names = list(Counter(many).elements())
    there = tuple(Instance(name, start) for start, name in enumerate(names))
    assert differs(GpuState(True, True, there, tuple(names)), many) == ""


@pytest.mark.parametrize("state", ["IDLE+DRAIN", "IDLE+DRAIN+NOT_RESPONDING", "DOWN+DRAIN", "IDLE*+DRAIN"])
def test_a_node_that_is_drained_for_it_and_idle_may_be_divided(state: str) -> None:
    assert blocked("gpu001", node(state), "") == ""


def test_a_node_that_slurm_does_not_know_may_be_divided_while_nothing_computes() -> None:
    assert blocked("gpu001", "", "") == ""
    assert "has programs on its GPUs (4711, python3)" in blocked("gpu001", "", "4711, python3\n")


@pytest.mark.parametrize(
    ("said", "applications", "words"),
    [
        (node("IDLE"), "", ["is not drained", 'fleetward drain gpu001 --reason "MIG layout"']),
        (node("MIXED"), "", ["is not drained"]),
        (node("ALLOCATED+DRAIN"), "", ["still has jobs"]),
        (node("MIXED+DRAIN"), "", ["still has jobs"]),
        (node("IDLE+COMPLETING+DRAIN"), "", ["still has jobs"]),
        (node(reason="memory [root@2026-11-30T10:00:00]"), "", ["drained by somebody else", "(memory)"]),
        (node(reason=""), "", ["no reason"]),
        (node(reason="fleetward:i12 node_problem: XID 79 [slurm@x]"), "", ["fleetward:i12 node_problem: XID 79"]),
        (node(reason="not fleetward:c3 maintenance: x"), "", ["drained by somebody else"]),
        (node(), "17, python\n18, [Not Found]\n", ["17, python; 18"]),
        ("NodeName=gpu001 cut off", "", ["is not drained"]),
    ],
)
def test_any_other_node_is_left_alone_and_told_what_to_do(said: str, applications: str, words: list[str]) -> None:
    found = blocked("gpu001", said, applications)
    for word in words:
        assert word in found


@given(
    owner=st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True),
    kind=st.sampled_from(ClaimClass),
    why=st.text(max_size=80),
)
def test_the_claims_that_it_takes_are_those_of_planned_work_as_claims_are_written(
    owner: str, kind: ClaimClass, why: str
) -> None:
    reason = str(OwnedReason(owner, kind, why))
    assert owned_reason(reason) is not None
    found = blocked("gpu001", node(reason=f"{reason} [slurm@2026-11-30T10:00:00]"), "")
    assert (found == "") == (kind is ClaimClass.MAINTENANCE)
