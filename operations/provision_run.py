"""One recorded run of site.yml: what is told of it while it goes on, and what is kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fleetward.operations import provision_play
from fleetward.operations.playbook import PlaybookResult, PlaybookRun, TaskFailure
from fleetward.operations.provision_play import PlayEnd
from fleetward.operations.provision_progress import PlayProgress
from fleetward.operations.provision_records import Records, RunRecord, RunState, ended


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told of a run while it goes on."""

    task: Callable[[str], None] = lambda _: None
    """Of each task as it begins."""
    failure: Callable[[TaskFailure], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Carried:
    """A run that is over."""

    record: RunRecord
    result: PlaybookResult


def carry_out(wanted: PlaybookRun, progress: PlayProgress, records: Records, told: Told) -> Carried:
    """Run it to its end, on record from its beginning.

    FleetwardError where it cannot be recorded: before any host is touched, or at the end.
    """
    with records.begin(wanted, datetime.now(UTC)) as started:
        task = ""

        def see(event: Mapping[str, Any]) -> None:
            nonlocal task
            if failure := progress.see(event):
                told.failure(failure)
            if progress.task != task:
                task = progress.task
                told.task(task)

        try:
            end = provision_play.play(wanted, see)
        except BaseException:
            records.end(ended(started, RunState.INTERRUPTED, progress.result(status=254), progress.hosts()))
            raise
        result = progress.result(end.status, timed_out=end.timed_out)
        over = ended(started, _state(end, result), result, progress.hosts())
        records.end(over)
        return Carried(over, result)


def _state(end: PlayEnd, result: PlaybookResult) -> RunState:
    if end.interrupted:
        return RunState.INTERRUPTED
    if end.timed_out:
        return RunState.TIMED_OUT
    if end.status == 0:
        return RunState.DONE
    only_unreachable = bool(result.failures) and all(failure.unreachable for failure in result.failures)
    return RunState.UNREACHABLE if only_unreachable else RunState.FAILED
