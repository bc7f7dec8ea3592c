"""Which process looks at which GPU: who is parted, who is killed, who returns, and that no fault stops all."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetward.exporters.gpu.lane import CENSUS, IDLE, LANES, Task
from fleetward.exporters.gpu.lanes import (
    APART_LIMIT,
    LONGEST_PAUSE,
    PROBATION,
    SHARED_LIMIT,
    Assign,
    Kill,
    Lanes,
    Order,
    Start,
)

STEP = 0.5


@dataclass
class World:
    """Processes that do what they are told, and a driver in which GPUs hang."""

    gpus: int = 4
    now: float = 100.0
    lanes: Lanes = field(default_factory=Lanes)
    running: dict[int, Task] = field(default_factory=dict)
    hangs: set[int] = field(default_factory=set)
    undead: set[int] = field(default_factory=set)
    """GPUs at which a process cannot even be killed until they answer."""
    doomed: set[int] = field(default_factory=set)
    """Lanes whose process was killed and cannot die yet."""
    seconds: dict[int, float] = field(default_factory=dict)
    stuck: dict[int, tuple[int, float]] = field(default_factory=dict)
    """What a lane hangs in, and since when."""
    ended: list[int] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    released: bool = False

    def step(self) -> list[Order]:
        self.now += STEP
        for lane, task in self.running.items():
            hanging = next((gpu for gpu in task.gpus if gpu in self.hangs), None)
            if hanging is not None:
                self.stuck.setdefault(lane, (hanging, self.now))
            elif lane in self.stuck and self.stuck[lane][0] not in self.hangs:
                del self.stuck[lane]
        for lane in [lane for lane in self.doomed if lane not in self.stuck]:
            self._end(lane)
        pulses = {lane: self.stuck.get(lane, (IDLE, self.now)) for lane in self.running}
        ended, self.ended = self.ended, []
        orders = self.lanes.step(self.now, self.gpus, pulses, ended, self.seconds, released=self.released)
        for order in orders:
            self._obey(order)
        self.orders += orders
        return orders

    def _obey(self, order: Order) -> None:
        if isinstance(order, Start):
            assert order.lane not in self.running, "a lane has one process"
            self.running[order.lane] = order.task
        elif isinstance(order, Assign):
            self.running[order.lane] = order.task
        elif self.stuck.get(order.lane, (IDLE, 0.0))[0] in self.undead:
            self.doomed.add(order.lane)
        else:
            self._end(order.lane)

    def _end(self, lane: int) -> None:
        self.running.pop(lane)
        self.stuck.pop(lane, None)
        self.doomed.discard(lane)
        self.ended.append(lane)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.step()

    def looked_at(self) -> list[int]:
        """Return the GPUs that a process looks at which does not hang."""
        return sorted(gpu for lane, task in self.running.items() if lane not in self.stuck for gpu in task.gpus)


def test_all_gpus_share_one_process_and_xids_have_another() -> None:
    world = World()
    world.step()
    assert sorted(world.running.values(), key=lambda task: task.events) == [
        Task((0, 1, 2, 3), census=True),
        Task(events=True),
    ]
    world.gpus = 5
    world.step()
    assert Task((0, 1, 2, 3, 4), census=True) in world.running.values()


def test_a_gpu_that_hangs_is_parted_and_the_others_go_on_at_once() -> None:
    world = World()
    world.step()
    world.hangs = {2}
    world.pass_time(SHARED_LIMIT + 3 * STEP)
    assert world.looked_at() == [0, 1, 3]
    assert world.lanes.killed == 1
    world.pass_time(10)
    assert world.looked_at() == [0, 1, 3]
    assert world.lanes.killed == 1, "its own process is given more time"
    assert Task((2,)) in world.running.values()


def test_it_returns_to_the_others_once_it_has_been_quick_for_a_while() -> None:
    world = World()
    world.step()
    world.hangs = {2}
    world.pass_time(30)
    world.hangs = set()
    world.seconds = {2: 0.01}
    world.pass_time(2)
    assert world.looked_at() == [0, 1, 2, 3]
    assert set(world.lanes.apart) == {2}
    world.pass_time(PROBATION + 5)
    assert set(world.lanes.apart) == set()
    assert Task((0, 1, 2, 3), census=True) in world.running.values()
    assert len(world.running) == 2, "its own process is gone"


def test_a_gpu_that_hangs_for_ever_is_tried_again_less_and_less_often() -> None:
    world = World()
    world.step()
    world.hangs = {1}
    world.pass_time(3600)
    tries = [order for order in world.orders if isinstance(order, Start) and order.task == Task((1,))]
    assert 3600 / (LONGEST_PAUSE + APART_LIMIT + 1) <= len(tries) <= 3600 / (LONGEST_PAUSE + APART_LIMIT) + 8
    assert world.looked_at() == [0, 2, 3]


def test_a_slow_gpu_is_parted_before_it_delays_the_others_twice() -> None:
    world = World()
    world.step()
    world.seconds = {0: 0.01, 3: 0.8}
    world.pass_time(1)
    assert set(world.lanes.apart) == {3}
    assert world.lanes.killed == 0
    assert Task((0, 1, 2), census=True) in world.running.values()
    assert Task((3,)) in world.running.values()


def test_processes_that_cannot_be_killed_take_no_others_with_them() -> None:
    world = World(gpus=8)
    world.step()
    world.hangs = world.undead = {5, 6}
    world.pass_time(120)
    assert world.looked_at() == [0, 1, 2, 3, 4, 7]
    stuck_in_main = [task for lane, task in world.running.items() if lane in world.stuck]
    assert all(set(task.gpus) & {5, 6} for task in stuck_in_main)


def test_a_driver_that_hangs_before_any_gpu_is_given_more_time() -> None:
    lanes = Lanes()
    start = next(order for order in lanes.step(0.0, 0, {}, (), {}) if isinstance(order, Start) and order.task.census)
    within = lanes.step(APART_LIMIT - 1, 0, {start.lane: (CENSUS, 0.0)}, (), {})
    assert not [order for order in within if isinstance(order, Kill)]
    beyond = lanes.step(APART_LIMIT + 1, 0, {start.lane: (CENSUS, 0.0)}, (), {})
    assert Kill(start.lane) in beyond
    assert lanes.apart == {}


def test_a_release_ends_every_process_at_once_and_counts_none_of_them_as_hung() -> None:
    world = World()
    world.step()
    world.hangs = {2}
    world.pass_time(SHARED_LIMIT + 3 * STEP)
    killed = world.lanes.killed
    world.hangs = set()
    world.released = True
    world.step()
    assert world.running == {}
    world.pass_time(120)
    assert world.running == {}
    assert world.lanes.killed == killed
    world.released = False
    world.step()
    assert world.looked_at() == [0, 1, 2, 3]
    assert set(world.lanes.apart) == {2}, "it has yet to show that it is quick"
    world.pass_time(PROBATION + 5)
    assert set(world.lanes.apart) == set()
    assert len(world.running) == 2


def test_a_process_that_a_release_cannot_kill_does_not_keep_the_others_from_returning() -> None:
    world = World()
    world.step()
    world.hangs = world.undead = {1}
    world.step()
    world.released = True
    world.pass_time(5)
    assert [task.gpus for task in world.running.values()] == [(0, 1, 2, 3)]
    world.released = False
    world.pass_time(2 * SHARED_LIMIT + LONGEST_PAUSE)
    assert world.looked_at() == [0, 2, 3]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sets(st.integers(0, 7)),
            st.sets(st.integers(0, 7)),
            st.integers(1, 40),
            st.lists(st.integers(0, 20)),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_whatever_hangs_and_dies_every_gpu_that_answers_is_looked_at_in_the_end(
    history: list[tuple[set[int], set[int], int, list[int], bool]],
) -> None:
    """Spells of GPUs that hang, some unkillably, processes that die, and releases; then all is well but for a last set.

    While released nothing runs but what cannot be killed, and nothing is started.
    """
    world = World(gpus=8)
    for hangs, undead, spell, dying, released in history:
        world.hangs, world.undead, world.released = hangs, hangs & undead, released
        for place in dying:
            lanes = sorted(set(world.running) - set(world.stuck))
            if lanes:
                lane = lanes[place % len(lanes)]
                del world.running[lane]
                world.ended.append(lane)
        if released:
            orders = world.step()
            assert not [order for order in orders if isinstance(order, Start)]
            assert set(world.running) == world.doomed
        world.pass_time(spell)
        assert len(world.running) <= LANES
        if released:
            assert set(world.running) == world.doomed
    world.released = False
    world.pass_time(2 * (LONGEST_PAUSE + APART_LIMIT))
    assert set(world.looked_at()) >= set(range(8)) - world.hangs
    looked = world.looked_at()
    assert len(looked) == len(set(looked)), "no GPU is looked at twice"
