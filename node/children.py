"""Work in forked processes that are killed when their time is over.

A thread that hangs in the kernel would keep this process from ending; a process that hangs there is left behind.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from math import inf
from multiprocessing.connection import Connection, Pipe, wait
from typing import Generic, TypeVar

from fleetward.exporters.gpu.forks import die_with_parent
from fleetward.exporters.gpu.starving import is_ready
from fleetward.node.results import ProbeError, StarvedError

Key = TypeVar("Key")
T = TypeVar("T")


class Child(Generic[T]):
    """A process that does one piece of work and hands back what came of it."""

    def __init__(self, work: Callable[[], T], limit_seconds: float) -> None:
        """Begin; what `work` returns must be picklable."""
        self.limit_seconds = limit_seconds
        self.until = time.monotonic() + limit_seconds
        here, there = Pipe(duplex=False)
        parent = os.getpid()
        try:
            self._process = os.fork()
        except OSError:
            here.close()
            there.close()
            raise
        if self._process == 0:
            status = 1
            try:
                os.setpgid(0, 0)  # the programs that it starts are killed with it
                signal.signal(signal.SIGPIPE, signal.SIG_IGN)
                die_with_parent(parent)
                here.close()
                _work(work, there)
                status = 0
            finally:  # nothing may come back into the parent's program
                if status:
                    sys.excepthook(*sys.exc_info())
                    sys.stderr.flush()
                os._exit(status)
        there.close()
        self.answers = here

    def result(self) -> T | ProbeError:
        """Return what has come, once `answers` can be read."""
        try:
            answer: T | ProbeError = self.answers.recv()
        except EOFError:
            answer = ProbeError("the probe ended without an answer: see what it wrote to stderr")
        self.end()
        return answer

    def too_late(self) -> ProbeError:
        """End it, and say why it has no result."""
        starved = is_ready(self._process)
        self.end()
        words = f"no answer within {self.limit_seconds:.3g} s"
        return StarvedError(f"{words}: the node's processors are taken") if starved else ProbeError(words)

    def end(self) -> None:
        """Kill what is left, and wait for nothing: it may hang where no signal reaches it."""
        self.answers.close()
        for kill in (os.killpg, os.kill):  # it may not have had the time to lead a group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self._process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._process, os.WNOHANG)


def begun(work: Callable[[], T], limit_seconds: float) -> Child[T] | ProbeError:
    """Return a process that does the work; ProbeError where the system has none left."""
    try:
        return Child(work, limit_seconds)
    except OSError as error:
        return ProbeError(f"no process can be started for it: {error.strerror}")


def collect(children: Mapping[Key, Child[T] | ProbeError]) -> dict[Key, T | ProbeError]:
    """Return the answer of each, or ProbeError for one that failed or took longer than its limit."""
    return take(dict(children))


def take(left: MutableMapping[Key, Child[T] | ProbeError], seconds: float = inf) -> dict[Key, T | ProbeError]:
    """Return the answers of those that end within `seconds`, as `collect` does, and leave in `left` who still works."""
    results: dict[Key, T | ProbeError] = {}
    enough = time.monotonic() + seconds
    while left:
        working: dict[Key, Child[T]] = {}
        now = time.monotonic()
        for key, child in list(left.items()):
            if isinstance(child, ProbeError):
                results[key] = child
            elif child.answers.poll():
                results[key] = child.result()
            elif child.until <= now:
                results[key] = child.too_late()
            else:
                working[key] = child
                continue
            del left[key]
        if not working or now >= enough:
            break
        until = min(enough, *(child.until for child in working.values()))
        wait([child.answers for child in working.values()], until - now)
    return results


def _work(work: Callable[[], T], there: Connection) -> None:
    try:
        answer: T | ProbeError = work()
    except ProbeError as error:
        answer = error
    except (ValueError, IndexError, OSError) as error:
        answer = ProbeError(f"what was read is not as expected: {type(error).__name__}: {error}")
    with contextlib.suppress(BrokenPipeError):
        there.send(answer)
