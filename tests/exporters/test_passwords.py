"""Passwords against their bcrypt hashes: who gets in, who does not, and that nothing crashes or is kept."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.exporters import passwords
from fleetward.exporters.passwords import MOST_REMEMBERED, Passwords, check_bcrypt, crypt
from fleetward.model.errors import UsageError

SALT = b"abcdefghijklmnopqrstuu"
KNOWN_ANSWERS = [
    (b"U*U", b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),  # of crypt_blowfish
    (b"fakepassword", b"$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"),  # of exporter-toolkit
]
"""Password and hash, as other implementations of bcrypt made them."""


def hash_of(password: bytes, kind: bytes = b"2y") -> bytes:
    return crypt(password, b"$" + kind + b"$04$" + SALT)


def basic(user: bytes, password: bytes) -> str:
    return f"Basic {base64.b64encode(user + b':' + password).decode()}"


USERS = {b"prometheus": hash_of(b"secret"), b"zo\xc3\xa9": hash_of("pässword".encode(), b"2b")}


class Crypt:
    """Counts how often bcrypt is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self._real = passwords.crypt
        monkeypatch.setattr(passwords, "crypt", self)

    def __call__(self, password: bytes, setting: bytes) -> bytes:
        self.calls += 1
        return self._real(password, setting)


@pytest.mark.parametrize(("password", "known"), KNOWN_ANSWERS)
def test_hashes_of_other_programs_are_understood(password: bytes, known: bytes) -> None:
    assert crypt(password, known[:29]) == known
    assert Passwords().allow({b"u": known}, basic(b"u", password))


@pytest.mark.parametrize(
    "header",
    [
        basic(b"prometheus", b"secret"),
        basic(b"zo\xc3\xa9", "pässword".encode()),
        basic(b"prometheus", b"secret").replace("Basic ", "bAsIc   "),
    ],
)
def test_the_right_password_lets_in(header: str) -> None:
    assert Passwords().allow(USERS, header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Bearer c2VjcmV0",
        "Basic cHJvbWV0aGV1cw==",  # no colon
        "Basic not base64!",
        "Basic cHJvbWV0aGV1czpzZWNyZXQ",  # padding is missing
        "Basic \xff\xfe",
        basic(b"prometheus", b"wrong"),
        basic(b"prometheus", b""),
        basic(b"", b"secret"),
        basic(b"nobody", b"secret"),
        basic(b"Prometheus", b"secret"),
        basic(b"prometheus", b"secret\0"),  # C ends a text there
        basic(b"prometheus", b"secret\0more"),
        basic(b"prometheus", b"s" * 100_000),
        basic(b"prometheus", b"\xff\xfe\xfd"),
        basic(b"prometheus", hash_of(b"secret")),
    ],
)
def test_anything_else_does_not(header: str | None) -> None:
    assert not Passwords().allow(USERS, header)


@given(st.text(max_size=200) | st.binary(max_size=60).map(lambda pair: f"Basic {base64.b64encode(pair).decode()}"))
def test_no_header_crashes_it(header: str) -> None:
    assert Passwords().allow(USERS, header) in {True, False}


def test_a_scrape_that_was_right_before_costs_no_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    judge, bcrypt = Passwords(), Crypt(monkeypatch)
    assert all(judge.allow(USERS, basic(b"prometheus", b"secret")) for _ in range(5))
    assert bcrypt.calls == 1
    assert not judge.allow(USERS, basic(b"prometheus", b"wrong"))
    assert not judge.allow(USERS, basic(b"prometheus", b"wrong"))
    assert bcrypt.calls == 3, "what was wrong is never remembered"


def test_a_name_that_nobody_has_takes_as_long_as_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    judge, bcrypt = Passwords(), Crypt(monkeypatch)
    assert not judge.allow(USERS, basic(b"nobody", b"secret"))
    assert bcrypt.calls == 1


def test_the_password_of_one_user_is_not_that_of_another() -> None:
    judge = Passwords()
    users = {b"alice": hash_of(b"one"), b"bob": hash_of(b"two")}
    assert judge.allow(users, basic(b"alice", b"one"))
    assert not judge.allow(users, basic(b"bob", b"one"))
    assert judge.allow(users, basic(b"bob", b"two"))


def test_a_password_that_was_changed_is_no_longer_right() -> None:
    judge = Passwords()
    assert judge.allow({b"alice": hash_of(b"old")}, basic(b"alice", b"old"))
    assert not judge.allow({b"alice": hash_of(b"new")}, basic(b"alice", b"old"))
    assert not judge.allow({b"bob": hash_of(b"new")}, basic(b"alice", b"old"))


def test_what_is_remembered_is_bounded_and_holds_no_password() -> None:
    judge = Passwords()
    users = {b"%d" % number: hash_of(b"pw") for number in range(MOST_REMEMBERED + 10)}
    assert all(judge.allow(users, basic(user, b"pw")) for user in users)
    remembered = judge._right
    assert len(remembered) <= MOST_REMEMBERED
    assert {len(one) for one in remembered} == {32}


def test_many_may_ask_at_once() -> None:
    judge = Passwords()
    asked = [basic(b"prometheus", b"secret"), basic(b"prometheus", b"wrong")] * 20
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(lambda header: judge.allow(USERS, header), asked)) == [True, False] * 20


def test_a_libcrypt_without_bcrypt_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    check_bcrypt()
    monkeypatch.setattr(passwords, "_LIBRARIES", ("libc.so.6",))
    passwords._crypt.cache_clear()
    try:
        with pytest.raises(UsageError, match=r"libc\.so\.6 here is none; install libxcrypt"):
            check_bcrypt()
    finally:
        passwords._crypt.cache_clear()
