"""`fleetward lab fault`: the node comes first, and no node stands for all of them where that makes sense."""

import json
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fleetward.commands.lab import lab
from fleetward.lab import fault_kinds, faults, lifecycle
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
    for function in ("inject", "stop_slurmd", "clear"):
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
        ("inject", "lab", "gpu002", fault_kinds.xid(3, 79)),
        ("stop_slurmd", "lab", "gpu002"),
        ("clear", "lab", "gpu002"),
    ]


@pytest.mark.parametrize(
    ("words", "made", "told"),
    [
        ("xid --gpu 3 --code 13", fault_kinds.xid(3, 13), {"gpu": 3, "code": 13}),
        ("gpu-lost --gpu 3", fault_kinds.xid(3, 79), {"gpu": 3}),
        ("gpu-hang --gpu 3", fault_kinds.gpu_hang(3), {"gpu": 3}),
        ("ecc --gpu 3 --corrected 4", fault_kinds.ecc(3, 4, 0), {"gpu": 3, "corrected": 4, "uncorrected": 0}),
        ("ecc --gpu 3 --uncorrected 1", fault_kinds.ecc(3, 0, 1), {"gpu": 3, "corrected": 0, "uncorrected": 1}),
        ("row-remap --gpu 3 --pending", fault_kinds.row_remap(3, failed=False), {"gpu": 3, "state": "pending"}),
        ("row-remap --gpu 3 --failed", fault_kinds.row_remap(3, failed=True), {"gpu": 3, "state": "failed"}),
        ("nvlink-down --gpu 3 --link 5", fault_kinds.nvlink_down(3, 5), {"gpu": 3, "link": 5}),
        ("hot --gpu 3 --celsius 93", fault_kinds.hot(3, 93), {"gpu": 3, "celsius": 93}),
        ("fabric --gpu 3", fault_kinds.fabric(3, "unhealthy"), {"gpu": 3, "state": "unhealthy"}),
        ("fabric --gpu 3 --state failed", fault_kinds.fabric(3, "failed"), {"gpu": 3, "state": "failed"}),
        (
            "recovery --gpu 3 --action bus-reset",
            fault_kinds.recovery(3, "bus-reset"),
            {"gpu": 3, "action": "bus-reset"},
        ),
        ("driver-gone", fault_kinds.driver_gone(), {}),
        ("driver-mismatch", fault_kinds.driver_mismatch(), {}),
    ],
)
def test_a_fault_of_each_kind(
    done: list[tuple[object, ...]], words: str, made: fault_kinds.Fault, told: dict[str, object]
) -> None:
    shown = json.loads(fault("gpu002", *words.split(), "--json"))
    assert done == [("inject", "lab", "gpu002", made)]
    assert shown == {"node": "gpu002", "fault": words.partition(" ")[0], **told}


def test_throttling_begins_now(done: list[tuple[object, ...]]) -> None:
    before = time.time()
    told = fault("gpu002", "throttle", "--gpu", "3", "--reason", "power-brake")
    made = done[0][3]
    assert isinstance(made, fault_kinds.Fault)
    assert made.settings["clock_event_reasons"] == 0x88
    assert before - 1 <= float(made.settings["throttle_since"]) <= time.time()
    assert told == "throttled (power-brake) on GPU 3 of gpu002\n"


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
        (["gpu-lost", "--gpu", "3"], "name the node before the fault"),
        (["gpu001", "gpu-lost"], "gpu"),
        (["gpu001", "row-remap", "--gpu", "3"], "--pending"),
        (["gpu001", "throttle", "--gpu", "3", "--reason", "boredom"], "boredom"),
        (["gpu001", "nvlink-down", "--gpu", "3", "--link", "36"], "36"),
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
