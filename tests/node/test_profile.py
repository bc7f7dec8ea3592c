"""A node's profile as a file."""

from pathlib import Path

import pytest

from fleetward.model.errors import UsageError
from fleetward.node.check_list import LIMITS
from fleetward.node.profile import Profile, read_profile

WHOLE = """
sockets = 2
cores_per_socket = 56
threads_per_core = 2
memory_mib = 2000000

[gpu]
count = 8
model = "h100"
vbios = ["96.00.74.00.01"]
power_limit_watts = 700

[infiniband]
devices = ["mlx5_0", "mlx5_1"]
rate_gbits_per_second = 400

[bandwidth_gbytes_per_second]
infiniband = 46.8

[host]
modules = ["nvidia", "gdrdrv"]

[limits.gpu_ecc_corrected]
errors = 5e7
"""


def read(folder: Path, text: str, name: str = "profile.toml") -> Profile:
    (folder / name).write_text(text)
    return read_profile(folder / name, LIMITS)


def test_a_whole_profile_is_read(tmp_path: Path) -> None:
    profile = read(tmp_path, WHOLE)
    assert (profile.cpus, profile.gpu.count, profile.gpu.vbios) == (224, 8, ("96.00.74.00.01",))
    assert profile.infiniband.devices == ("mlx5_0", "mlx5_1")
    assert profile.host.modules == ("nvidia", "gdrdrv")
    assert profile.limits == {"gpu_ecc_corrected": {"errors": 5e7}}


def test_what_the_inventory_says_of_gpus_is_taken(tmp_path: Path) -> None:
    profile = read(tmp_path, '[gpu]\nnvswitch = true\ngeneration = "hopper"\n')
    assert (profile.gpu.nvswitch, profile.gpu.generation) == (True, "hopper")


def test_json_does_as_well(tmp_path: Path) -> None:
    profile = read(tmp_path, '{"gpu": {"count": 4}, "infiniband": {"rate_gbits_per_second": 46.8}}', "profile.json")
    assert (profile.gpu.count, profile.infiniband.rate_gbits_per_second, profile.cpus) == (4, 46.8, None)


def test_what_the_inventory_leaves_open_is_not_said(tmp_path: Path) -> None:
    open_ones = '{"sockets": 2, "gpu": {"count": 8, "power_limit_watts": null}, "infiniband": null,'
    profile = read(tmp_path, open_ones + '"bandwidth_gbytes_per_second": {"infiniband": null}}', "profile.json")
    assert (profile.sockets, profile.gpu.count, profile.gpu.power_limit_watts) == (2, 8, None)
    assert (profile.infiniband.devices, profile.bandwidth_gbytes_per_second) == ((), {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu = 8", "[gpu] is no table"),
        ("[gpu]\nnvswitch = 1", "[gpu], nvswitch must be true or false"),
        ("[gpu]\ncuont = 8", "'cuont', which is none of count"),
        ("gpus = 1", "'gpus'"),
        ("[gpu]\ncount = 'eight'", "count must be a number"),
        ("[gpu]\ncount = true", "count must be a number"),
        ("[gpu]\ncount = -1", "count must be a number from 0 up"),
        ("[gpu]\ndriver = 570", "driver must be a word"),
        ("[infiniband]\ndevices = 'mlx5_0'", "devices must be a list of words"),
        ("[limits.gpu_nonsense]\nerrors = 1", "there is no such check"),
        ("[limits.gpu_ecc_corrected]\nerrorz = 1", "the limits of this check: errors"),
        ("[limits.gpu_ecc_corrected]\nerrors = nan", "must be a number from 0 up"),
        ("[limits]\ngpu_ecc_corrected = 1", "is no table"),
        ("limits = 1", "is no table"),
        ("gpu = [", "neither TOML nor"),
        ("\0", "neither TOML nor"),
    ],
)
def test_a_wrong_profile_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(tmp_path, text)
    assert words in str(refused.value)
    assert "profile.toml" in str(refused.value)


@pytest.mark.parametrize("text", ["[]", "7", "[" * 100_000, "{", '{"gpu": {"count": 1e999}}'])
def test_json_that_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"profile\.json"):
        read(tmp_path, text, "profile.json")


def test_a_profile_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_profile(tmp_path / "none.toml", LIMITS)
