"""The child process: whatever becomes of it, the parent has an answer or a typed error, in time."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetward.slurm.client import SlurmOutOfReachError
from fleetward.slurm.pyslurm_backend import PyslurmClient
from fleetward.slurm.recorded import RecordedClient
from fleetward.slurm.worker import Worker, WorkerError

MODULE = """
import os, signal, sys, time
__version__ = "25.11.2"
class PyslurmError(Exception): pass
class Job: pass
class Thing:
    def __init__(self, **values): self.__dict__.update(values)
class slurmctld:
    @staticmethod
    def ping_all(): return [Thing(hostname="head", is_responding=True)]
class Nodes:
    @staticmethod
    def load():
        {nodes}
        return {{"gpu001": Thing(
            state="MIXED+DRAIN", partitions=["gpu"], configured_gres={{"gpu:h100": 8}},
            allocated_gres={{"gpu": 3, "gpu:h100": 2}}, total_cpus=8, allocated_cpus=1, real_memory=16000,
            allocated_memory=1024, reason="fan\\x1b[31m", reason_user="root", reason_time=1795220599)}}
class Jobs:
    @staticmethod
    def load(): return {{12: Thing(
        id=12, name="na\\nme", user_name="ada", account="research", partition="gpu", qos="normal", state="RUNNING",
        state_reason="None", allocated_nodes="gpu[001-002]", num_nodes=2, cpus=16,
        gpus={{"gpu": Thing(count=16), "gpu:h100": Thing(count=16)}}, run_time=62, time_limit=10,
        submit_time=1795220144, start_time=None, requeue_count=1, working_directory="/home/ada",
        array_tasks_waiting=None, array_task_id=None)}}
sys.modules["pyslurm.slurmctld"] = slurmctld
{start}
"""


def module(nodes: str = "pass", start: str = "") -> str:
    return MODULE.format(nodes=nodes, start=start)


Make = Callable[[str], Path]


@pytest.fixture
def worker(interpreter: Make) -> Iterator[Callable[..., Worker]]:
    made: list[Worker] = []

    def make(text: str, call_limit: float = 10.0, start_limit: float = 10.0) -> Worker:
        made.append(Worker(interpreter(text), start_limit=start_limit, call_limit=call_limit))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_several_questions_go_to_one_child(worker: Callable[..., Worker]) -> None:
    client = PyslurmClient(worker(module()), RecordedClientStub(), fail)
    (node,) = client.nodes().items
    assert (node.name, node.state, node.flags) == ("gpu001", "MIXED", ("DRAIN",))
    assert (node.gpus, node.gpus_allocated) == ({"h100": 8}, {"h100": 2, "gpu": 1})
    assert (node.reason, node.reason_by) == ("fan\x1b[31m", "root")
    (job,) = client.jobs().items
    assert (job.id, job.name, job.nodes, job.gpus) == ("12", "na\nme", ("gpu001", "gpu002"), {"h100": 16})
    assert (job.elapsed, job.time_limit, job.restarts, job.reason) == (62, 600, 1, "")
    assert [controller.host for controller in client.ping()] == ["head"]
    assert client.backend == "pyslurm"


class RecordedClientStub(RecordedClient):
    """A client that must not be asked."""

    def __init__(self) -> None:
        super().__init__(Path(__file__).parent / "recordings" / "slurm-24.11")


def fail(text: str) -> None:
    raise AssertionError(f"no fall back was due: {text}")


DEATHS = {
    "killed": (module(nodes="os.kill(os.getpid(), signal.SIGKILL)"), "SIGKILL"),
    "segfault": (module(nodes="os.kill(os.getpid(), signal.SIGSEGV)"), "SIGSEGV"),
    "abort after a word on stderr": (
        module(nodes="os.write(2, b'assertion failed\\n'); os.abort()"),
        "assertion failed",
    ),
    "fatal at import": (
        module(start="os.write(2, b'fatal: no slurm.conf\\n'); os._exit(1)"),
        "status 1: fatal: no slurm",
    ),
    "killed at import": (module(start="os.kill(os.getpid(), signal.SIGKILL)"), "SIGKILL"),
    "no such module": ("raise ImportError('libslurmfull.so')", "libslurmfull.so"),
    "hang": (module(nodes="time.sleep(60)"), "no answer within 0.3 s"),
    "exception": (module(nodes="raise PyslurmError('Invalid something')"), "Invalid something"),
    "another shape": (module(nodes="return {'x': Thing(state='IDLE')}"), "AttributeError"),
}


@pytest.mark.parametrize("death", DEATHS)
def test_the_command_line_answers_after(death: str, worker: Callable[..., Worker], recording: Path) -> None:
    text, why = DEATHS[death]
    notes: list[str] = []
    limit = 0.3 if death == "hang" else 10.0
    client = PyslurmClient(worker(text, call_limit=limit), RecordedClient(recording), notes.append)
    found = client.nodes()
    assert found.backend == "recorded"
    assert [node.name for node in found.items] == ["gpu001", "gpu002", "gpu003"]
    assert len(notes) == 1
    assert why in notes[0]
    assert client.jobs().backend == "recorded"
    assert len(notes) == 1, "one note is enough"


def test_a_hang_at_import_ends_in_time(worker: Callable[..., Worker]) -> None:
    began = time.monotonic()
    with pytest.raises(WorkerError, match=r"no answer within 0\.3 s"):
        worker(module(start="time.sleep(60)"), start_limit=0.3).call("nodes")
    assert time.monotonic() - began < 5


def test_a_child_killed_between_two_questions_is_noticed(worker: Callable[..., Worker], tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = worker(module(start=f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))"))
    child.call("nodes")
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    with pytest.raises(WorkerError, match="SIGKILL"):
        child.call("nodes")


def test_what_the_library_prints_is_no_answer(worker: Callable[..., Worker]) -> None:
    noisy = worker(module(nodes="print('a line', flush=True); os.write(1, b'{}\\n')"))
    assert noisy.call("nodes")[0]["name"] == "gpu001"


def test_a_silent_slurmctld_is_out_of_reach_and_asked_only_once(worker: Callable[..., Worker]) -> None:
    text = module(nodes="raise PyslurmError('Unable to contact slurm controller (connect failure)')")
    with pytest.raises(SlurmOutOfReachError, match="Unable to contact"):
        PyslurmClient(worker(text), RecordedClientStub(), fail).nodes()


def test_no_child_is_left(worker: Callable[..., Worker], tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = worker(module(start=f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))"))
    child.call("ping")
    child.close()
    assert not Path(f"/proc/{pid_file.read_text()}").exists()


def test_an_interpreter_that_is_not_there_is_an_error_of_the_worker(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="cannot be started"):
        Worker(tmp_path / "nowhere").call("nodes")
