"""The small languages in Slurm's output."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleetward.slurm import parse

types = st.from_regex(r"[a-z][a-z0-9_]{0,8}|[0-9]{4}", fullmatch=True).filter(lambda kind: kind != "gpu")
indices = st.sets(st.integers(0, 63), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("gpu:h100:8(S:0-1)", {"h100": 8}),
        ("gpu:h100:8(IDX:0-7)", {"h100": 8}),
        ("gpu:h100:2(S:0,2),gpu:a100:1,nic:mlx:4(S:0)", {"h100": 2, "a100": 1}),
        ("gpu:8", {"gpu": 8}),
        ("gpu", {"gpu": 1}),
        ("gpu:3090:2", {"3090": 2}),
        ("gpu:h100:2K,gpu:a100:1M,gpu:b200:1G,gpu:1T", {"h100": 2**11, "a100": 2**20, "b200": 2**30, "gpu": 2**40}),
        ("gpu:h100:4(S:0),gpu:h100:4(S:1)", {"h100": 8}),
        ("gpu:h100:0(IDX:N/A)", {"h100": 0}),
        ("gres/gpu:h100:1", {"h100": 1}),
        ("nic:4,shard:1K", {}),
        ("(null)", {}),
        ("", {}),
    ],
)
def test_gres_counts_gpus_by_type(text: str, gpus: dict[str, int]) -> None:
    assert parse.gpus_of_gres(text) == gpus


@given(st.dictionaries(types, indices, max_size=4))
def test_gres_gives_back_the_indices_that_went_in(gpus: dict[str, set[int]]) -> None:
    text = ",".join(f"gpu:{kind}:{len(held)}(IDX:{','.join(map(str, sorted(held)))})" for kind, held in gpus.items())
    assert parse.gpu_indices_of_gres(text) == {kind: tuple(sorted(held)) for kind, held in gpus.items()}
    assert parse.gpus_of_gres(text) == {kind: len(held) for kind, held in gpus.items()}


@pytest.mark.parametrize("text", ["gpu:h100:8(IDX:x)", "gpu:h100:1(IDX:0-", "gpu:a:b:c:1(IDX:0)", "gpu::1(IDX:0)"])
def test_gres_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse.gpu_indices_of_gres(text)


@given(st.dictionaries(types, st.integers(1, 99), max_size=4), st.integers(0, 9))
def test_tres_counts_each_gpu_once(typed: dict[str, int], untyped: int) -> None:
    entries = [f"gres/gpu={sum(typed.values()) + untyped}", *(f"gres/gpu:{kind}={n}" for kind, n in typed.items())]
    expected = {**typed, "gpu": untyped} if untyped else typed
    assert parse.gpus_of_tres(",".join(["cpu=2,mem=1G,node=1,billing=2", *entries])) == expected


def test_tres_without_gpus_has_none() -> None:
    assert parse.gpus_of_tres("cpu=2,mem=1G,node=1") == {}


def test_tres_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not a list of TRES"):
        parse.tres("cpu=2,mem")


@pytest.mark.parametrize(
    ("text", "state", "flags"),
    [
        ("IDLE", "IDLE", ()),
        ("IDLE+DRAIN", "IDLE", ("DRAIN",)),
        ("DOWN*", "DOWN", ("NOT_RESPONDING",)),
        ("DOWN*+DRAIN", "DOWN", ("DRAIN", "NOT_RESPONDING")),
        ("MIXED+PLANNED", "MIXED", ("PLANNED",)),
        ("IDLE+CLOUD+POWERED_DOWN", "IDLE", ("CLOUD", "POWERED_DOWN")),
        ("idle~", "IDLE", ("POWERED_DOWN",)),
        ("UNKNOWN+NOT_RESPONDING", "UNKNOWN", ("NOT_RESPONDING",)),
        ("reboot^", "REBOOT", ("REBOOT_ISSUED",)),
    ],
)
def test_a_nodes_state_is_a_base_and_flags(text: str, state: str, flags: tuple[str, ...]) -> None:
    assert parse.node_state(text) == (state, flags)


@pytest.mark.parametrize("text", ["", "IDLE+", "I DLE", "42"])
def test_a_nodes_state_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a state"):
        parse.node_state(text)


@given(st.integers(0, 400 * 86400))
def test_a_length_is_read_in_each_form_that_slurm_writes(seconds: int) -> None:
    days, rest = divmod(seconds, 86400)
    hours, minutes, left = rest // 3600, rest // 60 % 60, rest % 60
    forms = [f"{days}-{hours:02d}:{minutes:02d}:{left:02d}"]
    if not days:
        forms += [f"{hours:02d}:{minutes:02d}:{left:02d}", f"{hours}:{minutes:02d}:{left:02d}"]
        if not hours:
            forms += [f"{minutes}:{left:02d}"]
    assert {parse.length(form) for form in forms} == {seconds}


@pytest.mark.parametrize("text", ["UNLIMITED", "Partition_Limit", "NOT_SET", "N/A", "Unknown", ""])
def test_no_limit_is_none(text: str) -> None:
    assert parse.length(text) is None


@pytest.mark.parametrize("text", ["1-02", "soon", "1:2:3:4", "-1:00"])
def test_a_length_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a length"):
        parse.length(text)


def test_a_moment_is_seconds_of_the_epoch() -> None:
    assert parse.moment("1700000000") == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert parse.moment("Unknown") is None


@pytest.mark.parametrize("text", ["2023-11-14T22:13:20", "soon", "9" * 20])
def test_a_moment_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not seconds of the epoch"):
        parse.moment(text)


@given(st.sets(st.integers(1, 2000), min_size=1, max_size=50))
def test_hosts_come_back_from_their_folded_form(numbers: set[int]) -> None:
    names = {f"gpu{number:04d}" for number in numbers}
    text = parse.folded(names)
    assert set(parse.hosts(text)) == names
    assert len(parse.hosts(text)) == len(names)


def test_a_list_of_hosts_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not a list of hosts"):
        parse.hosts("gpu[001-")


@given(st.text())
@example("@0:")  # no group of hosts is ever looked up: its source may be a program
def test_nothing_but_value_errors_comes_out(text: str) -> None:
    for reader in (
        parse.gpus_of_gres,
        parse.gpu_indices_of_gres,
        parse.gpus_of_tres,
        parse.node_state,
        parse.job_state,
        parse.length,
        parse.moment,
        parse.hosts,
    ):
        try:
            reader(text)
        except ValueError:
            continue
