"""What a node keeps from one run to the next, and that one run at a time has it."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetward.node.local_drain import LocalState, OwnDrain, Streak
from fleetward.node.local_state import RunGoesOnError, StateError, StateFolder

WHOLE = LocalState({"gpu_lost": Streak(3, 0)}, 1000.5, OwnDrain("gpu_lost", "fleetward:local-gpu_lost …", 990.0, True))


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    states = StateFolder(tmp_path / "var" / "health")
    with states.held():
        assert states.read() == LocalState()
        for state in (WHOLE, LocalState()):
            states.keep(state)
            assert StateFolder(states.folder).read() == state
    assert sorted(path.name for path in states.folder.iterdir()) == ["local_drain.json", "lock"]


def whole(**changed: object) -> str:
    return json.dumps({"streaks": {}, "at": 0.0, "drain": None, **changed})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        "{}",
        "[" * 100_000,
        whole(streaks=[]),
        whole(streaks={"a": 1}),
        whole(streaks={"a": {"failed": -1, "passed": 0}}),
        whole(streaks={"a": {"failed": 1.5, "passed": 0}}),
        whole(at="now"),
        whole(at=float("nan")),
        whole(drain="gpu_lost"),
        whole(drain={"check": "a"}),
        whole(drain={"check": "a", "reason": "", "at": 0, "settled": True}),
        whole(drain={"check": "a", "reason": "b", "at": 0, "settled": 1}),
        whole(drain={"check": 5, "reason": "b", "at": 0, "settled": True}),
    ],
)
def test_a_damaged_state_is_told_and_never_guessed(tmp_path: Path, text: str) -> None:
    states = StateFolder(tmp_path)
    states.file.write_text(text)
    with pytest.raises(StateError, match="is damaged, and begun anew"):
        states.read()


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda one: (
            st.lists(one) | st.dictionaries(st.sampled_from(["streaks", "at", "drain", "check", "failed"]), one)
        ),
    )
)
def test_whatever_json_stands_there_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, found: object) -> None:
    states = StateFolder(tmp_path_factory.mktemp("state"))
    states.file.write_text(json.dumps(found))
    with suppress(StateError):
        assert isinstance(states.read(), LocalState)


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be used"), StateFolder(tmp_path / "file" / "health").held():
        pass
    with pytest.raises(StateError, match="cannot be written"):
        StateFolder(tmp_path / "none").keep(WHOLE)


HOLDER = """
import sys, time
from pathlib import Path
from fleetward.node.children import begun
from fleetward.node.local_state import StateFolder
with StateFolder(Path(sys.argv[1])).held():
    child = begun(lambda: time.sleep(60), 60)
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_run_at_a_time_has_it_and_one_that_was_killed_lets_it_go(tmp_path: Path) -> None:
    states = StateFolder(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunGoesOnError, match="another run is going on"), states.held():
            pass
        os.kill(other.pid, signal.SIGKILL)
        other.wait(10)
        with states.held():
            states.keep(WHOLE)
