"""The first screen needs little, so that it is there at once; the rest is imported while it is looked at."""

import subprocess
import sys

LATER = ("pydantic", "httpx", "yaml", "ClusterShell", "fleetward.tui.screens.submit", "fleetward.tui.screens.runbook")


def test_the_app_is_imported_without_what_only_threads_and_later_screens_need() -> None:
    program = (
        "import sys, fleetward.commands.tui, fleetward.tui.app, fleetward.tui.screens.fleet;"
        f"print(*sorted(set(sys.modules) & set({LATER!r})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "\n"


def test_help_needs_no_textual() -> None:
    program = (
        "import sys, fleetward.commands.tui as command\n"
        "try: command.tui(['--help'])\nexcept SystemExit: pass\n"
        "print('textual' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "--read-only" in done.stdout
    assert done.stdout.endswith("False\n")
