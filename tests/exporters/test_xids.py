"""One fault that several sources tell of is one fault; one that happens again is another."""

from hypothesis import given
from hypothesis import strategies as st

from fleetward.exporters.gpu.readings import XidEvent
from fleetward.exporters.gpu.xids import SAME_WITHIN_SECONDS, Source, XidCounts

LOST = XidEvent(3, "GPU-3", 79)

sources = st.lists(st.sampled_from(list(Source)), min_size=1, unique=True)
faults = st.lists(st.floats(0, 60), min_size=1, max_size=8).map(sorted)


def test_nvml_and_both_lines_of_the_kernel_are_one_fault() -> None:
    counts = XidCounts()
    told = [counts.add(LOST, source, at) for source, at in zip(Source, (10.0, 10.2, 14.9), strict=True)]
    assert told == [True, False, False]
    assert counts.counts() == {LOST: 1}


def test_what_one_source_tells_twice_happened_twice() -> None:
    counts = XidCounts()
    for at in (10.0, 10.1):
        counts.add(LOST, Source.KERNEL, at)
        counts.add(LOST, Source.NVML, at + 0.05)
    assert counts.counts() == {LOST: 2}


def test_another_gpu_another_code_and_a_later_time_are_other_faults() -> None:
    counts = XidCounts()
    counts.add(LOST, Source.KERNEL, 10)
    counts.add(XidEvent(4, "GPU-4", 79), Source.NVML, 10)
    counts.add(XidEvent(3, "GPU-3", 31), Source.NVML, 10)
    counts.add(LOST, Source.NVML, 10 + SAME_WITHIN_SECONDS + 0.1)
    assert sum(counts.counts().values()) == 4


def test_the_last_xid_of_each_gpu_is_kept() -> None:
    counts = XidCounts()
    assert counts.last() == {}
    counts.add(XidEvent(3, "GPU-3", 31), Source.NVML, 10)
    counts.add(XidEvent(4, "GPU-4", 94), Source.NVML, 11)
    counts.add(LOST, Source.NVML, 12)
    counts.add(XidEvent(3, "GPU-3", 31), Source.KERNEL, 13)  # the first again, from another source
    assert counts.last() == {"GPU-3": 79, "GPU-4": 94}


@given(faults, sources, st.data())
def test_however_late_each_source_is_a_fault_is_counted_once(
    faults: list[float], sources: list[Source], data: st.DataObject
) -> None:
    """Every source tells of every fault in order, each by less than the limit after it happened."""
    late = {source: data.draw(st.floats(0, SAME_WITHIN_SECONDS - 0.01), label=source.value) for source in sources}
    told = sorted((at + late[source], source.value, source) for at in faults for source in sources)
    counts = XidCounts()
    for at, _, source in told:
        counts.add(LOST, source, at)
    assert counts.counts() == {LOST: len(faults)}


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from(list(Source)))))
def test_there_are_at_least_as_many_faults_as_the_most_talkative_source_tells_of(
    told: list[tuple[float, Source]],
) -> None:
    counts = XidCounts()
    for at, source in sorted(told, key=lambda one: one[0]):
        counts.add(LOST, source, at)
    most = max((sum(1 for _, other in told if other is source) for source in Source), default=0)
    assert most <= sum(counts.counts().values()) <= len(told)
