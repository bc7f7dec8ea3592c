"""Sweeps: which points there are, how many run at once, and what stands for a value in a command."""

import itertools
import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetward.slurm.jobs.spec import JobSpec, UnfitJobError, check_job
from fleetward.slurm.jobs.sweep import Sweep, array_option, choice_of_point, shell_word, unknown_placeholder


def swept(sweep: object, **fields: object) -> JobSpec:
    return check_job({"name": "x", "command": ["train"], "sweep": sweep, **fields})


def refusal(sweep: object, **fields: object) -> str:
    with pytest.raises(UnfitJobError) as caught:
        swept(sweep, **fields)
    return str(caught.value)


def test_a_grid_is_every_combination_with_the_last_parameter_fastest() -> None:
    sweep = Sweep.model_validate({"grid": {"lr": [0.1, "3e-4"], "seed": [1, 2, 3]}})
    assert sweep.size == 6
    assert list(sweep.each_point()) == [
        {"lr": lr, "seed": seed} for lr, seed in itertools.product(("0.1", "3e-4"), ("1", "2", "3"))
    ]


def test_points_are_taken_in_their_order() -> None:
    sweep = Sweep.model_validate({"points": [{"lr": 1, "seed": 2}, {"seed": 4, "lr": 3}]})
    assert list(sweep.each_point()) == [{"lr": "1", "seed": "2"}, {"lr": "3", "seed": "4"}]
    assert choice_of_point(sweep)[3] == "  1) export FLEETWARD_SWEEP_LR=3 FLEETWARD_SWEEP_SEED=4 ;;"


@pytest.mark.parametrize(
    ("size", "budget", "gpus", "option"),
    [
        (1, None, 8, "0-0"),
        (6, None, 8, "0-5"),
        (6, 16, 8, "0-5%2"),
        (6, 23, 8, "0-5%2"),
        (6, 8, 8, "0-5%1"),
        (6, 48, 8, "0-5"),
        (6, 1000, 8, "0-5"),
    ],
)
def test_a_budget_of_gpus_limits_how_many_tasks_run_at_once(
    size: int, budget: int | None, gpus: int, option: str
) -> None:
    sweep = Sweep.model_validate({"grid": {"seed": list(range(size))}, "gpu_budget": budget})
    assert array_option(sweep, gpus) == option


def test_a_budget_counts_all_nodes_of_a_task() -> None:
    grid = {"grid": {"seed": [1, 2]}}
    why = refusal({**grid, "gpu_budget": 15}, nodes=2, gpus_per_node="h100:8")
    assert why == (
        "sweep.gpu_budget: is 15, and one task has 16 GPUs (nodes: 2 by gpus_per_node: h100:8); write 16 or more"
    )
    assert swept({**grid, "gpu_budget": 16}, nodes=2, gpus_per_node=8).gpus_of_a_task == 16
    assert refusal({**grid, "gpu_budget": 1}).startswith("sweep.gpu_budget: needs gpus_per_node")


def test_there_are_no_more_tasks_than_an_array_may_have() -> None:
    assert swept({"grid": {"seed": list(range(1001))}}).sweep is not None
    why = refusal({"grid": {"a": list(range(1000)), "b": list(range(1000)), "c": list(range(1000))}})
    assert why.startswith("sweep: has 1000000000 tasks, and max_tasks is 1001; take fewer values, or raise max_tasks")
    assert swept({"grid": {"seed": list(range(1002))}, "max_tasks": 1002}).sweep is not None
    assert "less than or equal to 10000" in refusal({"grid": {"seed": [1]}, "max_tasks": 10_001})


