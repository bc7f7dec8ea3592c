"""The part of bench/queue.py that runs beside slurmctld; prints one JSON object."""

import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
from prometheus_client import CollectorRegistry, generate_latest

from fleetward.commands.exporter import SLURM_SECONDS
from fleetward.exporters.slurm.sampler import Sampler
from fleetward.exporters.slurm.server import PictureCollector
from fleetward.slurm.command_line import CommandLineClient
from fleetward.slurm.looking import Looker

LOOKS = 7
PAGES = ("jobs", "nodes", "partitions", "jobs-users-accts", "scheduler")
PEERS = (("squeue", "--json"), ("scontrol", "show", "nodes", "--json"))
_CALLS = re.compile(r"^\s+(?!REQUEST_STATS_INFO)[A-Z_]+\s+\(\s*\d+\) count:(\d+)", re.MULTILINE)

_TIMES = re.compile(r"^\s+(?!REQUEST_STATS_INFO)[A-Z_]+\s+\(\s*\d+\) count:(\d+)\s+ave_time:(\d+)", re.MULTILINE)


def main() -> int:
    """Measure, the snapshot first: the peers take more memory than anything of ours."""
    looker = Looker(CommandLineClient())
    seconds = [_seconds(looker.look) for _ in range(LOOKS)]
    snapshot = looker.snapshot
    if problem := snapshot.nodes.problem or snapshot.jobs.problem:
        raise SystemExit(f"Slurm did not answer: {problem}")
    _told("sdiag", "--reset")
    looker.look()
    statistics_of_calls = _told("sdiag")
    calls = sum(int(count) for count in _CALLS.findall(statistics_of_calls))
    spent = sum(int(count) * int(average) for count, average in _TIMES.findall(statistics_of_calls)) / 1e6
    megabytes = _megabytes(resource.RUSAGE_SELF) + _megabytes(resource.RUSAGE_CHILDREN)
    scrape, series = _scrape()
    found: dict[str, object] = {
        "version": _told("sinfo", "--version").split()[-1],
        "jobs": len(snapshot.jobs.items),
        "looks": LOOKS,
        "snapshot_seconds": statistics.median(seconds),
        "snapshot_megabytes": megabytes,
        "calls": calls,
        "share": 100 * spent / SLURM_SECONDS,
        "scrape_seconds": scrape,
        "series": series,
    }
    if "--peers" in sys.argv[1:]:
        found |= {
            "peer_seconds": sum(_seconds(lambda argv=argv: _told(*argv)) for argv in PEERS),
            "peer_megabytes": _megabytes(resource.RUSAGE_CHILDREN),
        }
        found |= _openmetrics() if "openmetrics" in _told("scontrol", "show", "config") else {}
    print(json.dumps(found))
    return 0


def _scrape() -> tuple[float, int]:
    collector = PictureCollector()
    sampler = Sampler(CommandLineClient(), 30, sys.stderr.write, taken=collector.take)
    sampler.look()
    registry = CollectorRegistry()
    registry.register(collector)
    page = generate_latest(registry)
    seconds = statistics.median(_seconds(lambda: generate_latest(registry)) for _ in range(LOOKS))
    return seconds, sum(not line.startswith(b"#") for line in page.splitlines())


def _openmetrics() -> dict[str, float]:
    """Ask slurmctld itself for all of its pages."""
    sizes: list[int] = []

    def ask() -> None:
        sizes[:] = [len(httpx.get(f"http://localhost:6817/metrics/{page}", timeout=60).content) for page in PAGES]

    seconds = statistics.median(_seconds(ask) for _ in range(LOOKS))
    return {"openmetrics_seconds": seconds, "openmetrics_megabytes": sum(sizes) / 2**20}


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _told(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def _megabytes(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
