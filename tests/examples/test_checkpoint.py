"""Checkpoints are whole or not there, and damage to any byte is seen."""

import os
from pathlib import Path

import numpy as np
import pytest
from checkpoint import State, load_newest, pack, save, unpack
from ends import CheckpointError
from hypothesis import given, settings
from hypothesis import strategies as st
from perceptron import SIZE


def state(step: int) -> State:
    random = np.random.default_rng(step)
    return State(step, random.normal(size=SIZE), random.normal(size=SIZE), '{"state": 1}', {"batch": 128})


PACKED = pack(state(7))


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path / "new" / "folder", state(7))
    loaded, problems = load_newest(tmp_path / "new" / "folder")
    assert loaded is not None
    assert (loaded.step, loaded.position, loaded.recipe, problems) == (7, '{"state": 1}', {"batch": 128}, [])
    assert loaded.weights.tobytes() == state(7).weights.tobytes()
    assert loaded.momentum.tobytes() == state(7).momentum.tobytes()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
def test_any_changed_byte_is_seen(at: int, change: int) -> None:
    damaged = bytearray(PACKED)
    damaged[at] ^= change
    with pytest.raises(CheckpointError, match="damaged"):
        unpack(bytes(damaged))


@given(st.integers(0, len(PACKED) - 1))
def test_any_missing_end_is_seen(length: int) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        unpack(PACKED[:length])


def test_the_last_two_are_kept_by_number(tmp_path: Path) -> None:
    for step in (900, 1000, 10000):
        save(tmp_path, state(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00001000.checkpoint", "step-00010000.checkpoint"]


def test_a_crash_before_the_rename_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, state(1))

    def crash(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, state(2))
    loaded, problems = load_newest(tmp_path)
    assert loaded is not None and (loaded.step, problems) == (1, [])


def test_where_none_is_whole_it_does_not_begin_again_silently(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, state(step)).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no checkpoint is whole .*00000002.*00000001.*remove"):
        load_newest(tmp_path)


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "never made") == (None, [])
