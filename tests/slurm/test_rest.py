"""The backend that asks slurmrestd: versions, errors, what cannot be read, and its token."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fleetward.model.errors import FleetwardError, UsageError
from fleetward.slurm.backends import connect
from fleetward.slurm.client import NoSuchJobError, SlurmOutOfReachError, SlurmRefusedError
from fleetward.slurm.command_line import CommandLineClient
from fleetward.slurm.process import Finished
from fleetward.slurm.rest import VERSIONS, RestAddress, RestClient

TOKEN = "eyJ-secret"
Answer = Callable[[httpx.Request], httpx.Response]


def number(value: float, *, known: bool = True, infinite: bool = False) -> dict[str, Any]:
    return {"set": known, "infinite": infinite, "number": value}


NODE = {
    "name": "gpu001",
    "state": ["MIXED", "DRAIN", "NOT_RESPONDING"],
    "partitions": ["gpu"],
    "gres": "gpu:h100:8(S:0-1)",
    "gres_used": "gpu:h100:2(IDX:0-1)",
    "cpus": 64,
    "alloc_cpus": 8,
    "real_memory": 1000,
    "alloc_memory": 10,
    "reason": "a fan is loud",
    "reason_set_by_user": "bob",
    "reason_changed_at": number(1_795_857_843),
}
JOB = {
    "job_id": 7,
    "array_job_id": number(0),
    "array_task_id": number(0, known=False),
    "array_task_string": "",
    "name": "na me\n\x1b[31m",
    "user_name": "ada",
    "account": "research",
    "partition": "gpu",
    "qos": "normal",
    "job_state": ["RUNNING"],
    "state_reason": "None",
    "nodes": "gpu[001-002]",
    "node_count": number(2),
    "cpus": number(16),
    "tres_alloc_str": "cpu=16,gres/gpu=4,gres/gpu:h100=4",
    "tres_req_str": "cpu=16,gres/gpu=4",
    "gres_detail": ["gpu:h100:2(IDX:0-1)", "gpu:h100:2(IDX:6-7)"],
    "time_limit": number(0, infinite=True),
    "submit_time": number(1000),
    "start_time": number(1060),
    "end_time": number(9000),
    "restart_cnt": 1,
    "current_working_directory": "/home/ada",
    "exit_code": {"return_code": number(0), "signal": {"id": number(0, known=False)}},
    "dependency": "afterok:6(unfulfilled)",
    "excluded_nodes": "gpu[007-008]",
    "required_nodes": "",
    "resv_name": "",
    "standard_output": "/home/ada/train-7.log",
    "standard_error": "",
}


def client(answer: Answer) -> RestClient:
    programs = CommandLineClient(runner=lambda argv, **_: Finished(1, "", "sbatch: not here"))
    address = RestAddress("http://head:6820", "ada", lambda: TOKEN)
    return RestClient(address, programs, lambda: 1100.0, httpx.MockTransport(answer))


def told(document: object, status: int = 200, serves: str = VERSIONS[0]) -> Answer:
    """Answer every question about one version with one document."""

    def answer(request: httpx.Request) -> httpx.Response:
        if f"/{serves}/" not in request.url.path:
            return httpx.Response(404, text="Unable find requested URL.")
        return httpx.Response(200 if request.url.path.endswith("/ping/") else status, json=document)

    return answer


def test_nodes_are_read_and_what_is_none_is_handed_back() -> None:
    found = client(told({"nodes": [NODE, NODE | {"gres": "gpu::"}, {"name": "half"}, 7, None]})).nodes()
    (node,) = found.items
    assert (node.state, node.flags) == ("MIXED", ("DRAIN", "NOT_RESPONDING"))
    assert (node.gpus, node.gpus_allocated) == ({"h100": 8}, {"h100": 2})
    assert (node.reason, node.reason_by) == ("a fan is loud", "bob")
    assert len(found.unread) == 4
    assert '"half"' in found.unread[1]


def test_a_job_is_read_with_its_gpus_on_each_node() -> None:
    found = client(told({"jobs": [JOB]})).job("7")
    job = found.job
    assert (job.id, job.elapsed, job.time_limit, job.restarts) == ("7", 40, None, 1)
    assert (job.name, job.reason, job.gpus) == ("na me\n\x1b[31m", "", {"h100": 4})
    assert [(one.node, one.indices) for one in found.gpus] == [("gpu001", (0, 1)), ("gpu002", (6, 7))]
    assert (found.dependency, found.excluded) == ("afterok:6(unfulfilled)", ("gpu007", "gpu008"))
    assert (found.output, found.exit_code) == ("/home/ada/train-7.log", 0)


@pytest.mark.parametrize(
    ("changes", "id", "elapsed"),
    [
        ({"array_job_id": number(5), "array_task_id": number(3)}, "5_3", 40),
        ({"array_job_id": number(5), "array_task_string": "4-9%2", "job_state": ["PENDING"]}, "5_[4-9%2]", 0),
        ({"job_state": ["COMPLETED"], "end_time": number(1070)}, "7", 10),
        ({"job_state": ["COMPLETED", "COMPLETING"], "end_time": number(1070)}, "7", 10),
        ({"job_state": ["PENDING"], "start_time": number(0)}, "7", 0),
    ],
)
def test_ids_and_times_are_as_squeue_shows_them(changes: dict[str, Any], id: str, elapsed: int) -> None:
    (job,) = client(told({"jobs": [JOB | changes]})).jobs().items
    assert (job.id, job.elapsed) == (id, elapsed)


def test_a_job_that_leaves_its_nodes_says_so() -> None:
    (job,) = client(told({"jobs": [JOB | {"job_state": ["FAILED", "COMPLETING"]}]})).jobs().items
    assert job.state == "COMPLETING"
    assert not job.ended


def test_of_an_array_one_task_is_taken() -> None:
    tasks = [JOB | {"job_id": 10 + n, "array_job_id": number(9), "array_task_id": number(n)} for n in (1, 2)]
    assert client(told({"jobs": tasks})).job("9_2").job.number == 12
    with pytest.raises(UsageError, match="array"):
        client(told({"jobs": tasks})).job("9")


@pytest.mark.parametrize("served", VERSIONS)
def test_the_first_version_that_is_served_is_spoken(served: str) -> None:
    assert client(told({"nodes": [NODE]}, serves=served)).nodes().items
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return told({"nodes": [], "pings": []}, serves=served)(request)

    whole = client(answer)
    whole.nodes()
    whole.nodes()
    assert sum("/nodes" in path for path in asked) == 2
    assert len(asked) == 2 + VERSIONS.index(served) + 1, "it is found out once"


def test_where_no_version_is_served_it_says_which_are_spoken() -> None:
    with pytest.raises(SlurmRefusedError, match=r"v0\.0\.42"):
        client(told({}, serves="v0.0.30")).nodes()


def problem(text: str, number: int = 1) -> dict[str, Any]:
    return {"errors": [{"description": "Failure", "error_number": number, "error": text}], "nodes": []}


@pytest.mark.parametrize(
    ("document", "status", "kind", "words"),
    [
        (problem("Protocol authentication error"), 511, SlurmRefusedError, "authentication"),
        (problem("Unable to contact slurm controller (connect failure)"), 500, SlurmOutOfReachError, "controller"),
        (problem("Invalid job id specified", 2017), 404, NoSuchJobError, "Invalid job id"),
        (problem("Access denied"), 200, SlurmRefusedError, "denied"),
        ({"errors": "odd"}, 500, SlurmRefusedError, "odd"),
        ({"errors": [7]}, 500, SlurmRefusedError, "7"),
        ([], 200, SlurmRefusedError, "200"),
        ("text", 502, SlurmRefusedError, "502"),
        ({"nodes": None}, 200, SlurmRefusedError, "something else"),
        ({"nodes": {}}, 200, SlurmRefusedError, "something else"),
        ({}, 200, SlurmRefusedError, "something else"),
    ],
)
def test_an_error_says_what_slurm_said(document: object, status: int, kind: type[FleetwardError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        client(told(document, status)).nodes()
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("")]
)
def test_one_that_does_not_answer_is_out_of_reach(error: httpx.HTTPError) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(SlurmOutOfReachError, match="slurmrestd at http://head:6820") as caught:
        client(answer).nodes()
    assert TOKEN not in str(caught.value)


def test_what_is_no_json_is_no_answer() -> None:
    answers = {"/ping/": httpx.Response(200, json={}), "/nodes": httpx.Response(200, text="[" * 100_000)}
    with pytest.raises(SlurmRefusedError, match="answers 200"):
        client(lambda request: next(one for path, one in answers.items() if path in request.url.path)).nodes()


def test_the_token_goes_with_every_question_and_a_write_says_what_it_changes() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"errors": []})

    whole = client(answer)
    whole.drain("gpu001", 'a "quoted" reason; state=resume')
    whole.hold("7")
    whole.resume("gpu001")
    assert {request.headers["X-SLURM-USER-TOKEN"] for request in asked} == {TOKEN}
    assert [(one.method, one.url.path.split("/", 3)[3], json.loads(one.content)) for one in asked[1:]] == [
        ("POST", "node/gpu001", {"state": ["DRAIN"], "reason": 'a "quoted" reason; state=resume'}),
        ("POST", "job/7", {"hold": True}),
        ("POST", "node/gpu001", {"state": ["RESUME"]}),
    ]
    for wrong in ("gpu001/../../slurmdb", "gpu[001-999]", "ALL", ""):
        with pytest.raises(UsageError):
            whole.drain(wrong, "x")
    with pytest.raises(UsageError):
        whole.hold("7/../8")
    assert len(asked) == 4


def test_what_it_cannot_do_goes_to_slurms_programs() -> None:
    with pytest.raises(FleetwardError, match="sbatch: not here"):
        client(told({})).submit("#!/bin/sh\n", Path("/tmp"))


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "FLEETWARD_SLURM_REST_URL"),
        ({"FLEETWARD_SLURM_REST_URL": "head:6820"}, "http://HOST:PORT"),
        ({"FLEETWARD_SLURM_REST_URL": "http://head:6820"}, "scontrol token"),
    ],
)
def test_what_is_missing_is_told(environment: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words), connect("rest", print, environment):
        pass


@pytest.mark.parametrize("content", ["", "SLURM_JWT=", "a b", "\x00", "é"])
def test_a_file_without_a_token_is_told(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    variables = {"FLEETWARD_SLURM_REST_URL": "http://127.0.0.1:9", "FLEETWARD_SLURM_REST_TOKEN_FILE": str(file)}
    with connect("rest", print, variables) as rest, pytest.raises(UsageError, match="no token"):
        rest.nodes()


def test_a_token_is_read_anew_for_each_question(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"SLURM_JWT={TOKEN}\n")
    variables = {"FLEETWARD_SLURM_REST_URL": "http://127.0.0.1:9", "FLEETWARD_SLURM_REST_TOKEN_FILE": str(file)}
    with connect("rest", print, variables) as rest:
        with pytest.raises(SlurmOutOfReachError):
            rest.nodes()
        file.unlink()
        with pytest.raises(UsageError, match="No such file"):
            rest.nodes()
