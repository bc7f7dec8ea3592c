"""Numbers held against those of peers: only worse ones count, and noise does not."""

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.operations.qualification.peers import LEAST_GAP, LEAST_PEERS, compared
from fleetward.operations.qualification.workload import Better

PEERS = [478.9, 480.2, 479.4, 477.8, 481.0, 479.9]
speeds = st.floats(1, 1000)


def test_a_number_far_below_its_peers_is_an_outlier() -> None:
    found = compared(420, PEERS)
    assert found is not None
    assert found.is_outlier
    assert found.median == pytest.approx(479.65)
    assert found.gap == pytest.approx(0.124, abs=0.001)


@pytest.mark.parametrize("value", [479.0, 460.0, 482.0, 900.0])
def test_noise_and_better_numbers_are_none(value: float) -> None:
    found = compared(value, PEERS)
    assert found is not None
    assert not found.is_outlier


def test_where_lower_is_better_only_higher_counts() -> None:
    low, high = (compared(value, PEERS, Better.LOWER) for value in (420, 600))
    assert low is not None
    assert high is not None
    assert (low.is_outlier, high.is_outlier) == (False, True)


def test_with_few_peers_nothing_is_said() -> None:
    assert compared(1, PEERS[: LEAST_PEERS - 1]) is None
    assert compared(1, PEERS[:LEAST_PEERS]) is not None


def test_peers_that_are_all_alike_make_no_outlier_of_noise() -> None:
    alike = [100.0] * 6
    near, far = (compared(value, alike) for value in (96, 94))
    assert near is not None
    assert far is not None
    assert (near.is_outlier, far.is_outlier) == (False, True)


def test_bad_peers_do_not_hide_a_bad_one_while_most_are_good() -> None:
    found = compared(300, [*PEERS, 310, 305, 299])
    assert found is not None
    assert found.is_outlier


@given(st.lists(speeds, min_size=LEAST_PEERS), speeds)
def test_what_is_not_worse_than_the_middle_is_never_an_outlier(peers: list[float], value: float) -> None:
    found = compared(value, peers)
    assert found is not None
    if value >= median(peers) * (1 - LEAST_GAP):
        assert not found.is_outlier
    mirrored = compared(-value, [-one for one in peers], Better.LOWER)
    assert mirrored is not None
    assert mirrored.score == pytest.approx(found.score)
