"""When a node drains itself and when it comes back: rules as tables, and many nodes at once in every order."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played_fleet import KeptInMemory, PlayedFleet

from fleetward.model.node_settings import LocalDrain
from fleetward.node import local_drain as rules
from fleetward.node.local_drain import LOCAL, SlurmNode, Standing, Streak
from fleetward.node.local_run import LocalRun, Outcome
from fleetward.node.local_state import StateFolder
from fleetward.node.results import Finding, ProbeError, Problem, Status

LISTED = LocalDrain(checks=("gpu_lost", "mount_hung"), streak=3, absolute=20, share=0.1)
WHY = "GPU 3: GPU is lost"
REASON = f"fleetward:local-gpu_lost node_problem: {WHY}"
FAILS = (Finding("gpu_lost", Status.UNHEALTHY, "GPU is lost", "GPU 3"),)
PASSES = (Finding("gpu_lost", Status.HEALTHY, ""),)
UNKNOWN = (Finding("gpu_lost", Status.UNKNOWN, "no answer within 5 s"),)
DEGRADED = (Finding("gpu_lost", Status.DEGRADED, "slow", "GPU 3"),)
A_USERS = (Finding("gpu_lost", Status.UNHEALTHY, "a program", "GPU 3", problem=Problem.USER),)
OTHER = (Finding("mount_hung", Status.UNHEALTHY, "no answer within 1 s", "/home"), *PASSES)


@dataclass
class OneNode:
    """A node of a fleet, whose checks are run again and again."""

    settings: LocalDrain = LISTED
    now: float = 1_000_000.0
    states: KeptInMemory = field(default_factory=KeptInMemory)
    slurm: PlayedFleet = field(init=False)

    def __post_init__(self) -> None:
        self.slurm = PlayedFleet(lambda: self.now).add(*(f"gpu{number:03}" for number in range(1, 21)))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self, *runs: Sequence[Finding], alone: bool = True, pause: float = 60) -> Outcome:
        """Run the checks a minute apart, and return what the last run came to."""
        outcome = Outcome()
        for findings in runs:
            self.now += pause
            own = LocalRun("gpu001", self.settings, self.slurm, self.states, self.sleep)
            outcome = own.after(findings, self.now, alone=alone)
        return outcome

    @property
    def mine(self) -> SlurmNode:
        return self.slurm.nodes_now["gpu001"]


@pytest.fixture
def one() -> OneNode:
    return OneNode()


@pytest.fixture
def held(one: OneNode) -> OneNode:
    """Return a node that has drained itself."""
    assert one.run(*[FAILS] * 3).drained_for == "gpu_lost"
    return one


RUNS: list[tuple[str, Sequence[Sequence[Finding]], bool]] = [
    ("a streak", [FAILS] * 3, True),
    ("no whole streak", [FAILS] * 2, False),
    ("one that a pass breaks", [FAILS, FAILS, PASSES, FAILS, FAILS], False),
    ("one that what is merely degraded breaks", [FAILS, FAILS, DEGRADED, FAILS], False),
    ("unknown neither counts nor resets", [FAILS, UNKNOWN, FAILS, UNKNOWN, UNKNOWN, FAILS], True),
    ("nothing but unknown", [UNKNOWN] * 50, False),
    ("a streak, and then unknown", [FAILS, FAILS, UNKNOWN, UNKNOWN], False),
    ("a run that lacks the check", [FAILS, FAILS, (), FAILS], True),
    ("a user's problem", [A_USERS] * 50, False),
    ("a part of the node that fails beside one that is unknown", [(*UNKNOWN, *FAILS)] * 3, True),
    ("a check that is not listed", [(Finding("raid", Status.UNHEALTHY, "gone"),)] * 50, False),
    ("healthy", [PASSES] * 50, False),
]


@pytest.mark.parametrize(("runs", "drains"), [row[1:] for row in RUNS], ids=[row[0] for row in RUNS])
def test_only_a_streak_of_failures_of_a_listed_check_drains(
    one: OneNode, runs: Sequence[Sequence[Finding]], drains: bool
) -> None:
    outcome = one.run(*runs)
    assert one.slurm.writes == ([("drain", "gpu001", REASON)] if drains else [])
    assert outcome.drained_for == ("gpu_lost" if drains else "")
    assert outcome.notes == ((f"drained: {REASON}",) if drains else ())


def test_slurm_is_not_asked_before_there_is_something_to_do(one: OneNode) -> None:
    one.slurm.failure = "sinfo gave no answer within 3 s"
    assert one.run(FAILS, FAILS, PASSES, UNKNOWN).notes == ()


def test_where_a_daemon_has_the_report_nothing_is_drained(one: OneNode) -> None:
    one.run(*[FAILS] * 50, alone=False)
    assert one.slurm.writes == []


def test_a_fault_that_began_while_the_daemon_was_there_counts_when_it_is_gone(one: OneNode) -> None:
    one.run(*[FAILS] * 5, alone=False)
    assert one.run(FAILS).drained_for == "gpu_lost"


def test_runs_that_are_hours_apart_are_no_streak(one: OneNode) -> None:
    one.run(*[FAILS] * 10, pause=2 * 3600)
    assert one.slurm.writes == []


def test_a_clock_that_jumps_back_begins_the_streak_anew(one: OneNode) -> None:
    one.run(FAILS, FAILS)
    one.now -= 86_400
    one.run(FAILS, FAILS)
    assert one.slurm.writes == []


@pytest.mark.parametrize(
    ("nodes", "others", "drains"),
    [(1, 0, True), (3, 0, True), (3, 1, False), (20, 1, True), (20, 2, False), (1000, 19, True), (1000, 20, False)],
)
def test_the_cap_over_the_fleet_holds(one: OneNode, nodes: int, others: int, drains: bool) -> None:
    one.slurm.nodes_now = {}
    one.slurm.add(*(f"gpu{number:03}" for number in range(1, nodes + 1)))
    for number in range(nodes - others + 1, nodes + 1):
        one.slurm.show(f"gpu{number:03}", "idle+drain", f"{LOCAL}raid node_problem: gone")
    outcome = one.run(*[FAILS] * 3)
    assert bool(outcome.drained_for) is drains
    if not drains:
        assert "have drained themselves already" in outcome.notes[0]


def test_a_reason_that_a_resume_left_behind_does_not_count_against_the_cap(one: OneNode) -> None:
    for number in range(2, 20):
        one.slurm.show(f"gpu{number:03}", "idle", f"{LOCAL}raid node_problem: gone")
    assert one.run(*[FAILS] * 3).drained_for == "gpu_lost"


def test_drains_of_the_daemon_and_of_people_do_not_count_against_the_cap(one: OneNode) -> None:
    for number in range(2, 20):
        one.slurm.show(f"gpu{number:03}", "idle+drain", "fleetward:i12 node_problem: a" if number % 2 else "disk swap")
    assert one.run(*[FAILS] * 3).drained_for == "gpu_lost"


def test_without_room_slurm_is_asked_less_and_less_often(one: OneNode) -> None:
    for number in (2, 3):
        one.slurm.show(f"gpu{number:03}", "idle+drain", f"{LOCAL}raid node_problem: gone")
    asked = []
    for run in range(1, 3 * 64 + 1):
        before = one.slurm.looks
        one.run(FAILS)
        if one.slurm.looks > before:
            asked.append(run)
    assert asked == [3, 6, 12, 24, 48, 96, 144, 192]
    one.slurm.show("gpu002", "idle")
    assert one.run(*[FAILS] * 48).drained_for == "gpu_lost"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("idle+drain", "disk swap, Ada"),
        ("idle+drain", "fleetward:i12 node_problem: GPU 3 off the bus"),
        ("mixed+drain", "fleetward:p-ada maintenance: BIOS"),
        ("down+not_responding", "Not responding"),
        ("idle+reboot_requested", "reboot"),
        ("idle+powered_down", ""),
        ("idle+drain+invalid_reg", "gres/gpu count reported lower than configured"),
        ("idle+fail", "Ada"),
        ("unknown", ""),
        ("strange", ""),
    ],
)
def test_a_node_that_somebody_has_taken_out_is_not_touched(one: OneNode, state: str, reason: str) -> None:
    one.slurm.show("gpu001", state, reason)
    outcome = one.run(*[FAILS] * 12)
    assert one.slurm.writes == []
    assert outcome == Outcome()


@pytest.mark.parametrize("state", ["idle", "mixed+planned", "allocated+completing", "idle+reserved+not_responding"])
def test_a_node_in_service_is_drained_whatever_reason_stands_there_from_before(one: OneNode, state: str) -> None:
    one.slurm.show("gpu001", state, "disk swap, Ada")
    assert one.run(*[FAILS] * 3).drained_for == "gpu_lost"


def test_who_was_faster_between_the_two_looks_stays(one: OneNode) -> None:
    look = one.slurm.fleet

    def fleet() -> Mapping[str, SlurmNode]:
        seen = look()
        one.slurm.show("gpu001", "idle+drain", "disk swap, Ada")
        return seen

    one.slurm.fleet = fleet  # type: ignore[method-assign]
    one.run(*[FAILS] * 3)
    assert one.slurm.writes == []
    assert one.mine.reason == "disk swap, Ada"


def test_a_node_of_which_slurm_knows_nothing_says_what_to_do(one: OneNode) -> None:
    del one.slurm.nodes_now["gpu001"]
    assert "Slurm knows no node gpu001: say in the settings" in one.run(*[FAILS] * 3).notes[0]
    assert one.slurm.writes == []


def test_where_slurm_cannot_be_read_nothing_is_drained(one: OneNode) -> None:
    one.slurm.failure = "sinfo gave no answer within 3 s"
    assert one.run(*[FAILS] * 3).notes == ("sinfo gave no answer within 3 s",)
    one.slurm.failure = ""
    assert one.run(*[FAILS] * 3).drained_for == "gpu_lost", "it is tried again"


def test_the_reason_is_harmless_and_short(one: OneNode) -> None:
    nasty = "x\" state=resume\nreason='gone' [root@1] \x1b[31m ü " + "y" * 500
    one.run(*[(Finding("gpu_lost", Status.UNHEALTHY, nasty),)] * 3)
    ((_, _, reason),) = one.slurm.writes
    assert reason.startswith("fleetward:local-gpu_lost node_problem: x state resume reason gone root@1 31m yyyy")
    assert len(reason) < 220
    assert reason.isprintable()
    assert reason.isascii()
    assert not set(reason.partition("node_problem")[2]) & set("\"'=[]\n")


@pytest.mark.parametrize(
    ("runs", "back"),
    [
        ([PASSES] * 3, True),
        ([PASSES] * 2, False),
        ([PASSES, UNKNOWN, PASSES, UNKNOWN, PASSES], True),
        ([UNKNOWN] * 50, False),
        ([PASSES, PASSES, FAILS, PASSES, PASSES], False),
        ([PASSES, PASSES, DEGRADED, PASSES], False),
        ([DEGRADED] * 50, False),
        ([A_USERS] * 50, False),
        ([()] * 50, False),
        ([(Finding("raid", Status.HEALTHY, ""),)] * 50, False),
        ([OTHER] * 50, False),
    ],
)
def test_it_comes_back_by_the_same_check_passing_a_streak_long(
    held: OneNode, runs: Sequence[Sequence[Finding]], back: bool
) -> None:
    held.run(*runs)
    assert held.slurm.writes[1:] == ([("resume", "gpu001")] if back else [])
    assert held.mine.is_drained is not back


def test_once_back_it_has_nothing_of_its_own_any_more(held: OneNode) -> None:
    assert held.run(*[PASSES] * 3).drained_for == ""
    assert held.states.state.drain is None
    held.slurm.show("gpu001", "idle+drain", REASON)
    assert held.run(*[PASSES] * 9) == Outcome(), "a person may use the same words"


def test_while_slurm_does_not_answer_a_held_node_counts_as_held(held: OneNode) -> None:
    held.slurm.failure = "sinfo gave no answer within 3 s"
    assert held.run(*[PASSES] * 4) == Outcome("gpu_lost", ("sinfo gave no answer within 3 s",))
    held.slurm.failure = ""
    held.run(PASSES)
    assert held.mine.is_in_service


def test_a_node_that_slurm_forgets_meanwhile_is_looked_at_again_by_the_next_run(one: OneNode) -> None:
    one.slurm.before_write = lambda: one.slurm.nodes_now.pop("gpu001") and None
    show = one.slurm.show
    one.slurm.show = lambda *_: None  # type: ignore[method-assign,misc]
    assert one.run(*[FAILS] * 3).notes == (f"drained: {REASON}",)
    one.slurm.show = show  # type: ignore[method-assign]
    one.slurm.show("gpu001", "idle+drain", REASON)
    assert one.run(UNKNOWN).drained_for == "gpu_lost"
    assert one.states.state.drain is not None
    assert one.states.state.drain.settled


def test_a_state_that_is_damaged_is_told_and_begun_anew(tmp_path: Path) -> None:
    states = StateFolder(tmp_path)
    states.file.write_text("{")
    slurm = PlayedFleet(lambda: 0.0).add("gpu001")
    first = LocalRun("gpu001", LISTED, slurm, states).after(FAILS, 1000.0, alone=True)
    assert "is damaged, and begun anew" in first.notes[0]
    assert LocalRun("gpu001", LISTED, slurm, states).after(FAILS, 1060.0, alone=True).notes == ()
    assert states.read().streak("gpu_lost") == Streak(failed=2)


def test_a_state_that_cannot_be_kept_drains_nothing(tmp_path: Path) -> None:
    slurm = PlayedFleet(lambda: 0.0).add("gpu001")
    settings = replace(LISTED, streak=1)
    outcome = LocalRun("gpu001", settings, slurm, StateFolder(tmp_path / "none")).after(FAILS, 1000.0, alone=True)
    assert "cannot be written" in outcome.notes[0]
    assert slurm.writes == []


def test_it_comes_back_where_the_daemon_is_there_again_and_has_not_claimed_it(held: OneNode) -> None:
    held.run(*[PASSES] * 3, alone=False)
    assert held.mine.is_in_service


def test_it_comes_back_by_a_check_that_is_no_longer_listed(held: OneNode) -> None:
    held.settings = LocalDrain(checks=("mount_hung",))
    held.run(*[PASSES] * 3)
    assert held.mine.is_in_service


@pytest.mark.parametrize("reason", ["fleetward:i12 node_problem: GPU 3", "Ada looks at it", f"{REASON} "])
def test_a_drain_that_somebody_has_taken_over_is_left_as_it_is(held: OneNode, reason: str) -> None:
    held.slurm.show("gpu001", "idle+drain", reason)
    outcome = held.run(PASSES)
    assert "is not this node's any more" in outcome.notes[0]
    assert held.run(*[PASSES] * 10, *[FAILS] * 10) == Outcome()
    assert held.mine.reason == reason
    assert len(held.slurm.writes) == 1


def test_what_a_person_resumes_stays_in_service_until_the_fault_is_found_anew(held: OneNode) -> None:
    held.slurm.show("gpu001", "idle")
    for _ in range(3):  # the first sees that somebody resumed it, and counts for nothing
        assert held.run(FAILS).drained_for == ""
    assert len(held.slurm.writes) == 1
    assert held.run(FAILS).drained_for == "gpu_lost"


@pytest.mark.parametrize("state", ["idle+drain+reboot_issued", "mixed+drain+power_down", "down+drain"])
def test_a_reboot_is_not_called_off_and_a_node_that_is_down_not_lifted(held: OneNode, state: str) -> None:
    held.slurm.show("gpu001", state, REASON)
    assert held.run(*[PASSES] * 5).drained_for == "gpu_lost"
    assert len(held.slurm.writes) == 1
    held.slurm.show("gpu001", "idle+drain", REASON)
    held.run(PASSES)
    assert held.mine.is_in_service


def test_a_resume_that_does_nothing_is_told_and_tried_again(held: OneNode) -> None:
    held.slurm.resume = lambda _: None  # type: ignore[method-assign]
    assert "still shows" in held.run(*[PASSES] * 3).notes[0]
    del held.slurm.resume  # type: ignore[method-assign]
    held.run(PASSES)
    assert held.mine.is_in_service


def test_a_drain_without_a_record_of_it_is_a_persons_to_clear(held: OneNode) -> None:
    held.states = KeptInMemory()
    held.run(*[PASSES] * 10)
    assert held.mine.reason == REASON


def test_an_order_that_slurm_carries_out_late_is_still_known_as_ones_own(one: OneNode) -> None:
    def late(name: str, reason: str) -> None:
        raise ProbeError("scontrol gave no answer within 3 s")

    one.slurm.drain = late  # type: ignore[method-assign]
    assert one.run(*[FAILS] * 3).drained_for == ""
    assert one.run(FAILS, FAILS).drained_for == "", "it is not written twice"
    del one.slurm.drain  # type: ignore[method-assign]
    one.slurm.show("gpu001", "idle+drain", REASON)
    assert one.run(UNKNOWN).drained_for == "gpu_lost"
    one.run(*[PASSES] * 3)
    assert one.mine.is_in_service


def test_an_order_that_never_came_is_given_again_in_the_end(one: OneNode) -> None:
    def lost(name: str, reason: str) -> None:
        raise ProbeError("scontrol gave no answer within 3 s")

    one.slurm.drain = lost  # type: ignore[method-assign]
    one.run(*[FAILS] * 3)
    del one.slurm.drain  # type: ignore[method-assign]
    one.run(*[FAILS] * 9)
    assert one.states.state.drain is not None, "it may still come"
    one.run(*[FAILS] * 12)
    assert [write[0] for write in one.slurm.writes] == ["drain"]


def test_of_those_that_saw_the_last_place_at_the_same_time_the_later_ones_undo_it(one: OneNode) -> None:
    def others() -> None:
        one.slurm.before_write = None
        one.slurm.show("gpu009", "idle+drain", f"{LOCAL}raid node_problem: gone")
        one.slurm.show("gpu010", "idle+drain", f"{LOCAL}raid node_problem: gone")
        one.now += 1

    one.slurm.before_write = others
    outcome = one.run(*[FAILS] * 3)
    assert one.slurm.writes == [("drain", "gpu001", REASON), ("resume", "gpu001")]
    assert outcome.drained_for == ""
    assert "other nodes had drained themselves before" in outcome.notes[1]


def test_whose_time_slurm_does_not_tell_is_last_in_its_own_eyes() -> None:
    fleet = {name: SlurmNode(name, frozenset({"drain"}), f"{LOCAL}a node_problem: b", 0) for name in ("a", "b")}
    assert all(rules.is_surplus(fleet, name, LISTED) for name in ("a", "b"))


# --- properties


TOLD = st.sampled_from([FAILS, PASSES, UNKNOWN, DEGRADED, A_USERS, OTHER, ()])


@settings(deadline=None)
@given(st.lists(TOLD, max_size=40), st.integers(1, 5))
def test_whatever_comes_a_drain_and_a_resume_each_need_their_streak(runs: list[Sequence[Finding]], streak: int) -> None:
    one = OneNode(replace(LISTED, checks=("gpu_lost",), streak=streak))
    seen: list[Standing] = []
    for findings in runs:
        before = len(one.slurm.writes)
        one.run(findings)
        now = rules.standings(findings, ("gpu_lost",))["gpu_lost"][0]
        seen += [] if now is Standing.UNKNOWN else [now]
        for write in one.slurm.writes[before:]:
            wanted = Standing.FAILS if write[0] == "drain" else Standing.PASSES
            assert seen[-streak:] == [wanted] * streak
            assert now is wanted


@settings(deadline=None)
@given(st.lists(st.sampled_from(list(Standing)), max_size=60))
def test_a_streak_counts_one_kind_alone(standing: list[Standing]) -> None:
    streak = Streak()
    for each in standing:
        before, streak = streak, streak.after(each)
        assert 0 in {streak.failed, streak.passed}
        assert each is not Standing.UNKNOWN or streak == before


class KilledError(BaseException):
    """The run is over at once, as by SIGKILL."""


class Turns:
    """Lets the calls of many threads through one at a time, in an order that is drawn, on a clock that is played."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._changed = threading.Condition()
        self._waiting: dict[str, float] = {}
        """From when on each may go on."""
        self._at_work: set[str] = set()
        self._chosen = ""
        self._kill = False

    def wait(self, name: str, seconds: float = 0.0) -> None:
        """Wait for this one's turn, which does not come before so many seconds have gone by."""
        with self._changed:
            self._waiting[name] = self.now + seconds
            self._at_work.discard(name)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._chosen == name)
            self._chosen = ""
            if self._kill:
                raise KilledError

    def play(self, works: Mapping[str, Callable[[], None]], draw: "Draw") -> Iterator[None]:
        """Let one call after the other through until all of the work is done; yields between them."""
        self._at_work = set(works)
        threads = [threading.Thread(target=self._work, args=(name, work)) for name, work in works.items()]
        for thread in threads:
            thread.start()
        while True:
            with self._changed:
                assert self._changed.wait_for(lambda: not self._at_work, timeout=30)
                if not self._waiting:
                    break
            yield
            with self._changed:
                self.now = max(self.now + draw.pause(), min(self._waiting.values()))
                ready = sorted(name for name, at in self._waiting.items() if at <= self.now)
                self._kill = draw.kills()
                self._chosen = ready[draw.number() % len(ready)]
                self._at_work.add(self._chosen)
                del self._waiting[self._chosen]
                self._changed.notify_all()
        for thread in threads:
            thread.join()

    def _work(self, name: str, work: Callable[[], None]) -> None:
        try:
            with suppress(KilledError):
                work()
        finally:
            with self._changed:
                self._at_work.discard(name)
                self._changed.notify_all()


