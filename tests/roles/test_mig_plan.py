"""A MIG layout that does not add up is refused with every reason, and one that does has a place for each instance."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import fleetward
from fleetward.roles.mig.module_utils.mig_plan import (
    Gpu,
    Instance,
    LayoutError,
    Profile,
    choose_gpu,
    gres,
    place,
    plan,
    read_gpu,
)

TABLE: dict[str, Any] = yaml.safe_load((Path(fleetward.__file__).parent / "roles/mig/files/gpus.yml").read_text())
GPUS = {name: read_gpu(name, row) for name, row in TABLE["gpus"].items()}
H100 = GPUS["h100-80"]

every_gpu = pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
where_starts_are_known = pytest.mark.parametrize(
    "gpu", [gpu for gpu in GPUS.values() if all(one.starts for one in gpu.profiles.values())], ids=lambda gpu: gpu.name
)


def reasons(layout: dict[str, object], gpu: Gpu = H100, count: int = 8) -> str:
    with pytest.raises(LayoutError) as refused:
        plan(layout, gpu, count)
    return str(refused.value)


def divisions(gpu: Gpu) -> list[Counter[str]]:
    """Return every way to have each profile up to as often as it can be there."""
    ranges = [range(one.most + 1) for one in gpu.profiles.values()]
    return [Counter(dict(zip(gpu.profiles, many, strict=True))) for many in itertools.product(*ranges)]


def instances(gpu: Gpu, division: Counter[str]) -> list[Profile]:
    return [gpu.profiles[name] for name in division.elements()]


def test_sets_of_gpus_are_told_apart_and_the_others_stay_whole() -> None:
    layout = {"0-1,3": {"3g.40gb": 2}, "5": {"1g.10gb": 7}}
    assert plan(layout, H100, 8) == {
        0: {"3g.40gb": 2},
        1: {"3g.40gb": 2},
        3: {"3g.40gb": 2},
        5: {"1g.10gb": 7},
    }


def test_all_is_every_gpu() -> None:
    assert list(plan({"all": {"7g.80gb": 1}}, H100, 4)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ({"0": {"3g.40gb": 3}}, ["3g.40gb can be there 2 times at most", "not 3 times"]),
        ({"0": {"4g.40gb": 1, "3g.40gb": 1, "1g.10gb": 1}}, ["8 compute slices", "has 7", "9 memory slices", "has 8"]),
        ({"0": {"3g.40gb": 2, "1g.10gb": 1}}, ["9 memory slices, and one h100-80 has 8"]),
        ({"0": {"3g.20gb": 2}}, ["h100-80 has no profile 3g.20gb", "did you mean"]),
        ({"0": {"half": 2}}, ["has no profile half", "there are 1g.10gb, 1g.10gb+me"]),
        ({"0": {"1g.10gb": 0}}, ["is 0 times there", "from 1 to 7"]),
        ({"0": {"1g.10gb": True}}, ["is True times there"]),
        ({"0": {"1g.10gb": "2"}}, ["is '2' times there"]),
        ({"0": {}}, ["leave the GPUs out"]),
        ({"0": ["3g.40gb"]}, ["write profiles and how many of each"]),
        ({"0-8": {"7g.80gb": 1}}, ["there is no GPU 8", "has 8, numbered from 0"]),
        ({"3-1": {"7g.80gb": 1}}, ["goes backwards", "1-3"]),
        ({"0,0-1": {"7g.80gb": 1}}, ["names a GPU twice"]),
        ({"0-1": {"7g.80gb": 1}, "1-2": {"3g.40gb": 2}}, ["GPU 1 stands in another row too"]),
        ({"gpu0": {"7g.80gb": 1}}, ["'gpu0'", "no set of GPUs", "0-3"]),
        ({"0-": {"7g.80gb": 1}}, ["no set of GPUs"]),
    ],
)
def test_what_does_not_add_up_is_refused_with_the_reason(layout: dict[str, object], words: list[str]) -> None:
    said = reasons(layout)
    assert "mig_layout[" in said
    for word in words:
        assert word in said


def test_every_reason_is_told_at_once() -> None:
    said = reasons({"0": {"3g.40gb": 3}, "9": {"7g.80gb": 1}, "1": {"9g.90gb": 1}})
    assert said.count("mig_layout[") == 3


def test_instances_that_begin_at_certain_slices_only_may_not_fit_though_the_sums_do() -> None:
    row = {"compute": 7, "memory": 8, "profiles": {"3g": {"compute": 3, "memory": 4, "most": 2, "starts": [2, 4]}}}
    assert "finds no place" in reasons({"0": {"3g": 2}}, read_gpu("odd", row))


@where_starts_are_known
def test_what_is_placed_lies_side_by_side_where_it_may_begin(gpu: Gpu) -> None:
    for division in divisions(gpu):
        placed = place(instances(gpu, division))
        if placed is None:
            continue
        assert Counter(one.profile for one in placed) == +division
        taken: list[int] = []
        for one in placed:
            assert one.start in (gpu.profiles[one.profile].starts or ())
            assert one.start is not None
            taken += range(one.start, one.start + gpu.profiles[one.profile].memory)
        assert len(set(taken)) == len(taken)
        assert all(slice_ < gpu.memory for slice_ in taken)


@where_starts_are_known
def test_sums_alone_refuse_what_has_no_place_so_that_they_do_for_gpus_whose_starts_nobody_knows(gpu: Gpu) -> None:
    for division in divisions(gpu):
        those = instances(gpu, division)
        fits = sum(one.compute for one in those) <= gpu.compute and sum(one.memory for one in those) <= gpu.memory
        # one slice of compute for each 1g, of which the eighth slice of memory has none
        assert fits == (place(those) is not None), division


@every_gpu
def test_one_whole_instance_and_seven_small_ones_fit_every_gpu(gpu: Gpu) -> None:
    whole = next(name for name in gpu.profiles if name.startswith("7g."))
    small = next(name for name, one in gpu.profiles.items() if one.most == 7)
    assert plan({"0": {whole: 1}}, gpu, 1) == {0: {whole: 1}}
    assert plan({"0": {small: 7}}, gpu, 1) == {0: {small: 7}}
    assert "compute slices" in reasons({"0": {whole: 1, small: 1}}, gpu)


@every_gpu
def test_names_say_the_slices_of_compute_and_the_rows_their_sources(gpu: Gpu) -> None:
    row = TABLE["gpus"][gpu.name]
    assert row["sources"]
    assert set(row["sources"]) <= set(TABLE["sources"])
    for name, one in gpu.profiles.items():
        assert one.compute == int(name.partition("g.")[0])
        assert one.most <= gpu.compute // one.compute
        assert one.most <= gpu.memory // one.memory


def test_the_largest_goes_first_and_leaves_room_for_seven_slices() -> None:
    named = [H100.profiles[name] for name in ("1g.10gb", "1g.10gb", "1g.10gb", "1g.10gb", "3g.40gb")]
    assert place(named) == [
        Instance("3g.40gb", 4),
        *(Instance("1g.10gb", start) for start in (3, 2, 1, 0)),
    ]


@pytest.mark.parametrize(
    ("model", "memory_mib", "row"),
    [
        ("a100", 40960, "a100-40"),
        ("a100", 81920, "a100-80"),
        ("h100", 81559, "h100-80"),
        ("h200", 143771, "h200"),
        ("h200", 0, "h200"),
        ("b200", 183359, "b200"),
    ],
)
def test_the_row_is_the_models_whose_memory_comes_nearest(model: str, memory_mib: int, row: str) -> None:
    assert choose_gpu(TABLE["gpus"], "", model, memory_mib).name == row


@pytest.mark.parametrize(
    ("wanted", "model", "memory_mib", "words"),
    [
        ("", "a100", 0, ["a100-40 or a100-80", "mig_gpu", "gpu.memory_mib"]),
        ("", "l40s", 46068, ["'l40s'", "a100-40", "mig_gpus"]),
        ("h100-81", "h100", 81559, ["'h100-81'", "did you mean h100-80?"]),
    ],
)
def test_gpus_that_no_row_is_known_of_are_refused(wanted: str, model: str, memory_mib: int, words: list[str]) -> None:
    with pytest.raises(LayoutError) as refused:
        choose_gpu(TABLE["gpus"], wanted, model, memory_mib)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"compute": 7, "memory": 8}, "has no profiles"),
        ({"compute": 7, "memory": 8, "profiles": {"1g": 1}}, "1g: is 1"),
        ({"compute": 7, "memory": 8, "profiles": {"1g": {"compute": 1, "memory": 0, "most": 7}}}, "memory is 0"),
        (
            {"compute": 7, "memory": 8, "profiles": {"1g": {"compute": 1, "memory": 1, "most": 7, "starts": "06"}}},
            "starts is '06'",
        ),
        ({"memory": 8, "profiles": {"1g": {"compute": 1, "memory": 1, "most": 7}}}, "compute is None"),
    ],
)
def test_a_row_of_the_sites_own_is_read_with_care(row: dict[str, object], words: str) -> None:
    with pytest.raises(LayoutError, match=words):
        read_gpu("theirs", row)


keys = st.one_of(st.text(max_size=8), st.from_regex(r"[0-9,\-]{1,6}", fullmatch=True))
rows = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from([*H100.profiles, "2g.40gb"]), st.one_of(st.integers(-1, 9), st.text(max_size=2))),
)


@given(layout=st.dictionaries(keys, rows, max_size=3), count=st.integers(1, 8))
def test_any_layout_is_either_planned_whole_or_refused(layout: dict[str, object], count: int) -> None:
    try:
        wanted = plan(layout, H100, count)
    except LayoutError as error:
        assert "mig_layout[" in str(error)
        return
    assert all(0 <= number < count for number in wanted)
    for profiles in wanted.values():
        assert place([H100.profiles[name] for name, many in profiles.items() for _ in range(many)]) is not None


@given(many=st.integers(0, 8))
def test_what_slurm_hands_out_are_instances_by_type_and_whole_gpus(many: int) -> None:
    wanted = {number: {"3g.40gb": 1, "1g.10gb": 2} for number in range(many)}
    whole = {"h100": 8 - many} if many < 8 else {}
    divided = {"1g.10gb": 2 * many, "3g.40gb": many} if many else {}
    assert gres(wanted, "h100", 8) == {**divided, **whole}
