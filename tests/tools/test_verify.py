"""How the long checks are dealt out."""

import importlib.util
from argparse import ArgumentTypeError
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.checkout

PROGRAM = Path(__file__).parents[2] / "tools/verify.py"
MOST_MINUTES = 80
LONG = "pytest.mark." + "verify"


@pytest.fixture(scope="module")
def verify() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_every_piece_is_in_exactly_one_shard(verify: ModuleType, count: int) -> None:
    dealt = [piece for shard in verify.shards(verify.PIECES, count) for piece in shard]
    assert sorted(piece.title for piece in dealt) == sorted(piece.title for piece in verify.PIECES)


def test_every_role_has_its_piece(verify: ModuleType) -> None:
    roles = {path.name for path in (PROGRAM.parents[1] / "roles").iterdir()}
    assert {piece.argv[-1] for piece in verify.PIECES if piece.argv[0] == "tools/molecule.sh"} == roles


def test_every_file_with_a_long_test_has_its_piece(verify: ModuleType) -> None:
    tests = PROGRAM.parents[1] / "tests"
    long = {str(path.relative_to(tests.parent)) for path in tests.rglob("test_*.py") if LONG in path.read_text()}
    assert long, "the marker has another name"
    assert long <= {word for piece in verify.PIECES for word in piece.argv}


def test_five_shards_stay_below_the_limit(verify: ModuleType) -> None:
    assert all(sum(piece.minutes for piece in shard) < MOST_MINUTES for shard in verify.shards(verify.PIECES, 5))


@pytest.mark.parametrize("wrong", ["", "5/4", "0/4", "a/b", "1"])
def test_a_shard_that_is_not_there_is_refused(verify: ModuleType, wrong: str) -> None:
    with pytest.raises(ArgumentTypeError, match="1/4"):
        verify.chosen_shard(wrong)
