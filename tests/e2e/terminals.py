"""A real terminal as a person sees it: keys go in, the picture comes out (tmux)."""

import contextlib
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Terminal:
    """One program in a terminal of its own."""

    session: str

    def keys(self, *names: str) -> None:
        """Press keys by tmux's names, such as `Enter`, `C-s` or `a`."""
        _tmux(self.session, "send-keys", "-t", "main", *names)

    def type(self, text: str) -> None:
        """Type text as it stands."""
        _tmux(self.session, "send-keys", "-t", "main", "-l", text)

    def picture(self) -> str:
        """Return what is on the screen now."""
        return _tmux(self.session, "capture-pane", "-p", "-t", "main")

    def shows(self, *texts: str, seconds: float = 30) -> str:
        """Wait until all of these stand on the screen at once, and return the picture."""
        until = time.monotonic() + seconds
        while True:
            picture = self.picture()
            if all(text in picture for text in texts):
                return picture
            assert time.monotonic() < until, f"the screen did not show {texts} within {seconds:.0f} s:\n{picture}"
            time.sleep(0.3)


@contextlib.contextmanager
def terminal(*argv: str, columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    """Run a program in a terminal of this size, and end it with the terminal."""
    session = f"fleetward-{uuid.uuid4().hex[:8]}"
    size = ("-x", str(columns), "-y", str(rows))
    keep = ("set-option", "-g", "remain-on-exit", "on")  # a program's last words stay to be read
    try:
        _tmux(
            session, "-f", "/dev/null", "start-server", ";", *keep, ";", "new-session", "-d", "-s", "main", *size, *argv
        )
        yield Terminal(session)
    finally:
        subprocess.run(["tmux", "-L", session, "kill-server"], check=False, capture_output=True)


def _tmux(session: str, *words: str) -> str:
    done = subprocess.run(["tmux", "-L", session, *words], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, f"tmux {' '.join(words)}: {done.stderr}"
    return done.stdout
