"""The threads in which runs advance: one for each run, so that a run that waits holds up no other."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for

from fleetward.model.errors import FleetwardError
from fleetward.model.runs import RunState
from fleetward.runbooks.engine import Engine
from fleetward.store.runs import Runs

MOST_AT_ONCE = 64
"""Runs under way at once; the guardrails bound those that hold nodes far below it. Further ones wait their turn."""
PAUSE_AFTER_FAILURE = 10.0
"""Seconds until a run is taken up again whose thread ended with an error."""
GOING = frozenset({RunState.RUNNING, RunState.WAITING})

log = logging.getLogger(__name__)


class Executor:
    """Advances runs; safe to use from many threads."""

    def __init__(self, engine: Engine, runs: Runs, rested: Callable[[], None] = lambda: None) -> None:
        """Call `rested` whenever a run came to rest: ended, or asking."""
        self._engine = engine
        self._runs = runs
        self._rested = rested
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="run")
        self._lock = threading.Lock()
        self._under_way: dict[int, Future[RunState]] = {}
        self._not_before: dict[int, float] = {}

    def wake(self, run_id: int) -> None:
        """Have a run advance; nothing happens where it does already."""
        with self._lock:
            if self._stopping.is_set() or run_id in self._under_way:
                return
            future = self._pool.submit(self._engine.advance, run_id, self._stopping)
            self._under_way[run_id] = future
        future.add_done_callback(lambda done: self._came_to_rest(run_id, done))

    def take_up(self) -> None:
        """Have every run advance that is under way by the record: after a start, and so that none is forgotten."""
        now = time.monotonic()
        for run_id, state in self._runs.active().items():
            if state in GOING and self._not_before.get(run_id, 0.0) <= now:
                self.wake(run_id)

    def stop(self, seconds: float) -> bool:
        """Let every run write down the step at hand; return whether all did within `seconds`."""
        with self._lock:
            self._stopping.set()
            left = list(self._under_way.values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not wait_for(left, timeout=seconds).not_done

    def _came_to_rest(self, run_id: int, done: Future[RunState]) -> None:
        with self._lock:
            self._under_way.pop(run_id, None)
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._not_before.pop(run_id, None)
            self._rested()
            return
        self._not_before[run_id] = time.monotonic() + PAUSE_AFTER_FAILURE
        log.error("r%d: its thread ended with an error", run_id, exc_info=error)
        if not isinstance(error, FleetwardError):
            self._ask(run_id, error)

    def _ask(self, run_id: int, error: BaseException) -> None:
        """Stop a run that met a mistake of ours: a person sees it, and nothing is tried in a circle."""
        why = (
            f"a mistake in Fleetward ({type(error).__name__}: {error}); see `journalctl --unit fleetward`, then decide"
        )
        try:
            self._runs.set_run_state(run_id, RunState.STOPPED, why)
        except FleetwardError as other:
            log.warning("r%d: could not be stopped: %s", run_id, other)
