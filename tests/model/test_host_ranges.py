import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.host_ranges import expand, expand_ansible_range, fold, natural_key

STEMS = st.from_regex(r"[a-z]([a-z0-9-]{0,6}[a-z-])?", fullmatch=True)
INDICES = st.from_regex(r"[0-9]{0,5}", fullmatch=True)
NAMES = st.sets(st.builds(str.__add__, STEMS, INDICES), max_size=40)


@given(NAMES)
def test_expanding_what_was_folded_gives_every_name_once(names: set[str]) -> None:
    expanded = expand(fold(names))
    assert len(expanded) == len(names)
    assert set(expanded) == names


@given(st.integers(0, 900), st.integers(1, 100), st.integers(1, 6))
def test_a_run_of_padded_names_is_one_range(first: int, count: int, width: int) -> None:
    names = [f"gpu{index:0{width}d}" for index in range(first, first + count)]
    assert fold(names).count("-") <= 1 + (first + count > 10**width)
    assert expand(fold(names)) == sorted(names, key=natural_key)


@given(NAMES)
def test_folding_does_not_depend_on_order_or_repetition(names: set[str]) -> None:
    listed = sorted(names)
    assert fold(reversed(listed)) == fold(listed + listed[:3])


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], ""),
        (["head"], "head"),
        (["gpu001", "gpu002", "gpu003", "head"], "gpu[001-003],head"),
        (["gpu10", "gpu9"], "gpu[9-10]"),
        (["gpu1", "gpu01", "gpu2", "gpu02"], "gpu[1-2,01-02]"),
        (["rack1-node1", "rack1-node2", "rack2-node1"], "rack1-node[1-2],rack2-node1"),
        (["a1b", "a2b"], "a1b,a2b"),
        (["serial12345678901234567890"], "serial12345678901234567890"),
        (["s123456789012345677", "s123456789012345678"], "s[123456789012345677-123456789012345678]"),
        (["s1234567890123456777", "s1234567890123456778"], "s1234567890123456777,s1234567890123456778"),
    ],
)
def test_only_the_digits_at_the_end_are_folded(names: list[str], folded: str) -> None:
    assert fold(names) == folded


@pytest.mark.parametrize("pattern", ["gpu[1-", "gpu[a-b]", "@group", "a!b", "gpu[3-1]", "a b", "a&b"])
def test_what_is_no_host_list_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        expand(pattern)


def test_natural_order_counts() -> None:
    assert sorted(["gpu10", "gpu9", "a2", "gpu"], key=natural_key) == ["a2", "gpu", "gpu9", "gpu10"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("gpu", ["gpu"]),
        ("gpu[1:3]", ["gpu1", "gpu2", "gpu3"]),
        ("gpu[008:010]", ["gpu008", "gpu009", "gpu010"]),
        ("[a:c]-n", ["a-n", "b-n", "c-n"]),
        ("r[1:2]n[01:02]", ["r1n01", "r1n02", "r2n01", "r2n02"]),
        ("n[1:9:4]", ["n1", "n5", "n9"]),
        ("n[:2]", ["n0", "n1", "n2"]),
        ("n[0:10:5]", ["n0", "n5", "n10"]),
        ("n[10:100:90]", ["n10", "n100"]),
    ],
)
def test_ranges_of_ansible(pattern: str, names: list[str]) -> None:
    assert expand_ansible_range(pattern) == names


@pytest.mark.parametrize(
    "pattern", ["n[1:", "n[1]", "n[1:2:3:4]", "n[1:]", "n[01:100]", "n[3:1]", "n[1:9:0]", "n[1:x]", "n[0:999999999]"]
)
def test_malformed_ranges_of_ansible_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        expand_ansible_range(pattern)


def test_a_range_has_a_largest_size() -> None:
    assert len(expand_ansible_range("n[1:100000]")) == 100_000
    with pytest.raises(ValueError, match="at most 100000 hosts"):
        expand_ansible_range("n[1:100001]")
