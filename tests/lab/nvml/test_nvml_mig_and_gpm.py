"""GPUs cut into MIG instances, and the activity counters of GPM."""

import ctypes
import time
from typing import TYPE_CHECKING

import pynvml
import pytest

if TYPE_CHECKING:
    from conftest import Nvml
    from played_nvml import PlayedNode

    Shared = tuple[PlayedNode, Nvml]

GIB = 1024**3
INSTANCES = "[n.nvmlDeviceGetMigDeviceHandleByIndex(h(0), i) for i in range({count})]"


@pytest.fixture
def cut(shared: "Shared") -> "Nvml":
    """Cut GPU 0 into 1g.10gb and 3g.40gb, and hold handles of them."""
    played, nvml = shared
    played.play("gpu.0.mig=1g.10gb,3g.40gb\n")
    nvml(f"held.update(m={INSTANCES.format(count=2)})")
    return nvml


def test_a_layout_switches_mig_on_for_its_gpu_alone(cut: "Nvml") -> None:
    assert cut("[n.nvmlDeviceGetMigMode(h(i)) for i in (0, 1)]") == [[1, 1], [0, 0]]
    assert cut("[n.nvmlDeviceGetMaxMigDeviceCount(h(i)) for i in (0, 1)]") == [7, 0]
    with pytest.raises(Exception, match="code 6"):
        cut("n.nvmlDeviceGetMigDeviceHandleByIndex(h(0), 2)")
    with pytest.raises(Exception, match="code 3"):
        cut("n.nvmlDeviceGetMigDeviceHandleByIndex(h(1), 0)")


def test_what_an_instance_is(cut: "Nvml") -> None:
    uuids = cut("[n.nvmlDeviceGetUUID(m) for m in held['m']]")
    assert len(set(uuids)) == 2
    assert all(uuid.startswith("MIG-") and len(uuid) == 40 for uuid in uuids)
    assert cut("[n.nvmlDeviceGetUUID(n.nvmlDeviceGetHandleByUUID(n.nvmlDeviceGetUUID(m))) for m in held['m']]") == uuids
    assert cut("[n.nvmlDeviceGetName(m) for m in held['m']]") == [
        f"NVIDIA H100 80GB HBM3 MIG {profile}" for profile in ("1g.10gb", "3g.40gb")
    ]
    assert cut("[n.nvmlDeviceGetGpuInstanceId(m) for m in held['m']]") == [7, 2]
    assert cut("[n.nvmlDeviceGetComputeInstanceId(m) for m in held['m']]") == [0, 0]
    assert cut("[n.nvmlDeviceGetIndex(m) for m in held['m']]") == [0, 1]
    assert cut("[n.nvmlDeviceIsMigDeviceHandle(m).value for m in [*held['m'], h(0)]]") == [1, 1, 0]
    assert cut("n.nvmlDeviceGetUUID(n.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(held['m'][1]))") == cut(
        "n.nvmlDeviceGetUUID(h(0))"
    )


def test_what_an_instance_has(cut: "Nvml") -> None:
    attributes = "n.nvmlDeviceGetAttributes(held['m'][{}])"
    assert cut(f"{attributes.format(0)}.multiprocessorCount") == 16
    assert cut(f"{attributes.format(1)}.multiprocessorCount") == 60
    assert cut(f"[{attributes.format(1)}.gpuInstanceSliceCount, {attributes.format(1)}.sharedDecoderCount]") == [3, 3]
    assert cut(f"{attributes.format(0)}.sharedEncoderCount") == 0
    totals = cut("[n.nvmlDeviceGetMemoryInfo(m).total for m in held['m']]")
    assert totals[0] == pytest.approx(10 * GIB, rel=0.03)
    assert totals[1] == pytest.approx(40 * GIB, rel=0.03)
    assert cut(f"{attributes.format(1)}.memorySizeMB") == totals[1] // 1024**2


def test_encoders_of_an_instance_of_another_chip(shared: "Shared", cut: "Nvml") -> None:
    shared[0].play("gpu.0.mig=1g.10gb,3g.40gb\ngpu.0.mig_encoders=1\n")
    assert cut("n.nvmlDeviceGetAttributes(held['m'][0]).sharedEncoderCount") == 1


@pytest.mark.parametrize(
    "call",
    [
        "nvmlDeviceGetUtilizationRates(held['m'][0])",
        "nvmlDeviceGetTemperature(held['m'][0], 0)",
        "nvmlDeviceGetPowerUsage(held['m'][0])",
        "nvmlDeviceGetUtilizationRates(h(0))",
        "nvmlDeviceGetGpuInstanceId(h(0))",
        "nvmlDeviceGetAttributes(h(0))",
    ],
)
def test_what_is_of_the_whole_or_of_a_part_is_refused_to_the_other(cut: "Nvml", call: str) -> None:
    with pytest.raises(Exception, match="code 3"):
        cut(f"n.{call}")


