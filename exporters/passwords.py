"""Whether a password is right, by the bcrypt hash of it; the C library's own libcrypt does the work.

Passwords are neither kept nor shown. What was right before is known again by a keyed digest, so that a scrape does not
cost the tenth of a second that bcrypt takes on purpose.
"""

import base64
import binascii
import ctypes
import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Mapping
from functools import cache

from fleetward.model.errors import UsageError

MOST_REMEMBERED = 256
"""Digests of what was right; more than that, and all are forgotten."""
_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")
_DATA_BYTES = 32768
"""What libxcrypt wants to work with (CRYPT_DATA_SIZE); it is told the size."""
_SETTING_BYTES = 29
"""`$2y$10$` and 22 characters of salt, at the beginning of a hash."""
_LONGEST_PASSWORD = 512
"""libxcrypt takes no longer one, and bcrypt looks at 72 bytes of it."""


class Passwords:
    """Judges `Authorization` headers; safe to be asked by many threads at once."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self._key = os.urandom(32)
        self._right: set[bytes] = set()
        self._one_at_a_time = threading.Lock()
        """bcrypt takes a processor: a client that guesses gets one, not all."""

    def allow(self, users: Mapping[bytes, bytes], authorization: str | None) -> bool:
        """Return whether the header names one of the users with the right password; a wrong name takes as long.

        There is at least one user.
        """
        found = _credentials(authorization)
        if found is None:
            return False
        user, password = found
        known = users.get(user)
        if known is not None and self._digest(user, known, password) in self._right:
            return True
        expected = known or next(iter(users.values()))
        with self._one_at_a_time:
            right = hmac.compare_digest(crypt(password, expected[:_SETTING_BYTES]), expected)
        if not right or known is None:
            return False
        self._remember(self._digest(user, known, password))
        return True

    def _digest(self, *parts: bytes) -> bytes:
        return hmac.digest(self._key, b"".join(hashlib.sha256(part).digest() for part in parts), "sha256")

    def _remember(self, digest: bytes) -> None:
        if len(self._right) >= MOST_REMEMBERED:
            self._right = set()
        self._right = self._right | {digest}


def check_bcrypt() -> None:
    """Raise UsageError where this host's libcrypt cannot check a bcrypt hash."""
    setting = b"$2y$04$" + b"." * 22
    if not crypt(b"", setting).startswith(setting):
        raise UsageError(
            f"basic_auth_users needs a libcrypt that knows bcrypt, and {' or '.join(_LIBRARIES)} here is none; "
            "install libxcrypt (Debian and Ubuntu: libcrypt1), or leave basic_auth_users out and use client_ca_file"
        )


def crypt(password: bytes, setting: bytes) -> bytes:
    """Return the hash of a password made with a hash's setting; empty where that cannot be."""
    function = _crypt()
    if function is None or b"\0" in password or len(password) > _LONGEST_PASSWORD:
        return b""
    data = ctypes.create_string_buffer(_DATA_BYTES)
    return function(password, setting, data, _DATA_BYTES) or b""


def _credentials(authorization: str | None) -> tuple[bytes, bytes] | None:
    """Return user and password of a header of the scheme Basic; None for any other."""
    scheme, _, encoded = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip().encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    user, colon, password = decoded.partition(b":")
    return (user, password) if colon else None


@cache
def _crypt() -> Callable[[bytes, bytes, object, int], bytes | None] | None:
    """Return libxcrypt's crypt_rn; None where there is none."""
    for name in _LIBRARIES:
        try:
            function = ctypes.CDLL(name).crypt_rn
        except (OSError, AttributeError):
            continue
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
        function.restype = ctypes.c_char_p
        return function
    return None
