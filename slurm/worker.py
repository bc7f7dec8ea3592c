"""The child process that holds pyslurm, seen from the parent.

pyslurm can end its process: a missing slurm.conf calls fatal() at import, some calls crash. So it lives in
`pyslurm_worker.py`, run by an interpreter of its own, and its death is an error here and nothing more.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fleetward.slurm.client import SlurmOutOfReachError
from fleetward.slurm.programs import unreachable

PROGRAM = Path(__file__).with_name("pyslurm_worker.py")
DEFAULT_PYTHON = Path("/opt/fleetward-pyslurm/bin/python")

START_LIMIT = 10.0
"""Seconds until the worker has imported pyslurm; 0.1 s was measured, and a configless start fetches its file first."""

CALL_LIMIT = 15.0
"""Seconds per question; 5,000 nodes took 0.1 s and 20,000 jobs 0.6 s. slurmctld is given up on after 10."""

Answer = list[dict[str, Any]]


class WorkerError(Exception):
    """The worker died, hung, or answered nonsense; the message says which."""


class Worker:
    """The child process: started at the first question, killed where it outstays its limit."""

    def __init__(
        self, python: Path, program: Path = PROGRAM, start_limit: float = START_LIMIT, call_limit: float = CALL_LIMIT
    ) -> None:
        # -I: neither the user's folder nor PYTHONPATH has a say in what `import pyslurm` finds.
        self._argv: Sequence[str] = (str(python), "-I", str(program))
        self._start_limit = start_limit
        self._call_limit = call_limit
        self._child: _Child | None = None
        self._number = 0

    def call(self, name: str) -> Answer:
        """Ask for `nodes`, `jobs` or `ping`; SlurmOutOfReachError where slurmctld is what does not answer."""
        child = self._child or self._start()
        self._number += 1
        child.send({"id": self._number, "call": name})
        answer = child.receive(self._call_limit)
        if answer.get("id") != self._number:
            raise WorkerError(f"the pyslurm worker answered another question: {str(answer)[:200]}")
        if "error" in answer:
            if unreachable(str(answer["error"])):
                raise SlurmOutOfReachError(f"pyslurm: {answer['error']}")
            raise WorkerError(f"pyslurm: {answer['error']}")
        result = answer.get("result")
        if not isinstance(result, list) or not all(isinstance(entry, dict) for entry in result):
            raise WorkerError(f"the pyslurm worker answered no list: {str(answer)[:200]}")
        return result

    def close(self) -> None:
        """End the child; the next question would start another."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _start(self) -> "_Child":
        self._child = child = _Child(self._argv)
        hello = child.receive(self._start_limit)
        if "pyslurm" not in hello:
            raise WorkerError(f"the pyslurm worker began with something else: {str(hello)[:200]}")
        return child


class _Child:
    """One process with lines of JSON to and from it, and its stderr kept for its obituary."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._socket, theirs = socket.socketpair()
        self._stderr = os.memfd_create("pyslurm-stderr")
        self._buffer = b""
        try:
            self._process = subprocess.Popen(argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._stderr)
        except OSError as error:
            self._socket.close()
            os.close(self._stderr)
            raise WorkerError(f"{argv[0]}: cannot be started: {error.strerror}") from error
        finally:
            theirs.close()

    def send(self, request: dict[str, Any]) -> None:
        """Write one line."""
        self._socket.settimeout(1.0)
        try:
            # The command lets SIGPIPE end it; a dead child must not.
            self._socket.send(json.dumps(request).encode("ascii") + b"\n", socket.MSG_NOSIGNAL)
        except OSError as error:
            raise WorkerError(self._obituary()) from error

    def receive(self, limit: float) -> dict[str, Any]:
        """Return the next line as an object, within `limit` seconds."""
        deadline = time.monotonic() + limit
        chunks = [self._buffer]
        while b"\n" not in chunks[-1]:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                chunk = self._socket.recv(1 << 20)
            except TimeoutError as error:
                raise WorkerError(f"the pyslurm worker gave no answer within {limit:g} s") from error
            except OSError:  # it died with our question unread
                chunk = b""
            if not chunk:
                raise WorkerError(self._obituary())
            chunks.append(chunk)
        line, _, self._buffer = b"".join(chunks).partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise WorkerError(f"the pyslurm worker did not answer in JSON: {line[:200]!r}") from error
        if not isinstance(answer, dict):
            raise WorkerError(f"the pyslurm worker did not answer with an object: {line[:200]!r}")
        return answer

    def end(self) -> None:
        """Kill the process and wait for it."""
        self._process.kill()
        self._process.wait()
        self._socket.close()
        os.close(self._stderr)

    def _obituary(self) -> str:
        try:
            status = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "the pyslurm worker closed its pipe"
        how = f"was ended by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
        size = os.fstat(self._stderr).st_size
        words = os.pread(self._stderr, 2000, max(0, size - 2000)).decode("utf-8", "replace").strip().split("\n")[-1]
        return f"the pyslurm worker {how}" + (f": {words}" if words else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
