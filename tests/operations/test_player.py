"""Plays of runbook steps: on one host and no other, one at a time, and what became of them in a step's words."""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetward.model.errors import ExitCode, FleetwardError, OutOfReachError, UsageError
from fleetward.operations import player as players
from fleetward.operations.playbook import PlaybookResult, PlaybookRun, TaskFailure
from fleetward.operations.player import AnsiblePlayer
from fleetward.runbooks.actions.ansible_play import Play, Played, Player

PLAY = Play("site", "gpu001", 3600)
FULL = TaskFailure("gpu001", "nvidia_driver : Install", "no space left")
GONE = TaskFailure("gpu001", "Gathering Facts", "timed out", unreachable=True)

RunPlaybook = Callable[[PlaybookRun, Callable[[str], None]], PlaybookResult]


def unheard(_: str) -> None:
    return


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    nobody = {
        "ansible_host": "127.0.0.1",
        "ansible_port": 1,
        "ansible_ssh_common_args": "-o BatchMode=yes -o ControlPath=none",
    }
    hosts = {"gpu001": local, "gpu002": local, "gone": nobody}
    groups = {"gpu_nodes": {"hosts": {"gpu001": {}, "gpu002": {}}}}
    path = tmp_path / "hosts.json"
    path.write_text(json.dumps({"all": {"hosts": hosts, "children": groups}}))
    return path


@pytest.fixture
def player(inventory: Path) -> AnsiblePlayer:
    return AnsiblePlayer(inventory, variables={"site": "lab"}, environment={"ANSIBLE_VAULT_PASSWORD_FILE": "/vault"})


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[PlaybookResult], list[PlaybookRun]]:
    """Return a way to say how Ansible ends; it returns the list of what was to be run."""

    def make(result: PlaybookResult) -> list[PlaybookRun]:
        runs: list[PlaybookRun] = []

        def run(wanted: PlaybookRun, on_task: Callable[[str], None]) -> PlaybookResult:
            runs.append(wanted)
            on_task("common : Set the time zone")
            return result

        monkeypatch.setattr(players, "run_playbook", run)
        return runs

    return make


Ends = Callable[[PlaybookResult], list[PlaybookRun]]


def test_it_is_what_the_step_plays_with(player: AnsiblePlayer) -> None:
    found: Player = player
    assert found is player


def test_one_node_is_played_as_the_step_says(player: AnsiblePlayer, ends: Ends, inventory: Path) -> None:
    runs = ends(PlaybookResult(0, {"gpu001": 3}, {"gpu001": 40}))
    heard: list[str] = []
    played = player.play(Play("site", "gpu001", 7200.5, ("munge", "nvidia_driver")), heard.append)
    assert played == Played(40, 3)
    assert heard == ["common : Set the time zone\n"]
    [run] = runs
    assert (run.playbook, run.limit, run.tags, run.seconds) == ("site", "gpu001", "munge,nvidia_driver", 7200)
    assert (run.inventory, run.variables, run.check) == (inventory, {"site": "lab"}, False)
    assert run.environment == {"ANSIBLE_VAULT_PASSWORD_FILE": "/vault"}


def test_without_tags_all_of_it_is_played(player: AnsiblePlayer, ends: Ends) -> None:
    runs = ends(PlaybookResult(0))
    player.play(PLAY, unheard)
    assert (runs[0].tags, runs[0].skip_tags) == (None, None)


@pytest.mark.parametrize(
    ("result", "played"),
    [
        (PlaybookResult(0, {"gpu001": 0}, {"gpu001": 40}), Played(40, 0)),
        (PlaybookResult(0), Played(0, 0)),
        (
            PlaybookResult(2, {"gpu001": 1}, {"gpu001": 12}, (FULL,)),
            Played(12, 1, ("gpu001: nvidia_driver : Install: no space left",)),
        ),
        (PlaybookResult(4), Played(0, 0, ("Ansible ended with status 4 before any task failed: it said nothing",))),
        (
            PlaybookResult(1, last_words="\x1b[31m[ERROR]: The role 'common'\n  was not found"),
            Played(
                0,
                0,
                ("Ansible ended with status 1 before any task failed: [ERROR]: The role 'common' was not found",),
            ),
        ),
        (PlaybookResult(254, timed_out=True), Played(0, 0, timed_out=True)),
        (PlaybookResult(254, failures=(FULL, GONE), timed_out=True), Played(0, 0, timed_out=True)),
    ],
)
def test_how_it_ended_is_told(player: AnsiblePlayer, ends: Ends, result: PlaybookResult, played: Played) -> None:
    ends(result)
    assert player.play(PLAY, unheard) == played


@pytest.mark.parametrize("rescued", [FULL, GONE])
def test_what_failed_and_was_rescued_is_no_failure(player: AnsiblePlayer, ends: Ends, rescued: TaskFailure) -> None:
    ends(PlaybookResult(0, {"gpu001": 2}, {"gpu001": 41}, (rescued,)))
    assert player.play(PLAY, unheard) == Played(41, 2)


def test_a_node_that_does_not_answer_is_out_of_reach(player: AnsiblePlayer, ends: Ends) -> None:
    ends(PlaybookResult(4, failures=(FULL, GONE)))
    with pytest.raises(OutOfReachError, match="gpu001 does not answer: timed out") as caught:
        player.play(PLAY, unheard)
    assert caught.value.exit_code == ExitCode.OUT_OF_REACH


@pytest.mark.parametrize(
    "node", ["gpu_nodes", "all", "nowhere", "gpu001,gpu002", "gpu00*", "-v", "!gpu001", "gpu001:gpu002", "", "~gpu.*"]
)
def test_what_is_not_one_host_of_the_inventory_is_not_played(player: AnsiblePlayer, ends: Ends, node: str) -> None:
    runs = ends(PlaybookResult(0))
    with pytest.raises(UsageError, match="is not a host of the inventory"):
        player.play(Play("site", node, 3600), unheard)
    assert runs == []


