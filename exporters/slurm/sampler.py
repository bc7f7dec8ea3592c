"""Asking Slurm at an interval, apart from whoever scrapes, and the picture that a scrape gets."""

import os
import pwd
import threading
import time
from collections.abc import Callable

from fleetward.exporters.slurm.picture import OwnCalls, Picture
from fleetward.exporters.slurm.states import JobEnds
from fleetward.exporters.slurm.waits import Waits
from fleetward.slurm.answers import Diagnostics, Listing
from fleetward.slurm.client import SlurmClient
from fleetward.slurm.looking import Looker, asked_anew
from fleetward.slurm.snapshot import Snapshot, differences

SLOW_SECONDS = 60.0
"""How often what changes slowly is asked for, at most: reservations, fair shares, slurmctld's own statistics."""


class Sampler:
    """Keeps the newest picture; a controller that does not answer makes it old."""

    def __init__(
        self,
        client: SlurmClient,
        interval_seconds: float,
        note: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        user: str | None = None,
        taken: Callable[[Picture], None] = lambda _: None,
    ) -> None:
        """Ask for nothing yet: a controller that hangs must not keep the exporter from serving that it does.

        `taken` is called with each new picture, by the thread that asks.
        """
        self._client = client
        self._interval = interval_seconds
        self._note = note
        self._clock = clock
        self._taken = taken
        self._user = _user() if user is None else user
        self._looker = Looker(client, clock)
        self._ends, self._waits = JobEnds(), Waits()
        self._slow_until = 0.0
        self._told = ""
        self._picture = Picture(ends=self._ends.counts(), waits=self._waits.histograms())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_until_stopped, name="slurm", daemon=True)

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Stop asking; a question that hangs is left behind."""
        self._stop.set()
        self._thread.join(seconds)

    def picture(self) -> Picture:
        """Return the newest picture."""
        return self._picture

    def look(self) -> None:
        """Ask once and keep the answers."""
        before = self._looker.snapshot
        snapshot = self._looker.look()
        if not snapshot.jobs.problem:
            self._ends.look(snapshot.jobs.items)
        self._waits.look(differences(before, snapshot))
        self._tell(snapshot)
        self._picture = self._with_slow_facts(snapshot)
        self._taken(self._picture)

    def _with_slow_facts(self, snapshot: Snapshot) -> Picture:
        known = self._picture
        reservations, shares, diagnostics, own = (
            known.reservations,
            known.shares,
            known.diagnostics,
            known.own_calls,
        )
        now = self._clock()
        if not snapshot.nodes.problem and now >= self._slow_until:
            self._slow_until = now + max(SLOW_SECONDS, self._interval)
            reservations, away = asked_anew(reservations, self._client.reservations, self._clock)
            shares, away = asked_anew(shares, self._client.shares, self._clock, away)
            diagnostics, _ = asked_anew(diagnostics, self._diagnostics, self._clock, away)
            own = _own(diagnostics.items, known.diagnostics.items, self._user) or own
        return Picture(snapshot, reservations, shares, diagnostics, own, self._ends.counts(), self._waits.histograms())

    def _diagnostics(self) -> Listing[Diagnostics]:
        return Listing((self._client.diagnostics(),), self._client.backend)

    def _tell(self, snapshot: Snapshot) -> None:
        """Note once why Slurm does not answer."""
        problem = snapshot.nodes.problem
        if problem and not self._told:
            self._note(f"Slurm does not answer: {problem}")
        self._told = problem

    def _look_until_stopped(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self._looker.pause(self._interval))


def _own(now: tuple[Diagnostics, ...], before: tuple[Diagnostics, ...], user: str) -> OwnCalls | None:
    if not now:
        return None
    ours, theirs = _calls_of(now[0], user), _calls_of(before[0], user) if before else None
    ratio = None
    if theirs is not None and before[0].since == now[0].since and (passed := now[0].at - before[0].at):
        ratio = max(0.0, ours.seconds - theirs.seconds) / passed.total_seconds()
    return OwnCalls(ours.count, ours.seconds, ratio)


def _calls_of(diagnostics: Diagnostics, user: str) -> OwnCalls:
    mine = [calls for calls in diagnostics.calls_by_user if calls.name == user]
    return OwnCalls(sum(calls.count for calls in mine), sum(calls.seconds for calls in mine))


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
