"""Changing code in small ways: what is changed, what is not, and how a mutant that nobody notices is told."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.checkout

PROGRAM = Path(__file__).parents[2] / "tools/mutate.py"


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutate", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutate"] = module  # where dataclasses look for their own module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("source", "mutated"),
    [
        ("a == b", "a != b"),
        ("a < b", "a <= b"),
        ("a in b", "a not in b"),
        ("a and b", "a or b"),
        ("not a", "a"),
        ("a + b", "a - b"),
        ("f(3)", "f(4)"),
        ("a = True", "a = False"),
        ("if a:\n    b", "if not a:\n    b"),
        ("f()", "pass"),
        ("raise a", "pass"),
        ("a += b", "pass"),
        ("for a in b:\n    continue", "for a in b:\n    break"),
    ],
)
def test_each_kind_of_change_is_made(mutate: ModuleType, source: str, mutated: str) -> None:
    assert mutated in [mutant.source for mutant in mutate.mutants(source)]


@pytest.mark.parametrize(
    "source",
    ["x: int | None", "def f(a: int | str) -> int | str: ...", "@dataclass(frozen=True)\nclass A:\n    a: int"],
)
def test_types_and_how_a_dataclass_is_made_are_let_alone(mutate: ModuleType, source: str) -> None:
    assert list(mutate.mutants(source)) == []


def test_every_mutant_differs_from_the_original_and_from_the_others(mutate: ModuleType) -> None:
    source = PROGRAM.read_text()
    found = [mutant.source for mutant in mutate.mutants(source)]
    assert len(found) > 50
    assert len({*found, source}) == len(found) + 1


def test_a_choice_is_spread_over_the_whole_and_always_the_same(mutate: ModuleType) -> None:
    everything = [mutate.Mutant(line, "", "") for line in range(100)]
    assert [mutant.line for mutant in mutate.spread(everything, 4)] == [0, 25, 50, 75]
    assert mutate.spread(everything, 100) == everything


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[[str], Path]:
    """Return what makes a small checkout with one module and its tests."""

    def made(test: str) -> Path:
        (tmp_path / "limits.py").write_text("def too_many(count):\n    return count > 8\n")
        (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    lab\n    slurm\n")
        (tmp_path / "test_limits.py").write_text(f"from limits import too_many\ndef test_it():\n    {test}\n")
        return tmp_path

    return made


def test_what_the_tests_do_not_notice_is_told_with_its_line(
    mutate: ModuleType, checkout: Callable[[str], Path]
) -> None:
    folder = checkout("assert too_many(10) and not too_many(7)")
    verdict = mutate.judge(folder, "limits.py", ("test_limits.py",), 10)
    assert [(mutant.line, mutant.change) for mutant in verdict.survivors] == [
        (2, "count > 8  ->  count >= 8"),
        (2, "8  ->  9"),
    ]
    assert verdict.killed == 0


def test_sharp_tests_leave_no_survivor_and_the_module_is_as_it_was(
    mutate: ModuleType, checkout: Callable[[str], Path]
) -> None:
    folder = checkout("assert too_many(9) and not too_many(8)")
    before = (folder / "limits.py").read_text()
    verdict = mutate.judge(folder, "limits.py", ("test_limits.py",), 10)
    assert (verdict.tried, verdict.survivors) == (2, ())
    assert (folder / "limits.py").read_text() == before


def test_tests_that_fail_anyway_or_never_import_the_module_are_refused(
    mutate: ModuleType, checkout: Callable[[str], Path]
) -> None:
    with pytest.raises(SystemExit, match="as it is"):
        mutate.judge(checkout("assert too_many(8)"), "limits.py", ("test_limits.py",), 10)
    folder = checkout("assert too_many(9)")
    (folder / "test_limits.py").write_text("def test_it():\n    assert 1 + 1 == 2\n")
    with pytest.raises(SystemExit, match="do not import"):
        mutate.judge(folder, "limits.py", ("test_limits.py",), 10)