class _Held:
    """A lock that somebody holds for longer than anybody waits."""

    def acquire(self, timeout: float) -> bool:
        assert timeout > 0
        return False


def test_a_node_that_is_being_played_is_waited_for_and_not_for_ever(player: AnsiblePlayer, ends: Ends) -> None:
    runs = ends(PlaybookResult(0))
    player._busy["gpu001"] = _Held()  # type: ignore[assignment]
    with pytest.raises(OutOfReachError, match="another play is under way on gpu001"):
        player.play(PLAY, unheard)
    assert runs == []
    player.play(Play("site", "gpu002", 3600), unheard)
    assert [run.limit for run in runs] == ["gpu002"]


def test_two_plays_of_one_node_follow_each_other_and_those_of_two_do_not(
    player: AnsiblePlayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work: list[str] = []
    most: dict[str, int] = {}
    together = threading.Barrier(2)

    def run(wanted: PlaybookRun, on_task: Callable[[str], None]) -> PlaybookResult:
        node = str(wanted.limit)
        at_work.append(node)
        most[node] = max(most.get(node, 0), at_work.count(node))
        together.wait(20)  # only a play on the other node can meet this one
        at_work.remove(node)
        return PlaybookResult(0)

    monkeypatch.setattr(players, "run_playbook", run)
    nodes = ["gpu001", "gpu001", "gpu002", "gpu002"]
    threads = [threading.Thread(target=player.play, args=[Play("site", node, 60), unheard]) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, together.broken) == ({"gpu001": 1, "gpu002": 1}, False)


def test_a_play_that_ends_with_a_mistake_holds_nobody_up(
    player: AnsiblePlayer, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(wanted: PlaybookRun, on_task: Callable[[str], None]) -> PlaybookResult:
        raise FleetwardError("no")

    monkeypatch.setattr(players, "run_playbook", run)
    with pytest.raises(FleetwardError, match="no"):
        player.play(PLAY, unheard)
    ends(PlaybookResult(0))
    assert player.play(PLAY, unheard) == Played(0, 0)


class TestReal:
    """Through the real ansible-runner, over a local connection."""

    @pytest.fixture
    def playbook(self, tmp_path: Path) -> str:
        """Return a playbook that fails, hangs, or is rescued where its tags say so."""
        tasks = [
            {
                "name": "Write",
                "ansible.builtin.copy": {"content": "x", "dest": f"{tmp_path}/{{{{ inventory_hostname }}}}"},
            },
            {"name": "Fail", "ansible.builtin.fail": {"msg": "no space left"}, "tags": ["never", "failing"]},
            {"name": "Hang", "ansible.builtin.command": {"argv": ["sleep", "60"]}, "tags": ["never", "hanging"]},
            {
                "name": "Try",
                "block": [{"name": "Fail first", "ansible.builtin.fail": {"msg": "mended below"}}],
                "rescue": [{"name": "Mend", "ansible.builtin.debug": {"msg": "mended"}}],
                "tags": ["never", "rescued"],
            },
        ]
        path = tmp_path / "played.yml"
        path.write_text(json.dumps([{"name": "Play", "hosts": "all", "gather_facts": False, "tasks": tasks}]))
        return str(path.with_suffix(""))

    def play(self, inventory: Path, playbook: str, node: str, *tags: str, seconds: float = 120) -> tuple[Played, str]:
        heard: list[str] = []
        return AnsiblePlayer(inventory).play(Play(playbook, node, seconds, tags), heard.append), "".join(heard)

    def test_the_one_host_is_played_and_its_tasks_are_told(self, inventory: Path, playbook: str) -> None:
        assert self.play(inventory, playbook, "gpu001") == (Played(1, 1), "Write\n")
        assert self.play(inventory, playbook, "gpu001") == (Played(1, 0), "Write\n")
        assert (inventory.parent / "gpu001").exists()
        assert not (inventory.parent / "gpu002").exists()

    def test_the_name_of_a_group_plays_none_of_its_hosts(self, inventory: Path, playbook: str) -> None:
        with pytest.raises(UsageError):
            self.play(inventory, playbook, "gpu_nodes")
        assert not (inventory.parent / "gpu001").exists()

    def test_tags_choose_and_a_task_that_fails_is_named(self, inventory: Path, playbook: str) -> None:
        played, heard = self.play(inventory, playbook, "gpu001", "failing")
        assert (played.failures, heard) == (("gpu001: Fail: no space left",), "Fail\n")
        assert not (inventory.parent / "gpu001").exists()

    def test_what_is_rescued_is_done(self, inventory: Path, playbook: str) -> None:
        played, heard = self.play(inventory, playbook, "gpu001", "rescued")
        assert (played.failures, "Mend\n" in heard) == ((), True)

    def test_what_has_no_end_is_ended(self, inventory: Path, playbook: str) -> None:
        began = time.monotonic()
        played, _ = self.play(inventory, playbook, "gpu001", "hanging", seconds=8)
        assert played == Played(0, 0, timed_out=True)
        assert time.monotonic() - began < 100

    def test_a_host_that_does_not_answer_is_out_of_reach(self, inventory: Path, playbook: str) -> None:
        with pytest.raises(OutOfReachError, match="gone does not answer"):
            self.play(inventory, playbook, "gone")

    def test_a_playbook_that_is_none_is_a_failure(self, inventory: Path, playbook: str) -> None:
        Path(f"{playbook}.yml").write_text("- [")
        played, _ = self.play(inventory, playbook, "gpu001")
        assert played.failures
        assert "before any task failed" in played.failures[0]
