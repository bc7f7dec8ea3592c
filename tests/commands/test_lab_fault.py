"""`fleetward lab fault`: the node comes first, and no node stands for all of them where that makes sense."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fleetward.commands.lab import lab
from fleetward.lab import faults, lifecycle
from fleetward.lab.spec import LabSpec, LabState


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[object, ...]]:
    """Return what is done to a lab of three GPU nodes, instead of doing it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("lab", "two"):
        LabState.of(name).folder.mkdir(parents=True)
        LabState.of(name).write(LabSpec(name, "trixie", 3), ready=True)
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(lifecycle, "open_engine", lambda: None)
    for function in ("raise_xid", "stop_slurmd", "clear"):
        monkeypatch.setattr(
            faults, function, lambda _, spec, *words, of=function: calls.append((of, spec.name, *words))
        )
    return calls


def fault(*words: str) -> str:
    result = CliRunner().invoke(lab, ["fault", *words], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


def test_the_node_comes_before_the_fault(done: list[tuple[object, ...]]) -> None:
    fault("gpu002", "xid", "--gpu", "3", "--code", "79")
    fault("gpu002", "slurmd-down")
    fault("gpu002", "clear")
    assert done == [
        ("raise_xid", "lab", "gpu002", 3, 79),
        ("stop_slurmd", "lab", "gpu002"),
        ("clear", "lab", "gpu002"),
    ]


def test_clear_without_a_node_is_about_all_that_have_gpus(done: list[tuple[object, ...]]) -> None:
    told = json.loads(fault("clear", "--json"))
    assert done == [("clear", "lab", "gpu001"), ("clear", "lab", "gpu002"), ("clear", "lab", "gpu003")]
    assert told == {"nodes": ["gpu001", "gpu002", "gpu003"], "fault": None}


@pytest.mark.parametrize("words", [["--name", "two", "gpu001", "clear"], ["gpu001", "clear", "--name", "two"]])
def test_the_lab_is_named_before_or_after(done: list[tuple[object, ...]], words: list[str]) -> None:
    fault(*words)
    assert done == [("clear", "two", "gpu001")]


@pytest.mark.parametrize("words", [["--name", "two", "clear"], ["--name=two", "clear"], ["clear", "--name", "two"]])
def test_all_of_a_named_lab_are_mended(done: list[tuple[object, ...]], words: list[str]) -> None:
    fault(*words)
    assert [call[1:] for call in done] == [("two", "gpu001"), ("two", "gpu002"), ("two", "gpu003")]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["xid", "--gpu", "3", "--code", "79"], "name the node before the fault"),
        (["slurmd-down"], "name the node before the fault"),
        (["gpu009", "clear"], "gpu009"),
        (["gpu001"], "Missing command"),
        (["gpu001", "melt"], "melt"),
        (["gpu001", "clear", "--name", "three"], "there is no lab 'three'"),
    ],
)
def test_what_cannot_be_is_refused(done: list[tuple[object, ...]], words: list[str], why: str) -> None:
    with pytest.raises(click.UsageError, match=why):
        fault(*words)
    assert done == []
