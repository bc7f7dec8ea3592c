"""The traps of submitting training jobs, each fallen into on a real Slurm: what survives, and what Slurm says of it.

Two traps are tests of the contract (`test_contract.py`): JSON whose shape drifts (a backend of its own) and pyslurm,
which can take its process down.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from small_clusters import Cluster, engine, eventually, small_cluster

from fleetward.exporters.slurm.metrics import render as metrics
from fleetward.exporters.slurm.metrics import told
from fleetward.exporters.slurm.sampler import Sampler
from fleetward.slurm.accounting import Attempt
from fleetward.slurm.client import SlurmClient
from fleetward.slurm.command_line import CommandLineClient
from fleetward.slurm.jobs.script import render
from fleetward.slurm.jobs.spec import UnfitJobError, check_job
from fleetward.slurm.logs.scanning import scan
from fleetward.slurm.verdicts.attempts import last_run, runs
from fleetward.slurm.verdicts.causes import Cause, Evidence
from fleetward.slurm.verdicts.judging import judge

pytestmark = [pytest.mark.slurm, pytest.mark.verify]

TRAINER = Path(__file__).with_name("trainer.py")
SURVIVE = {"warning": 20, "grace": 5, "attempts": 3}
PATIENCE = 180.0
"""Seconds: a time limit is a whole minute, and Slurm gives half a minute more until it kills."""


@dataclass(frozen=True)
class Site:
    """A cluster, and a folder of it with a job's files."""

    cluster: Cluster
    client: CommandLineClient
    folder: str

    def submit(self, *arguments: str, **fields: object) -> str:
        """Hand in a job that trains; returns its id."""
        document = {
            "name": "train",
            "account": "research",
            "gpus_per_node": 2,
            "memory_per_node": "100M",
            "time": "01:00:00",
            "survive": SURVIVE,
            "command": ["python3", "/trainer.py", self.folder, *arguments],
        }
        spec = check_job({name: value for name, value in (document | fields).items() if value is not None})
        return self.client.submit(render(spec), Path(self.folder)).job_id

    def begun(self, job_id: str, restarts: int = 0) -> None:
        """Wait until an attempt of a job trains."""

        def trains() -> bool:
            job = self.client.job(job_id).job
            if job.state == "PENDING" and job.restarts == restarts and job.reason == "BeginTime":
                self.client.start_now(job_id)  # a requeued job is held back for two minutes
            return job.restarts == restarts and job.state == "RUNNING"

        eventually(trains, PATIENCE)
        eventually(lambda: self.log(job_id).count("begins at") > restarts, PATIENCE)

    def ended(self, job_id: str) -> tuple[Attempt, ...]:
        """Wait for the end of a job, and return its attempts."""
        eventually(lambda: bool((found := self.client.attempts(job_id)) and found[-1].ended), PATIENCE)
        return self.client.attempts(job_id)

    def warn(self, job_id: str) -> None:
        """Send the shell of the batch script what Slurm sends it before the time limit."""
        self.cluster.told("scancel", "--batch", "--signal=USR1", job_id)

    def finish(self) -> None:
        self.cluster.told("touch", f"{self.folder}/finish")

    def log(self, job_id: str) -> str:
        """Return the log, or nothing where it is not there yet; `12_3` is a task's."""
        return self.cluster.told("sh", "-c", f"cat {self.folder}/train-{job_id}.log 2>/dev/null || true")

    def cause(self, job_id: str, attempt: Attempt) -> Cause:
        """Judge one attempt by what Slurm and the log say."""
        read = scan("log", [self.log(job_id).encode() + b"\n"], attempt.ended_at, attempt.restarts + 1)  # type: ignore[arg-type]
        return judge(attempt, Evidence(log=read.findings)).cause


