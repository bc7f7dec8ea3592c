"""What became of each run of `fleetward provision`: one JSON file for each below the state folder of who ran it.

A file is there from the moment a run begins, and locked until it ends: one that has not ended and is not locked was cut
off, by a kill or a loss of power.
"""

import fcntl
import json
import os
import pwd
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fleetward.model.errors import FleetwardError, UsageError
from fleetward.operations import command
from fleetward.operations.playbook import PlaybookResult, PlaybookRun, TaskFailure
from fleetward.operations.provision_progress import HostProgress, HostState

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_FILE = re.compile(r"p([1-9][0-9]{0,8})\.json")
_MOST_BYTES = 64 * 1024 * 1024


class RecordError(UsageError):
    """A record that is not there, or is none; the message names the file."""


class RunState(StrEnum):
    """How a run stands, or ended."""

    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    """No task failed, and some hosts did not answer."""
    TIMED_OUT = "timed out"
    INTERRUPTED = "interrupted"
    CUT_OFF = "cut off"


@dataclass(frozen=True, slots=True)
class Revision:
    """The git revision of an inventory."""

    commit: str
    is_changed: bool
    """Whether files of the inventory are not as in that commit."""

    def __str__(self) -> str:
        """Return it as people write it."""
        return self.commit[:10] + ("+" if self.is_changed else "")


@dataclass(frozen=True, slots=True)
class HostRecord:
    """What became of one host."""

    state: HostState
    ok: int
    changed: int
    failed: int
    seconds: float
    """In tasks; waiting for other hosts is left out."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. Times are aware and in UTC."""

    number: int
    state: RunState
    began: datetime
    ended: datetime | None
    by: str
    machine: str
    inventory: str
    revision: Revision | None
    """None where git does not know the inventory."""
    limit: str | None
    tags: str | None
    skip_tags: str | None
    check: bool
    hosts: Mapping[str, HostRecord]
    failures: tuple[TaskFailure, ...] = ()
    last_words: str = ""
    """The end of what Ansible printed, where it did not end well and no task failed."""

    @property
    def name(self) -> str:
        """How commands call it."""
        return f"p{self.number}"

    @property
    def changed_hosts(self) -> int:
        """Hosts on which something was changed, or in check mode would have been."""
        return sum(bool(host.changed) for host in self.hosts.values())

    @property
    def failed_hosts(self) -> int:
        """Hosts that failed or did not answer."""
        return sum(host.state in {HostState.FAILED, HostState.UNREACHABLE} for host in self.hosts.values())


