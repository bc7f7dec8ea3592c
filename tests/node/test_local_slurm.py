"""sinfo and scontrol as a node calls them: recorded answers of two releases, and programs that really run."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetward.node.deadline import Deadline
from fleetward.node.local_drain import SlurmNode
from fleetward.node.local_slurm import SlurmPrograms, parse
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings

if TYPE_CHECKING:
    from conftest import NodeFiles

RECORDINGS = Path(__file__).parent / "recordings"
SEPARATOR = "~0123456789ab~"
OURS = "fleetward:local-gpu_lost node_problem: GPU 3: GPU is lost"
PRINTED = """\
echo "$*" >> {root}/calls
env | sort > {root}/environment
separator=$(printf '%s' "$*" | sed 's/.*NodeList:0\\(~[0-9a-f]*~\\).*/\\1/')
printf 'gpu001%sidle+drain%s12%sa reason%s\\n' "$separator" "$separator" "$separator" "$separator"
"""


@pytest.mark.parametrize("release", ["24.11", "26.05"])
def test_a_recorded_answer_is_read(release: str) -> None:
    found = parse((RECORDINGS / f"sinfo-{release}").read_text(), SEPARATOR)
    assert list(found) == ["gpu001", "gpu002", "gpu003", "gpu004"]
    assert found["gpu001"].reason == OURS
    assert found["gpu001"].reason_at > 1_795_000_000
    assert found["gpu002"].reason == "two\nlines, = and 'quotes' [x@1] ~abc"
    assert found["gpu003"].state == {"down", "drain"}
    assert found["gpu004"] == SlurmNode("gpu004", frozenset({"unknown", "not_responding"}), "", 0)
    drained = {name: (one.has_drained_itself, one.is_drained, one.is_resumable) for name, one in found.items()}
    assert drained == {
        "gpu001": (True, True, True),
        "gpu002": (False, True, True),
        "gpu003": (False, True, False),
        "gpu004": (False, False, False),
    }
    assert not any(one.is_in_service for one in found.values())


@pytest.mark.parametrize(
    "text",
    [
        "gpu001",
        "gpu001#idle#",
        "gpu001#idle#0#why#gpu002#",
        "gpu001#idle#0#why#sinfo: error: gone",
        "#idle#0#why#",
        "gpu[001-002]#idle#0#why#",
        "gpu001##0#why#",
        "gpu001#id le#0#why#",
    ],
)
def test_half_an_answer_is_none(text: str) -> None:
    with pytest.raises(ProbeError, match="sinfo's answer"):
        parse(text, "#")


@settings(deadline=None)
@given(st.text())
def test_whatever_stands_there_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text, "#")
    except ProbeError:
        return
    assert all(name and one.state for name, one in found.items())


@pytest.mark.parametrize("at", ["Unknown", "", "-5", "1e3", "9" * 30, "²"])
def test_a_time_that_is_none_is_0(at: str) -> None:
    assert parse(f"gpu001#idle#{at}#why#", "#")["gpu001"].reason_at == 0


def programs(files: "NodeFiles", seconds: float = 20) -> SlurmPrograms:
    return SlurmPrograms(Surroundings(files.root), Deadline(seconds))


def test_the_programs_are_called_with_lists_of_arguments_and_nothing_that_sways_them(
    node_files: "NodeFiles", monkeypatch: pytest.MonkeyPatch
) -> None:
    node_files.program("sinfo", PRINTED.format(root=node_files.root))
    node_files.program("scontrol", f"printf '%s|' \"$@\" >> {node_files.root}/writes")
    for name, value in {
        "SINFO_FORMAT": "%N",
        "SINFO_PARTITION": "x",
        "SLURM_CONF": "/run/slurm/conf/slurm.conf",
    }.items():
        monkeypatch.setenv(name, value)
    slurm = programs(node_files)
    assert slurm.node("gpu001") == SlurmNode("gpu001", frozenset({"idle", "drain"}), "a reason", 12)
    assert list(slurm.fleet()) == ["gpu001"]
    slurm.drain("gpu001", "fleetward:local-a node_problem: $(touch /tmp/hurt) `id` ; | state")
    slurm.resume("gpu001")
    calls = (node_files.root / "calls").read_text().splitlines()
    assert calls[0].startswith("--all --noheader --Node --nodes=gpu001 --Format=NodeList:0~")
    assert calls[1].startswith("--all --noheader --Node --Format=NodeList:0~")
    assert len({call.partition("NodeList:0")[2][:14] for call in calls}) == 2, "nobody can know the separator"
    assert (node_files.root / "writes").read_text() == (
        "update|nodename=gpu001|state=drain|reason=fleetward:local-a node_problem: $(touch /tmp/hurt) `id` ; | state|"
        "update|nodename=gpu001|state=resume|"
    )
    seen = dict(line.partition("=")[::2] for line in (node_files.root / "environment").read_text().splitlines())
    assert {key: seen.get(key) for key in ("PATH", "SLURM_TIME_FORMAT", "SLURM_CONF", "LC_ALL")} == {
        "PATH": "/usr/bin:/usr/sbin:/usr/local/bin",
        "SLURM_TIME_FORMAT": "%s",
        "SLURM_CONF": "/run/slurm/conf/slurm.conf",
        "LC_ALL": "C",
    }
    assert not [key for key in seen if key.startswith("SINFO")]


def test_a_slurm_that_does_not_answer_costs_its_limit(node_files: "NodeFiles") -> None:
    node_files.program("sinfo", "exec sleep 60")
    begun = time.monotonic()
    with pytest.raises(ProbeError, match=r"^sinfo.* no answer within"):
        programs(node_files, 1.0).fleet()
    assert time.monotonic() - begun < 10
    with pytest.raises(ProbeError, match="no time is left to ask scontrol"):
        programs(node_files, 0.1).drain("gpu001", "why")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'sinfo: error: Unable to contact slurm controller' >&2; exit 1", "Unable to contact"),
        ("exit 1", "it says nothing"),
        ("echo gpu001 idle", "not whole"),
        ("true", "Slurm knows no node gpu001"),
        ("kill -9 $$", "failed with -9"),
    ],
)
def test_an_answer_that_is_none_says_so(node_files: "NodeFiles", script: str, words: str) -> None:
    node_files.program("sinfo", script)
    with pytest.raises(ProbeError, match=words):
        programs(node_files).node("gpu001")


def test_a_node_without_slurm_says_so(node_files: "NodeFiles") -> None:
    with pytest.raises(ProbeError, match="sinfo is not installed"):
        programs(node_files).fleet()


@pytest.mark.parametrize("name", ["ALL", "all", "gpu[1-9]", "a,b", "", "-n", "a b", "gpu001\n"])
def test_what_might_be_several_nodes_is_refused(node_files: "NodeFiles", name: str) -> None:
    slurm = programs(node_files)
    for call in (slurm.node, slurm.resume):
        with pytest.raises(ProbeError, match="is not the name of one node"):
            call(name)