def test_an_instance_that_was_taken_away_is_no_device_any_more(shared: "Shared", cut: "Nvml") -> None:
    shared[0].play("gpu.0.mig=7g.80gb\n")
    assert cut("n.nvmlDeviceGetName(held['m'][0])").endswith("7g.80gb")
    with pytest.raises(Exception, match="code 2"):
        cut("n.nvmlDeviceGetUUID(held['m'][1])")


def test_a_lost_gpu_takes_its_instances_with_it(shared: "Shared", cut: "Nvml") -> None:
    shared[0].play("gpu.0.mig=1g.10gb,3g.40gb\ngpu.0.lost=1\n")
    with pytest.raises(Exception, match="code 15"):
        cut("n.nvmlDeviceGetMemoryInfo(held['m'][0])")


@pytest.mark.parametrize(
    ("layout", "profiles", "ids"),
    [
        ("1g.10gb," * 6 + "1g.10gb+me", ["1g.10gb"] * 6 + ["1g.10gb+me"], list(range(7, 14))),
        ("3g.40gb,3g.40gb", ["3g.40gb"] * 2, [2, 1]),
        ("4g.40gb,3g.40gb", ["4g.40gb", "3g.40gb"], [1, 2]),
        ("2g.20gb,2g.20gb,2g.20gb,1g.10gb", ["2g.20gb"] * 3 + ["1g.10gb"], [3, 4, 5, 7]),
        ("4g.40gb,4g.40gb", ["4g.40gb"], [1]),  # no room for the second
        ("3g.40gb,gigantic,1g.10gb", ["3g.40gb"], [2]),
        ("5g.50gb", [], []),
        ("none", [], []),
    ],
)
def test_a_layout_is_taken_as_far_as_it_makes_sense(
    shared: "Shared", layout: str, profiles: list[str], ids: list[int]
) -> None:
    played, nvml = shared
    played.play(f"gpu.0.mig={layout}\ngpu.0.mig_mode=1\n")
    nvml(f"held.update(m={INSTANCES.format(count=len(profiles))})")
    assert nvml("[n.nvmlDeviceGetName(m).split()[-1] for m in held['m']]") == profiles
    assert nvml("[n.nvmlDeviceGetGpuInstanceId(m) for m in held['m']]") == ids
    with pytest.raises(Exception, match=r"code [26]"):
        nvml(f"n.nvmlDeviceGetMigDeviceHandleByIndex(h(0), {len(profiles)})")


def test_mig_that_is_off_leaves_the_layout_alone(shared: "Shared") -> None:
    played, nvml = shared
    played.play("gpu.0.mig=3g.40gb\ngpu.0.mig_mode=0\ngpu.0.mig_mode_pending=1\n")
    assert nvml("n.nvmlDeviceGetMigMode(h(0))") == [0, 1]
    assert nvml("n.nvmlDeviceGetUtilizationRates(h(0)).gpu") == 0


def test_processes_are_of_an_instance_and_the_gpu_lists_them_all(shared: "Shared", cut: "Nvml") -> None:
    path = str(shared[0].device(0))
    cut(f"hold({path!r})")
    time.sleep(0.25)
    processes = "[(p.pid, p.gpuInstanceId, p.computeInstanceId) for p in n.nvmlDeviceGetComputeRunningProcesses({})]"
    try:
        assert cut(processes.format("h(0)")) == [[cut.pid, 7, 0]]
        assert cut(processes.format("held['m'][0]")) == [[cut.pid, 7, 0]]
        assert cut(processes.format("held['m'][1]")) == []
        used = cut("[n.nvmlDeviceGetMemoryInfo(m, n.nvmlMemory_v2).used for m in held['m']]")
        assert used[0] > GIB
        assert used[1] == 0
    finally:
        cut(f"release({path!r})")
    time.sleep(0.25)
    assert cut(processes.format("h(0)")) == []


def test_errors_since_the_driver_was_loaded_are_told_by_instance_and_only_where_nvml_does(
    shared: "Shared", cut: "Nvml"
) -> None:
    shared[0].play("gpu.0.mig=1g.10gb,3g.40gb\ngpu.0.ecc_sram_uncorrected=5\ngpu.0.ecc_l2_uncorrected=2\n")
    counter = "n.nvmlDeviceGetMemoryErrorCounter({handle}, {error}, {counter}, {place})"
    l2, dram, sram = 1, 2, 7
    for place, expected in ((sram, [5, 0]), (l2, [2, 0])):
        of = [counter.format(handle=f"held['m'][{one}]", error=1, counter=0, place=place) for one in (0, 1)]
        assert cut(f"[{', '.join(of)}]") == expected
    for handle, error, count, place in (
        ("held['m'][0]", 0, 0, sram),
        ("held['m'][0]", 1, 1, sram),
        ("held['m'][0]", 1, 0, dram),
        ("h(0)", 1, 0, sram),
    ):
        with pytest.raises(Exception, match="code 3"):
            cut(counter.format(handle=handle, error=error, counter=count, place=place))
    with pytest.raises(Exception, match="code 3"):
        cut("n.nvmlDeviceGetTotalEccErrors(h(0), 1, 0)")
    assert cut(counter.format(handle="h(0)", error=1, counter=1, place=sram)) == 5


