"""Events that wait: the worst go first, the least are dropped first, none is shown too early."""

import threading
import time

from fleetward.exporters.events import outbox as outbox_module
from fleetward.exporters.events.outbox import MOST_WAITING, Outbox
from fleetward.model.gpu_faults import Severity


def test_the_worst_go_first_and_of_these_the_oldest() -> None:
    outbox = Outbox()
    for key, severity in (("a", Severity.INFO), ("b", Severity.FATAL), ("c", Severity.WARNING), ("d", Severity.FATAL)):
        outbox.put(key, severity, b"{}")
    assert dict(outbox.batch(10)) == {}
    outbox.settle()
    assert list(outbox.batch(10)) == ["b", "d", "c", "a"]
    assert list(outbox.batch(2)) == ["b", "d"]
    assert outbox.remove(["b", "never"]) == ["b"]
    assert list(outbox.batch(2)) == ["d", "c"]


def test_where_too_many_wait_the_oldest_of_the_least_are_dropped() -> None:
    outbox = Outbox()
    for number in range(MOST_WAITING):
        assert outbox.put(f"info {number}", Severity.INFO, b"{}") == []
    assert outbox.put("fatal", Severity.FATAL, b"{}") == ["info 0"]
    assert outbox.put("info", Severity.INFO, b"{}") == ["info 1"]
    assert len(outbox) == MOST_WAITING


def test_where_they_take_too_much_room_some_are_dropped() -> None:
    outbox = Outbox()
    big = b"x" * (outbox_module.MOST_BYTES // 4)
    dropped = [outbox.put(str(number), Severity.INFO, big) for number in range(6)]
    assert dropped == [[], [], [], [], ["0"], ["1"]]
    outbox.remove(["2"])
    assert outbox.put("6", Severity.INFO, big) == []


def test_the_same_event_is_there_once() -> None:
    outbox = Outbox()
    outbox.put("a", Severity.INFO, b"{}")
    outbox.settle()
    outbox.put("a", Severity.INFO, b"{}")
    assert list(outbox.batch(10)) == ["a"]
    assert len(outbox) == 1


def test_one_who_waits_is_woken_when_an_event_may_be_sent() -> None:
    outbox = Outbox()
    assert outbox.wait(0.01) is False
    outbox.put("a", Severity.INFO, b"{}")
    assert outbox.wait(0.01) is False
    threading.Timer(0.05, outbox.settle).start()
    began = time.monotonic()
    assert outbox.wait(10)
    assert time.monotonic() - began < 5
