"""What the webhook takes, and from whom."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whole_daemon import alert

from fleetward.model.errors import UsageError
from fleetward.model.incidents import AlertStatus
from fleetward.server.webhook import MOST_CHARACTERS, is_authorized, read_post


def post(*alerts: dict[str, Any], **changes: object) -> bytes:
    return json.dumps({"version": "4", "alerts": alerts, **changes}).encode()


@pytest.mark.parametrize("header", ["Bearer secret", "bearer secret", "Bearer  secret "])
def test_the_token_lets_in(header: str) -> None:
    assert is_authorized(header, "secret")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer secre", "Bearer secret2", "Basic secret", "secret"]
)
def test_anything_else_does_not(header: str) -> None:
    assert not is_authorized(header, "secret")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer x"])
def test_without_a_token_nobody_is_let_in(header: str) -> None:
    assert not is_authorized(header, "")


def test_an_alert_is_read_whole() -> None:
    (read,) = read_post(post(alert("GpuOffBus", gpu="3")))
    assert (read.name, read.status, read.labels["node"], read.labels["gpu"]) == (
        "GpuOffBus",
        AlertStatus.FIRING,
        "gpu002",
        "3",
    )
    assert read.ends_at is None, "while it fires Alertmanager's end is a guess"


def test_an_alert_that_is_over_has_an_end() -> None:
    (read,) = read_post(post(alert(status="resolved")))
    assert read.status is AlertStatus.RESOLVED
    assert read.ends_at is not None


def test_what_no_database_keeps_is_replaced() -> None:
    (read,) = read_post(post(alert(job="a\x00b")))
    assert read.labels["job"] == "a\N{REPLACEMENT CHARACTER}b"


def test_an_endless_label_is_cut() -> None:
    (read,) = read_post(post(alert(job="x" * 100_000)))
    assert len(read.labels["job"]) == MOST_CHARACTERS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"version": "3", "alerts": []}',
        post({**alert(), "status": "pending"}),
        post({**alert(), "labels": {"node": 3}}),
        post({**alert(), "startsAt": "yesterday"}),
        post({**alert(), "startsAt": "2026-11-21T12:00:00"}),
        post({**alert(), "fingerprint": "../x"}),
        post(alert(rack="\ud800")),
        post({key: value for key, value in alert().items() if key != "fingerprint"}),
    ],
)
def test_what_alertmanager_does_not_send_is_refused(body: bytes) -> None:
    with pytest.raises(UsageError, match="no post of Alertmanager's"):
        read_post(body)


any_json = st.recursive(
    st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
).map(lambda value: json.dumps(value).encode())


@given(st.binary(max_size=300) | any_json)
def test_nothing_that_is_posted_is_a_mistake_of_ours(body: bytes) -> None:
    try:
        assert isinstance(read_post(body), tuple)
    except UsageError as error:
        assert "\x00" not in str(error)
