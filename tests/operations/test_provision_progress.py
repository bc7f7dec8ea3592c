"""How far each host is, as the events of ansible-runner tell it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleetward.operations.playbook import PlaybookResult, TaskFailure
from fleetward.operations.provision_progress import HostState, PlayProgress

BEGAN = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


class Played:
    """Events on a clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.progress = PlayProgress(self.time)

    def time(self) -> float:
        return self.now.timestamp()

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def see(self, kind: str, host: str = "", task: str = "", **data: object) -> TaskFailure | None:
        named = {"host": host} if host else {}
        event = {"event": kind, "created": self.now.isoformat(), "event_data": {**named, "task": task, **data}}
        return self.progress.see(event)

    def states(self) -> dict[str, HostState]:
        return {host.name: host.state for host in self.progress.hosts()}


@pytest.fixture
def played() -> Played:
    return Played()


def test_a_host_is_known_from_its_first_task_and_told_with_role_task_and_time(played: Played) -> None:
    assert played.progress.hosts() == ()
    played.see("playbook_on_task_start", name="munge : Write the key")
    played.see("runner_on_start", "gpu001", "Write the key", role="munge")
    played.later(4)
    [host] = played.progress.hosts()
    assert (host.name, host.state, host.role, host.task) == ("gpu001", HostState.WORKING, "munge", "Write the key")
    assert (host.worked_seconds, host.task_seconds) == (4, 4)
    assert played.progress.task == "munge : Write the key"


def test_waiting_for_others_is_no_work(played: Played) -> None:
    played.see("runner_on_start", "gpu001", "A")
    played.later(2)
    played.see("runner_on_ok", "gpu001", "A", res={"changed": True})
    played.later(60)
    [host] = played.progress.hosts()
    assert (host.state, host.ok, host.changed, host.worked_seconds, host.task_seconds) == ("waiting", 1, 1, 2, 0)


def test_failures_are_counted_and_those_that_are_ignored_or_skipped_are_none(played: Played) -> None:
    assert played.see("runner_on_skipped", "gpu001", "S") is None
    assert played.see("runner_on_failed", "gpu001", "I", ignore_errors=True, res={"msg": "x"}) is None
    assert played.states() == {"gpu001": HostState.WAITING}
    full = TaskFailure("gpu001", "F", "no space left")
    assert played.see("runner_on_failed", "gpu001", "F", res={"msg": "no space left"}) == full
    [host] = played.progress.hosts()
    assert (host.state, host.ok, host.failed, host.said) == ("failed", 1, 1, "no space left")


NOT_BEGUN = "Task failed: Finalization of task args for 'copy' failed: Vault is sealed"


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (f"\r\nTASK [W] ***\r\n\x1b[0;31m[ERROR]: {NOT_BEGUN}\x1b[0m\r\n", NOT_BEGUN),
        ("[ERROR]: Task failed: Module failed: no s3cret", "what it said is hidden by no_log"),
        (f'fatal: [gpu001]: FAILED! => {{"censored": "[ERROR]: {NOT_BEGUN}"}}', "what it said is hidden by no_log"),
    ],
)
def test_of_a_result_that_is_hidden_it_is_told_why_the_task_was_not_begun(
    played: Played, printed: str, told: str
) -> None:
    data = {"host": "gpu001", "task": "W", "res": {"censored": "hidden"}}
    failure = played.progress.see({"event": "runner_on_failed", "stdout": printed, "event_data": data})
    assert failure == TaskFailure("gpu001", "W", told)


def test_a_host_that_does_not_answer_is_unreachable(played: Played) -> None:
    gone = played.see("runner_on_unreachable", "gone", "Facts", res={"msg": "timed out"})
    assert gone == TaskFailure("gone", "Facts", "timed out", unreachable=True)
    assert played.states() == {"gone": HostState.UNREACHABLE}


def test_what_was_rescued_is_no_failure_in_the_end(played: Played) -> None:
    played.see("runner_on_failed", "gpu001", "Try", res={"msg": "mended below"})
    played.see("runner_on_failed", "gpu002", "Try", res={"msg": "no"})
    stats = {"ok": {"gpu001": 3}, "changed": {"gpu001": 1}, "failures": {"gpu002": 1}, "rescued": {"gpu001": 1}}
    played.see("playbook_on_stats", processed={"gpu001": 1, "gpu002": 1, "idle": 1}, **stats)
    assert played.states() == {"gpu001": HostState.DONE, "gpu002": HostState.FAILED, "idle": HostState.DONE}
    assert played.progress.result(2) == PlaybookResult(
        status=2,
        changed={"gpu001": 1, "gpu002": 0, "idle": 0},
        ok={"gpu001": 3, "gpu002": 0, "idle": 0},
        failures=(TaskFailure("gpu002", "Try", "no"),),
    )


def test_where_ansible_ends_before_any_task_its_last_words_are_kept_without_codes_for_terminals(
    played: Played,
) -> None:
    for number in range(30):
        played.progress.see({"event": "verbose", "stdout": f"\x1b[31mline {number}\x1b[0m"})
    said = played.progress.result(1).last_words.splitlines()
    assert (said[0], said[-1], len(said)) == ("line 10", "line 29", 20)


@pytest.mark.parametrize("event", [{}, {"event": None}, {"event": "runner_on_ok"}, {"event": "runner_on_start"}])
def test_an_event_that_lacks_what_it_should_have_ends_nothing(played: Played, event: dict[str, Any]) -> None:
    assert played.progress.see(event) is None
    played.progress.see({"event": "runner_on_ok", "created": "yesterday", "event_data": {"host": "h", "res": None}})
    assert "h" in played.states()
