"""Change pure code in small ways and see whether its unit tests notice: `tools/mutate.py [--most 30] [MODULE ...]`.

A mutant is a module with one thing changed: a comparison, a condition turned round, a number, a call or an error left
out. It is killed where the tests of that module fail or do not end. What survives is printed, and the run fails where
more survive in a module than `LEAST_KILLED` allows; some mutants mean the same as the original, so that not all can be
killed.
The tests run in a copy of the checkout, never in it.
"""

import argparse
import ast
import copy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEAST_KILLED = 0.85
MOST = 30

TESTS = {
    "model/host_ranges.py": ("tests/model/test_host_ranges.py",),
    "model/ansible_inventory.py": ("tests/model/test_ansible_inventory.py",),
    "model/inventory_checks.py": ("tests/model/test_inventory.py",),
    "model/compatibility.py": ("tests/model/test_compatibility.py",),
    "operations/change/batches.py": ("tests/operations/change/test_batches.py",),
    "operations/change/moves.py": ("tests/operations/change/test_moves.py",),
    "operations/qualification/judging.py": ("tests/operations/qualification/test_judging.py",),
    "operations/qualification/course.py": ("tests/operations/qualification/test_course.py",),
    "operations/qualification/gate.py": ("tests/operations/qualification/test_gate.py",),
    "operations/qualification/outcomes.py": ("tests/operations/qualification/test_outcomes.py",),
    "slurm/configuration_files.py": ("tests/slurm/test_configuration.py", "tests/golden"),
    "slurm/jobs/script.py": ("tests/slurm/jobs/test_script.py",),
    "slurm/verdicts/fitting.py": ("tests/slurm/verdicts/test_fitting.py",),
    "slurm/verdicts/judging.py": ("tests/slurm/verdicts/test_judging.py",),
    "slurm/jobs/sweep.py": ("tests/slurm/jobs/test_sweep.py",),
    "slurm/jobs/spec.py": ("tests/slurm/jobs/test_spec.py", "tests/slurm/jobs/test_script.py"),
    "slurm/parse.py": ("tests/slurm/test_parse.py", "tests/slurm/test_parse_listings.py"),
    "slurm/parse_listings.py": ("tests/slurm/test_parse_listings.py", "tests/slurm/test_command_line.py"),
    "slurm/wait.py": ("tests/slurm/test_wait.py",),
    "exporters/gpu/page.py": (
        *("tests/exporters/test_gpu_page.py", "tests/exporters/test_job_map.py", "tests/exporters/test_mig.py"),
        "tests/exporters/test_release.py",
    ),
    "exporters/gpu/lanes.py": ("tests/exporters/test_lanes.py",),
    "exporters/events/recent.py": ("tests/exporters/test_recent.py", "tests/exporters/test_recorder.py"),
    "node/local_drain.py": ("tests/node/test_local_drain.py",),
    "node/local_run.py": ("tests/node/test_local_drain.py",),
}
"""Module to the tests that are there for it."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    **{
        ast.Eq: ast.NotEq,
        ast.NotEq: ast.Eq,
        ast.In: ast.NotIn,
        ast.NotIn: ast.In,
        ast.Is: ast.IsNot,
        ast.IsNot: ast.Is,
    },
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult},
    **{ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr},
}


@dataclass(frozen=True)
class Mutant:
    """A module's source with one thing changed."""

    line: int
    change: str
    source: str


@dataclass(frozen=True)
class Verdict:
    """How many mutants of a module there were, and which its tests did not notice."""

    module: str
    tried: int
    survivors: tuple[Mutant, ...]

    @property
    def killed(self) -> float:
        """Share of the mutants that the tests noticed."""
        return 1 - len(self.survivors) / self.tried


