"""The backend that runs Slurm's programs: its errors, its environment, and recorded answers of real releases."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleetward.model.errors import ExitCode, UsageError
from fleetward.slurm.accounting import Limits
from fleetward.slurm.answers import NodeGpus
from fleetward.slurm.client import NoSuchJobError, SlurmOutOfReachError, SlurmRefusedError
from fleetward.slurm.command_line import CommandLineClient
from fleetward.slurm.process import Finished, run
from fleetward.slurm.recorded import RecordedClient, RecordingRunner


@dataclass
class Saying:
    """A runner with one answer, which remembers what it was asked."""

    answer: Finished
    calls: list[tuple[tuple[str, ...], str, Mapping[str, str]]] = field(default_factory=list)

    def __call__(
        self, argv: Sequence[str], *, stdin: str = "", environment: Mapping[str, str], limit: float
    ) -> Finished:
        self.calls.append((tuple(argv), stdin, environment))
        return self.answer


@pytest.mark.parametrize(
    ("stderr", "error"),
    [
        ("slurm_load_node error: Unable to contact slurm controller (connect failure)", SlurmOutOfReachError),
        ("slurm_load_node error: Socket timed out on send/recv operation", SlurmOutOfReachError),
        ("slurm_load_jobs error: Connection reset by peer", SlurmOutOfReachError),
        ("sacct: error: Problem talking to the database: Connection refused", SlurmOutOfReachError),
        ("scontrol: fatal: Could not establish a configuration source", SlurmOutOfReachError),
        ("slurm_load_jobs error: Invalid job id specified", NoSuchJobError),
        ("slurm_load_node error: Access/permission denied", SlurmRefusedError),
        ("", SlurmRefusedError),
    ],
)
def test_what_slurm_complains_about_becomes_an_error_of_its_kind(stderr: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        CommandLineClient(runner=Saying(Finished(1, "", stderr)), environment={}).nodes()
    assert (stderr or "exit status 1") in str(caught.value)


def test_a_controller_that_is_down_does_not_answer_a_ping() -> None:
    down = Saying(Finished(1, "Slurmctld(primary) at head is DOWN\n*** RESTORE SLURMCTLD ***\n", ""))
    with pytest.raises(SlurmOutOfReachError, match="head"):
        CommandLineClient(runner=down, environment={}).ping()


def test_a_backup_that_answers_is_enough() -> None:
    answer = "Slurmctld(primary) at head1 is DOWN\nSlurmctld(backup) at head2 is UP\n"
    found = CommandLineClient(runner=Saying(Finished(0, answer, "")), environment={}).ping()
    assert [(controller.host, controller.answers) for controller in found] == [("head1", False), ("head2", True)]


def test_programs_that_are_not_there_are_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmOutOfReachError, match="scontrol: not installed here"):
        CommandLineClient().nodes()


def test_a_program_that_hangs_is_ended_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scontrol").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    began = time.monotonic()
    with pytest.raises(SlurmOutOfReachError, match=r"no answer within 0\.3 s"):
        CommandLineClient(limit=0.3).nodes()
    assert time.monotonic() - began < 5


def test_output_that_is_not_utf8_survives() -> None:
    done = run(["printf", r"a\377b"], environment={}, limit=5)
    assert done.stdout.encode("utf-8", "surrogateescape") == b"a\xffb"


def test_the_users_settings_for_slurms_programs_sway_no_answer() -> None:
    given = {
        "PATH": "/bin",
        "SQUEUE_STATES": "PD",
        "SBATCH_PARTITION": "debug",
        "SLURM_CONF": "/etc/x",
        "SLURM_TIME_FORMAT": "relative",
    }
    runner = Saying(Finished(0, "", ""))
    CommandLineClient(runner=runner, environment=given).jobs()
    assert runner.calls[0][2] == {"PATH": "/bin", "SLURM_CONF": "/etc/x", "SLURM_TIME_FORMAT": "%s"}


def test_a_job_inherits_no_format_of_time() -> None:
    runner = Saying(Finished(0, "12;lab\n", ""))
    submitted = CommandLineClient(runner=runner, environment={"HOME": "/root"}).submit("#!/bin/sh\n", Path("/a b"))
    assert submitted.job_id == "12"
    assert runner.calls == [(("sbatch", "--parsable", "--chdir=/a b"), "#!/bin/sh\n", {"HOME": "/root"})]


def test_each_listing_has_a_separator_of_its_own() -> None:
    runner = Saying(Finished(0, "", ""))
    client = CommandLineClient(runner=runner, environment={})
    client.jobs()
    client.jobs()
    assert runner.calls[0][0] != runner.calls[1][0]


@pytest.mark.parametrize("job_id", ["", "-1", "12;13", "--all", "12_", "1 2", "12\n", "٣"])
def test_what_is_no_job_id_reaches_no_program(job_id: str) -> None:
    runner = Saying(Finished(0, "", ""))
    client = CommandLineClient(runner=runner, environment={})
    for call in (client.job, client.cancel, client.requeue, client.start_now, client.attempts, client.steps):
        with pytest.raises(UsageError, match="not a job's id"):
            call(job_id)
    assert runner.calls == []


@pytest.mark.parametrize(
    "node", ["", "ALL", "all", "gpu[001-002]", "gpu001,gpu002", "-x", "gpu001 reason=x", "gpu001\n"]
)
def test_what_is_not_the_name_of_one_node_reaches_no_program(node: str) -> None:
    runner = Saying(Finished(0, "", ""))
    client = CommandLineClient(runner=runner, environment={})
    with pytest.raises(UsageError, match="not the name of one node"):
        client.drain(node, "why")
    with pytest.raises(UsageError, match="not the name of one node"):
        client.resume(node)
    assert runner.calls == []


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "\x1b[31mred", "tab\there", "\udcff"])
def test_what_is_no_printable_reason_reaches_no_program(reason: str) -> None:
    runner = Saying(Finished(0, "", ""))
    with pytest.raises(UsageError, match="no reason for a drain"):
        CommandLineClient(runner=runner, environment={}).drain("gpu001", reason)
    assert runner.calls == []


def test_a_reason_is_one_argument_whatever_is_in_it() -> None:
    runner = Saying(Finished(0, "", ""))
    client = CommandLineClient(runner=runner, environment={})
    client.drain("gpu001", "fleetward:i1 node_problem: x state=idle nodename=gpu002")
    client.resume("gpu001")
    client.start_now("12_3")
    assert [argv for argv, _, _ in runner.calls] == [
        (
            "scontrol",
            "update",
            "nodename=gpu001",
            "state=drain",
            "reason=fleetward:i1 node_problem: x state=idle nodename=gpu002",
        ),
        ("scontrol", "update", "nodename=gpu001", "state=resume"),
        ("scontrol", "update", "jobid=12_3", "starttime=now"),
    ]


def test_a_real_releases_nodes_are_all_read(recording: Path) -> None:
    found = RecordedClient(recording).nodes()
    assert found.unread == ()
    assert [(node.name, node.state, node.gpus, node.gpus_allocated) for node in found.items] == [
        ("gpu001", "MIXED", {"h100": 2}, {"h100": 1}),
        ("gpu002", "MIXED", {"h100": 2}, {"h100": 1}),
        ("gpu003", "UNKNOWN", {"h100": 2}, {}),
    ]
    drained = found.items[1]
    assert drained.flags == ("DRAIN",)
    assert drained.reason == "disk | odd\nNodeName=gpu009 State=IDLE \x1b[31mred"
    assert drained.reason_by == "root"


def test_a_real_releases_jobs_are_all_read(recording: Path) -> None:
    found = RecordedClient(recording).jobs()
    assert found.unread == ()
    by_name = {job.name.split("\n")[0]: job for job in found.items if job.state != "CANCELLED"}
    array, held, running = by_name["arr"], by_name["held"], by_name["na me \"q' |"]
    assert array.id.endswith("_[1-10%2]")
    assert (array.time_limit, array.gpus, array.state) == (None, {"gpu": 1}, "PENDING")
    assert (held.state, held.reason, held.gpus) == ("PENDING", "JobHeldUser", {"h100": 2})
    assert (running.state, running.gpus, running.nodes) == ("RUNNING", {"h100": 2}, ("gpu001", "gpu002"))
    assert "GRES=gpu:h100:9" in running.name
    failed = by_name["trained"]
    assert (failed.state, failed.ended, failed.time_limit) == ("FAILED", True, 600)


def test_a_job_is_told_with_its_gpus_and_not_with_those_in_its_name(recording: Path) -> None:
    client = RecordedClient(recording)
    running = next(job for job in client.jobs().items if job.state == "RUNNING")
    assert client.job(running.id).gpus == (NodeGpus("gpu001", "h100", (0,)), NodeGpus("gpu002", "h100", (0,)))


def test_what_only_a_jobs_own_page_tells_is_read(recording: Path) -> None:
    client = RecordedClient(recording)
    by_name = {job.name.split("\n")[0]: job for job in client.jobs().items}
    failed, running, held = (client.job(by_name[name].id) for name in ("trained", "na me \"q' |", "held"))
    assert (failed.exit_code, failed.exit_signal, failed.output, failed.dependency) == (7, 0, "/dev/null", "")
    assert (running.output, running.error, running.excluded) == ("/var/tmp/%x-%j.log", "", ())
    assert held.dependency.startswith(f"afterany:{running.job.id}")
    assert (held.excluded, held.wanted, held.gpus, held.exit_code) == (("gpu003",), (), (), 0)


def test_an_attempt_tells_how_a_job_ended(recording: Path) -> None:
    client = RecordedClient(recording)
    failed = next(job for job in client.jobs().items if job.state == "FAILED")
    (record,) = client.attempts(failed.id)
    assert (record.state, record.exit_code, record.restarts, record.ended) == ("FAILED", 7, 0, True)
    assert 2 <= record.elapsed <= 5
    assert (record.user, record.account, record.partition, record.qos) == ("root", "research", "gpu", "normal")
    assert (record.time_limit, record.working_directory, record.failed_node) == (600, "/var/tmp", "")
    assert (record.allocated["gres/gpu:h100"], record.gpus, record.nodes) == ("4", 4, ("gpu001", "gpu002"))
    assert [(step.step, step.state, step.exit_code) for step in client.steps(failed.id)] == [
        ("batch", "FAILED", 7),
        ("0", "COMPLETED", 0),
    ]


def test_a_requeue_leaves_an_attempt_of_its_own(recording: Path) -> None:
    client = RecordedClient(recording)
    job = next(job for job in client.jobs().items if job.name == "again")
    first, second = client.attempts(job.id)
    assert (first.state, first.restarts, first.cancelled_by, first.ended) == ("REQUEUED", 0, "", True)
    assert (second.state, second.restarts, second.cancelled_by) == ("CANCELLED", 1, "0")
    assert [(step.step, step.exit_signal) for step in client.steps(job.id)] == [("batch", 15), ("0", 15)]


def test_a_running_attempt_has_no_end_and_its_name_breaks_no_record(recording: Path) -> None:
    client = RecordedClient(recording)
    job = next(job for job in client.jobs().items if job.state == "RUNNING")
    (running,) = client.attempts(job.id)
    assert (running.state, running.ended, running.ended_at) == ("RUNNING", False, None)
    assert running.name == job.name.replace('"', "`")
    assert [step.step for step in client.steps(job.id)] == ["batch"]


def test_attempts_of_a_time_are_those_that_ran(recording: Path) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    found = RecordedClient(recording).attempts_between(since, since + timedelta(days=730))
    assert found.unread == ()
    assert [(one.name.split(" ")[0], one.state) for one in found.items] == [
        ("trained", "FAILED"),
        ("again", "REQUEUED"),
        ("again", "CANCELLED"),
        ("na", "RUNNING"),
    ]
    with pytest.raises(UsageError, match="is not before"):
        RecordedClient(recording).attempts_between(since, since)


def test_limits_of_qos_and_associations_are_read(recording: Path) -> None:
    client = RecordedClient(recording)
    high, normal = client.qos().items
    assert (high.name, high.priority, high.flags, high.preempts) == ("high", 100, ("DenyOnLimit",), ("normal",))
    assert high.limits == Limits(2 * 86400, {"gres/gpu": "4"}, 3, 9, {"node": "2"}, 5)
    assert high.tres_per_user == {"gres/gpu": "8"}
    assert normal.limits == Limits(None, {}, None, None, {}, None)
    found = {(one.account, one.user): one for one in client.associations().items}
    assert found["bounded", ""].limits == Limits(86400, {}, 4, 20, {"gres/gpu": "4"}, None)
    assert found["bounded", ""].qos == ("high", "normal")
    assert found["research", "root"].qos == ("normal",)


def test_priorities_are_those_of_jobs_that_wait_for_nodes(recording: Path) -> None:
    client = RecordedClient(recording)
    wide = next(job for job in client.jobs().items if job.name == "wide")
    found = client.priorities()
    assert found.unread == ()
    assert [(one.number, one.partition, one.user) for one in found.items if one.number == wide.number] == [
        (wide.number, "gpu", "root")
    ]


def test_a_job_that_was_never_there_has_no_record(recording: Path) -> None:
    client = RecordedClient(recording)
    assert client.attempts("4000") == ()
    with pytest.raises(NoSuchJobError):
        client.job("4000")


def test_a_question_that_was_not_recorded_is_an_error_and_no_empty_answer(recording: Path) -> None:
    with pytest.raises(SlurmOutOfReachError, match="holds no answer to `scontrol requeue 12`"):
        RecordedClient(recording).requeue("12")


def test_what_is_recorded_is_played_back(recording: Path, tmp_path: Path) -> None:
    source = RecordedClient(recording)
    recorder = RecordingRunner(tmp_path, source._runner)
    first = CommandLineClient(recorder, source.separator, {}).nodes().items
    assert RecordedClient(tmp_path).nodes().items == first


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_a_folder_that_is_no_recording_is_named(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "recording.json").write_text(text)
    with pytest.raises(UsageError, match=str(tmp_path)) as caught:
        RecordedClient(tmp_path)
    assert caught.value.exit_code == ExitCode.USAGE
