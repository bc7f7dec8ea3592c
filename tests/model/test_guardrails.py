"""How many nodes may be held at once, for small and large fleets."""

import pytest

from fleetward.model.errors import ExitCode, RefusedError
from fleetward.model.guardrails import Guardrail


@pytest.mark.parametrize(
    ("nodes", "allowed"), [(1, 1), (3, 1), (9, 1), (10, 1), (19, 1), (20, 2), (100, 10), (200, 20), (3000, 20)]
)
def test_the_smaller_of_number_and_share_holds_and_one_is_always_allowed(nodes: int, allowed: int) -> None:
    assert Guardrail().allowed(nodes) == allowed


@pytest.mark.parametrize(("share", "nodes", "allowed"), [(0.29, 100, 29), (0.07, 100, 7), (1.0, 4, 4), (0.25, 4, 1)])
def test_a_share_that_is_whole_on_paper_is_whole(share: float, nodes: int, allowed: int) -> None:
    assert Guardrail(absolute=1000, share=share).allowed(nodes) == allowed


def test_one_more_than_allowed_is_refused_with_the_figures() -> None:
    with pytest.raises(RefusedError, match=r"gpu003 .* holds 1 \(gpu001\) out of 3 nodes and may hold 1") as caught:
        Guardrail().check("gpu003", frozenset({"gpu001"}), 3)
    assert caught.value.exit_code == ExitCode.REFUSED


def test_a_node_that_is_held_may_be_held_again() -> None:
    Guardrail().check("gpu001", frozenset({"gpu001"}), 3)


def test_the_last_place_may_be_taken() -> None:
    Guardrail(absolute=2, share=1).check("gpu003", frozenset({"gpu001"}), 3)


def test_a_long_list_of_nodes_is_cut() -> None:
    held = frozenset(f"gpu{n:03}" for n in range(20))
    with pytest.raises(RefusedError, match=r"gpu004 and 15 more\)"):
        Guardrail().check("gpu999", held, 3000)
