"""The way into the `fleetward` command: the page of help from a table, all else through click.

Importing click takes several times as long as starting Python, so the page that lists the commands does without it.
"""

import sys

from fleetward.nouns import HELP_OPTIONS, help_page


def main() -> None:
    """Run the command and end the process with its exit code."""
    if len(sys.argv) == 1 or (len(sys.argv) == 2 and sys.argv[1] in HELP_OPTIONS):
        sys.stdout.write(help_page())
        return
    from fleetward.group import run

    run()