def _comparison(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        node.ops[0] = COMPARISONS[type(node.ops[0])]()
        return node
    return None


def _connection(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return node
    return None


def _negation(node: ast.AST) -> ast.AST | None:
    return node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) else None


def _condition(node: ast.AST) -> ast.AST | None:
    # a comparison or a negation as the condition is turned round already
    if isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return node
    return None


def _arithmetic(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC and not _is_annotation(node):
        node.op = ARITHMETIC[type(node.op)]()
        return node
    return None


def _is_annotation(node: ast.BinOp) -> bool:
    return isinstance(node.op, ast.BitOr) and isinstance(node.right, ast.Constant) and node.right.value is None


def _number(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
        return node
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        node.value += 1
        return node
    return None


def _left_out(node: ast.AST) -> ast.AST | None:
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Yield | ast.YieldFrom)
    return ast.Pass() if is_call or isinstance(node, ast.Raise | ast.AugAssign) else None


def _loop(node: ast.AST) -> ast.AST | None:
    return ast.Break() if isinstance(node, ast.Continue) else ast.Continue() if isinstance(node, ast.Break) else None


CHANGES: tuple[Callable[[ast.AST], ast.AST | None], ...] = (
    *(_comparison, _connection, _negation, _condition, _arithmetic, _number, _left_out, _loop),
)
"""Each takes a node and returns what stands in its place, or None where it has nothing to change there."""


class _Replace(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, wanted: ast.AST, instead: ast.AST) -> None:
        self._wanted, self._instead = wanted, instead

    def visit(self, node: ast.AST) -> ast.AST:
        return self._instead if node is self._wanted else self.generic_visit(node)


def _annotations(tree: ast.Module) -> set[int]:
    """Return the nodes that are only types: a change of them is none of the program."""
    found: set[int] = set()
    for node in ast.walk(tree):
        for types in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            found |= {id(inner) for inner in ast.walk(types)} if types else set()
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "dataclass":
            found |= {id(inner) for inner in ast.walk(node)}
    return found


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module's source, in the order of its lines."""
    tree = ast.parse(source)
    types = _annotations(tree)
    found = []
    for number, node in enumerate(ast.walk(tree)):
        for change in CHANGES:
            if id(node) in types or change(copy.deepcopy(node)) is None:
                continue
            whole = copy.deepcopy(tree)
            same = list(ast.walk(whole))[number]
            before = ast.unparse(same).splitlines()[0]
            changed = change(copy.deepcopy(same))
            assert changed is not None  # noqa: S101  it was not a moment ago
            after = ast.unparse(ast.fix_missing_locations(changed)).splitlines()[0]
            mutated = ast.unparse(ast.fix_missing_locations(_Replace(same, changed).visit(whole)))
            found.append(Mutant(getattr(node, "lineno", 0), f"{before}  ->  {after}", mutated))
    yield from sorted(found, key=lambda mutant: mutant.line)


def spread(all_of_them: list[Mutant], most: int) -> list[Mutant]:
    """Return at most so many, evenly spread over the module, the same ones each time."""
    if len(all_of_them) <= most:
        return all_of_them
    return [all_of_them[number * len(all_of_them) // most] for number in range(most)]


def failure(checkout: Path, tests: tuple[str, ...], seconds: float) -> str:
    """Run the tests in a copy of the checkout and return what they say where they fail; '' where they pass."""
    command = [
        *(sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"),
        *("-m", "not lab and not slurm", *tests),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=checkout,
            env={"PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"they did not end within {seconds:.0f} s"
    return done.stdout[-4000:] + done.stderr[-1000:] if done.returncode else ""


def judge(checkout: Path, module: str, tests: tuple[str, ...], most: int) -> Verdict:
    """Run a module's tests on its mutants; raises SystemExit where they fail on the module as it is."""
    file = checkout / module
    source = file.read_text()
    began = time.monotonic()
    if said := failure(checkout, tests, 300):
        raise SystemExit(
            f"{said}\n{' '.join(tests)} fail on {module} as it is: nothing can be learned from its mutants"
        )
    seconds = 20 + 3 * (time.monotonic() - began)
    file.write_text("raise ImportError('this copy is the one under test')\n")
    if not failure(checkout, tests, seconds):
        raise SystemExit(f"{' '.join(tests)} do not import {module} of the copy: they would pass on any mutant")
    chosen = spread(list(mutants(source)), most)
    survivors = []
    for mutant in chosen:
        file.write_text(mutant.source)
        if not failure(checkout, tests, seconds):
            survivors.append(mutant)
    file.write_text(source)
    return Verdict(module, len(chosen), tuple(survivors))


def main() -> int:
    """Judge the named modules, or all, and say which mutants survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"one of {', '.join(TESTS)}")
    parser.add_argument("--most", type=int, default=MOST, help="mutants of one module at most [%(default)s]")
    options = parser.parse_args()
    unknown = [module for module in options.modules if module not in TESTS]
    if unknown or options.most < 1:
        parser.error(f"no tests are named for {', '.join(unknown)}" if unknown else "--most starts at 1")
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="fleetward-mutants-") as folder:
        checkout = Path(folder) / "checkout"
        shutil.copytree(
            ROOT, checkout, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__")
        )
        for module in options.modules or TESTS:
            verdict = judge(checkout, module, TESTS[module], options.most)
            verdicts.append(verdict)
            print(f"{verdict.killed:4.0%} of {verdict.tried:3} killed  {module}", flush=True)
            for mutant in verdict.survivors:
                print(f"       survived: line {mutant.line}: {mutant.change}", flush=True)
    return int(any(verdict.killed < LEAST_KILLED for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