class Draw:
    """What is drawn for one history: whose turn it is, how much time goes by, who is killed."""

    def __init__(self, numbers: list[int], *, deadly: bool) -> None:
        self._numbers = numbers
        self._at = 0
        self.deadly = deadly

    def number(self) -> int:
        """Return the next number, 0 to 99; from the beginning again where there are no more."""
        self._at += 1
        return self._numbers[self._at % len(self._numbers)]

    def pause(self) -> float:
        return (0.0, 0.05, 0.3, 0.7)[self.number() % 4]

    def kills(self) -> bool:
        return self.deadly and self.number() < 8


class Crowd:
    """Nodes that all have a fault and no daemon, each in a thread of its own."""

    def __init__(self, count: int, settings: LocalDrain) -> None:
        self.names = [f"gpu{number:03}" for number in range(count)]
        self.settings = settings
        self.turns = Turns()
        self.slurm = PlayedFleet(lambda: self.turns.now).add(*self.names)
        self.states = {name: KeptInMemory() for name in self.names}
        self.late: list[tuple[str, str]] = []
        """Orders that slurmctld has not carried out yet."""

    @property
    def allowed(self) -> int:
        return rules.allowed(self.slurm.nodes_now, self.settings)

    def settled(self) -> set[str]:
        """Return the nodes that are drained and have seen that there is room for them."""
        return {name for name in self.slurm.drained() if (own := self.states[name].state.drain) and own.settled}

    def round(self, draw: Draw, *, delays: bool = False) -> None:
        """Let every node run its checks at about the same time."""
        ended: set[str] = set()

        def work(name: str) -> None:
            hands = Hands(self, name, draw, delays=delays)
            LocalRun(name, self.settings, hands, self.states[name], hands.sleep).after(FAILS, 0.0, alone=True)
            ended.add(name)

        for _ in self.turns.play({name: partial(work, name) for name in self.names}, draw):
            assert len(self.settled()) <= self.allowed
            if self.late and draw.number() % 5 == 0:
                self.slurm.drain(*self.late.pop(0))
        assert draw.deadly or ended == set(self.names)

    def carry_out(self) -> None:
        """Let slurmctld do what it has been told."""
        while self.late:
            self.slurm.drain(*self.late.pop(0))
        self.turns.now += 5


