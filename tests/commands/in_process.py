"""The command within the process of the tests: as `fleetward` does it, without a second to start in."""

import io
import os
import shlex
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import pytest

from fleetward import group


def run_command(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, without a terminal, with no setting but these variables."""
    printed, said = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "signal", lambda *_: None)  # SIGPIPE stays as this process has it
        patch.chdir(folder)
        for name in [name for name in os.environ if name.startswith("FLEETWARD_")]:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["fleetward", *arguments])
        patch.setattr(sys, "stdin", io.StringIO())
        with redirect_stdout(printed), redirect_stderr(said), pytest.raises(SystemExit) as ended:
            group.run()
    return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), printed.getvalue(), said.getvalue())


def check_words(line: str) -> None:
    """Check that a command line that people are told to type is a command, with options that it has."""
    command: click.Command = group.cli
    name, *words = shlex.split(line, comments=True)
    while isinstance(command, click.Group):
        context = command.make_context(name, list(words), resilient_parsing=True)
        left = [*context._protected_args, *context.args]
        if not left and command.invoke_without_command:
            return
        name, found, words = command.resolve_command(context, left)
        assert found is not None, line
        command = found
    command.make_context(name, list(words))
