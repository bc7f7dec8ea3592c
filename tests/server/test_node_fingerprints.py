"""What nodes tell of their software and hardware, over HTTP: on record, or refused with a sentence."""

import contextlib
import json
from typing import Any

import pytest
from burn_in_logs import OTHER_PARTS, PARTS, run_jobs
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from whole_daemon import NODE_KEYS, Daemon, cut

from fleetward.model.errors import UsageError
from fleetward.node.fingerprint import NodeParts
from fleetward.operations.qualification.fingerprint import read_fingerprint
from fleetward.server import node_posts
from fleetward.server.node_posts import MOST_FINGERPRINT_BYTES, read_parts
from fleetward.server.node_tokens import token_of
from fleetward.store.embedded import EmbeddedPostgres
from fleetward.store.fingerprints import FingerprintRow, Fingerprints

NODE = "gpu002"
TOLD = NodeParts(
    {"kernel": "6.12.48", "driver": "580.95.05", "dcgm": None, "nccl": ""},
    hcas=({"device": "mlx5_0", "firmware": "28.43.1014"},),
    gpus=({"slot": "0000:1b:00.0", "uuid": "GPU-1", "serial": "1", "vbios": "96", "mig": ""},),
).as_json()


def kept(daemon: Daemon, node: str = NODE) -> FingerprintRow | None:
    return Fingerprints(daemon.database).of(node)


def test_it_is_kept_as_it_was_told_and_a_change_is_told(at_rest: Daemon) -> None:
    other = TOLD.replace("6.12.48", "6.12.49")
    answers = [at_rest.tell(NODE, "fingerprint", text).json() for text in (TOLD, TOLD, other)]
    assert answers == [{"changed": True}, {"changed": False}, {"changed": True}]
    row = kept(at_rest)
    assert row is not None
    assert (row.parts, row.digest) == (other, read_fingerprint(other).digest)
    assert kept(at_rest, "gpu001") is None


def test_they_are_counted(at_rest: Daemon) -> None:
    assert "fleet_fingerprint_changes_total 0.0" in at_rest.public.get("/metrics").text
    for text in (TOLD, TOLD, "[]"):
        at_rest.tell(NODE, "fingerprint", text)
    metrics = at_rest.public.get("/metrics").text
    assert "fleet_fingerprint_reports_total 2.0" in metrics
    assert "fleet_fingerprint_changes_total 1.0" in metrics


def test_a_node_whose_parts_changed_after_its_certificate_is_qualified_no_more(at_rest: Daemon) -> None:
    def rounds() -> None:
        for _ in range(8):
            at_rest.made.burner.round()

    at_rest.ask("/v1/burn-ins", nodes="gpu001")
    rounds()
    run_jobs(at_rest)
    rounds()
    standings = []
    for text in (PARTS, OTHER_PARTS):
        assert at_rest.tell("gpu001", "fingerprint", text).status_code == 200
        standings.append(at_rest.get("/v1/standings/gpu001")["standing"])
    assert standings == ["valid", "void"]


@pytest.mark.parametrize("token", ["", "wrong", token_of("gpu003", NODE_KEYS)])
def test_only_the_node_itself_is_believed(at_rest: Daemon, token: str) -> None:
    answer = at_rest.tell(NODE, "fingerprint", TOLD, token)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert kept(at_rest) is None


def test_a_node_that_nobody_knows_is_not_there(daemon: Daemon) -> None:
    answer = daemon.tell("gpu999", "fingerprint", TOLD)
    assert (answer.status_code, answer.json()["error"]) == (404, "there is no node gpu999 in this fleet")
    assert kept(daemon, "gpu999") is None


def padded(size: int) -> bytes:
    """Return a fingerprint of so many bytes."""
    return TOLD.encode().ljust(size)


def test_what_is_longer_than_the_bound_is_not_read(at_rest: Daemon) -> None:
    assert at_rest.tell(NODE, "fingerprint", padded(MOST_FINGERPRINT_BYTES + 1)).status_code == 413
    assert kept(at_rest) is None
    assert at_rest.tell(NODE, "fingerprint", padded(MOST_FINGERPRINT_BYTES)).status_code == 200