def test_gpm_of_an_instance_follows_its_own_load(shared: "Shared", cut: "Nvml") -> None:
    path = str(shared[0].device(0))
    cut(f"hold({path!r})")
    time.sleep(0.25)
    try:
        assert cut("gpm_of_instance(0, 7, 2)") > 0
        assert cut("gpm_of_instance(0, 2, 2)") == 0
    finally:
        cut(f"release({path!r})")
    with pytest.raises(Exception, match="code 6"):
        cut("gpm_of_instance(0, 5, 2)")


def test_gpm_does_not_compare_the_samples_of_two_instances(cut: "Nvml") -> None:
    with pytest.raises(Exception, match="code 2"):
        cut("gpm_of_instance(0, 7, 2, 2)")


def test_gpm_follows_the_load(shared: "Shared") -> None:
    played, nvml = shared
    played.play("")
    metrics = (1, 2, 3, 4, 5, 7, 10, 12, 13, 20, 21, 60, 61)
    assert nvml(f"gpm(4, {', '.join(map(str, metrics))})") == [0] * len(metrics)
    path = str(played.device(4))
    nvml(f"hold({path!r})")
    time.sleep(0.25)
    try:
        assert all(value > 0 for value in nvml(f"gpm(4, {', '.join(map(str, metrics))})"))
    finally:
        nvml(f"release({path!r})")


def test_gpm_says_which_metrics_it_does_not_have(shared: "Shared") -> None:
    played, nvml = shared
    played.play("all.gpm_sm_percent=44\n")
    assert nvml("gpm(4, 30, 2, 9999)") == [{"code": 3}, 44, {"code": 3}]


def test_gpm_is_of_hopper_and_later(shared: "Shared") -> None:
    played, nvml = shared
    played.play("gpu.1.architecture=7\n")
    assert nvml("[n.nvmlGpmQueryDeviceSupport(h(i)).isSupportedDevice for i in (0, 1)]") == [1, 0]
    with pytest.raises(Exception, match="code 3"):
        nvml("gpm(1, 2)")


def test_gpm_wants_two_samples_of_one_gpu_in_order(shared: "Shared") -> None:
    played, nvml = shared
    played.play("")
    nvml("held.update(s=[n.nvmlGpmSampleAlloc() for _ in range(3)])")
    nvml("[n.nvmlGpmSampleGet(h(g), s) for g, s in zip((0, 0), held['s'])] and None")
    ask = (
        "n.nvmlGpmMetricsGet(n.c_nvmlGpmMetricsGet_t("
        "version={v}, numMetrics={count}, sample1=held['s'][{a}], sample2=held['s'][{b}])).numMetrics"
    )
    assert nvml(ask.format(v=1, count=1, a=0, b=1)) == 1
    for a, b in ((1, 0), (0, 2), (0, 0)):
        with pytest.raises(Exception, match="code 2"):
            nvml(ask.format(v=1, count=1, a=a, b=b))
    nvml("n.nvmlGpmSampleGet(h(1), held['s'][2]) and None")
    for count, b in ((1, 2), (0, 1), (478, 1)):
        with pytest.raises(Exception, match="code 2"):
            nvml(ask.format(v=1, count=count, a=0, b=b))
    with pytest.raises(Exception, match="code 25"):
        nvml(ask.format(v=2, count=1, a=0, b=1))
    nvml("[n.nvmlGpmSampleFree(s) for s in held['s']] and None")


@pytest.mark.parametrize(("room", "size"), [(98, 3944), (477, 19104)])
def test_gpm_writes_no_further_than_the_metrics_that_are_asked_for(shared: "Shared", room: int, size: int) -> None:
    """The struct grew under one version number; an older caller's memory ends where its 98 metrics do."""
    header = pynvml.c_nvmlGpmMetricsGet_t.metrics.offset
    assert header + room * ctypes.sizeof(pynvml.c_nvmlGpmMetric_t) == size
    played, nvml = shared
    played.play("all.gpm_sm_percent=44\n")
    assert nvml(f"gpm_within({room}, {size})") == {"last": 44, "beyond": "untouched"}
