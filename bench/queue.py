"""What looking at a large cluster costs: a real slurmctld with 5,000 nodes of 8 GPUs and 20,000 jobs, in a container.

The nodes are cloud nodes that no slurmd stands behind; the jobs are held. This program's own interpreter and tree are
seen from within the container, so that no step into it is measured.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.figures import Figure
from fleetward.lab import image, lifecycle
from fleetward.lab.spec import LabSpec

ROOT = Path(__file__).parent.parent
NODES, JOBS = 5000, 20_000
NAME = f"fleetward-bench-queue-{os.getpid()}"


def measure() -> list[Figure]:
    """Start the cluster, fill its queue, and measure within it; the container is removed whatever happens."""
    spec, engine = LabSpec(), lifecycle.open_engine()
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
        subprocess.run([*inside, "sh", str(ROOT / "bench/big_cluster.sh"), str(NODES), str(JOBS)], check=True)
        done = subprocess.run(
            [*inside, sys.executable, "-m", "bench.queue_inside"], check=True, capture_output=True, text=True
        )
    finally:
        subprocess.run([program, "rm", "--force", "--time", "0", NAME], check=False, capture_output=True)
    found = json.loads(done.stdout)
    what = f"{NODES:,} nodes, {found['jobs']:,} jobs"
    return [
        Figure(f"snapshot of {what}, median of {found['looks']}", found["snapshot_seconds"], 1.0),
        Figure("  its memory, this program and its largest child", found["snapshot_megabytes"], 250, "MB"),
        Figure("  calls of slurmctld an interval", found["calls"], 3, ""),
        Figure("  its share of slurmctld's time, at the exporter's default interval", found["share"], 1, "%"),
        Figure("squeue --json and scontrol show nodes --json", found["peer_seconds"], None),
        Figure("  their memory, the larger of the two", found["peer_megabytes"], None, "MB"),
        Figure("a scrape of the Slurm exporter, median", found["scrape_seconds"], 0.15),
        Figure("  its series", found["series"], None, ""),
    ]
