"""Logs of burn-in jobs: read from a shared folder or fetched from their node, and never taken for what they are not."""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.burn_ins import BurnInJob, JobState, Phase
from fleetward.operations.qualification.job_logs import LONGEST, JobLogs, NoLogError, unpacked
from fleetward.runbooks.actions.node_run import NodeStep, NodeStepState, NoNodes

JOB = BurnInJob(
    7, Phase.PAIR, 0, ("gpu001", "gpu002"), ("ib_write",), "ab" * 16, JobState.SUBMITTED, "12", "", datetime.now(UTC)
)


def packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode())).decode()


@dataclass
class Node(NoNodes):
    """Answers with one step."""

    step: NodeStep = field(default_factory=lambda: NodeStep(NodeStepState.ENDED, 1.0, 0))
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def run(self, node: str, argv: Sequence[str], marker: str, seconds: float, up_for: float) -> NodeStep:
        self.asked.append((node, tuple(argv)))
        return self.step


def test_it_is_fetched_from_the_first_node_under_a_name_that_nobody_knows() -> None:
    node = Node(NodeStep(NodeStepState.ENDED, 1.0, 0, output=packed("what it said\n") + "\n"))
    logs = JobLogs(node)
    assert logs.read(JOB) == "what it said\n"
    ((where, argv),) = node.asked
    assert (where, argv[-1]) == ("gpu001", "/var/tmp/fleetward-burn-in-7-abababab.log")


def test_the_program_really_packs_what_is_read(tmp_path: Path) -> None:
    import subprocess

    from fleetward.operations.qualification.job_logs import _PACK

    log = tmp_path / "a name with spaces; and more"
    log.write_text("numbers\n" * 1000)
    done = subprocess.run(["bash", "-o", "pipefail", "-c", _PACK, log], capture_output=True, text=True, check=True)
    assert unpacked(done.stdout, "here") == "numbers\n" * 1000
    gone = subprocess.run(["bash", "-o", "pipefail", "-c", _PACK, tmp_path / "gone"], capture_output=True, check=False)
    assert gone.returncode != 0


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (NodeStep(NodeStepState.ENDED, 1.0, 1), "is not there"),
        (NodeStep(NodeStepState.RUNNING, 1.0), "was not read within"),
        (NodeStep(NodeStepState.LOST, 1.0), "was not read within"),
        (NodeStep(NodeStepState.ENDED, 1.0, 0, output="x", cut=9), "is too long"),
        (NodeStep(NodeStepState.ENDED, 1.0, 0, output="no base64!"), "damaged"),
        (NodeStep(NodeStepState.ENDED, 1.0, 0, output=packed("cut off")[:-8]), "cut off on its way"),
        (NodeStep(NodeStepState.ENDED, 1.0, 0, output=packed("x" * (LONGEST + 2))), "longer than"),
    ],
)
def test_what_is_no_log_says_why(step: NodeStep, why: str) -> None:
    with pytest.raises(NoLogError, match=why):
        JobLogs(Node(step)).read(JOB)


@given(st.text())
def test_whatever_a_node_answers_is_a_log_or_a_reason(text: str) -> None:
    try:
        assert isinstance(unpacked(text, "node"), str)
    except NoLogError as error:
        assert "node" in str(error)


@given(st.text())
def test_what_was_packed_comes_back(text: str) -> None:
    assert unpacked(packed(text), "node") == text


class TestSharedFolder:
    def test_is_read_without_asking_the_node(self, tmp_path: Path) -> None:
        logs = JobLogs(NoNodes(), str(tmp_path))
        logs.path(JOB).write_bytes(b"said\xff")
        assert logs.read(JOB) == "said\ufffd"

    def test_a_log_that_is_not_there_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(NoLogError, match="No such file"):
            JobLogs(NoNodes(), str(tmp_path)).read(JOB)
