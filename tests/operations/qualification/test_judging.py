"""What came of a workload: from what it said, from the profile, from peers; nothing unmeasured counts as passed."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetward.model.claims import ClaimClass
from fleetward.model.fleet import ExpectedBandwidth, HardwareProfile
from fleetward.operations.qualification.batch_log import Run
from fleetward.operations.qualification.judging import Outcome, Result, judge, of_node
from fleetward.operations.qualification.measuring import Measurement, Unit
from fleetward.operations.qualification.workload import Workload
from fleetward.operations.qualification.workload_list import BY_ID, WORKLOADS

Sample = Callable[[str], str]
NODE = BY_ID["nccl_node"]
GOOD = {
    "dcgm_medium": "dcgm-3.3.9-medium.json",
    "dcgm_long": "dcgm-4.6.0-long.json",
    "nvbandwidth": "nvbandwidth-0.8.json",
    "nccl_node": "nccl-tests-2.19.6-node.txt",
    "nccl_pair": "nccl-tests-2.13.8-pair.txt",
    "nccl_group": "nccl-tests-2.13.8-pair.txt",
    "hpl": "hpl-2.3.txt",
    "matrix_product": "matrix-product.json",
    "ib_write": "perftest-6.29-pair.txt",
    "ib_write_gpu": "perftest-6.29-pair.txt",
}


def ran(workload: Workload, output: str, exit_code: int | None = 0, seconds: int = 60) -> Run:
    return Run(workload.id, output, exit_code, seconds)


def bus(node: str, value: float) -> Result:
    measured = (Measurement("all_reduce_bus_bandwidth", value, Unit.GBYTES_PER_SECOND),)
    return Result("nccl_node", (node,), Outcome.PASSED, "", measurements=measured)


def nodes_of(workload: Workload) -> tuple[str, ...]:
    return ("gpu001",) if workload.scope == "node" else ("gpu001", "gpu002")


@pytest.mark.parametrize("id", sorted(GOOD))
def test_a_good_node_passes(id: str, hgx: HardwareProfile, sample: Sample) -> None:
    workload = BY_ID[id]
    result = judge(workload, ran(workload, sample(GOOD[id])), nodes_of(workload), hgx)
    assert (result.outcome, result.why) == (Outcome.PASSED, "all is well")
    assert (result.blamed, result.problem, result.look_next) == ((), None, "")


def test_below_the_profile_is_failed_with_its_source_and_where_to_look(hgx: HardwareProfile, sample: Sample) -> None:
    slow = sample(GOOD["nccl_node"]).replace("478.", "455.").replace("479.", "456.")
    result = judge(NODE, ran(NODE, slow), ["gpu001"], hgx)
    assert result.outcome is Outcome.FAILED
    assert result.why == (
        "all_reduce_bus_bandwidth is 455.9 GB/s, and the profile expects 460 "
        "(azurehpc-health-checks, check_nccl_allreduce: below the number itself is a failure)"
    )
    assert (result.blamed, result.problem) == (("gpu001",), ClaimClass.NODE_PROBLEM)
    assert "nvlink" in result.look_next
    assert "all_reduce_bus_bandwidth: 455.9 GB/s" in result.evidence


def test_a_tolerance_of_the_site_takes_the_place_of_the_declared_one(hgx: HardwareProfile, sample: Sample) -> None:
    slow = sample(GOOD["nccl_node"]).replace("478.", "455.").replace("479.", "456.")
    result = judge(NODE, ran(NODE, slow), ["gpu001"], hgx, tolerances={"all_reduce_bus_bandwidth": 0.01})
    assert result.outcome is Outcome.PASSED
    strict = judge(
        BY_ID["nccl_pair"],
        ran(BY_ID["nccl_pair"], sample(GOOD["nccl_pair"])),
        ["gpu001", "gpu002"],
        replace(hgx, bandwidth_gbytes_per_second=ExpectedBandwidth(460, 52, 93)),
        tolerances={"all_reduce_bus_bandwidth": 0.0},
    )
    assert strict.outcome is Outcome.FAILED


def test_one_slow_gpu_is_named(hgx: HardwareProfile, sample: Sample) -> None:
    workload = BY_ID["nvbandwidth"]
    result = judge(workload, ran(workload, sample(GOOD["nvbandwidth"]).replace("55.62", "26.1")), ["gpu001"], hgx)
    assert result.outcome is Outcome.FAILED
    assert result.why.startswith("host_to_device_bandwidth of GPU 5 is 26.1 GB/s, and the profile expects 52")


def test_slower_than_peers_is_failed_even_where_the_profile_is_content(hgx: HardwareProfile, sample: Sample) -> None:
    peers = [bus(f"gpu{at:03}", 560 + at) for at in range(2, 9)]
    result = judge(NODE, ran(NODE, sample(GOOD["nccl_node"])), ["gpu001"], hgx, peers)
    assert result.outcome is Outcome.FAILED
    assert "15% worse than the median 565 of 7 peers" in result.why


def test_its_own_earlier_runs_are_no_peers(hgx: HardwareProfile, sample: Sample) -> None:
    own = [bus("gpu001", 600)] * 9
    assert judge(NODE, ran(NODE, sample(GOOD["nccl_node"])), ["gpu001"], hgx, own).outcome is Outcome.PASSED


def test_numbers_that_nothing_can_be_held_against_are_unknown(hgx: HardwareProfile, sample: Sample) -> None:
    silent = replace(hgx, bandwidth_gbytes_per_second=ExpectedBandwidth())
    run = ran(NODE, sample(GOOD["nccl_node"]))
    result = judge(NODE, run, ["gpu001"], silent, [bus(f"gpu{at:03}", 479) for at in range(2, 6)])
    assert result.outcome is Outcome.UNKNOWN
    assert result.why == (
        "nothing to hold its numbers against: the profile names none, and there are fewer than 5 peers"
    )
    enough = judge(NODE, run, ["gpu001"], silent, [bus(f"gpu{at:03}", 479) for at in range(2, 7)])
    assert enough.outcome is Outcome.PASSED
    one_of_them = judge(NODE, run, ["gpu001"], silent, [bus("gpu002", 479)] * 9)
    assert one_of_them.outcome is Outcome.UNKNOWN
    hpl = BY_ID["hpl"]
    assert judge(hpl, ran(hpl, sample(GOOD["hpl"])), ["gpu001"], silent).outcome is Outcome.PASSED


def test_a_part_that_was_not_measured_is_unknown(hgx: HardwareProfile, sample: Sample) -> None:
    workload = BY_ID["ib_write"]
    text = sample(GOOD["ib_write"])
    text = text[: text.index("server: == mlx5_3")]
    result = judge(workload, ran(workload, text, exit_code=1), ["gpu001", "gpu002"], hgx)
    assert (result.outcome, result.why) == (Outcome.UNKNOWN, "no rdma_write_bandwidth was measured for mlx5_3")


def test_a_missing_program_is_unknown(hgx: HardwareProfile) -> None:
    result = judge(NODE, Run(NODE.id, missing=("gpu001 lacks all_reduce_perf",)), ["gpu001"], hgx)
    assert (result.outcome, result.why) == (Outcome.UNKNOWN, "gpu001 lacks all_reduce_perf")
    assert result.blamed == ()


def test_a_workload_of_which_no_log_tells_is_unknown(hgx: HardwareProfile) -> None:
    assert judge(NODE, None, ["gpu001"], hgx).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("exit_code", "seconds", "output", "outcome", "why"),
    [
        (127, 1, "all_reduce_perf: libnccl.so.2: cannot open\n", Outcome.UNKNOWN, "could not be started"),
        (1, 1, None, Outcome.UNKNOWN, "it names no fault, and ended with exit code 1"),
        (None, None, None, Outcome.UNKNOWN, "its log ends before it did"),
        (
            139,
            3,
            "Segmentation fault\n",
            Outcome.UNKNOWN,
            "did not come to its end: Segmentation fault (exit code 139)",
        ),
        (124, 600, "# nThread 1\n", Outcome.FAILED, "it hung: not done in 600 s; its last words: # nThread 1"),
        (137, 630, "", Outcome.FAILED, "it hung"),
        (124, 5, "", Outcome.UNKNOWN, "did not come to its end"),
        (2, 5, "gpu001: Test CUDA failure c.cu:5 'unspecified launch failure'\n", Outcome.FAILED, "CUDA failure on"),
        (None, None, "gpu001: Test CUDA failure c.cu:5 'unspecified launch failure'\n", Outcome.FAILED, "CUDA failure"),
    ],
)
def test_how_it_ended_counts(
    hgx: HardwareProfile,
    sample: Sample,
    exit_code: int | None,
    seconds: int | None,
    output: str | None,
    outcome: Outcome,
    why: str,
) -> None:
    run = Run(NODE.id, sample(GOOD["nccl_node"]) if output is None else output, exit_code, seconds)
    result = judge(NODE, run, ["gpu001"], hgx)
    assert result.outcome is outcome
    assert why in result.why


def test_a_failed_pair_blames_neither_of_the_two(hgx: HardwareProfile, sample: Sample) -> None:
    pair = BY_ID["nccl_pair"]
    slow = sample(GOOD["nccl_pair"]).replace("360.", "12.")
    result = judge(pair, ran(pair, slow), ["gpu001", "gpu002"], hgx)
    assert result.outcome is Outcome.FAILED
    assert (result.blamed, result.problem) == ((), None)
    assert "another partner" in result.look_next


def test_between_nodes_the_narrower_of_network_and_nvlink_is_expected(hgx: HardwareProfile) -> None:
    (measure,) = BY_ID["nccl_pair"].measures
    assert measure.expected is not None
    assert measure.expected(hgx) == pytest.approx(4 * 46.8)
    wide = replace(hgx, bandwidth_gbytes_per_second=ExpectedBandwidth(100, 52, 46.8))
    assert measure.expected(wide) == 100
    assert measure.expected(replace(hgx, bandwidth_gbytes_per_second=ExpectedBandwidth(460))) is None
    assert measure.expected(replace(hgx, infiniband=None)) is None


def result(outcome: Outcome, *nodes: str, blamed: tuple[str, ...] = ()) -> Result:
    return Result("nccl_pair", nodes, outcome, "slow", blamed=blamed)


def test_of_a_nodes_own_runs_the_worst_counts() -> None:
    passed, failed = result(Outcome.PASSED, "a"), result(Outcome.FAILED, "a", blamed=("a",))
    unknown = result(Outcome.UNKNOWN, "a")
    assert of_node("a", [passed, unknown, failed, passed]) == failed
    assert of_node("a", [passed, unknown, passed]) == unknown
    assert of_node("a", [passed]) == passed
    assert of_node("a", [result(Outcome.PASSED, "b")]) is None


def test_a_bad_partner_is_not_held_against_a_node() -> None:
    with_bad = result(Outcome.FAILED, "a", "b")
    found = of_node("a", [with_bad])
    assert found is not None
    assert found.outcome is Outcome.UNKNOWN
    assert found.why == "failed with a, b together, and nobody knows whose fault it is: slow"
    with_good = result(Outcome.PASSED, "a", "c")
    assert of_node("a", [with_good, with_bad]) == with_good
    named = result(Outcome.FAILED, "a", "b", blamed=("b",))
    assert of_node("b", [named, result(Outcome.PASSED, "b", "c")]) == named


@pytest.mark.parametrize("id", sorted(GOOD))
@settings(deadline=None)
@given(data=st.data())
def test_a_cut_output_passes_only_where_all_its_numbers_are_there(
    id: str, hgx: HardwareProfile, sample: Sample, data: st.DataObject
) -> None:
    workload, text = BY_ID[id], sample(GOOD[id])
    cut = text[: data.draw(st.integers(0, len(text)))]
    whole = judge(workload, ran(workload, text), nodes_of(workload), hgx)
    found = judge(workload, ran(workload, cut), nodes_of(workload), hgx)
    assert found.outcome in (Outcome.PASSED, Outcome.UNKNOWN)
    if found.outcome is Outcome.PASSED:
        assert found.measurements == whole.measurements


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one.id)
@settings(deadline=None)
@given(
    output=st.text(),
    exit_code=st.none() | st.integers(0, 255),
    seconds=st.none() | st.integers(0, 10_000),
)
def test_nothing_of_a_strange_output_passes(
    workload: Workload, hgx: HardwareProfile, output: str, exit_code: int | None, seconds: int | None
) -> None:
    run = Run(workload.id, output, exit_code, seconds)
    assert judge(workload, run, nodes_of(workload), hgx).outcome is not Outcome.PASSED