@dataclass
class Hands:
    """Slurm as one node of the crowd reaches it: each call waits for its turn."""

    crowd: Crowd
    name: str
    draw: Draw
    delays: bool

    def fleet(self) -> Mapping[str, SlurmNode]:
        self.crowd.turns.wait(self.name)
        return self.crowd.slurm.fleet()

    def node(self, name: str) -> SlurmNode:
        self.crowd.turns.wait(self.name)
        return self.crowd.slurm.node(name)

    def drain(self, name: str, reason: str) -> None:
        self.crowd.turns.wait(self.name)
        if self.delays and self.draw.number() % 3 == 0:
            self.crowd.late.append((name, reason))
            raise ProbeError("scontrol gave no answer within 3 s")
        self.crowd.slurm.drain(name, reason)

    def resume(self, name: str) -> None:
        self.crowd.turns.wait(self.name)
        self.crowd.slurm.resume(name)

    def sleep(self, seconds: float) -> None:
        self.crowd.turns.wait(self.name, seconds)


HISTORIES = st.lists(st.integers(0, 99), min_size=7, max_size=60)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(1, 3), HISTORIES)
def test_in_whatever_order_nodes_ask_and_write_as_many_are_drained_as_may(
    count: int, absolute: int, numbers: list[int]
) -> None:
    crowd = Crowd(count, LocalDrain(("gpu_lost",), streak=1, absolute=absolute, share=1.0))
    crowd.round(Draw(numbers, deadly=False))
    assert crowd.slurm.drained() == crowd.settled()
    assert len(crowd.settled()) == min(count, absolute)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(1, 3), HISTORIES)
def test_the_cap_holds_where_runs_are_killed_and_slurm_is_late(count: int, absolute: int, numbers: list[int]) -> None:
    crowd = Crowd(count, LocalDrain(("gpu_lost",), streak=1, absolute=absolute, share=1.0))
    for _ in range(3):
        crowd.round(Draw(numbers, deadly=True), delays=True)
    crowd.carry_out()
    for _ in range(2):
        crowd.round(Draw(numbers, deadly=False))
    assert crowd.slurm.drained() == crowd.settled()
    assert len(crowd.settled()) <= crowd.allowed
