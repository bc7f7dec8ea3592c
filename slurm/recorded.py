"""The backend that plays recorded answers of Slurm's programs, and the runner that records them.

A recording is a folder with `recording.json`: the separator in use, and a list of calls, each with its `argv`, exit
code, stderr and the file that holds its stdout. The same reading code runs on it as on a live Slurm, and a call
that was not recorded is an error, so a changed list of fields cannot go unnoticed.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fleetward.model.errors import UsageError
from fleetward.slurm.client import SlurmOutOfReachError
from fleetward.slurm.command_line import CommandLineClient
from fleetward.slurm.process import Finished, Runner, run

INDEX = "recording.json"
SEPARATOR = "~5f1eed0a4d~"
"""What ends a field in recordings, so that two of them can be compared."""


class RecordedClient(CommandLineClient):
    """Slurm as it answered when a folder was recorded."""

    backend = "recorded"

    def __init__(self, folder: Path) -> None:
        index = _read_index(folder)
        super().__init__(
            runner=PlayingRunner(folder, index["calls"]), separator=lambda: str(index["separator"]), environment={}
        )


class PlayingRunner:
    """Answers each call with what was recorded for its arguments; the last of several stays."""

    def __init__(self, folder: Path, calls: Sequence[Mapping[str, Any]]) -> None:
        self._folder = folder
        self._left: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
        for call in calls:
            self._left.setdefault(tuple(call["argv"]), []).append(call)

    def __call__(
        self, argv: Sequence[str], *, stdin: str = "", environment: Mapping[str, str], limit: float
    ) -> Finished:
        """Return the next recorded answer to these arguments; `stdin` is not compared."""
        calls = self._left.get(tuple(argv))
        if not calls:
            raise SlurmOutOfReachError(f"{self._folder}: holds no answer to `{' '.join(argv)}`; record it")
        call = calls.pop(0) if len(calls) > 1 else calls[0]
        stdout = (self._folder / call["stdout"]).read_bytes().decode("utf-8", "surrogateescape")
        return Finished(int(call["exit_code"]), stdout, str(call["stderr"]))


class RecordingRunner:
    """Runs programs and writes what they answered into a folder; give the client SEPARATOR."""

    def __init__(self, folder: Path, runner: Runner = run) -> None:
        self._folder = folder
        self._runner = runner
        self._calls: list[dict[str, Any]] = []

    def __call__(
        self, argv: Sequence[str], *, stdin: str = "", environment: Mapping[str, str], limit: float
    ) -> Finished:
        """Run the program, keep its answer, and return it."""
        done = self._runner(argv, stdin=stdin, environment=environment, limit=limit)
        name = f"{len(self._calls) + 1:02d}-{argv[0]}.txt"
        (self._folder / name).write_bytes(done.stdout.encode("utf-8", "surrogateescape"))
        self._calls.append({"argv": list(argv), "exit_code": done.exit_code, "stderr": done.stderr, "stdout": name})
        index = {"separator": SEPARATOR, "calls": self._calls}
        (self._folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        return done


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); name a folder with a recording") from error
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON: {error}") from error
    if not isinstance(index, dict) or not {"separator", "calls"} <= index.keys():
        raise UsageError(f"{path}: is no recording; it lacks `separator` or `calls`")
    return index
