"""The data set's rows, and the order in which they are dealt."""

from pathlib import Path

import numpy as np
import pytest
from batches import HELD_OUT, Batches, read_digits
from ends import SetupError
from hypothesis import given
from hypothesis import strategies as st
from perceptron import SIZE, initial_weights, loss_and_gradient


def deal(rows: int = 100, batch: int = 16, seed: int = 3) -> Batches:
    return Batches(rows, batch, np.random.default_rng(seed))


def test_the_split_has_every_row_once(digits: Path) -> None:
    training, held_out = read_digits(digits)
    assert (len(training), len(held_out)) == (1797 - HELD_OUT, HELD_OUT)
    assert np.bincount(np.concatenate([training.labels, held_out.labels])).tolist() == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip
    assert training.pixels.min() == 0 and training.pixels.max() == 1


@given(st.integers(1, 16))
def test_the_ranks_shares_are_the_batch(ranks: int) -> None:
    whole = deal().draw(0, 0, 1)
    shares = [deal().draw(0, rank, ranks) for rank in range(ranks)]
    assert np.concatenate(shares).tolist() == whole.tolist()


def test_an_epoch_deals_no_row_twice() -> None:
    batches = deal()
    rows = np.concatenate([batches.draw(step, 0, 1) for step in range(batches.steps_per_epoch)])
    assert len(set(rows.tolist())) == len(rows) == 96


@given(st.integers(0, 20))
def test_dealing_goes_on_from_any_step_as_if_never_interrupted(stop: int) -> None:
    batches = deal()
    for step in range(stop):
        batches.draw(step, 0, 1)
    position = batches.position_before(stop)
    expected = [batches.draw(step, 0, 1).tolist() for step in range(stop, stop + 13)]

    resumed = deal(seed=99)
    resumed.resume(stop, position)
    assert [resumed.draw(step, 0, 1).tolist() for step in range(stop, stop + 13)] == expected


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(SetupError, match="a batch of 101 rows cannot be drawn from 100"):
        deal(batch=101)


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    random = np.random.default_rng(0)
    weights, direction = initial_weights(random), random.normal(size=SIZE)
    pixels, labels = random.random((5, 64)), np.array([0, 3, 9, 3, 7])
    _, gradient = loss_and_gradient(weights, pixels, labels)
    ahead, behind = (loss_and_gradient(weights + by * direction, pixels, labels)[0] for by in (1e-6, -1e-6))
    assert gradient @ direction == pytest.approx((ahead - behind) / 2e-6, rel=1e-5)
