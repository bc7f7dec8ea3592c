"""The gate keeps out who never passed, and never empties a fleet whose certificates have lapsed."""

from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.burn_ins import NodeStanding
from fleetward.operations.qualification.gate import kept_out


def standing(node: str, word: str) -> NodeStanding:
    return NodeStanding(node, word, (), ())


def test_who_never_passed_is_kept_out_however_many_they_are() -> None:
    fleet = [standing(f"n{number}", "missing") for number in range(50)] + [standing("m", "valid")]
    assert kept_out(fleet, (), 1) == {f"n{number}" for number in range(50)}


def test_of_those_that_lapsed_no_more_than_allowed_are_taken_and_those_that_were_stay() -> None:
    fleet = [standing("a", "expired"), standing("b", "void"), standing("c", "expired"), standing("d", "valid")]
    assert kept_out(fleet, (), 2) == {"a", "b"}
    assert kept_out(fleet, {"c"}, 2) == {"c", "a"}
    assert kept_out(fleet, {"a", "b", "c"}, 1) == {"a", "b", "c"}
    assert kept_out(fleet, {"d"}, 0) == frozenset()


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["valid", "expired", "void", "missing"])),
    st.sets(st.sampled_from("abcdefgh")),
    st.integers(0, 5),
)
def test_it_settles_after_one_round_and_lets_the_qualified_in(words: dict[str, str], kept: set[str], most: int) -> None:
    fleet = [standing(node, word) for node, word in words.items()]
    once = kept_out(fleet, kept, most)
    assert kept_out(fleet, once, most) == once
    assert all(words[node] != "valid" for node in once)
    lapsed_anew = {node for node in once if words[node] != "missing"} - kept
    assert len(lapsed_anew) <= most
