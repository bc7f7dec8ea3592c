"""Run what is too long for `make test`, a shard at a time: `tools/verify.py --shard 2/4`.

Each piece is a command of its own. They are dealt out so that shards take about the same time; the same shard always
holds the same pieces. The minutes are measurements on 2 cores and only balance the shards.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


@dataclass(frozen=True)
class Piece:
    """One command, how long it takes on 2 cores, and what it is for."""

    title: str
    argv: tuple[str, ...]
    minutes: float


def pytest(title: str, minutes: float, *words: str) -> Piece:
    """Return a piece that is a run of pytest."""
    return Piece(title, (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words), minutes)


PIECES = (
    pytest(
        "the end-to-end tests and Slurm's contract on forky",
        15,
        "-m",
        "(slurm or lab) and not verify",
        "--suite",
        "forky",
        "tests",
    ),
    pytest("a cluster without one of the roles, for every role", 28, "-m", "verify", "tests/e2e/test_missing_role.py"),
    pytest("a whole lab from a bare image", 8, "-m", "verify", "tests/e2e/test_bare.py"),
    pytest("the loop, killed at every point", 20, "-m", "verify", "tests/e2e/test_crash.py"),
    pytest("the loop without one of its parts", 26, "-m", "verify", "tests/e2e/test_loop_without.py"),
    pytest(
        "two other pages, and stops in a run",
        13,
        "-m",
        "verify",
        *(f"tests/e2e/test_{x}.py" for x in ("other_pages", "outages")),
    ),
    pytest("what a node does by itself", 8, "-m", "verify", "tests/e2e/test_node_alone.py"),
    pytest("a quarter of an hour of jobs and faults", 18, "-m", "verify", "tests/e2e/test_soak.py"),
    pytest("a training job that survives", 14, "-m", "verify", "tests/e2e/test_survives.py"),
    *(
        pytest(f"the traps of submitting, on {suite}", 9, "-m", "verify", "--suite", suite, "tests/slurm/test_traps.py")
        for suite in ("trixie", "forky")
    ),
    pytest("a change through eight nodes", 14, "-m", "verify", "tests/e2e/test_change.py"),
    pytest("nodes burned in, and the gate", 8, "-m", "verify", "tests/e2e/test_qualify.py"),
    pytest("two labs side by side", 4, "-m", "verify", "tests/e2e/test_two_labs.py"),
    pytest("a disk that fills up during a build", 1, "-m", "verify", "tests/lab/test_bad_machine.py"),
    pytest("spoilt roles, which their scenarios notice", 20, "-m", "verify", "tests/roles/test_role_mutants.py"),
    Piece("mutants of pure code, which unit tests notice", (sys.executable, "tools/mutate.py"), 25),
    Piece("the tests against the installed wheel", ("tools/test_wheel.sh",), 4),
    *(Piece(f"role {role} from a bare image", ("tools/molecule.sh", role), 3) for role in ROLES),
)


def shards(pieces: tuple[Piece, ...], count: int) -> list[list[Piece]]:
    """Deal the pieces out, the longest first, each to the shard that has least."""
    dealt: list[list[Piece]] = [[] for _ in range(count)]
    for piece in sorted(pieces, key=lambda piece: -piece.minutes):
        min(dealt, key=lambda shard: sum(other.minutes for other in shard)).append(piece)
    return dealt


def chosen_shard(text: str) -> tuple[int, int]:
    """Parse 2/4 as the second shard of four."""
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r}: write it as 1/4")
    return int(number), int(count)


def main() -> int:
    """Run one shard and say how each of its pieces ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", type=chosen_shard, default=(1, 1))
    parser.add_argument("--list", action="store_true", help="only say what the shard holds")
    options = parser.parse_args()
    number, count = options.shard
    pieces = shards(PIECES, count)[number - 1]
    if options.list:
        print(*(f"{piece.minutes:4.0f} min  {piece.title}" for piece in pieces), sep="\n")
        return 0
    results = []
    for piece in pieces:
        print(f"==> {piece.title}", flush=True)
        began = time.monotonic()
        status = subprocess.run(piece.argv, cwd=ROOT, check=False).returncode
        results.append((piece, status, (time.monotonic() - began) / 60))
    print(f"\nShard {number}/{count}")
    for piece, status, minutes in results:
        print(f"  {'ok    ' if status == 0 else 'FAILED'} {minutes:5.1f} min  {piece.title}")
    return int(any(status for _, status, _ in results))


if __name__ == "__main__":
    sys.exit(main())
