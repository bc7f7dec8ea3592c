"""Following the logs of a job until it has ended, over requeues and while slurmctld is away."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetward.slurm.answers import Job
from fleetward.slurm.client import NoSuchJobError, SlurmOutOfReachError
from fleetward.slurm.logs.tail import News, Tail
from fleetward.slurm.wait import Clock, has_ended, is_another

LOOK_SECONDS = 0.5
"""Between two looks at the files."""
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 10.0
"""Between two questions to Slurm, in seconds; the first ones come sooner."""
SHARE_OF_TIME = 0.2
"""At most so much of the time goes into questions: the files are not looked at meanwhile."""


@dataclass(slots=True)
class Watch:
    """Asks from time to time how the job is, and tells of what changes."""

    ask: Callable[[], Job]
    """Returns the job; NoSuchJobError where slurmctld has forgotten it, SlurmOutOfReachError where it is away."""
    clock: Clock
    note: Callable[[str], None]
    _seen: Job | None = None
    _due: float = float("-inf")
    _pause: float = FIRST_PAUSE
    _away: bool = False

    def ended(self) -> bool:
        """Say whether the job has ended, for all that is known; asks where it is time to."""
        began = self.clock.now()
        if began < self._due:
            return False
        ended = self._ask()
        took = self.clock.now() - began
        self._due = began + took + max(self._pause, took * (1 / SHARE_OF_TIME - 1))
        self._pause = min(self._pause * 1.5, LONGEST_PAUSE)
        return ended

    def _ask(self) -> bool:
        try:
            job = self.ask()
        except NoSuchJobError:
            return True
        except SlurmOutOfReachError as error:
            if not self._away:
                self.note(f"{error}; the log is followed on")
            self._away = True
            return False
        if self._away:
            self.note("Slurm answers again")
        self._away = False
        before, self._seen = self._seen, job
        if before is not None and is_another(before, job):
            self.note(f"job {job.id} is another one now ({job.name!r}): slurmctld gave its number out again")
            return True
        if before is None or (before.state, before.restarts) != (job.state, job.restarts):
            self.note(_words(before, job))
        return has_ended(before, job)


def follow(logs: Sequence[Tail], watch: Watch) -> Iterator[tuple[Path, bytes]]:
    """Yield what comes into the logs, each time the file and whole lines, until the job has ended and all is read.

    Errors as in `Tail.look`; Slurm being out of reach is none.
    """
    while True:
        more = False
        for log in logs:
            news = log.look()
            more = more or news.more
            yield from _told(log, news, watch.note)
        if watch.ended():
            break
        if not more:
            watch.clock.sleep(LOOK_SECONDS)
    for log in logs:
        for news in log.last():
            yield from _told(log, news, watch.note)


def _told(log: Tail, news: News, note: Callable[[str], None]) -> Iterator[tuple[Path, bytes]]:
    if news.data:
        yield log.path, news.data
    if news.happened:
        note(f"{log.path} {news.happened}")


def _words(before: Job | None, now: Job) -> str:
    why = f" ({now.reason})" if now.reason and now.reason != "None" else ""
    if now.state == "PENDING" and before is not None:
        return f"job {now.id} waits again{why}, after {now.restarts} restarts; its log goes on when it does"
    return f"job {now.id} is {now.state}{why}"
