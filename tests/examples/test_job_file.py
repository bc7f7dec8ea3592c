"""The job's own specification: what it asks Slurm for fits what it starts."""

from pathlib import Path

import train

import fleetward
from fleetward.slurm.jobs.spec import read_job_spec

FOLDER = Path(fleetward.__file__).parent / "examples" / "digits"
SPEC = read_job_spec(FOLDER / "job.yaml")


def test_it_asks_for_a_gpu_for_every_rank() -> None:
    assert (SPEC.nodes, SPEC.tasks_per_node, SPEC.gpus_per_node) == (2, 8, "h100:8")


def test_it_runs_long_enough_to_be_seen_in_metrics_and_no_longer(digits: Path) -> None:
    assert SPEC.command[:2] == ("./venv/bin/python", "train.py")
    options = train.read_options(list(SPEC.command[2:]))
    rows, _ = train.read_digits(digits)
    steps = options.epochs * (len(rows) // options.batch)
    assert 15 <= steps * options.step_seconds <= 30  # Prometheus looks every 5 s
    assert options.checkpoint_every <= steps / 4


def test_its_requirements_are_pinned_with_hashes() -> None:
    pinned = (FOLDER / "requirements.txt").read_text()
    assert "numpy==" in pinned and "nvidia-ml-py==" in pinned
    assert pinned.count("==") >= 2 and "--hash=sha256:" in pinned
