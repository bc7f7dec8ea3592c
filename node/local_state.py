"""What a node keeps of its own drains from one run to the next, in a file that one run at a time has."""

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from fleetward.model.errors import FleetwardError
from fleetward.node.files import replace_file
from fleetward.node.local_drain import LocalState, OwnDrain, Streak

STATE = Path("/var/lib/fleetward-health")
MOST_BYTES = 64 * 1024
HIGHEST_COUNT = 1 << 31


class StateError(FleetwardError):
    """The state cannot be had, so that nothing is to be done that would have to be remembered."""


class RunGoesOnError(StateError):
    """Another run holds the state."""


class StateFolder:
    """The folder with the state of this node."""

    def __init__(self, folder: Path = STATE) -> None:
        """Name the folder; it is made when it is first held."""
        self.folder = folder
        self.file = folder / "local_drain.json"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out; RunGoesOnError where one is at work, StateError where the folder is of no use."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"{self.folder} cannot be used ({error.strerror}): run as root, or say --state") from error
        try:
            _lock(lock)
            yield
        finally:
            os.close(lock)

    def read(self) -> LocalState:
        """Return what was kept, nothing where there is no file; StateError where it is damaged."""
        try:
            with self.file.open("rb") as opened:
                found = json.loads(opened.read(MOST_BYTES))
            return _state(found)
        except FileNotFoundError:
            return LocalState()
        except OSError as error:
            raise StateError(f"{self.file} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise StateError(f"{self.file} is damaged, and begun anew: {error}") from error

    def keep(self, state: LocalState) -> None:
        """Keep the state; StateError where it cannot be."""
        try:
            replace_file(self.file, json.dumps(asdict(state)), durable=True)
        except OSError as error:
            raise StateError(f"{self.file} cannot be written: {error.strerror}") from error


def _lock(file: int) -> None:
    try:
        # Of this process alone: a probe that hangs, and cannot even be killed, shall not keep the lock for ever.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise RunGoesOnError("another run is going on, and does what is to be done") from error
    except OSError as error:
        raise StateError(f"the state cannot be locked: {error.strerror}") from error


def _state(found: dict[str, object]) -> LocalState:
    """Return a state as it was kept; a ValueError, KeyError, TypeError or AttributeError for what is none."""
    streaks, drain = found["streaks"], found["drain"]
    if not isinstance(streaks, dict):
        raise ValueError("streaks are no object")
    return LocalState(
        {str(check): Streak(_count(one["failed"]), _count(one["passed"])) for check, one in streaks.items()},
        _moment(found["at"]),
        None if drain is None else _drain(drain),
    )


def _drain(found: object) -> OwnDrain:
    if not isinstance(found, dict) or not isinstance(found["settled"], bool):
        raise ValueError("a drain is no object")
    return OwnDrain(_text(found["check"]), _text(found["reason"]), _moment(found["at"]), found["settled"])


def _text(found: object) -> str:
    if not isinstance(found, str) or not found:
        raise ValueError("a text is missing")
    return found


def _moment(found: object) -> float:
    if not isinstance(found, int | float) or not math.isfinite(found):
        raise ValueError("a time is none")
    return float(found)


def _count(found: object) -> int:
    if not isinstance(found, int) or not 0 <= found < HIGHEST_COUNT:
        raise ValueError("a count is none")
    return found