class Records:
    """The records of one folder."""

    def __init__(self, folder: Path) -> None:
        """Make nothing yet."""
        self._folder = folder

    @classmethod
    def of_user(cls, environment: Mapping[str, str] | None = None) -> "Records":
        """Return those of who runs this: `fleetward/provision` below XDG_STATE_HOME."""
        environment = os.environ if environment is None else environment
        base = environment.get("XDG_STATE_HOME") or Path.home() / ".local/state"
        return cls(Path(base) / "fleetward/provision")

    @contextmanager
    def begin(self, wanted: PlaybookRun, now: datetime) -> Iterator[RunRecord]:
        """Write down that a run begins, under the next number; locked while the block runs."""
        started = RunRecord(
            number=max(self.numbers(), default=0) + 1,
            state=RunState.UNDER_WAY,
            began=now,
            ended=None,
            by=who(),
            machine=socket.gethostname(),
            inventory=str(wanted.inventory.absolute()),
            revision=revision_of(wanted.inventory),
            limit=wanted.limit,
            tags=wanted.tags,
            skip_tags=wanted.skip_tags,
            check=wanted.check,
            hosts={},
        )
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            started, descriptor = self._create(started)
        except OSError as error:
            raise FleetwardError(
                f"{self._folder}: a run cannot be recorded there ({error.strerror}); nothing was touched: "
                "make it writable, or set XDG_STATE_HOME"
            ) from error
        try:
            yield started
        finally:
            os.close(descriptor)

    def _create(self, record: RunRecord) -> tuple[RunRecord, int]:
        """Make a record's file under its number or the next that is free, and return it open and locked."""
        while True:
            try:
                descriptor = os.open(self._file(record.number), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                record = replace(record, number=record.number + 1)
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, _text(record).encode())
            return record, descriptor

    def end(self, record: RunRecord) -> None:
        """Put a record in place whole."""
        file = self._file(record.number)
        new = file.with_name(f".{file.name}.new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(_text(record))
                opened.flush()
                os.fsync(opened.fileno())
            new.replace(file)
        except OSError as error:
            why = f"{file}: how the run ended cannot be recorded ({error.strerror})"
            raise FleetwardError(f"{why}; it was {record.state}") from error

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of all records, the newest first."""
        if not self._folder.is_dir():
            return ()
        found = (_FILE.fullmatch(entry.name) for entry in self._folder.iterdir())
        return tuple(sorted((int(match[1]) for match in found if match), reverse=True))

    def read(self, number: int) -> RunRecord:
        """Return one record; RecordError where there is none, or its file cannot be read."""
        file = self._file(number)
        try:
            with file.open("rb") as opened:
                text = opened.read(_MOST_BYTES)
                is_locked = _is_locked(opened.fileno())
        except FileNotFoundError:
            newest = next(iter(self.numbers()), None)
            there = f"the newest is p{newest}" if newest else "no run is recorded"
            raise RecordError(f"there is no record p{number} in {self._folder}; {there}") from None
        except OSError as error:
            raise RecordError(f"{file}: cannot be read ({error.strerror}); correct its permissions") from error
        try:
            record: RunRecord = _adapter().validate_json(text)
        except ValueError as error:
            raise RecordError(f"{file}: is no record of a run; remove it") from error
        if record.ended is None and not is_locked:
            record = replace(record, state=RunState.CUT_OFF)
        return replace(record, number=number)

    def _file(self, number: int) -> Path:
        return self._folder / f"p{number}.json"


def ended(record: RunRecord, state: RunState, result: PlaybookResult, hosts: tuple[HostProgress, ...]) -> RunRecord:
    """Return a record of a run that is over."""
    failures = () if state is RunState.DONE else result.failures
    # Where a task failed its own words say why; what Ansible printed may quote a result that no_log hides.
    last_words = "" if failures or state is RunState.DONE else result.last_words
    return replace(
        record,
        state=state,
        ended=datetime.now(UTC),
        hosts={
            host.name: HostRecord(host.state, host.ok, host.changed, host.failed, round(host.worked_seconds, 1))
            for host in hosts
        },
        failures=failures,
        last_words=last_words,
    )


def who() -> str:
    """Return who runs this: the user, and behind `sudo` the one who typed it."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    typed = os.environ.get("SUDO_USER", "")
    return f"{typed} (as {user})" if os.getuid() == 0 and typed not in {"", user} else user


def revision_of(inventory: Path) -> Revision | None:
    """Return the git revision of a folder or file, None where git does not know it or is not there."""
    folder = inventory if inventory.is_dir() else inventory.parent
    # Nothing that a repository's own configuration names is run, and no lock taken that a person's git waits for.
    git = ["git", "-C", str(folder), "-c", "core.fsmonitor=false"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        commit = command.run([*git, "rev-parse", "--verify", "HEAD"], seconds=10, environment=environment).text.strip()
        changed = command.run(
            [*git, "status", "--porcelain", "--", str(inventory.absolute())], seconds=30, environment=environment
        ).text
    except FleetwardError:
        return None
    return Revision(commit, bool(changed.strip()))


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _text(record: RunRecord) -> str:
    return json.dumps(asdict(record), indent=1, default=lambda moment: moment.isoformat()) + "\n"


@cache
def _adapter() -> "TypeAdapter[RunRecord]":
    from pydantic import TypeAdapter

    return TypeAdapter(RunRecord)
