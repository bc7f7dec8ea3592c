"""The settings of a node's programs: what is read, and what is refused by name."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetward.model import node_settings
from fleetward.model.errors import UsageError
from fleetward.model.node_settings import DaemonAddress, GpuNumbers, LocalDrain, NodeSettings, read_node_settings

WHOLE = """
node = "gpu001"
profile = "/etc/fleetward/profile.json"
fault_catalogues = ["/etc/fleetward/a.toml", "/etc/fleetward/b.toml"]
checks_left_out = ["eth_mtu"]
kernel_log = "/run/kmsg"
slurm_gpu_numbers = "index"

[daemon]
url = "https://head:9720/"
token_file = "/etc/fleetward/node.token"
ca_file = "/etc/ssl/site.pem"

[local_drain]
checks = ["gpu_lost", "xid_off_bus"]
streak = 2
absolute = 5
share = 0.25
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "node.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_key_is_read(tmp_path: Path) -> None:
    daemon = DaemonAddress("https://head:9720", Path("/etc/fleetward/node.token"), Path("/etc/ssl/site.pem"))
    assert read_node_settings(written(tmp_path, WHOLE)) == NodeSettings(
        node="gpu001",
        profile=Path("/etc/fleetward/profile.json"),
        fault_catalogues=(Path("/etc/fleetward/a.toml"), Path("/etc/fleetward/b.toml")),
        checks_left_out=("eth_mtu",),
        kernel_log=Path("/run/kmsg"),
        slurm_gpu_numbers=GpuNumbers.INDEX,
        daemon=daemon,
        local_drain=LocalDrain(("gpu_lost", "xid_off_bus"), 2, 5, 0.25),
    )


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert read_node_settings(written(tmp_path, "")) == NodeSettings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodes = 'x'", "'nodes' is no key; write one of node, profile"),
        ("node = 3", "node is 3; write a text"),
        ("daemon = 3", "[daemon]: is no section"),
        ("[daemon]\nurl = 'head:9720'", "[daemon]: url is 'head:9720'; write http://HOST:PORT"),
        ("[daemon]\nurl = 'http://head:99999'", "url is 'http://head:99999'"),
        ("[daemon]\nurl = 'http://[::1'", "write http://HOST:PORT"),
        ("[daemon]\ntoken_file = 'node.token'", "token_file is 'node.token'; write a path from the root"),
        ("[daemon]\ntoken = 'x'", "'token' is no key"),
        ("slurm_gpu_numbers = 'place'", "slurm_gpu_numbers is 'place'; write "),
        ("fault_catalogues = 'a.toml'", "fault_catalogues is 'a.toml'; write a list of texts"),
        ("[local_drain]\nstreak = 0", "streak is 0; write a whole number from 1 to 1000"),
        ("[local_drain]\nshare = true", "share is True; write a number above 0"),
        ("[local_drain]\nshare = 1.5", "share is 1.5; write a number above 0"),
        ("[local_drain]\nshare = nan", "share is nan"),
        ("[local_drain]\nchecks = [3]", "checks is [3]; write a list of texts"),
        ("node = ", "is not TOML"),
    ],
)
def test_what_is_wrong_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        read_node_settings(file)
    assert str(refused.value).startswith(str(file))
    assert words in str(refused.value)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.toml: cannot be read"):
        read_node_settings(tmp_path / "gone.toml")


def test_empty_lists_are_none(tmp_path: Path) -> None:
    text = "fault_catalogues = []\nchecks_left_out = []\n[local_drain]\nchecks = []\n"
    assert read_node_settings(written(tmp_path, text)) == NodeSettings()


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_bytes(b'node = "\xff"')
    with pytest.raises(UsageError, match="not TOML in UTF-8"):
        read_node_settings(file)


@pytest.fixture
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where the file usually is, for a user who is not root."""
    file = tmp_path / "etc/node.toml"
    file.parent.mkdir()
    monkeypatch.setattr(node_settings, "NODE_SETTINGS", file)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield file
    os.seteuid(user)
    file.parent.chmod(0o755)


def test_a_folder_that_is_closed_to_the_user_is_no_node_without_settings(usual: Path) -> None:
    if os.getuid() != 0:
        usual.parent.chmod(0)
    with pytest.raises(UsageError, match=rf"{usual}: cannot be read \(Permission denied\); run this as root, or open"):
        read_node_settings(usual)


def test_where_nothing_is_set_up_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (tmp_path / "none/node.toml", tmp_path / "node.toml"):
        monkeypatch.setattr(node_settings, "NODE_SETTINGS", file)
        assert read_node_settings(file) == NodeSettings()
