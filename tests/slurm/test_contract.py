"""One contract for every backend, held against a real Slurm of each suite in one container.

The client runs here and the programs it calls are shell scripts that run the real ones in the container, the
interpreter of pyslurm among them. pyslurm is built by the tasks of the role that installs it.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from small_clusters import Cluster, engine, eventually, running, script, small_cluster

import fleetward
from fleetward.model.errors import UsageError
from fleetward.slurm.accounting import Attempt
from fleetward.slurm.answers import Job, Node, NodeGpus
from fleetward.slurm.client import JobUpdate, NoSuchJobError, SlurmClient, SlurmOutOfReachError, SlurmRefusedError
from fleetward.slurm.command_line import CommandLineClient
from fleetward.slurm.logs.paths import logs_of
from fleetward.slurm.pyslurm_backend import PyslurmClient
from fleetward.slurm.rest import RestAddress, RestClient
from fleetward.slurm.worker import Worker

pytestmark = pytest.mark.slurm

ON_FORKY = pytest.mark.suite("forky")  # pyslurm builds against no Slurm that trixie has
BACKENDS = ["command-line", "rest", pytest.param("pyslurm", marks=ON_FORKY)]
ODD_NAME = (
    "na me \"q' |\nJobId=99 JobState=COMPLETED \x1b[31m\n     Nodes=gpu001 CPU_IDs=0 Mem=1 GRES=gpu:h100:9(IDX:0-8)"
)


def build_pyslurm(cluster: Cluster, folder: Path) -> None:
    """Install pyslurm in the container by the tasks that install it on a head."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    allow = (
        "umask 77; mkdir -p /root/.ssh /run/sshd; echo '%s' > /root/.ssh/authorized_keys; ssh-keygen -A; /usr/sbin/sshd"
    )
    cluster.told("sh", "-c", allow % key.with_suffix(".pub").read_text().strip())
    play = folder / "play.yml"
    play.write_text(
        "- hosts: all\n  gather_facts: true\n  gather_subset: ['!all', min]\n  tasks:\n"
        "    - ansible.builtin.include_role: {name: fleetward, tasks_from: pyslurm.yml}\n"
    )
    options = f"-i {key} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    address = cluster.told("hostname", "-i").split()[0]
    playbook = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        *("--inventory", f"{address},", "--user", "root", f"--ssh-common-args={options}"),
        *("--extra-vars", json.dumps({"fleetward_wheel_cache": str(folder / "wheels")}), str(play)),
    ]
    done = subprocess.run(
        playbook,
        env=os.environ
        | {
            "ANSIBLE_ROLES_PATH": str(Path(fleetward.__file__).parent / "roles"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def cluster(node_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with small_cluster(node_image, tmp_path_factory.mktemp("programs")) as started:
        yield started


@dataclass(frozen=True)
class Case:
    """A backend before a cluster, and what it noted."""

    cluster: Cluster
    backend: str
    client: SlurmClient
    notes: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """How the command is told of it."""


@pytest.fixture(scope="module", params=BACKENDS)
def case(request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    notes: list[str] = []
    programs = CommandLineClient(environment=cluster.environment)
    if request.param == "command-line":
        yield Case(cluster, request.param, programs, notes)
        return
    if request.param == "rest":
        token = cluster.told("scontrol", "token", "username=root", "lifespan=3600").removeprefix("SLURM_JWT=")
        url = f"http://{cluster.told('hostname', '-i').split()[0]}:6820"
        with RestClient(RestAddress(url, "root", lambda: token), programs) as client:
            variables = {"FLEETWARD_SLURM_REST_URL": url, "FLEETWARD_SLURM_REST_USER": "root", "SLURM_JWT": token}
            yield Case(cluster, request.param, client, notes, variables)
        return
    build_pyslurm(cluster, tmp_path_factory.mktemp("pyslurm"))
    with PyslurmClient(Worker(cluster.bin / "python"), programs, notes.append) as client:
        yield Case(cluster, request.param, client, notes)


@pytest.fixture
def idle(case: Case) -> Case:
    """Return the case with an empty queue and both nodes idle."""
    case.cluster.told("scancel", "--user=root")
    case.cluster.told(
        "sh", "-c", "for n in gpu001 gpu002; do scontrol update nodename=$n state=resume 2>&1 || true; done"
    )
    nodes = ["sinfo", "--noheader", "--Node", "--partition=gpu", "--states=idle", "--format=%N"]
    eventually(lambda: case.cluster.told(*nodes).split() == ["gpu001", "gpu002"])
    return case


def in_queue(client: SlurmClient, job_id: str) -> Job:
    return next(job for job in client.jobs().items if job.id == job_id)


def final_record(client: SlurmClient, job_id: str) -> Attempt:
    eventually(lambda: bool((found := client.attempts(job_id)) and found[-1].ended))
    return client.attempts(job_id)[-1]


def test_nodes_are_told_with_their_gpus(idle: Case) -> None:
    found = idle.client.nodes()
    assert (found.backend, found.unread, idle.notes) == (idle.backend, (), [])
    assert [(node.name, node.gpus, node.cpus, node.memory) for node in found.items] == [
        (f"gpu00{n}", {"h100": 2}, 8, 16000) for n in (1, 2, 3)
    ]
    assert [node.state for node in found.items[:2]] == ["IDLE", "IDLE"]
    assert found.items[0].partitions == ("gpu", "debug")
    assert found.items[2].state in ("UNKNOWN", "DOWN")


def test_partitions_are_told_with_their_nodes_and_limits(idle: Case) -> None:
    gpu, debug = sorted(idle.client.partitions().items, key=lambda one: -len(one.nodes))
    assert (gpu.name, gpu.default, gpu.nodes, gpu.gpus) == ("gpu", True, ("gpu001", "gpu002", "gpu003"), {"h100": 6})
    assert (gpu.time_limit, gpu.most_nodes, gpu.accounts, gpu.allowed_qos) == (86400, None, (), ())
    assert (debug.name, debug.default, debug.nodes, debug.time_limit) == ("debug", False, ("gpu001",), 3600)


def test_reservations_come_and_go(idle: Case) -> None:
    assert idle.client.reservations().items == ()
    words = ("starttime=now+1hour", "duration=60", "nodes=gpu001", "users=root", "flags=maint")
    idle.cluster.told("scontrol", "create", "reservation", "reservationname=upkeep", *words)
    try:
        (kept,) = idle.client.reservations().items
    finally:
        idle.cluster.told("scontrol", "delete", "reservationname=upkeep")
    assert (kept.name, kept.active, kept.nodes, kept.users) == ("upkeep", False, ("gpu001",), ("root",))
    assert kept.starts_at is not None
    assert 3000 < kept.starts_at.timestamp() - time.time() < 3700
    assert idle.client.reservations().items == ()


def test_nodes_that_are_reserved_take_its_jobs_alone_and_lose_none(idle: Case) -> None:
    client = idle.client
    before = client.submit(script("--nodes=1", "--nodelist=gpu001", "--gpus=1"), Path("/tmp")).job_id
    running(client, before)
    client.reserve("burn-in", ["gpu001"], "root")
    client.reserve("burn-in", ["gpu001", "gpu002"], "root")
    try:
        (kept,) = client.reservations().items
        assert (kept.name, kept.active, kept.nodes, kept.users) == ("burn-in", True, ("gpu001", "gpu002"), ("root",))
        outside = client.submit(script("--nodes=1", "--nodelist=gpu002", "--gpus=1"), Path("/tmp")).job_id
        inside = client.submit(script("--nodes=1", "--gpus=1", "--reservation=burn-in"), Path("/tmp")).job_id
        running(client, inside)
        assert (in_queue(client, before).state, in_queue(client, outside).state) == ("RUNNING", "PENDING")
        with pytest.raises(SlurmRefusedError):
            client.unreserve("burn-in")
        for each in (before, outside, inside):
            client.cancel(each)
        eventually(lambda: client.job(inside).job.ended)
        client.reserve("burn-in", ["gpu002"], "root")
        assert client.reservations().items[0].nodes == ("gpu002",)
        client.drain("gpu002", "riser of ada")
        drained = next(node for node in client.nodes().items if node.name == "gpu002")
        assert (drained.reason, drained.reason_by) == ("riser of ada", "root")
        client.resume("gpu002")
    finally:
        client.unreserve("burn-in")
    assert client.reservations().items == ()
    with pytest.raises(SlurmRefusedError):
        client.unreserve("burn-in")


def test_fair_shares_are_those_of_the_tree(idle: Case) -> None:
    found = {(one.account, one.user): one for one in idle.client.shares().items}
    assert {("root", ""), ("root", "root"), ("research", ""), ("research", "root")} <= found.keys()
    assert found["research", "root"].fair_share is not None
    assert found["research", ""].fair_share is None


def test_qos_and_associations_are_told(idle: Case) -> None:
    assert "normal" in {one.name for one in idle.client.qos().items}
    found = {(one.account, one.user): one for one in idle.client.associations().items}
    assert "urgent" in found["research", "root"].qos
    assert found["research", ""].limits.jobs is None
    assert next(one for one in idle.client.qos().items if one.name == "urgent").preempts == ("normal",)


def test_the_priority_of_a_job_that_waits_is_told(idle: Case) -> None:
    job_id = idle.client.submit(script("--nodes=3"), Path("/tmp")).job_id
    eventually(lambda: job_id in {str(one.number) for one in idle.client.priorities().items})
    idle.client.cancel(job_id)


def test_slurmctld_counts_what_it_is_asked(idle: Case) -> None:
    def calls(name: str) -> int:
        return next((one.count for one in idle.client.diagnostics().calls_by_type if one.name == name), 0)

    before = calls("REQUEST_RESERVATION_INFO")
    idle.client.reservations()
    assert calls("REQUEST_RESERVATION_INFO") == before + 1
    told = idle.client.diagnostics()
    assert abs(told.at.timestamp() - time.time()) < 120
    assert {one.name for one in told.calls_by_user} >= {"root"}


def test_a_job_is_followed_from_submission_to_its_record(idle: Case) -> None:
    client = idle.client
    options = ("--nodes=2", "--gpus-per-node=h100:2", "--time=05:00:00", "--account=research", "--job-name=digits")
    job_id = client.submit(script(*options, "--partition=gpu"), Path("/var/tmp")).job_id
    held = running(client, job_id)
    assert held.gpus == (NodeGpus("gpu001", "h100", (0, 1)), NodeGpus("gpu002", "h100", (0, 1)))
    job = in_queue(client, job_id)
    assert (job.state, job.name, job.account, job.partition) == ("RUNNING", "digits", "research", "gpu")
    assert (job.nodes, job.node_count, job.gpus) == (("gpu001", "gpu002"), 2, {"h100": 4})
    assert (job.time_limit, job.restarts, job.working_directory) == (5 * 3600, 0, "/var/tmp")
    assert job.submitted_at is not None
    assert abs(job.submitted_at.timestamp() - time.time()) < 120
    assert [node.gpus_allocated for node in client.nodes().items] == [{"h100": 2}, {"h100": 2}, {}]
    client.cancel(job_id)
    eventually(lambda: client.job(job_id).job.ended)
    record = final_record(client, job_id)
    assert (record.state, record.nodes, record.name) == ("CANCELLED", ("gpu001", "gpu002"), "digits")
    assert (record.allocated["gres/gpu:h100"], record.allocated["node"]) == ("4", "2")
    client.cancel(job_id)


def test_a_held_job_waits_until_it_is_released(idle: Case) -> None:
    job_id = idle.client.submit(script("--gpus=1", "--hold"), Path("/tmp")).job_id
    assert in_queue(idle.client, job_id).reason == "JobHeldUser"
    idle.client.release(job_id)
    running(idle.client, job_id)
    waiting = idle.client.submit(script("--gpus=1", "--begin=now+1hour"), Path("/tmp")).job_id
    idle.client.hold(waiting)
    eventually(lambda: in_queue(idle.client, waiting).reason.startswith("JobHeld"))
    idle.client.cancel(waiting)


def test_what_a_waiting_job_asks_for_can_be_changed(idle: Case) -> None:
    job_id = idle.client.submit(script("--gpus=1", "--hold", "--time=60"), Path("/tmp")).job_id
    idle.client.update_job(job_id, JobUpdate(time_limit=601, partition="debug", nice=5))
    found = in_queue(idle.client, job_id)
    assert (found.time_limit, found.partition) == (660, "debug")
    with pytest.raises(SlurmRefusedError):
        idle.client.update_job(job_id, JobUpdate(partition="nowhere"))
    with pytest.raises(UsageError, match="nothing"):
        idle.client.update_job(job_id, JobUpdate())
    with pytest.raises(UsageError, match="no partition"):
        idle.client.update_job(job_id, JobUpdate(partition="debug qos=high"))
    assert in_queue(idle.client, job_id).partition == "debug"


def test_when_a_job_would_start_is_told_and_nothing_is_handed_in(idle: Case) -> None:
    before = {job.id for job in idle.client.jobs().items}
    told = idle.client.estimate(script("--nodes=2", "--gpus-per-node=2"), Path("/tmp"))
    assert abs(told.starts_at.timestamp() - time.time()) < 120
    assert (told.nodes, told.partition) == (("gpu001", "gpu002"), "gpu")
    assert told.cpus >= 2
    for options in (("--gpus-per-node=9",), ("--partition=nowhere",), ("--nodes=4",)):
        with pytest.raises(SlurmRefusedError):
            idle.client.estimate(script(*options), Path("/tmp"))
    assert {job.id for job in idle.client.jobs().items} == before


def test_a_node_is_rebooted_when_its_jobs_have_ended(idle: Case) -> None:
    job_id = idle.client.submit(script("--gpus=1", "--nodelist=gpu002"), Path("/tmp")).job_id
    running(idle.client, job_id)
    idle.client.reboot("gpu002", "new kernel, ticket 7")

    def node() -> Node:
        return next(node for node in idle.client.nodes().items if node.name == "gpu002")

    try:
        eventually(lambda: "REBOOT_REQUESTED" in node().flags)
        assert "DRAIN" in node().flags
        assert node().reason == "new kernel, ticket 7"
    finally:
        idle.cluster.told("scontrol", "cancel_reboot", "gpu002")


def test_the_exit_code_is_in_the_record(idle: Case) -> None:
    text = script("--gpus=1", "--time=90", "--output=/tmp/%x.log", command="srun true; exit 7")
    job_id = idle.client.submit(text, Path("/tmp")).job_id
    record = final_record(idle.client, job_id)
    assert (record.state, record.exit_code, record.exit_signal) == ("FAILED", 7, 0)
    assert (record.user, record.account, record.partition, record.qos) == ("root", "root", "gpu", "normal")
    assert (record.time_limit, record.gpus, record.asked["gres/gpu"], record.output) == (5400, 1, "1", "/tmp/%x.log")
    assert [(step.step, step.exit_code) for step in idle.client.steps(job_id)] == [("batch", 7), ("0", 0)]
    detail = idle.client.job(job_id)
    assert (detail.exit_code, detail.exit_signal, detail.excluded) == (7, 0, ())
    assert detail.output.startswith("/tmp/")
    since = datetime.now(UTC) - timedelta(hours=1)
    found = idle.client.attempts_between(since, since + timedelta(hours=2))
    assert [one.exit_code for one in found.items if one.job_id == job_id] == [7]


def test_a_requeue_counts_as_a_restart(idle: Case) -> None:
    job_id = idle.client.submit(script("--gpus=1", "--requeue"), Path("/tmp")).job_id
    running(idle.client, job_id)
    idle.client.requeue(job_id)
    eventually(lambda: idle.client.job(job_id).job.restarts == 1)
    assert in_queue(idle.client, job_id).restarts == 1
    idle.client.cancel(job_id)
    eventually(lambda: len(idle.client.attempts(job_id)) == 2)
    first, second = idle.client.attempts(job_id)
    assert (first.state, first.restarts, first.ended) == ("REQUEUED", 0, True)
    assert (second.state, second.restarts) == ("CANCELLED", 1)


def test_a_requeued_job_starts_at_once_when_its_delay_is_lifted(idle: Case) -> None:
    job_id = idle.client.submit(script("--gpus=1", "--requeue"), Path("/tmp")).job_id
    running(idle.client, job_id)
    idle.client.requeue(job_id)
    eventually(lambda: idle.client.job(job_id).job.state == "PENDING")
    idle.client.start_now(job_id)
    began = time.monotonic()
    again = running(idle.client, job_id).job
    assert again.restarts == 1
    assert time.monotonic() - began < 30  # slurmctld would have held it back for 120


def test_a_node_is_drained_and_resumed(idle: Case) -> None:
    reason = "fleetward:i12 node_problem: GPU 3 off the bus State=IDLE NodeName=gpu002"
    idle.client.drain("gpu001", reason)
    drained, other, _ = idle.client.nodes().items
    assert (drained.reason, drained.reason_by, "DRAIN" in drained.flags) == (reason, "root", True)
    assert (other.reason, other.flags) == ("", ())
    idle.client.resume("gpu001")
    back = idle.client.nodes().items[0]
    assert (back.reason, "DRAIN" in back.flags) == ("", False)


def test_a_node_that_slurm_does_not_know_or_that_is_in_service_is_refused(idle: Case) -> None:
    with pytest.raises(SlurmRefusedError, match="node name"):
        idle.client.drain("gpu999", "why")
    with pytest.raises(SlurmRefusedError, match="node state"):
        idle.client.resume("gpu001")


def test_names_and_reasons_of_any_shape_come_through(idle: Case) -> None:
    cluster, client = idle.cluster, idle.client
    options = ["--gpus-per-node=h100:1", "--mem=100M", "--output=/dev/null", "--chdir=/tmp", "--wrap=sleep 300"]
    job_id = cluster.told("sbatch", "--parsable", f"--job-name={ODD_NAME}", f"--comment={ODD_NAME}", *options)
    held = running(client, job_id)
    assert held.job.name == ODD_NAME
    assert [(gpus.type, gpus.indices) for gpus in held.gpus] == [("h100", (0,))]
    reason = "disk | odd\nNodeName=gpu009 State=IDLE \x1b[31m"
    cluster.told("scontrol", "update", "nodename=gpu002", "state=drain", f"reason={reason}")
    assert in_queue(client, job_id).name == ODD_NAME
    nodes = client.nodes()
    assert [node.name for node in nodes.items] == ["gpu001", "gpu002", "gpu003"]
    drained = nodes.items[1]
    assert (drained.reason, drained.reason_by, "DRAIN" in drained.flags) == (reason, "root", True)
    assert drained.reason_at is not None
    assert abs(drained.reason_at.timestamp() - time.time()) < 120


def test_the_waiting_part_of_an_array_has_squeues_name(idle: Case) -> None:
    job_id = idle.client.submit(script("--gpus=h100:2", "--array=1-9%1"), Path("/tmp")).job_id
    running(idle.client, f"{job_id}_1")
    ids = {job.id for job in idle.client.jobs().items if not job.ended}
    assert ids == {f"{job_id}_1", f"{job_id}_[2-9%1]"}
    assert idle.client.job(f"{job_id}_1").gpus[0].indices == (0, 1)


def test_a_job_that_is_not_there_is_a_typed_error(idle: Case) -> None:
    for call in (idle.client.job, idle.client.cancel, idle.client.requeue):
        with pytest.raises(NoSuchJobError):
            call("999999")
    assert (idle.client.attempts("999999"), idle.client.steps("999999")) == ((), ())


def test_a_user_without_rights_sees_and_changes_nothing(idle: Case, tmp_path: Path) -> None:
    job_id = idle.client.submit(script("--gpus=1", "--hold"), Path("/tmp")).job_id
    nobody = CommandLineClient(environment=idle.cluster.seen_by("nobody", tmp_path).environment)
    assert in_queue(nobody, job_id).reason == "JobHeldUser"
    refused = (
        lambda: nobody.drain("gpu001", "mine"),
        lambda: nobody.reboot("gpu001", "mine"),
        lambda: nobody.cancel(job_id),
        lambda: nobody.release(job_id),
        lambda: nobody.requeue(job_id),
        lambda: nobody.update_job(job_id, JobUpdate(nice=1)),
    )
    for change in refused:
        with pytest.raises(SlurmRefusedError, match=r"(?i)denied|permission|invalid user"):
            change()
    assert (in_queue(idle.client, job_id).reason, idle.client.nodes().items[0].flags) == ("JobHeldUser", ())
    idle.client.cancel(job_id)


def test_where_a_job_logs_is_what_slurm_says(idle: Case) -> None:
    patterns = ("%x-%j.log", "/tmp/%u/%4j", "log\\%j", "100%%", "")
    for pattern in patterns:
        options = ("--hold", "--job-name=digits", *([f"--output={pattern}"] if pattern else []))
        text = "#!/bin/sh\n" + "".join(f"#SBATCH {option}\n" for option in options) + "true\n"
        job_id = idle.client.submit(text, Path("/var/tmp")).job_id
        shown = idle.cluster.told("scontrol", "show", "job", job_id)
        (right,) = re.findall(r"^\s+StdOut=(.*)$", shown, re.MULTILINE)
        assert logs_of(idle.client.job(job_id))[0] == os.path.normpath(os.path.join("/var/tmp", right))  # noqa: PTH118
        idle.client.cancel(job_id)


def test_what_slurm_refuses_is_a_typed_error(idle: Case) -> None:
    with pytest.raises(SlurmRefusedError, match="partition"):
        idle.client.submit(script("--partition=nowhere"), Path("/tmp"))


def test_the_controller_answers(idle: Case) -> None:
    assert [(controller.host, controller.answers) for controller in idle.client.ping()] == [("head", True)]
    assert idle.notes == []


def test_the_command_names_the_backend_that_answered(idle: Case) -> None:
    done = fleetward_nodes(idle)
    assert done["backend"] == idle.backend
    assert [node["gres"] for node in done["nodes"]] == ["gpu:h100:2"] * 3


def fleetward_nodes(case: Case, stderr: str = "") -> dict[str, Any]:
    chosen = {"FLEETWARD_SLURM_BACKEND": case.backend}
    done = subprocess.run(
        [sys.executable, "-m", "fleetward", "nodes", "--json"],
        env=case.cluster.environment | chosen | case.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(stderr, done.stderr, re.DOTALL)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@ON_FORKY
@pytest.mark.parametrize("case", ["pyslurm"], indirect=True)
def test_a_killed_pyslurm_changes_no_answer(idle: Case) -> None:
    right = fleetward_nodes(idle)
    assert right["backend"] == "pyslurm"
    # The client of these tests has a child too: the hunt is for the next one.
    newest = "pgrep --newest --full '[p]yslurm_worker'"
    hunt = f'old=$({newest}); until pid=$({newest}) && [ "$pid" != "$old" ]; do :; done; kill -9 "$pid"'
    hunter = subprocess.Popen([engine(), "exec", idle.cluster.name, "timeout", "30", "sh", "-c", hunt])
    time.sleep(1)
    found = fleetward_nodes(idle, stderr=r".*worker ended with status 137.*Slurm's own commands answer instead\n")
    assert hunter.wait(30) == 0
    assert found == right | {"backend": "command-line"}


def test_a_stopped_controller_is_out_of_reach_and_no_hang(idle: Case) -> None:
    idle.cluster.told("pkill", "-x", "slurmctld")
    try:
        eventually(lambda: idle.cluster.told("sh", "-c", "pgrep -x slurmctld -r S,R,D || true") == "")
        began = time.monotonic()
        with pytest.raises(SlurmOutOfReachError):
            idle.client.nodes()
        with pytest.raises(SlurmOutOfReachError):
            idle.client.ping()
        assert time.monotonic() - began < 45
    finally:
        idle.cluster.told("slurmctld")
    eventually(lambda: answers(idle.client))


def answers(client: SlurmClient) -> bool:
    try:
        return client.ping()[0].answers
    except SlurmOutOfReachError:  # slurmctld is still on its way up
        return False