@pytest.fixture(scope="module")
def cluster(node_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with small_cluster(node_image, tmp_path_factory.mktemp("programs")) as started:
        subprocess.run([engine(), "cp", str(TRAINER), f"{started.name}:/trainer.py"], check=True)
        yield started


@pytest.fixture
def site(cluster: Cluster, request: pytest.FixtureRequest) -> Site:
    cluster.told("scancel", "--user=root")
    cluster.told("sh", "-c", "for n in gpu001 gpu002; do scontrol update nodename=$n state=resume 2>&1 || true; done")
    nodes = ["sinfo", "--noheader", "--Node", "--partition=gpu", "--states=idle", "--format=%N"]
    eventually(lambda: cluster.told(*nodes).split() == ["gpu001", "gpu002"], PATIENCE)
    folder = f"/var/tmp/{request.node.name.partition('[')[0]}"
    cluster.told("mkdir", "-p", folder)
    return Site(cluster, CommandLineClient(environment=cluster.environment), folder)


def test_a_time_limit_is_what_slurm_says_and_not_what_a_clock_says(site: Site) -> None:
    """Trap 1: a job that was ended after a while has not timed out for that."""
    job_id = site.submit("deaf", time="00:01:00", survive=None)
    site.begun(job_id)
    short = site.submit(time="00:01:00", survive=None, gpus_per_node=None)
    site.begun(short)
    site.client.cancel(short)
    assert [site.cause(short, one) for one in site.ended(short)] == [Cause.CANCELLED]
    (attempt,) = site.ended(job_id)
    assert (attempt.state, site.cause(job_id, attempt)) == ("TIMEOUT", Cause.TIME_LIMIT)
    assert "CANCELLED" in site.log(job_id)


def test_a_job_is_warned_before_its_limit_saves_and_goes_on(site: Site) -> None:
    """Traps 1, 3, 4 and 5: Slurm's own warning reaches the ranks, and the log of each attempt is kept."""
    job_id = site.submit(time="00:01:00", nodes=2, survive={"warning": 30, "grace": 10, "attempts": 3})
    site.begun(job_id, restarts=1)
    site.finish()
    first, last = site.ended(job_id)
    assert (first.state, last.state) == ("REQUEUED", "COMPLETED")
    assert site.cause(job_id, first) is Cause.TIME_LIMIT
    log = site.log(job_id)
    assert [line.split(" on ")[0] for line in log.splitlines() if line.startswith("fleetward: attempt")] == [
        f"fleetward: attempt {number} of 3 of job {job_id}" for number in (1, 2)
    ]
    assert "0: begins at 0 with GPUs 0,1" in log
    saved = [int(line.split()[-1]) for line in log.splitlines() if "saved at" in line]
    assert len(saved) == 4  # two ranks, two attempts
    assert f"0: begins at {int(next(line for line in log.splitlines() if '0: saved' in line).split()[-1])}" in log


def test_only_the_warned_task_of_an_array_is_requeued(site: Site) -> None:
    """Trap 2: the bare number would requeue every task."""
    job_id = site.submit("--", sweep={"grid": {"lr": ["1", "2"]}}, gpus_per_node=1, output="train-%A_%a.log")
    for task in (0, 1):
        site.begun(f"{job_id}_{task}")
    site.warn(f"{job_id}_1")
    site.begun(f"{job_id}_1", restarts=1)
    assert site.client.job(f"{job_id}_0").job.restarts == 0
    site.finish()
    assert [one.state for one in site.ended(f"{job_id}_0")] == ["COMPLETED"]
    assert [one.state for one in site.ended(f"{job_id}_1")] == ["REQUEUED", "COMPLETED"]


def test_a_step_that_does_not_listen_is_ended_and_the_job_goes_on(site: Site) -> None:
    """Trap 4: a handler that does nothing has a forced exit behind it."""
    job_id = site.submit("deaf", survive={"warning": 10, "grace": 1, "attempts": 2})
    site.begun(job_id)
    site.warn(job_id)
    site.begun(job_id, restarts=1)
    assert "the step goes on 1 s after the warning, and is ended" in site.log(job_id)
    site.client.cancel(job_id)
    assert [one.state for one in site.ended(job_id)] == ["REQUEUED", "CANCELLED"]


def test_attempts_are_bounded(site: Site) -> None:
    """The last attempt that is warned fails, and whoever requeues it once more runs nothing."""
    job_id = site.submit(survive=SURVIVE | {"attempts": 2})
    for restarts in (0, 1):
        site.begun(job_id, restarts)
        site.warn(job_id)
    assert [one.state for one in site.ended(job_id)] == ["REQUEUED", "FAILED"]
    assert "no attempt is left" in site.log(job_id)
    site.client.requeue(job_id)
    eventually(lambda: site.client.job(job_id).job.state == "PENDING", PATIENCE)
    site.client.start_now(job_id)
    eventually(lambda: len(found := site.client.attempts(job_id)) == 3 and found[-1].ended, PATIENCE)
    assert "all 2 attempts are used up" in site.log(job_id)
    assert site.log(job_id).count("begins at") == 2


def test_a_cancelled_job_stays_cancelled(site: Site) -> None:
    """Slurm would requeue a job that is still ending; a script that was told TERM does not ask for it."""
    job_id = site.submit()
    site.begun(job_id)
    site.client.cancel(job_id)
    assert [one.state for one in site.ended(job_id)] == ["CANCELLED"]
    assert site.client.job(job_id).job.restarts == 0


def test_a_preempted_job_is_requeued_by_slurm_and_told_apart(site: Site) -> None:
    """Trap 1: preemption is what Slurm says it is."""
    job_id = site.submit(nodes=2)
    site.begun(job_id)
    urgent = site.submit(nodes=2, qos="urgent", survive=None, name="urgent", command=["sleep", "3"])
    eventually(lambda: site.client.job(urgent).job.state in ("RUNNING", "COMPLETED"), PATIENCE)
    site.begun(job_id, restarts=1)
    site.finish()
    first, last = site.ended(job_id)
    assert (first.state, last.state) == ("PREEMPTED", "COMPLETED")
    assert site.cause(job_id, first) is Cause.PREEMPTED


def test_a_lost_node_is_told_apart_and_the_job_goes_on_elsewhere(site: Site) -> None:
    job_id = site.submit()
    site.begun(job_id)
    (lost,) = site.client.job(job_id).job.nodes
    site.cluster.told("pkill", "-9", "-f", f"slurmd -N {lost}")
    site.cluster.told("scontrol", "update", f"nodename={lost}", "state=down", "reason=power")
    try:
        site.begun(job_id, restarts=1)
        (other,) = site.client.job(job_id).job.nodes
        site.finish()
        first, last = site.ended(job_id)
    finally:
        site.cluster.told("slurmd", "-N", lost)
    assert other != lost
    assert (first.state, last.state) == ("NODE_FAIL", "COMPLETED")
    found = judge(first, Evidence())
    assert (found.cause, found.nodes) == (Cause.NODE_FAILURE, (lost,))


def test_each_node_gives_as_many_gpus_as_were_asked_for(site: Site) -> None:
    """Trap 6: GPUs are asked for by node."""
    job_id = site.submit(nodes=2, gpus_per_node="h100:2", survive=None)
    site.begun(job_id)
    assert [(one.node, one.indices) for one in site.client.job(job_id).gpus] == [("gpu001", (0, 1)), ("gpu002", (0, 1))]
    eventually(lambda: site.log(job_id).count("with GPUs 0,1") == 2)
    site.finish()
    assert site.ended(job_id)[0].gpus == 4


def test_a_number_that_is_given_out_again_is_another_job(site: Site) -> None:
    """Trap 9: slurmctld that lost its state numbers from an older place; slurmdbd has both jobs under one number."""
    finished = site.submit(survive=None, command=["true"])
    site.ended(finished)
    site.cluster.told("pkill", "-x", "slurmctld")
    eventually(lambda: site.cluster.told("sh", "-c", "pgrep -x slurmctld -r S,R,D || true") == "")
    forget = f"rm -rf /var/spool/slurmctld/job_state* ; echo FirstJobId={finished} >> /etc/slurm/slurm.conf"
    site.cluster.told("sh", "-c", forget)
    site.cluster.told("slurmctld", "-c")
    eventually(lambda: bool(site.cluster.told("sh", "-c", "sinfo -h -t idle 2>/dev/null || true")), PATIENCE)
    again = site.submit(survive=None, name="other", command=["false"], output="train-%j.log")
    assert again == finished
    found = site.ended(again)
    eventually(lambda: len(site.client.attempts(again)) == 2, PATIENCE)
    found = site.client.attempts(again)
    assert [[one.name for one in run] for run in runs(found)] == [["train"], ["other"]]
    assert [one.state for one in last_run(found)] == ["FAILED"]


WORST = (
    *("'", '"', "\\", "$(touch /tmp/owned)", "`touch /tmp/owned`", "; touch /tmp/owned", "| touch /tmp/owned"),
    *(
        "\n",
        "\r",
        "\t",
        "\x1b[31m",
        "\x1b]0;title\x07",
        "\u202e",
        "\u200b",
        "\ufeff",
        "\x7f",
        "%s%n",
        "%j",
        "{{ 7 * 7 }}",
    ),
    *(
        "~5f1eed0a4d~",
        "|",
        ",",
        "=",
        " JobState=FAILED",
        "\nJobId=1 JobName=x",
        "<b>",
        "&amp;",
        "[bold]",
        "--help",
        "*",
    ),
    *(
        "日本語",
        "é",
        "🔥",
        "\udcff",
        "None",
        "(null)",
        "N/A",
        "NULL",
        "0",
        " ",
        "../../etc/passwd",
        "${HOME}",
        "#SBATCH --wrap=x",
    ),
)


def worst_names(count: int) -> list[str]:
    """Return so many names, put together from the worst that there is."""
    dice = random.Random(79)  # noqa: S311  the same names each time
    return [f"n{at}" + "".join(dice.choices(WORST, k=dice.randint(1, 4))) for at in range(count)]


def fleetward(site: Site, *words: str) -> str:
    """Run the command on the cluster."""
    argv = [sys.executable, "-m", "fleetward", *words, "--backend", "command-line"]
    done = subprocess.run(argv, env=site.cluster.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def exported(client: SlurmClient) -> str:
    """Return the exporter's page of the cluster, which promtool has nothing to say of."""
    sampler = Sampler(client, 60)
    sampler.look()
    picture = sampler.picture()

    class Page(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from metrics(picture, told(picture, datetime.now(UTC)), time.monotonic())

    registry = CollectorRegistry()
    registry.register(Page())
    page = generate_latest(registry)
    promtool = Path(sys.executable).with_name("promtool")
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
    return page.decode()


def test_two_hundred_of_the_worst_names_go_through_unharmed(site: Site) -> None:
    """Submit, list, export and cancel; a specification takes a name as it is or says what is wrong with it."""
    names = worst_names(200)
    for name in names:
        try:
            assert check_job({"name": name, "command": ["true"]}).name == name
        except UnfitJobError as error:
            assert [field for field, _ in error.complaints] == ["name"]
    options = ["--hold", "--parsable", "--chdir=/tmp", "--output=/dev/null", "--wrap=true"]
    submit = "import json, subprocess, sys\nfor argv in json.loads(sys.argv[1]): subprocess.run(argv, check=True)"
    every = json.dumps([["sbatch", f"--job-name={name}", *options] for name in names])
    site.cluster.told("python3", "-c", submit, every)
    listed = site.client.jobs()
    assert listed.unread == ()
    waiting = {job.name: job for job in listed.items if job.reason == "JobHeldUser"}
    assert sorted(waiting) == sorted(names)
    for name, job in list(waiting.items())[:20]:
        assert site.client.job(job.id).job.name == name
    assert fleetward(site, "jobs", "--all").count("JobHeldUser") == len(names)
    held = f'slurm_jobs_pending{{reason="JobHeldUser"}} {len(names)}.0'
    assert held in exported(site.client).splitlines()
    for job in waiting.values():
        site.client.cancel(job.id)
    assert {job.state for job in site.client.jobs().items if job.name in waiting} == {"CANCELLED"}
    assert site.cluster.told("sh", "-c", "ls /tmp/owned 2>/dev/null || true") == ""
    assert not Path("/tmp/owned").exists()