@pytest.mark.parametrize(
    ("sweep", "why"),
    [
        ({}, "sweep: needs either grid or points, and not both"),
        ({"grid": {"a": [1]}, "points": [{"a": 1}]}, "sweep: needs either grid or points, and not both"),
        ({"grid": {}}, "sweep.grid: "),
        ({"grid": {"a": []}}, "sweep.grid.a: "),
        ({"grid": {"a": 1}}, "sweep.grid.a: "),
        ({"grid": {"a-b": [1]}}, "sweep.grid.a-b: 'a-b' is not allowed"),
        ({"grid": {"lr": [1], "LR": [2]}}, "sweep: lr is one of two parameters that would both be FLEETWARD_SWEEP_LR"),
        ({"grid": {"a": [True]}}, "sweep.grid.a.0: True is not text; write it in quotes"),
        ({"grid": {"a": [None]}}, "sweep.grid.a.0: None is not text"),
        ({"grid": {"a": ["x\0"]}}, "sweep.grid.a.0: a NUL character"),
        ({"grid": {"a": ["\ud800"]}}, "sweep.grid.a.0: half of a surrogate pair"),
        ({"points": []}, "sweep.points: "),
        ({"points": [{}]}, "sweep: points.0 has no parameter"),
        ({"points": [{"a": 1}, {"b": 1}]}, "sweep: points.1 has b, and points.0 has a; give every point the same"),
        ({"points": [{"a": 1}, {}]}, "sweep: points.1 has none, and points.0 has a"),
        ({"gird": {"a": [1]}}, "sweep.gird: there is no such field; did you mean grid? There are grid, points"),
        ([{"a": 1}], "has no fields; there are grid, points, gpu_budget, max_tasks"),
    ],
)
def test_what_makes_no_sweep_is_refused_by_field(sweep: object, why: str) -> None:
    assert why in refusal(sweep)


def test_tasks_have_logs_of_their_own() -> None:
    sweep = {"grid": {"seed": [1, 2]}}
    assert swept(sweep).output == "%x-%A_%a.log"
    assert swept(sweep, output="logs/%j").output == "logs/%j"
    assert refusal(sweep, output="train.log").startswith("output: train.log is one file for all tasks of sweep; put")


@pytest.mark.parametrize(
    ("argument", "expanded"),
    [
        ("{lr}", "0.1"),
        ("--lr={lr}", "--lr=0.1"),
        ("{lr}{lr}", "0.10.1"),
        ("a {lr} 'b'", "a 0.1 'b'"),
        ("{{lr}}", "{lr}"),
        ("{{lr}}{lr}", "{lr}0.1"),
        ("${lr} $lr", "${lr} $lr"),
        ("{}", "{}"),
        ("{ lr }", "{ lr }"),
        ('{"lr": 1}', '{"lr": 1}'),
        ("", ""),
        ("$(id) `id` \\", "$(id) `id` \\"),
    ],
)
def test_a_placeholder_becomes_the_value_and_nothing_else_changes(argument: str, expanded: str) -> None:
    assert unknown_placeholder([argument], ["lr"]) is None
    assert expansion(argument, "0.1") == expanded


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0{}$"), max_size=20), max_size=4),
    value=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
)
def test_values_are_never_read_by_a_shell(parts: list[str], value: str) -> None:
    assert expansion("{lr}".join(parts), value) == value.join(parts)


def expansion(argument: str, value: str) -> str:
    """Return what bash makes of an argument where `lr` has this value."""
    script = f'FLEETWARD_SWEEP_LR={shlex.quote(value)}\nset -- {shell_word(argument)}\nprintf \'%s\\0\' "$#" "$@"'
    count, *words, end = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.split(b"\0")
    assert (count, len(words), end) == (b"1", 1, b"")
    return words[0].decode()


def test_a_placeholder_that_is_no_parameter_is_refused() -> None:
    why = refusal({"grid": {"lr": [1], "seed": [2]}}, command=["train", "{lr}", "{sed}"])
    assert why == (
        "command: {sed} is no parameter of sweep; there are lr, seed, and {{sed}} stands for the text itself"
    )
    assert check_job({"name": "x", "command": ["train", "{lr}"]}).command == ("train", "{lr}")
