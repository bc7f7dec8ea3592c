"""`fleetward tui` from the outside, on a terminal of its own and without one."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECORDING = Path(__file__).parent.parent / "slurm" / "recordings" / "slurm-26.05"


def read_until(terminal: int, text: bytes, seconds: float = 60) -> None:
    """Read what is drawn until a text comes."""
    output, until = b"", time.monotonic() + seconds
    while text not in output:
        left = until - time.monotonic()
        assert left > 0, output[-2000:]
        assert select.select([terminal], [], [], left)[0], output[-2000:]
        output += os.read(terminal, 65536)


def test_it_opens_without_a_daemon_takes_keys_and_quits(tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    environment = os.environ | {
        "TERM": "xterm-256color",
        "COLUMNS": "80",
        "LINES": "24",
        "FLEETWARD_SLURM_RECORDING": str(RECORDING),
    }
    argv = [sys.executable, "-m", "fleetward", "tui", "--backend", "recorded", "--socket", str(tmp_path / "none.sock")]
    with subprocess.Popen(
        argv, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, cwd=tmp_path
    ) as process:
        try:
            os.close(terminal)
            read_until(screen, b"gpu003")
            os.write(screen, b"j")
            read_until(screen, b"WHERE")
            os.write(screen, b"q")
            assert process.wait(30) == 0
        finally:
            process.kill()
            os.close(screen)


@pytest.mark.parametrize("more", [[], ["--read-only"]])
def test_without_a_terminal_it_says_so(more: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fleetward", "tui", *more],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