def test_the_bound_has_room_for_the_longest_words_of_a_node_with_16_gpus() -> None:
    word = "w" * 200
    gpus = [dict.fromkeys(("slot", "uuid", "serial", "vbios", "mig"), f"{at}{word}"[:200]) for at in range(16)]
    hcas = [dict.fromkeys(("device", "firmware"), f"{at}{word}"[:200]) for at in range(16)]
    told = NodeParts(dict.fromkeys(("kernel", "driver", "bios"), word), tuple(hcas), tuple(gpus)).as_json()
    assert read_fingerprint(told).gpus is not None
    assert 4 * len(told) < MOST_FINGERPRINT_BYTES


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "no object"),
        ("null", "no object"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"kernel": "\xed\xa0\x80"}', "UTF-8"),
        ('{"kernel": 6}', "kernel"),
        ('{"kernel": "' + "6" * 201 + '"}', "kernel"),
        ('{"kernel": "a\\u0000b"}', "kernel"),
        ('{"kernel": "\\ud800"}', "kernel"),
        ('{"kernel": "\\u001b[31m"}', "kernel"),
        ('{"kernel": ' + "9" * 10_000 + "}", "not JSON"),
        ('{"kernel": ' + "[" * 50_000, "fingerprint"),
        ('{"kernel": ' + "[" * 900 + "]" * 900 + "}", "fingerprint"),
        ('{"kernel": ' + "[" * 60_000 + "]" * 60_000 + "}", "fingerprint"),
        ('{"gpus": [{"uuid": "GPU-1"}]}', "slot"),
        ('{"gpus": [' + ",".join('{"slot": "1"}' for _ in range(2)) + "]}", "twice"),
        ('{"gpus": [' + ",".join(f'{{"slot": "{at}"}}' for at in range(257)) + "]}", "at most 256"),
    ],
)
def test_what_is_none_is_refused_and_what_was_told_before_stays(at_rest: Daemon, body: str | bytes, words: str) -> None:
    at_rest.tell(NODE, "fingerprint", TOLD)
    answer = at_rest.tell(NODE, "fingerprint", body)
    assert (answer.status_code, answer.json()["exit_code"]) == (400, 2)
    assert words in answer.json()["error"]
    assert len(answer.json()["error"]) <= node_posts.LONGEST_ERROR
    assert answer.json()["error"].isprintable()
    row = kept(at_rest)
    assert row is not None
    assert row.parts == TOLD


@pytest.mark.parametrize("value", ['"\\u0000 \\ud800"', "NaN", '{"a": [1]}', '"' + "x" * 10_000 + '"'])
def test_a_part_of_a_later_release_is_kept_and_costs_nothing(at_rest: Daemon, value: str) -> None:
    told = f'{{"kernel": "6.12.48", "weight": {value}}}'
    assert at_rest.tell(NODE, "fingerprint", told).status_code == 200
    row = kept(at_rest)
    assert row is not None
    assert row.parts == told
    assert read_fingerprint(row.parts).kernel == "6.12.48"
    assert at_rest.local.get("/v1/standings").status_code == 200


def test_without_the_record_the_node_is_to_try_again(at_rest: Daemon, postgres: EmbeddedPostgres) -> None:
    with cut(at_rest, postgres):
        answer = at_rest.tell(NODE, "fingerprint", TOLD)
        assert (answer.status_code, answer.json()["exit_code"]) == (503, 3)
    assert at_rest.tell(NODE, "fingerprint", TOLD).json() == {"changed": True}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
names = st.sampled_from(["kernel", "driver", "hcas", "gpus", "more"])
parts = st.lists(
    st.dictionaries(st.sampled_from(["slot", "device", "uuid", "mig"]), json_values, max_size=4), max_size=3
)


@given(
    st.binary(max_size=40)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(names, json_values | parts, max_size=4).map(lambda value: json.dumps(value).encode())
)
@example(b'{"gpus": [' + b"[" * 700 + b"]" * 700 + b"]}")
def test_no_body_breaks_the_reader_and_what_it_takes_reads_the_same_from_the_record(body: bytes) -> None:
    with contextlib.suppress(UsageError):
        text, found = read_parts(body)
        assert read_fingerprint(text) == found
        assert len(found.digest) == 64


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_posted_the_record_has_the_last_that_was_taken(at_rest: Daemon, data: st.DataObject) -> None:
    words = st.none() | st.text(max_size=5)
    shapes = st.fixed_dictionaries(
        {"kernel": words, "gpus": st.lists(st.fixed_dictionaries({"slot": words}), max_size=2)}
    )
    posts: list[Any] = data.draw(st.lists(shapes | json_values, min_size=1, max_size=4))
    last = kept(at_rest)
    for post in posts:
        text = json.dumps(post)
        answer = at_rest.tell(NODE, "fingerprint", text)
        assert answer.status_code in (200, 400)
        now = kept(at_rest)
        if answer.status_code == 400:
            assert now == last
        else:
            assert now is not None
            assert now.parts == text
            assert answer.json() == {"changed": last is None or last.digest != now.digest}
        last = now
