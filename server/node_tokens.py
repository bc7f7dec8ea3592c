"""Tokens of nodes: each speaks for one node alone, and all follow from a key that only the daemon has.

A token is HMAC-SHA256 over `node:NAME`, as hexadecimal digits: nothing has to be kept for each node, and whoever has
one node's token learns nothing of another's.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence

from fleetward.model.errors import UsageError

LEAST_KEY_CHARACTERS = 32
NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""What Slurm and the inventory call nodes."""


def read_keys(text: str, place: str) -> tuple[bytes, ...]:
    """Return the keys of a file, one a line: the first makes tokens, each of them checks tokens.

    UsageError where one is too short to be a secret; `place` names the file.
    """
    keys = tuple(line.strip().encode() for line in text.splitlines() if line.strip())
    for number, key in enumerate(keys, 1):
        if len(key) < LEAST_KEY_CHARACTERS:
            raise UsageError(
                f"{place}: key {number} has {len(key)} characters; write at least {LEAST_KEY_CHARACTERS}, such as"
                " `openssl rand -hex 32` gives"
            )
    return keys


def token_of(node: str, keys: Sequence[bytes]) -> str:
    """Return a node's token by the newest key; UsageError where there is no key, or that is no node's name."""
    if not keys:
        raise UsageError("there is no key to make tokens with: name a file with daemon.node_key_file in the settings")
    if not NODE_NAME.fullmatch(node):
        raise UsageError(f"{node[:80]!r} is no node's name: letters, digits, dots, dashes and underscores")
    return _token(node, keys[0])


def speaks_for(node: str, authorization: str, keys: Sequence[bytes]) -> bool:
    """Say whether an Authorization header carries this node's token, by any of the keys."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not NODE_NAME.fullmatch(node):
        return False
    token = given.strip().encode("utf-8", "replace")
    matches = [hmac.compare_digest(token, _token(node, key).encode()) for key in keys]
    return any(matches)


def _token(node: str, key: bytes) -> str:
    return hmac.new(key, f"node:{node}".encode(), hashlib.sha256).hexdigest()
