"""Looks at others: their age, what is kept when they go away, and how seldom those are asked."""

import threading
from dataclasses import dataclass

from fleetward.model.errors import OutOfReachError
from fleetward.server.watch import INTEREST, LONGEST_PAUSE, Asked, Interest, Source


@dataclass
class Numbers:
    """Answers with a number that goes up, takes a while, and can be away."""

    now: float = 100.0
    takes: float = 0.0
    away: bool = False
    times: int = 0

    def __call__(self) -> int:
        self.times += 1
        self.now += self.takes
        if self.away:
            raise OutOfReachError("it is away")
        return self.times

    def source(self, seconds: float = 2.0) -> Source[int]:
        def clock() -> float:
            return self.now

        return Source("numbers", Asked(self, seconds, clock), clock)


def test_before_the_first_look_there_is_nothing_and_it_says_so() -> None:
    source = Numbers().source()
    assert (source.reading.value, source.age) == (None, float("inf"))
    assert source.reading.reach


def test_a_reading_grows_old() -> None:
    asked = Numbers()
    source = asked.source()
    source.look()
    asked.now += 7
    assert (source.reading.value, source.age, source.reading.reach) == (1, 7.0, "")


def test_what_was_seen_last_stays_while_the_source_is_away() -> None:
    asked = Numbers()
    source = asked.source()
    source.look()
    asked.away = True
    asked.now += 5
    source.look()
    since = source.reading.since
    source.look()
    assert (source.reading.value, source.age) == (1, 5.0)
    assert source.reading.reach.endswith("it is away")
    assert source.reading.since == since, "since the first failure, not the last"
    asked.away = False
    source.look()
    assert source.reading.reach == ""


def test_who_is_away_is_asked_less_and_less_often() -> None:
    asked = Numbers(away=True)
    source = asked.source(seconds=1.0)
    assert [source.look() for _ in range(6)] == [2.0, 4.0, 8.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    asked.away = False
    assert source.look() == 1.0


def test_who_answers_slowly_is_asked_less_often() -> None:
    assert Numbers(takes=3.0).source(seconds=2.0).look() == 15.0


def test_a_fresh_reading_is_of_a_look_that_began_later() -> None:
    asked = Numbers()
    source = asked.source(seconds=3600)
    stopping = threading.Event()
    thread = threading.Thread(target=source.run, args=(stopping,))
    thread.start()
    try:
        asked.now += 1
        first = source.fresh(20).value
        asked.now += 1
        second = source.fresh(20).value
        assert first is not None and second is not None
        assert second > first
    finally:
        stopping.set()
        source.hurry()
        thread.join(20)
    assert not thread.is_alive()


def test_interest_fades() -> None:
    now = [0.0]
    interest = Interest(lambda: now[0])
    assert not interest.there
    assert not interest.show(), "nobody was there before"
    now[0] = INTEREST - 1
    assert interest.show()
    now[0] = 2 * INTEREST
    assert not interest.there
