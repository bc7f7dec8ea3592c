"""What a command need not, it does not import."""

import subprocess
import sys

import pytest

HEAVY = ("pydantic", "yaml", "ClusterShell", "textual", "httpx", "prometheus_client", "ansible", "pynvml")

PROGRAM = """
import atexit, sys
from fleetward.main import main
sys.argv = ["fleetward", *{arguments!r}]
atexit.register(lambda: print(*sorted(set(sys.modules) & set({heavy!r})), file=sys.stderr))
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *(
            [noun, "--help"]
            for noun in (
                "nodes",
                "jobs",
                "submit",
                "drain",
                "resume",
                "autopilot",
                "check",
                "config",
                "fingerprint",
                "job-map",
                "release",
            )
        ),
        *(["incident", verb, "--help"] for verb in ("list", "show", "ack")),
        *(["runbook", verb, "--help"] for verb in ("list", "lint", "run", "approve")),
        *(["change", verb, "--help"] for verb in ("list", "plan", "status", "approve", "give-back")),
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(arguments=arguments, heavy=HEAVY)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "fleetward" in done.stdout.lower()
    assert done.stderr == "\n"


def test_asking_slurm_needs_no_pydantic() -> None:
    program = f"import sys, fleetward.slurm.backends; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["ClusterShell"]


def test_asking_the_daemon_imports_neither_textual_nor_ansible() -> None:
    program = "import sys, fleetward.server.client as client; client.DaemonClient(client.Path('/none'))"
    program += f"; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["httpx"]
