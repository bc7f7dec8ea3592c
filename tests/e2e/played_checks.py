"""The node's checks on GPUs that the stand-in plays, run again and again by one process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from played_nvml import PlayedNode

Found = tuple[str, str, str]
"""Check, status and entity of one finding."""

PROGRAM = """
import json, sys
from pathlib import Path
from fleetward.node.check_list import LIMITS
from fleetward.node.profile import read_profile
from fleetward.node.results import Context
from fleetward.node.run_checks import chosen, run_checks
from fleetward.node.surroundings import Surroundings

root, profile, probes = Path(sys.argv[1]), read_profile(Path(sys.argv[2]), LIMITS), set(sys.argv[3:])
for line in sys.stdin:
    checks = [one for one in chosen(Context(line.strip())) if not probes or one.reads.name in probes]
    found = run_checks(checks, profile, Surroundings(root))
    print(json.dumps([[one.check, one.status, one.entity, one.why] for one in found]), flush=True)
"""


@dataclass(frozen=True)
class Checks:
    process: subprocess.Popen[str]

    def all(self, context: str = "hand") -> list[tuple[str, str, str, str]]:
        """Return check, status, entity and reason of every finding."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{context}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the process that runs the checks has ended"
        return [tuple(one) for one in json.loads(answer)]

    def bad(self, context: str = "hand") -> set[Found]:
        """Return what is degraded or unhealthy."""
        return {(check, status, entity) for check, status, entity, _ in self.all(context) if status in BAD}


BAD = frozenset({"degraded", "unhealthy"})


@contextmanager
def checking(played: PlayedNode, root: Path, profile: Path, *probes: str) -> Iterator[Checks]:
    """Run the checks of a node, or those that read one of these probes, by its name."""
    command = [sys.executable, "-c", PROGRAM, str(root), str(profile), *probes]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=played.environment, text=True, **pipes) as process:
        try:
            yield Checks(process)
        finally:
            process.kill()
