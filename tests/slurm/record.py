"""Record what the programs of a real Slurm answer: `python tests/slurm/record.py trixie|forky FOLDER`.

A small cluster is filled with what is hard to read, and every question of a client is put to it once.
"""

import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
from small_clusters import Cluster, eventually, script, small_cluster

from fleetward.lab.spec import LabSpec
from fleetward.slurm.client import NoSuchJobError
from fleetward.slurm.command_line import CommandLineClient
from fleetward.slurm.process import run
from fleetward.slurm.recorded import SEPARATOR, RecordingRunner

HEAD = "head"
ODD = (
    "na me \"q' |\nJobId=99 JobState=COMPLETED \x1b[31mred\n     Nodes=gpu001 CPU_IDs=0 Mem=1 GRES=gpu:h100:9(IDX:0-8)"
)
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def fill(cluster: Cluster, client: CommandLineClient) -> dict[str, str]:
    """Give the cluster a queue, a history and a drained node; return the jobs' ids by what they are."""

    def submit(*options: str, command: str = "sleep 300") -> str:
        return client.submit(script("--account=research", *options, command=command), Path("/var/tmp")).job_id

    limits = ("MaxJobsPerUser=3", "MaxSubmitJobsPerUser=9", "MaxTRESPerJob=gres/gpu=4", "MaxTRESPerUser=gres/gpu=8")
    qos = ("Priority=100", "MaxWall=2-00:00:00", "GrpTRES=node=2", "GrpJobs=5", "Preempt=normal", "Flags=DenyOnLimit")
    cluster.told("sacctmgr", "-i", "add", "qos", "high", *qos, *limits)
    bounds = ("MaxJobs=4", "MaxSubmitJobs=20", "MaxWall=1-00:00:00", "GrpTRES=gres/gpu=4", "QOS=normal,high")
    cluster.told("sacctmgr", "-i", "add", "account", "bounded", "Description=bounded", *bounds)
    options = ("--nodes=2", "--ntasks=4", "--gpus-per-node=h100:2", "--mem=1G", "--time=10", "--job-name=trained")
    jobs = {"failed": submit(*options, command="srun -n1 sleep 3; exit 7")}
    eventually(lambda: client.job(jobs["failed"]).job.ended)
    jobs["requeued"] = submit("--gpus=1", "--requeue", "--job-name=again", command="srun sleep 300")
    eventually(lambda: client.job(jobs["requeued"]).job.state == "RUNNING")
    time.sleep(2)
    client.requeue(jobs["requeued"])
    eventually(lambda: client.job(jobs["requeued"]).job.restarts == 1)
    eventually(lambda: client.job(jobs["requeued"]).job.state == "PENDING")
    client.start_now(jobs["requeued"])
    eventually(lambda: client.job(jobs["requeued"]).job.state == "RUNNING")
    client.cancel(jobs["requeued"])
    eventually(lambda: client.job(jobs["requeued"]).job.ended)
    options = ("--nodes=2", "--gpus-per-node=h100:1", "--mem=1G", "--time=2:04:00", "--output=/var/tmp/%x-%j.log")
    # Its name is no line of a script.
    free = (f"--job-name={ODD}", f"--comment={ODD}", "--account=research", "--chdir=/var/tmp", "--wrap=sleep 300")
    jobs["running"] = cluster.told("sbatch", "--parsable", *options, *free)
    eventually(lambda: client.job(jobs["running"]).job.state == "RUNNING")
    jobs["array"] = submit("--array=1-10%2", "--gpus=1", "--time=UNLIMITED", "--mem=1G", "--job-name=arr")
    held = ("--hold", "--gpus=h100:2", "--time=5", "--dependency=afterany:" + jobs["running"], "--exclude=gpu003")
    jobs["held"] = submit(*held, "--mem=1G", "--job-name=held")
    jobs["waiting"] = submit("--nodes=3", "--time=1:00:00", "--mem=1G", "--job-name=wide")
    reason = "disk | odd\nNodeName=gpu009 State=IDLE \x1b[31mred"
    cluster.told("scontrol", "update", "nodename=gpu002", "state=drain", f"reason={reason}")
    eventually(lambda: bool(client.priorities().items))
    eventually(lambda: bool((found := client.attempts(jobs["requeued"])) and found[-1].ended))
    return jobs


def ask(client: CommandLineClient, jobs: dict[str, str]) -> None:
    """Put every question once."""
    client.nodes()
    client.jobs()
    client.partitions()
    for name in ("failed", "requeued", "running", "held", "waiting"):
        client.job(jobs[name])
        client.attempts(jobs[name])
        client.steps(jobs[name])
    client.ping()
    client.attempts("4000")
    with suppress(NoSuchJobError):
        client.job("4000")
    client.attempts_between(BEGINNING, BEGINNING + timedelta(days=730))
    client.qos()
    client.associations()
    client.priorities()


def main() -> int:
    """Record one release into a folder."""
    suite, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir()
    with (
        tempfile.TemporaryDirectory() as programs,
        small_cluster(LabSpec(suite=suite).image, Path(programs)) as cluster,
    ):
        jobs = fill(cluster, CommandLineClient(environment=cluster.environment))
        recorder = RecordingRunner(folder, run)
        ask(CommandLineClient(recorder, lambda: SEPARATOR, cluster.environment), jobs)
        sys.stdout.write(f"{cluster.told('sinfo', '--version')}: {jobs}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
