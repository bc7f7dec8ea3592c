"""What looking at a large cluster costs: a real slurmctld with 5,000 nodes of 8 GPUs, in a container.

The nodes are cloud nodes that no slurmd stands behind; the jobs are held, 20,000 of them and then 100,000. This
program's own interpreter and tree are seen from within the container, so that no step into it is measured.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.figures import Figure
from fleetward.lab import image, lifecycle
from fleetward.lab.spec import LabSpec

ROOT = Path(__file__).parent.parent
NODES, JOBS, MANY = 5000, 20_000, 100_000
NAME = f"fleetward-bench-queue-{os.getpid()}"


def measure() -> list[Figure]:
    """Measure on each release, the newer one for its own OpenMetrics, and 100,000 jobs on the older."""
    old, new = _measured("trixie", JOBS), _measured("forky", JOBS)
    many = _measured("trixie", MANY, peers=False)  # as JSON they would not fit into the machine
    return [
        *_picture(old, 1.0, 250),
        Figure("  calls of slurmctld an interval", old["calls"], 3, ""),
        Figure("  its share of slurmctld's time, at the exporter's default interval", old["share"], 1, "%"),
        Figure("squeue --json and scontrol show nodes --json", old["peer_seconds"], None),
        Figure("  their memory, the larger of the two", old["peer_megabytes"], None, "MB"),
        Figure("a scrape of the Slurm exporter, median", old["scrape_seconds"], 0.15),
        Figure("  its series", old["series"], None, ""),
        *_picture(new, 1.0, 250),
        Figure("  squeue --json and scontrol show nodes --json there", new["peer_seconds"], None),
        Figure("  slurmctld's own OpenMetrics, all its pages, median", new["openmetrics_seconds"], None),
        Figure("  their size", new["openmetrics_megabytes"], None, "MB"),
        *_picture(many, 4.0, 800),
    ]


def _picture(found: dict[str, Any], seconds: float, megabytes: float) -> list[Figure]:
    what = f"{found['version']}: snapshot of {NODES:,} nodes, {found['jobs']:,} jobs, median of {found['looks']}"
    return [
        Figure(what, found["snapshot_seconds"], seconds),
        Figure("  its memory, this program and its largest child", found["snapshot_megabytes"], megabytes, "MB"),
    ]


def _measured(suite: str, jobs: int, *, peers: bool = True) -> dict[str, Any]:
    """Start the cluster, fill its queue, and measure within it; the container is removed whatever happens."""
    spec, engine = LabSpec(suite=suite), lifecycle.open_engine()
    if not image.is_cached(engine, spec):
        image.build(engine, spec)
    program = shutil.which("podman") or "docker"
    mounted = {str(ROOT), *(str(Path(one).resolve()) for one in (sys.base_prefix, sys.prefix))}
    options = [
        *(["--runtime", "runc"] if shutil.which("runc") else []),
        *("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768"),
        *(f"--volume={folder}:{folder}:ro" for folder in sorted(mounted)),
        *("--name", NAME, "--hostname", "head", "--entrypoint=sleep"),
    ]
    try:
        subprocess.run([program, "run", "--detach", *options, spec.image, "infinity"], check=True, capture_output=True)
        inside = [program, "exec", f"--workdir={ROOT}", "--env=PYTHONDONTWRITEBYTECODE=1", NAME]
        fill = ["sh", str(ROOT / "bench/big_cluster.sh"), str(NODES), str(jobs)]
        subprocess.run([*inside, *fill], check=True)
        words = [*inside, sys.executable, "-m", "bench.queue_inside", *(["--peers"] if peers else [])]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
    finally:
        subprocess.run([program, "rm", "--force", "--time", "0", NAME], check=False, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
