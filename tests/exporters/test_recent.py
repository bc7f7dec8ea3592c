"""One fault that several sources tell of is one fault; one that happens again is another."""

import json

from hypothesis import given
from hypothesis import strategies as st

from fleetward.exporters.events.faults import Source, XidEvent
from fleetward.exporters.events.recent import PARENT_WITHIN_SECONDS, SAME_WITHIN_SECONDS, RecentFaults

LOST = XidEvent(3, "GPU-3", 79)

sources = st.lists(st.sampled_from(list(Source)), min_size=1, unique=True)
faults = st.lists(st.floats(0, 60), min_size=1, max_size=8).map(sorted)


class Counter:
    """Counts faults as a program does that remembers the recent ones, and packs its memory before each."""

    def __init__(self) -> None:
        self.count = 0
        self._recent = RecentFaults()

    def add(self, event: XidEvent, source: Source, at: float) -> bool:
        packed = json.loads(json.dumps(self._recent.packed()))
        self._recent = RecentFaults()
        self._recent.unpack(packed)
        known = self._recent.told_before(event, source, at)
        if known is not None:
            self._recent.again(event, known, source)
            return False
        self.count += 1
        self._recent.begin(event, str(self.count), at, {source})
        return True

    def earlier(self, event: XidEvent, at: float) -> dict[int, str]:
        return self._recent.earlier(event, at)


def test_nvml_and_both_lines_of_the_kernel_are_one_fault() -> None:
    counts = Counter()
    told = [counts.add(LOST, source, at) for source, at in zip(Source, (10.0, 10.2, 14.9), strict=True)]
    assert told == [True, False, False]


def test_what_one_source_tells_twice_happened_twice() -> None:
    counts = Counter()
    for at in (10.0, 10.1):
        counts.add(LOST, Source.KERNEL, at)
        counts.add(LOST, Source.NVML, at + 0.05)
    assert counts.count == 2


def test_another_gpu_another_code_and_a_later_time_are_other_faults() -> None:
    counts = Counter()
    counts.add(LOST, Source.KERNEL, 10)
    counts.add(XidEvent(4, "GPU-4", 79), Source.NVML, 10)
    counts.add(XidEvent(3, "GPU-3", 31), Source.NVML, 10)
    counts.add(LOST, Source.NVML, 10 + SAME_WITHIN_SECONDS + 0.1)
    assert counts.count == 4


def test_what_happened_shortly_before_on_the_same_gpu_is_known_by_its_number_the_oldest_first() -> None:
    counts = Counter()
    for xid, at in ((48, 10.0), (31, 1.0), (63, 11.0), (48, 12.0)):
        counts.add(XidEvent(3, "GPU-3", xid), Source.KERNEL, at)
    counts.add(XidEvent(4, "GPU-4", 94), Source.KERNEL, 12)
    assert counts.earlier(XidEvent(3, "GPU-3", 94), 13.0) == {63: "3", 48: "4"}
    assert list(counts.earlier(XidEvent(3, "GPU-3", 94), 13.0)) == [63, 48]
    assert counts.earlier(XidEvent(3, "GPU-4", 94), 13.0) == {}


@given(faults, sources, st.data())
def test_however_late_each_source_is_a_fault_is_counted_once(
    faults: list[float], sources: list[Source], data: st.DataObject
) -> None:
    """Every source tells of every fault in order, each by less than the limit after it happened."""
    late = {source: data.draw(st.floats(0, SAME_WITHIN_SECONDS - 0.01), label=source.value) for source in sources}
    told = sorted((at + late[source], source.value, source) for at in faults for source in sources)
    counts = Counter()
    for at, _, source in told:
        counts.add(LOST, source, at)
    assert counts.count == len(faults)


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from(list(Source)))))
def test_there_are_at_least_as_many_faults_as_the_most_talkative_source_tells_of(
    told: list[tuple[float, Source]],
) -> None:
    counts = Counter()
    for at, source in sorted(told, key=lambda one: one[0]):
        counts.add(LOST, source, at)
    most = max((sum(1 for _, other in told if other is source) for source in Source), default=0)
    assert most <= counts.count <= len(told)


def test_the_bounds_of_time_are_within() -> None:
    recent = RecentFaults()
    recent.begin(LOST, "a", 10.0, {Source.KERNEL})
    assert recent.told_before(LOST, Source.NVML, 10.0 - SAME_WITHIN_SECONDS) == "a"  # its clock is behind
    assert recent.told_before(LOST, Source.NVML, 10.0 - SAME_WITHIN_SECONDS - 0.1) is None
    assert recent.told_before(LOST, Source.NVML, 10.0 + SAME_WITHIN_SECONDS) == "a"
    assert recent.earlier(LOST, 10.0 + PARENT_WITHIN_SECONDS) == {79: "a"}
    assert recent.earlier(LOST, 10.0 + PARENT_WITHIN_SECONDS + 0.1) == {}
    recent.begin(LOST, "b", 10.0 + SAME_WITHIN_SECONDS, {Source.KERNEL})
    assert recent.told_before(LOST, Source.NVML, 10.0 + SAME_WITHIN_SECONDS) == "a"  # not forgotten yet
    assert recent.told_before(LOST, Source.NVML, 10.1 + SAME_WITHIN_SECONDS) == "b"


def test_a_source_that_tells_of_a_later_fault_will_not_tell_of_those_before() -> None:
    recent = RecentFaults()
    for key, at in (("a", 10.0), ("b", 10.1), ("c", 10.2)):
        recent.begin(LOST, key, at, {Source.KERNEL})
    recent.again(LOST, "b", Source.NVML)
    assert recent.told_before(LOST, Source.NVML, 10.3) == "c"
    recent.again(LOST, "gone", Source.NVML)
    assert recent.told_before(LOST, Source.NVML, 10.3) is None
