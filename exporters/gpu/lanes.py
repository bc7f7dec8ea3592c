"""Which process looks at which GPU: decided from what each process did last, without a clock or a process in here.

All GPUs that answer quickly share one lane. One that takes long, or at which the lane's process hung and was killed,
gets a lane of its own, and returns when it has answered quickly for a while. So a GPU whose driver hangs takes nothing
from the others but the moment until their process is replaced.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from fleetward.exporters.gpu.lane import CENSUS, IDLE, LANES, MOST_GPUS, QUICK, Task

SHARED_LIMIT = 1.0
"""Seconds for one GPU in the lane that they share."""
APART_LIMIT = 10.0
"""Seconds for a GPU in its own lane until its process is replaced."""
PROBATION = 60.0
"""Seconds for which a GPU in its own lane must answer quickly to return."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a lane's process is replaced, doubled at each time that it was in vain."""


@dataclass(frozen=True)
class Start:
    """Start a process for a task, in a lane that is free."""

    lane: int
    task: Task


@dataclass(frozen=True)
class Kill:
    """Kill a lane's process; it may take for ever, and nobody waits for it."""

    lane: int


@dataclass(frozen=True)
class Assign:
    """Give a lane that runs another task."""

    lane: int
    task: Task


Order = Start | Kill | Assign


@dataclass
class _Post:
    """One task that is to be done all the time, and the lane that does it."""

    task: Task
    lane: int | None = None
    started: float = 0.0
    pause: float = FIRST_PAUSE
    not_before: float = 0.0


@dataclass
class Lanes:
    """Gives orders so that every GPU is looked at; `step` is called several times a second."""

    killed: int = 0
    apart: dict[int, float] = field(default_factory=dict)
    """GPUs in lanes of their own, and since when they have been quick there."""
    _shared: _Post = field(default_factory=lambda: _Post(Task(census=True)))
    _events: _Post = field(default_factory=lambda: _Post(Task(events=True)))
    _own: dict[int, _Post] = field(default_factory=dict)
    _dying: set[int] = field(default_factory=set)

    def step(
        self,
        now: float,
        gpus: int,
        pulses: Mapping[int, tuple[int, float]],
        ended: Collection[int],
        seconds: Mapping[int, float],
        *,
        released: bool = False,
    ) -> list[Order]:
        """Return what is to be done now.

        `gpus` is how many there are, `pulses` what each lane does and since when, `ended` the lanes whose process is
        gone, `seconds` how long the last look at each GPU took; both are without the time in which a process was
        given no processor. While `released` no process may use the driver.
        """
        for lane in ended:
            self._dying.discard(lane)
            self._lost(lane, now)
        if released:
            return list(self._let_go(now))
        orders = list(self._kill_what_hangs(now, pulses))
        self._part(now, pulses, seconds)
        self._shared.task = Task(tuple(index for index in range(min(gpus, MOST_GPUS)) if index not in self.apart), True)
        for post in (self._shared, self._events, *self._own.values()):
            orders += self._keep_going(post, now)
        return orders

    def lane_of(self, gpu: int) -> int | None:
        """Return the lane that looks at a GPU; None where its process is to be replaced."""
        return (self._own.get(gpu) or self._shared).lane

    def _posts(self) -> Iterator[_Post]:
        yield from (self._shared, self._events, *self._own.values())

    def _lost(self, lane: int, now: float) -> None:
        """Have the task of a process that is gone wait for another."""
        for post in self._posts():
            if post.lane == lane:
                lasted = now - post.started
                post.pause = FIRST_PAUSE if lasted > LONGEST_PAUSE else min(2 * post.pause, LONGEST_PAUSE)
                post.lane, post.not_before = (
                    None,
                    now + (0 if post is self._shared and lasted > FIRST_PAUSE else post.pause),
                )

    def _let_go(self, now: float) -> Iterator[Order]:
        """End every process; each task begins anew when the release is over, and none is held against a GPU."""
        for post in self._posts():
            if post.lane is not None:
                self._dying.add(post.lane)
                yield Kill(post.lane)
            post.lane, post.pause, post.not_before = None, FIRST_PAUSE, now
        self.apart = dict.fromkeys(self.apart, now)

    def _kill_what_hangs(self, now: float, pulses: Mapping[int, tuple[int, float]]) -> Iterator[Order]:
        for post in self._posts():
            what, since = pulses.get(post.lane, (IDLE, now)) if post.lane is not None else (IDLE, now)
            limit = SHARED_LIMIT if post is self._shared and what != CENSUS else APART_LIMIT
            if post.lane is None or what == IDLE or now - since <= limit:
                continue
            self.killed += 1
            lane = post.lane
            self._dying.add(lane)
            self._lost(lane, now)
            yield Kill(lane)
            if post is self._shared and what >= 0:
                self._set_apart(what, now)

    def _part(self, now: float, pulses: Mapping[int, tuple[int, float]], seconds: Mapping[int, float]) -> None:
        for gpu, took in seconds.items():
            if gpu not in self.apart and took > SHARED_LIMIT / 2:
                self._set_apart(gpu, now)
            elif gpu in self.apart and took > QUICK:
                self.apart[gpu] = now
        for gpu in [gpu for gpu, quick_since in self.apart.items() if now - quick_since > PROBATION]:
            post = self._own[gpu]
            if post.lane is not None and pulses.get(post.lane, (gpu, 0.0))[0] == IDLE:
                del self.apart[gpu]
                post.task = Task()  # an empty lane: it is ended below

    def _set_apart(self, gpu: int, now: float) -> None:
        self.apart[gpu] = now
        self._own[gpu] = _Post(Task((gpu,)))

    def _keep_going(self, post: _Post, now: float) -> Iterator[Order]:
        if post.task == Task():
            self._own = {gpu: one for gpu, one in self._own.items() if one is not post}
            if post.lane is not None:
                self._dying.add(post.lane)
                yield Kill(post.lane)
        elif post.lane is not None:
            yield Assign(post.lane, post.task)
        elif now >= post.not_before and (lane := self._free_lane()) is not None:
            post.lane, post.started = lane, now
            yield Start(lane, post.task)

    def _free_lane(self) -> int | None:
        taken = self._dying | {post.lane for post in self._posts() if post.lane is not None}
        return next((lane for lane in range(LANES) if lane not in taken), None)
