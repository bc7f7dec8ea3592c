"""What workloads print, read into numbers and faults; samples/README.md says in whose format."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetward.operations.qualification.measuring import Reading, Unit, UnreadableError
from fleetward.operations.qualification.workload import Workload
from fleetward.operations.qualification.workload_list import BY_ID, WORKLOADS
from fleetward.operations.qualification.workloads import dcgm, fio, hpl, ib_write, matrix_product, nccl, nvbandwidth

Sample = Callable[[str], str]
GOOD = {
    "dcgm_medium": "dcgm-3.3.9-medium.json",
    "dcgm_long": "dcgm-4.6.0-long.json",
    "nvbandwidth": "nvbandwidth-0.8.json",
    "nccl_node": "nccl-tests-2.19.6-node.txt",
    "nccl_pair": "nccl-tests-2.13.8-pair.txt",
    "nccl_group": "nccl-tests-2.13.8-pair.txt",
    "hpl": "hpl-nvidia-25.txt",
    "matrix_product": "matrix-product.json",
    "ib_write": "perftest-6.29-pair.txt",
    "ib_write_gpu": "perftest-6.29-pair.txt",
    "fio": "fio-3.33.json",
}


def numbers(reading: Reading) -> dict[tuple[str, str], float]:
    return {(one.name, one.entity): one.value for one in reading.measurements}


def faults(reading: Reading) -> list[tuple[str, str]]:
    return [(one.entity, one.why) for one in reading.faults]


def test_every_workload_has_a_sample_of_what_it_prints() -> None:
    assert GOOD.keys() == BY_ID.keys()


@pytest.mark.parametrize("id", sorted(GOOD))
def test_a_good_output_has_no_fault(id: str, sample: Sample) -> None:
    reading = BY_ID[id].parse(sample(GOOD[id]))
    assert reading.faults == ()
    assert {one.name for one in reading.measurements} == {one.name for one in BY_ID[id].measures}
    units = {one.name: one.unit for one in BY_ID[id].measures}
    assert all(one.unit is units[one.name] for one in reading.measurements)


def test_all_reduce_tells_the_average_of_its_table(sample: Sample) -> None:
    assert numbers(nccl.parse(sample("nccl-tests-2.19.6-node.txt"))) == {("all_reduce_bus_bandwidth", ""): 478.905}
    assert numbers(nccl.parse(sample("nccl-tests-2.13.8-pair.txt"))) == {("all_reduce_bus_bandwidth", ""): 360.655}


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (
            "Out of bounds values : 0 OK",
            "Out of bounds values : 12 FAILED",
            "12 elements of the sum were wrong: data was changed on the way",
        ),
        (
            "# Avg bus bandwidth",
            "gpu001: Test CUDA failure common.cu:512 'uncorrectable ECC error encountered'\n# Avg bus bandwidth",
            "CUDA failure on gpu001: common.cu:512 'uncorrectable ECC error encountered'",
        ),
    ],
)
def test_all_reduce_that_says_what_is_wrong(sample: Sample, before: str, after: str, why: str) -> None:
    assert faults(nccl.parse(sample(GOOD["nccl_node"]).replace(before, after))) == [("", why)]


def test_all_reduce_that_broke_off_is_no_number() -> None:
    broken = (
        "gpu002: Test NCCL failure all_reduce.cu:44 'unhandled cuda error / Cuda failure 719'\n .. gpu002 pid 7: x\n"
    )
    assert nccl.parse(broken).measurements == ()
    assert faults(nccl.parse(broken)) == [
        ("", "NCCL failure on gpu002: all_reduce.cu:44 'unhandled cuda error / Cuda failure 719'")
    ]
    few = "Invalid number of GPUs: 8 requested but only 7 were found.\n"
    assert faults(nccl.parse(few)) == [("", few.strip())]
    hung = "gpu002: Test timeout (600s) common.cu:520\n"
    assert faults(nccl.parse(hung)) == [("", "timeout on gpu002: (600s) common.cu:520")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text + text, "2 processes measured each by itself: build nccl-tests with MPI=1"),
        (lambda text: text.replace(": 478.905", ": 479999"), "does not follow from the table"),
        (lambda text: text.replace(": 478.905", ": nan"), "does not follow from the table"),
        (lambda text: "\n".join(line for line in text.split("\n") if "float" not in line), "does not follow from"),
        (lambda text: text[: text.index("# Avg") + 28], "did not come to its end"),
        (
            lambda _: "gpu1: Test CUDA failure c:1 'CUDA driver version is insufficient for CUDA runtime version'\n",
            "does not fit the driver",
        ),
        (lambda _: "", "did not come to its end: it says nothing"),
    ],
)
def test_all_reduce_from_which_nothing_follows(sample: Sample, change: Callable[[str], str], why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        nccl.parse(change(sample(GOOD["nccl_node"])))


def test_copies_are_told_by_gpu_the_worst_peer_of_each(sample: Sample) -> None:
    found = numbers(nvbandwidth.parse(sample("nvbandwidth-0.8.json")))
    assert found["host_to_device_bandwidth", "GPU 1"] == 55.58
    assert found["device_to_host_bandwidth", "GPU 7"] == 53.95
    assert found["device_to_device_bandwidth", "GPU 0"] == 371.3
    assert len(found) == 24


def copies(change: Callable[[dict[str, Any]], object], text: str) -> Reading:
    document = json.loads(text)
    change(document["nvbandwidth"])
    return nvbandwidth.parse(json.dumps(document))


def test_copies_that_failed_or_were_not_made(sample: Sample) -> None:
    text = sample("nvbandwidth-0.8.json")
    lost = "[CUDA_ERROR_ECC_UNCORRECTABLE] uncorrectable ECC error encountered in expression cuMemcpyAsync"
    assert faults(copies(lambda root: root.update(error=lost), text)) == [("", lost)]
    wrong = copies(lambda root: root["testcases"][0].update(status="Error", error="Invalid value at 7"), text)
    assert faults(wrong) == [("", "host_to_device_memcpy_ce: Invalid value at 7")]
    waived = copies(lambda root: root["testcases"][2].update(status="Waived"), text)
    assert waived.notes == ("device_to_device_memcpy_read_ce was not run: Waived",)
    assert not any(one.name == "device_to_device_bandwidth" for one in waived.measurements)
    diagonal = copies(lambda root: root["testcases"][2]["bandwidth_matrix"][3].__setitem__(3, "0"), text)
    assert numbers(diagonal) == numbers(nvbandwidth.parse(text))


@pytest.mark.parametrize(
    "change",
    [
        lambda root: root.update(error="[CUDA_ERROR_INSUFFICIENT_DRIVER] CUDA driver version is insufficient"),
        lambda root: root.update(testcases={}),
        lambda root: root["testcases"].append("x"),
        lambda root: root["testcases"][0].update(bandwidth_matrix=[["fast"]]),
        lambda root: root["testcases"][0].update(bandwidth_matrix=None),
        lambda root: root["testcases"][0].update(bandwidth_matrix=[["-1"]]),
        lambda root: root["testcases"][0].update(bandwidth_matrix=[[1e999]]),
    ],
)
def test_copies_from_which_nothing_follows(sample: Sample, change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(UnreadableError):
        copies(change, sample("nvbandwidth-0.8.json"))


def test_diagnostics_of_both_layouts_name_test_and_gpu(sample: Sample) -> None:
    assert faults(dcgm.parse(sample("dcgm-4.6.0-failed.json"))) == [
        ("GPU 5", "targeted_stress: Detected 3 volatile double-bit ECC errors on GPU 5 during the test.")
    ]
    assert faults(dcgm.parse(sample("dcgm-3.3.9-failed.json"))) == [
        (
            "GPU 2",
            "Page Retirement/Row Remap: GPU 2 has uncorrectable memory errors and row remappings are pending.",
        )
    ]


def diagnosed(name: str, sample: Sample, change: Callable[[list[dict[str, Any]]], object]) -> Reading:
    document = json.loads(sample(name))
    (root,) = [value for key, value in document.items() if "Diagnostic" in key]
    change(root["test_categories"])
    return dcgm.parse(json.dumps(document))


def test_a_diagnostic_that_was_left_out_is_told_and_passes_nothing(sample: Sample) -> None:
    def skip(categories: list[dict[str, Any]]) -> None:
        for result in categories[2]["tests"][0]["results"]:
            result.update(status="Skip", warnings=["no memory to spare"])

    reading = diagnosed("dcgm-3.3.9-medium.json", sample, skip)
    assert reading.notes == ("GPU Memory was left out: no memory to spare",)
    assert reading.faults == ()
    with pytest.raises(UnreadableError, match="ran no test that puts load on a GPU"):
        diagnosed("dcgm-3.3.9-medium.json", sample, lambda categories: categories.__delitem__(slice(1, None)))


def test_a_summary_that_failed_counts_where_no_result_did(sample: Sample) -> None:
    def fail(categories: list[dict[str, Any]]) -> None:
        categories[1]["tests"][0]["test_summary"] = {"status": "Fail", "warnings": [{"warning": "no GPU would start"}]}

    assert faults(diagnosed("dcgm-4.6.0-long.json", sample, fail)) == [("", "memory: no GPU would start")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Error: unable to establish a connection to the specified host: localhost\n", "unable to establish"),
        ('{"DCGM Diagnostic": {"runtime_error": "already running", "version": "4.6.0"}}', "already running"),
        ('{"DCGM Diagnostic": {"test_categories": [{"tests": [{"name": "a", "results": [{}]}]}]}}', "no known status"),
        ('{"Something": {}}', "has neither"),
        ('{"DCGM Diagnostic": {"test_categories": [', "not whole"),
        ('{"DCGM Diagnostic": ' + '{"a":' * 100_000, "not whole"),
        ('{"DCGM Diagnostic": {"a": NaN}}', "not whole"),
        ('{"DCGM Diagnostic": {"a": ' + "9" * 5000 + "}}", "not whole"),
    ],
)
def test_diagnostics_from_which_nothing_follows(text: str, why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        dcgm.parse(text)


def test_writes_are_told_by_device_and_only_as_the_client_says(sample: Sample) -> None:
    found = numbers(ib_write.parse(sample("perftest-6.29-pair.txt")))
    assert found == {
        ("rdma_write_bandwidth", "mlx5_0"): 395.12 / 8,
        ("rdma_write_bandwidth", "mlx5_1"): 395.09 / 8,
        ("rdma_write_bandwidth", "mlx5_2"): 394.97 / 8,
        ("rdma_write_bandwidth", "mlx5_3"): 395.15 / 8,
    }
    server_alone = "".join(line for line in sample("perftest-6.29-pair.txt").splitlines(True) if line[:7] == "server:")
    with pytest.raises(UnreadableError, match="measured nothing"):
        ib_write.parse(server_alone)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("== mlx5_1\n Port number 1 state is Down\n", ("mlx5_1", "Port number 1 state is Down")),
        ("== mlx5_1\nCouldn't allocate MR\n failed to create mr\n", ("mlx5_1", "Couldn't allocate MR")),
        (
            "server: == mlx5_1\nserver: IB device mlx5_1 not found\n== mlx5_1\n",
            ("mlx5_1", "IB device mlx5_1 not found"),
        ),
        ("== mlx5_1\n Completion with error at client\n", ("mlx5_1", "Completion with error")),
        ("== mlx5_1\ncuMemAlloc error=2\n", ("mlx5_1", "cuMemAlloc error=2")),
    ],
)
def test_writes_that_say_what_is_wrong(lines: str, fault: tuple[str, str]) -> None:
    assert faults(ib_write.parse(lines)) == [fault]


def test_a_row_below_another_unit_is_no_bandwidth(sample: Sample) -> None:
    with pytest.raises(UnreadableError, match="measured nothing"):
        ib_write.parse(sample("perftest-6.29-pair.txt").replace("Gb/sec", "MiB/sec"))
    with pytest.raises(UnreadableError, match="has not what is asked of it: Unsupported memory type"):
        ib_write.parse("== mlx5_0\n Unsupported memory type\n")


def test_hpl_of_netlib_and_of_nvidia(sample: Sample) -> None:
    assert numbers(hpl.parse(sample("hpl-2.3.txt"))) == {("hpl_performance", ""): 373.37}
    assert numbers(hpl.parse(sample("hpl-nvidia-25.txt"))) == {("hpl_performance", ""): 370.2}


def test_a_wrong_residual_is_a_fault_whatever_the_speed(sample: Sample) -> None:
    wrong = sample("hpl-2.3.txt").replace("1.03510675e-03 ...... PASSED", "8.77e+04 ...... FAILED")
    assert faults(hpl.parse(wrong)) == [("", "the solution is wrong: its scaled residual is 8.77e+04")]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("PASSED", "PASS"),
        lambda text: text.replace("3.7337e+05", "0"),
        lambda text: text.replace("3.7337e+05", "inf"),
        lambda text: "".join(line for line in text.splitlines(True) if not line.startswith("WR11")),
        lambda text: text[: text.index("||Ax-b||_oo/(eps")],
    ],
)
def test_hpl_without_a_checked_result_is_nothing(sample: Sample, change: Callable[[str], str]) -> None:
    with pytest.raises(UnreadableError):
        hpl.parse(change(sample("hpl-2.3.txt")))


@pytest.mark.parametrize(
    ("gpus", "grid"), [(1, (1, 1)), (4, (2, 2)), (6, (2, 3)), (7, (1, 7)), (8, (2, 4)), (16, (4, 4))]
)
def test_the_matrix_of_hpl_fits_into_the_gpus(gpus: int, grid: tuple[int, int]) -> None:
    values = [line.split()[0] for line in hpl.input_file(gpus, 81559).splitlines()]
    order, block, rows, columns = (int(values[at]) for at in (5, 7, 10, 11))
    assert (rows, columns) == grid
    assert order % block == 0
    assert 0.75 < order**2 * 8 / (gpus * 81559 * 2**20) <= 0.8
    assert len(values) == 31


def test_fio_tells_both_ways(sample: Sample) -> None:
    text = sample("fio-3.33.json")
    assert numbers(fio.parse(text)) == {
        ("disk_write_bandwidth", ""): 3.412876543,
        ("disk_read_bandwidth", ""): 6.871947673,
    }
    failed = json.loads(text)
    failed["jobs"][0]["error"] = 5
    assert faults(fio.parse(json.dumps(failed))) == [("", "the job write ended with error 5")]
    assert fio.parse("fio: a warning of some kind\n" + text) == fio.parse(text)


@pytest.mark.parametrize("change", [{"error": None}, {"write": {"bw_bytes": 0}}, {"write": None}])
def test_fio_from_which_nothing_follows(sample: Sample, change: Mapping[str, object]) -> None:
    document = json.loads(sample("fio-3.33.json"))
    document["jobs"][0].update(change)
    with pytest.raises(UnreadableError):
        fio.parse(json.dumps(document))


def products(sample: Sample, **changes: object) -> Reading:
    document = json.loads(sample("matrix-product.json"))
    document["matrix_product"]["devices"][3].update(changes)
    return matrix_product.parse(json.dumps(document))


def test_a_product_that_is_not_always_the_same_is_corruption(sample: Sample) -> None:
    assert faults(products(sample, mismatches=2)) == [
        ("GPU 3", "2 products differ from the first one: data was corrupted")
    ]
    assert faults(products(sample, checksum=1)) == [
        ("GPU 3", "its product is another one than that of the other GPUs: data was corrupted")
    ]
    assert faults(products(sample, error="CUDA error: unspecified launch failure")) == [
        ("GPU 3", "CUDA error: unspecified launch failure")
    ]
    for changes in ({"tflops": 0}, {"tflops": None}, {"index": -1}, {"index": "3"}, {"mismatches": -1}):
        with pytest.raises(UnreadableError):
            products(sample, **changes)


def test_two_gpus_that_disagree_blame_nobody(sample: Sample) -> None:
    document = json.loads(sample("matrix-product.json"))
    devices = document["matrix_product"]["devices"] = document["matrix_product"]["devices"][:2]
    devices[1]["checksum"] = 1
    assert matrix_product.parse(json.dumps(document)).faults == ()


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one.id)
@settings(deadline=None)
@given(text=st.text())
def test_no_text_breaks_a_reader_or_gives_it_a_number(workload: Workload, text: str) -> None:
    try:
        reading = workload.parse(text)
    except UnreadableError as error:
        assert str(error).isprintable()
    else:
        assert reading.measurements == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the way to each value within a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(way for key, one in inner for way in places(one, (*path, key)))]


@pytest.mark.parametrize("id", [id for id, name in GOOD.items() if name.endswith(".json")])
@settings(deadline=None)
@given(data=st.data())
def test_json_with_anything_at_any_place_is_read_or_refused(id: str, sample: Sample, data: st.DataObject) -> None:
    document = json.loads(sample(GOOD[id]))
    *way, last = data.draw(st.sampled_from(places(document)[1:]))
    inner = document
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(json_values)
    try:
        reading = BY_ID[id].parse(json.dumps(document))
    except UnreadableError:
        return
    assert all(0 <= one.value < float("inf") and one.unit in Unit for one in reading.measurements)


@pytest.mark.parametrize("id", sorted(GOOD))
@settings(deadline=None)
@given(data=st.data())
def test_lines_lost_or_mixed_up_never_break_a_reader(id: str, sample: Sample, data: st.DataObject) -> None:
    lines = sample(GOOD[id]).splitlines(keepends=True)
    chosen = data.draw(st.lists(st.sampled_from(lines), max_size=2 * len(lines)))
    try:
        reading = BY_ID[id].parse("".join(chosen))
    except UnreadableError:
        return
    assert all(0 <= one.value < float("inf") for one in reading.measurements)
