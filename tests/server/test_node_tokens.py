"""Tokens of nodes: one for each, by a key that can be changed."""

import pytest
from whole_daemon import NODE_KEYS

from fleetward.model.errors import UsageError
from fleetward.server.node_tokens import read_keys, speaks_for, token_of

NEW, OLD = NODE_KEYS


def bearer(node: str, key: bytes = NEW) -> str:
    return f"Bearer {token_of(node, [key])}"


@pytest.mark.parametrize(
    ("node", "header", "holds"),
    [
        ("gpu001", bearer("gpu001"), True),
        ("gpu001", bearer("gpu001").replace("Bearer", "bearer"), True),
        ("gpu001", bearer("gpu001", OLD), True),
        ("gpu001", bearer("gpu002"), False),
        ("gpu001", bearer("gpu001", b"a key that the daemon does not have"), False),
        ("gpu001", bearer("gpu001")[:-1], False),
        ("gpu001", bearer("gpu001") + "0", False),
        ("gpu001", bearer("gpu001").upper(), False),
        ("gpu001", bearer("gpu001").removeprefix("Bearer "), False),
        ("gpu001", "Bearer ", False),
        ("gpu001", "", False),
        ("gpu001", "Bearer tökén\ud800", False),
        ("gpu001", "Basic " + bearer("gpu001").removeprefix("Bearer "), False),
        ("gpu001\n", bearer("gpu001"), False),
    ],
)
def test_a_token_speaks_for_its_node_alone(node: str, header: str, holds: bool) -> None:
    assert speaks_for(node, header, NODE_KEYS) is holds


def test_without_a_key_nobody_is_let_in_and_no_token_is_made() -> None:
    assert not speaks_for("gpu001", bearer("gpu001"), ())
    with pytest.raises(UsageError, match=r"daemon\.node_key_file"):
        token_of("gpu001", ())


@pytest.mark.parametrize("node", ["", "gpu 1", "-gpu", "gpu/1", "a" * 65, "gpu001\n", "gpü"])
def test_what_is_no_nodes_name_gets_no_token(node: str) -> None:
    with pytest.raises(UsageError, match="no node's name"):
        token_of(node, NODE_KEYS)


def test_keys_stand_a_line_each_and_a_short_one_is_refused_without_being_shown() -> None:
    assert read_keys(f"\n{NEW.decode()}\r\n  {OLD.decode()}\n\n", "node-key") == NODE_KEYS
    assert read_keys("", "node-key") == ()
    with pytest.raises(UsageError, match=r"node-key: key 2 has 6 characters") as refused:
        read_keys(f"{NEW.decode()}\nsecret\n", "node-key")
    assert "secret" not in str(refused.value)
