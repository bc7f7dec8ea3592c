"""What attempts held within a window: nothing is lost or counted twice, and money is rounded once."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from played_answers import ATTEMPT

from fleetward.model.errors import UsageError
from fleetward.slurm.accounting import REQUEUED, Attempt
from fleetward.slurm.answers import ENDED
from fleetward.slurm.recorded import RecordedClient
from fleetward.slurm.verdicts.usage import (
    Held,
    Outcome,
    Prices,
    Usage,
    Window,
    by_job,
    grouped,
    held,
    money,
    outcome,
    read_prices,
    usage,
)

BEGAN = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = Window(BEGAN, BEGAN + 24 * HOUR, BEGAN + 24 * HOUR)
STATES = sorted({*ENDED, REQUEUED, "RUNNING", "SUSPENDED", "SPECIAL_EXIT"})


def at(hours: float) -> datetime:
    return BEGAN + hours * HOUR


def ran(first: float, last: float | None, **changes: object) -> Attempt:
    """Return an attempt with 16 GPUs between two hours of the day; None: it still runs."""
    state = "RUNNING" if last is None else "COMPLETED"
    ended = None if last is None else at(last)
    changed = {"state": state, "started_at": at(first), "ended_at": ended} | changes
    return replace(ATTEMPT, **changed)  # type: ignore[arg-type]


def used(attempts: Iterable[Attempt], window: Window = DAY) -> Usage:
    return usage(held(attempts, window)[0])


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    typed = draw(st.dictionaries(st.sampled_from(["h100", "a100", "1g.10gb"]), st.integers(0, 8), max_size=2))
    bare = sum(typed.values()) + draw(st.integers(0, 2))
    tres = {f"gres/gpu:{kind}": str(count) for kind, count in typed.items()} | {"gres/gpu": str(bare), "cpu": "4"}
    started = BEGAN + timedelta(seconds=draw(st.integers(-100, 200)))
    length = draw(st.none() | st.integers(0, 300))
    return replace(
        ATTEMPT,
        job_id=draw(st.sampled_from(["1", "2", "3_4"])),
        account=draw(st.sampled_from(["", "physics", "biology"])),
        state="RUNNING" if length is None else draw(st.sampled_from(STATES)),
        restarts=draw(st.integers(0, 3)),
        allocated=draw(st.sampled_from([tres, {}])),
        started_at=started,
        ended_at=None if length is None else started + timedelta(seconds=length),
    )


def sums(parts: Iterable[Usage]) -> Counter[tuple[Outcome, str]]:
    found: Counter[tuple[Outcome, str]] = Counter()
    for part in parts:
        found.update({(one, kind): n for one, types in part.gpu_seconds.items() for kind, n in types.items()})
    return found


@given(st.lists(attempts(), max_size=12))
def test_groups_add_up_to_the_whole(given_attempts: list[Attempt]) -> None:
    parts, unread = held(given_attempts, DAY)
    assert unread == ()
    whole, groups = usage(parts), grouped(parts, lambda part: part.attempt.account)
    assert sums(usage(own) for own in groups.values()) == sums([whole])
    assert sums(usage(own) for own in by_job(parts)) == sums([whole])
    assert sum(usage(own).attempts for own in groups.values()) == whole.attempts == len(parts)
    assert all(usage(own).jobs == 1 for own in by_job(parts))
    assert len(by_job(parts)) == whole.jobs
    assert sum(whole.by_type().values()) == sum(whole.by_outcome().values()) == whole.total


@given(st.lists(attempts(), max_size=12), st.lists(st.integers(-50, 600), min_size=3, max_size=3, unique=True))
def test_a_window_in_two_parts_adds_up_to_the_whole(given_attempts: list[Attempt], borders: list[int]) -> None:
    first, middle, last = (BEGAN + timedelta(seconds=border) for border in sorted(borders))
    now = BEGAN + timedelta(seconds=400)
    halves = [used(given_attempts, Window(*span, now)) for span in ((first, middle), (middle, last))]
    assert sums(halves) == sums([used(given_attempts, Window(first, last, now))])


@given(attempts(), st.integers(-300, 300), st.integers(1, 600))
def test_an_attempt_is_clipped_to_the_window_and_to_what_it_ran(attempt: Attempt, since: int, length: int) -> None:
    window = Window(
        BEGAN + timedelta(seconds=since), BEGAN + timedelta(seconds=since + length), BEGAN + timedelta(seconds=100)
    )
    seconds = window.seconds(attempt)
    assert attempt.started_at is not None
    ended = attempt.ended_at or max(window.now, attempt.started_at)
    assert 0 <= (seconds or 0) <= min(length, (ended - attempt.started_at).total_seconds())
    if seconds is None:
        assert ended <= window.since or attempt.started_at >= window.until


@pytest.mark.parametrize(
    ("attempt", "hours"),
    [
        (ran(1, 3), 2),
        (ran(-5, 3), 3),
        (ran(23, 40), 1),
        (ran(-5, 40), 24),
        (ran(20, None), 4),
        (ran(4, 4), 0),
        (ran(4, 3), 0),  # clocks went back
        (ran(0, 0), 0),
        (ran(-5, 0), None),
        (ran(24, 25), None),
        (ran(24, 24), None),
        (ran(30, None), None),  # by a clock that is ahead of ours
        (ran(1, 2, started_at=None), None),
        (ran(1, 2, ended_at=None, elapsed=7200, state="NODE_FAIL"), 2),  # its end is not known
    ],
)
def test_what_of_an_attempt_lies_within_the_window(attempt: Attempt, hours: int | None) -> None:
    assert DAY.seconds(attempt) == (None if hours is None else hours * 3600)
    assert used([attempt]).total == (hours or 0) * 3600 * 16
    assert used([attempt]).jobs == (hours is not None)


def test_what_runs_has_run_until_now_however_long_the_window() -> None:
    assert used([ran(1, None)], replace(DAY, now=at(3))).total == 2 * 3600 * 16


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("COMPLETED",), Outcome.COMPLETED),
        (("RUNNING", "REQUEUED", "PREEMPTED", "TIMEOUT", "SUSPENDED"), Outcome.GOES_ON),
        (("NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED"), Outcome.FLEET),
        (("FAILED", "OUT_OF_MEMORY", "DEADLINE"), Outcome.FAILED),
        (("CANCELLED",), Outcome.CANCELLED),
        (("REVOKED", "SPECIAL_EXIT", "NEW_IN_THE_NEXT_RELEASE"), Outcome.OTHER),
    ],
)
def test_every_state_has_an_outcome_also_one_that_is_not_known(states: tuple[str, ...], expected: Outcome) -> None:
    for state in states:
        assert outcome(state) is expected
        assert used([ran(1, 2, state=state)]).by_outcome() == dict.fromkeys(Outcome, 0) | {expected: 3600 * 16}


@pytest.mark.parametrize(
    ("allocated", "expected"),
    [
        ({"gres/gpu": "16", "gres/gpu:h100": "16"}, {"h100": 16}),
        ({"gres/gpu": "16", "gres/gpu:h100": "10"}, {"gpu": 6, "h100": 10}),
        ({"gres/gpu": "16"}, {"gpu": 16}),
        ({"gres/gpu:h100": "2", "gres/gpu:1g.10gb": "3"}, {"1g.10gb": 3, "h100": 2}),
        ({"gres/gpu": "5", "gres/gpu:gpu": "2"}, {"gpu": 5}),
        ({"gres/gpu": "0", "cpu": "4", "gres/gpufoo": "9"}, {}),
        ({}, {}),
    ],
)
def test_gpus_count_by_type_and_once(allocated: dict[str, str], expected: dict[str, int]) -> None:
    found = used([ran(1, 2, allocated=allocated)])
    assert found.by_type() == {kind: count * 3600 for kind, count in expected.items()}
    assert found.jobs == 1


@pytest.mark.parametrize("amount", ["", "many", "-1", "1.5", "2K", "٣", "9" * 5000, "1\x1b[31m", "\udcff"])
def test_gpus_that_cannot_be_read_are_told_and_do_not_vanish(amount: str) -> None:
    parts, unread = held([ran(1, 2, allocated={"cpu": "4", "gres/gpu": amount}), ran(1, 2, job_id="13")], DAY)
    assert [part.attempt.job_id for part in parts] == ["13"]
    assert unread == (f"12: cpu=4,gres/gpu={amount}",)


def test_a_requeued_job_is_one_and_a_number_given_out_again_another() -> None:
    first = [ran(1, 2, state=REQUEUED), ran(3, 4, restarts=1, state="NODE_FAIL")]
    again = [ran(5, 6, user="bob", state="FAILED")]
    parts, _ = held([*again, *reversed(first)], DAY)
    assert [part.run for part in parts] == [("12", 0), ("12", 0), ("12", 1)]
    assert (usage(parts).jobs, usage(parts).attempts) == (2, 3)
    assert [[part.attempt.state for part in own] for own in by_job(parts)] == [["REQUEUED", "NODE_FAIL"], ["FAILED"]]


def test_attempts_outside_of_the_window_still_tell_jobs_apart() -> None:
    parts, _ = held([ran(-3, -2), ran(1, 2), ran(3, 4, restarts=1)], DAY)
    assert [part.run for part in parts] == [("12", 1), ("12", 1)]


def test_a_job_that_was_moved_counts_in_both_partitions_and_once_in_all() -> None:
    parts, _ = held([ran(1, 2, state=REQUEUED), ran(3, 4, restarts=1, partition="debug")], DAY)
    groups = grouped(parts, lambda part: part.attempt.partition)
    assert {name: usage(own).jobs for name, own in groups.items()} == {"gpu": 1, "debug": 1}
    assert usage(parts).jobs == 1


def test_without_attempts_there_is_nothing() -> None:
    assert (held([], DAY), by_job([]), grouped([], _account)) == (((), ()), (), {})
    assert (usage([]).jobs, usage([]).total, usage([]).by_type()) == (0, 0, {})


def _account(part: Held) -> str:
    return part.attempt.account


def test_what_slurm_really_answers_adds_up(recording: Path) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    found = RecordedClient(recording).attempts_between(since, since + timedelta(days=730)).items
    running = found[-1]
    assert running.started_at is not None
    whole = used(found, Window(since, since + timedelta(days=730), running.started_at + HOUR))
    ended = {one.state: one.elapsed for one in found[:-1]}
    assert (whole.jobs, whole.attempts) == (3, 4)
    assert whole.gpu_seconds == {
        Outcome.FAILED: {"h100": ended["FAILED"] * 4},
        Outcome.GOES_ON: {"h100": ended["REQUEUED"] + 2 * 3600},
        Outcome.CANCELLED: {"h100": ended["CANCELLED"]},
    }


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], None),
        (["2.50"], Prices({}, Decimal("2.50"))),
        (["0"], Prices({}, Decimal(0))),
        (["h100=3", "1g.10gb=0.25"], Prices({"h100": Decimal(3), "1g.10gb": Decimal("0.25")})),
        (["a=b=1", "2"], Prices({"a=b": Decimal(1)}, Decimal(2))),
    ],
)
def test_prices_are_of_all_types_or_of_one(texts: list[str], expected: Prices | None) -> None:
    assert read_prices(texts) == expected


@pytest.mark.parametrize(
    "texts",
    [
        *(
            [text]
            for text in ("", "=", "=3", "h100=", "h100", "-1", "+1", "1e3", "nan", "inf", "1.", ".5", "1,5", "1_0")
        ),
        *([text] for text in ("٣", "2.5\n", "1" * 5000, "0." + "1" * 5000, "h100=\x1b[31m")),
        ["1", "2"],
        ["h100=1", "h100=1"],
    ],
)
def test_wrong_prices_are_refused(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="price"):
        read_prices(texts)


def test_types_without_a_price_are_named() -> None:
    prices = read_prices(["h100=3"])
    assert prices is not None
    with pytest.raises(UsageError, match=r"type a100, gpu have no price; add --price a100=PRICE --price gpu=PRICE"):
        prices.cost({"gpu": 1, "h100": 1, "a100": 1})


SECONDS = st.dictionaries(st.sampled_from(["h100", "a100", "gpu"]), st.integers(0, 10**20))
MILLIONTHS = st.integers(0, 10**15 - 1)


@given(SECONDS, MILLIONTHS, MILLIONTHS)
def test_money_is_exact_until_it_is_rounded_once(seconds: dict[str, int], general: int, typed: int) -> None:
    texts = [f"{price // 10**6}.{price % 10**6:06}" for price in (general, typed)]
    prices = read_prices([texts[0], f"h100={texts[1]}"])
    assert prices is not None
    exact = sum(
        Fraction(count * (typed if kind == "h100" else general), 3600 * 10**6) for kind, count in seconds.items()
    )
    assert Fraction(money(prices.cost(seconds))) == Fraction(round(exact * 100), 100)


def test_a_third_of_an_hour_three_times_is_an_hour() -> None:
    prices = Prices({}, Decimal("0.10"))
    assert money(prices.cost({"h100": 1200})) == "0.03"
    assert money(prices.cost({"h100": 3600})) == "0.10"
    assert money(prices.cost({})) == "0.00"
