"""Whole answers: nothing that a user can write into a job changes what is read of another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.slurm import parse_listings
from fleetward.slurm.answers import NodeGpus
from fleetward.slurm.client import NoEstimateError

SEPARATOR = "~0123456789ab~"

NODE = (
    "NodeName={name} Arch=x86_64 CoresPerSocket=1  CPUAlloc=1 CPUEfctv=8 CPUTot=8 CPULoad=0.12 AvailableFeatures=(null)"
    " Gres=gpu:h100:8(S:0-1) GresDrain=N/A GresUsed=gpu:h100:2(IDX:0-1) NodeAddr=10.0.0.1 Port=6818"
    " OS=Linux 6.12 #1 SMP RealMemory=16000 AllocMem=1024 FreeMem=2 Boards=1 State={state} Weight=1"
    " Partitions=gpu,debug  CfgTRES=cpu=8,gres/gpu=8 AllocTRES=cpu=1,gres/gpu=2 CurrentWatts=0 AveWatts=0 {tail}"
)


def node(name: str, state: str = "MIXED", tail: str = "") -> str:
    return NODE.format(name=name, state=state, tail=tail)


def job_fields(**given: str) -> dict[str, str]:
    fields = {
        "JobArrayID": "12",
        "JobID": "12",
        "State": "RUNNING",
        "Reason": "None",
        "UserName": "ada",
        "Account": "research",
        "Partition": "gpu",
        "QOS": "normal",
        "NodeList": "gpu[001-002]",
        "NumNodes": "2",
        "NumCPUs": "16",
        "tres-alloc": "cpu=16,mem=8G,node=2,billing=16,gres/gpu=16,gres/gpu:h100=16",
        "TimeUsed": "1:02",
        "TimeLimit": "10:00",
        "SubmitTime": "1795220144",
        "StartTime": "1795220150",
        "RestartCnt": "1",
        "WorkDir": "/home/ada",
        "Name": "digits",
    }
    assert fields.keys() == set(parse_listings.JOB_FIELDS)
    return fields | given


def squeue(*jobs: dict[str, str]) -> str:
    return "".join("".join(job[f] + SEPARATOR for f in parse_listings.JOB_FIELDS) + "\n" for job in jobs)


def test_a_node_is_read_with_its_gpus_and_reason() -> None:
    line = node("gpu001", "MIXED+DRAIN", "Reason=fleetward:42 node_problem: fan [root@1795220599]")
    (found,), unread = parse_listings.nodes(line + "\n")
    assert (found.name, found.state, found.flags, found.partitions) == ("gpu001", "MIXED", ("DRAIN",), ("gpu", "debug"))
    assert (found.gpus, found.gpus_allocated) == ({"h100": 8}, {"h100": 2})
    assert (found.cpus, found.cpus_allocated, found.memory, found.memory_allocated) == (8, 1, 16000, 1024)
    assert (found.reason, found.reason_by) == ("fleetward:42 node_problem: fan", "root")
    assert found.reason_at is not None
    assert found.reason_at.timestamp() == 1795220599
    assert unread == ()


@pytest.mark.parametrize(
    ("tail", "reason", "by"),
    [
        ("Reason=riser [ada@1795220599] ReservationName=burn-in", "riser", "ada"),
        ("Reason=what ReservationName=x says [ada@1795220599]", "what ReservationName=x says", "ada"),
        ("ReservationName=burn-in", "", ""),
    ],
)
def test_a_reservation_is_no_part_of_the_reason(tail: str, reason: str, by: str) -> None:
    (found,), _ = parse_listings.nodes(node("gpu001", tail=tail) + "\n")
    assert (found.reason, found.reason_by) == (reason, by)


@given(st.text().filter(lambda text: "\nNodeName=" not in f"\n{text}"))
def test_no_reason_or_comment_changes_the_node_or_its_neighbour(text: str) -> None:
    answer = node("gpu001", tail=f"Reason=x [root@1795220599] Comment={text}") + "\n" + node("gpu002", "IDLE") + "\n"
    found, _ = parse_listings.nodes(answer)
    assert [(n.name, n.state, n.cpus, n.gpus) for n in found] == [
        ("gpu001", "MIXED", 8, {"h100": 8}),
        ("gpu002", "IDLE", 8, {"h100": 8}),
    ]


def test_a_comment_that_poses_as_a_node_is_counted_and_not_believed() -> None:
    posing = node("gpu002", tail="Comment=x\nNodeName=gpu003 State=IDLE\n" + node("gpu001", "IDLE"))
    found, unread = parse_listings.nodes(f"{node('gpu001', 'DOWN')}\n{posing}\n")
    assert [(n.name, n.state) for n in found] == [("gpu001", "DOWN"), ("gpu002", "MIXED")]
    assert len(unread) == 2


def test_a_line_that_is_no_node_is_handed_back() -> None:
    found, unread = parse_listings.nodes(f"something new\n{node('gpu001')}\n{node('gpu002', '???')}\n")
    assert [n.name for n in found] == ["gpu001"]
    assert [text.split()[0] for text in unread] == ["something", "NodeName=gpu002"]


def test_a_job_is_read() -> None:
    (job,), unread = parse_listings.jobs(squeue(job_fields()), SEPARATOR)
    assert (job.id, job.number, job.name, job.state, job.reason) == ("12", 12, "digits", "RUNNING", "")
    assert (job.nodes, job.gpus, job.elapsed, job.time_limit) == (("gpu001", "gpu002"), {"h100": 16}, 62, 600)
    assert job.restarts == 1
    assert unread == ()


@given(st.text().filter(lambda text: SEPARATOR not in text), st.text().filter(lambda text: SEPARATOR not in text))
def test_any_name_and_folder_come_through_unchanged(name: str, folder: str) -> None:
    answer = squeue(job_fields(Name=name, WorkDir=f"/{folder}"), job_fields(JobID="13", JobArrayID="13_1", Name=name))
    found, unread = parse_listings.jobs(answer, SEPARATOR)
    assert [(job.id, job.name) for job in found] == [("12", name), ("13_1", name)]
    assert found[0].working_directory == f"/{folder}"
    assert unread == ()


def test_a_job_with_an_unknown_word_is_handed_back_and_the_others_stay() -> None:
    answer = squeue(job_fields(TimeLimit="whenever"), job_fields(JobID="13")) + "half a record" + SEPARATOR
    found, unread = parse_listings.jobs(answer, SEPARATOR)
    assert [job.number for job in found] == [13]
    assert len(unread) == 2
    assert "whenever" in unread[0]
    assert unread[1] == "half a record"


SHOWN = """JobId=12 JobName={name}
   UserId=ada(2001) GroupId=ada(2001) MCS_label=N/A
   JobState=RUNNING Reason=None Dependency=(null)
   NodeList=gpu[001-003]
   JOB_GRES=gpu:h100:18
     Nodes=gpu[001-002] CPU_IDs=0-7 Mem=4096 GRES=gpu:h100:8(IDX:0-7)
     Nodes=gpu003 CPU_IDs=0-7 Mem=4096 GRES=gpu:h100:2(IDX:0,5)
   MinCPUsNode=1 MinMemoryNode=1G MinTmpDiskNode=0
   Command=/home/ada/job.sh
   Comment={name}
"""

HELD = (
    NodeGpus("gpu001", "h100", tuple(range(8))),
    NodeGpus("gpu002", "h100", tuple(range(8))),
    NodeGpus("gpu003", "h100", (0, 5)),
)


@given(
    st.one_of(
        st.text(),
        st.just("x\n     Nodes=gpu009 CPU_IDs=0 Mem=1 GRES=gpu:h100:1(IDX:7)"),
        st.just("x\n   MinCPUsNode=1"),
    )
)
def test_no_name_changes_which_gpus_a_job_holds(name: str) -> None:
    assert parse_listings.job_gpus(SHOWN.replace("{name}", name), name) == HELD


def test_an_estimate_is_the_last_line_that_is_one() -> None:
    told = parse_listings.estimate(
        "sbatch: lua: hello\n"
        "sbatch: Job 7 to start at 1795866400 using 2 processors on nodes gpu001 in partition debug\n"
        "sbatch: Job 7 to start at 1795866500 using 16 processors on nodes gpu[001-002] in partition gpu\n"
    )
    assert told.starts_at.timestamp() == 1795866500
    assert (told.cpus, told.nodes, told.partition) == (16, ("gpu001", "gpu002"), "gpu")


@pytest.mark.parametrize("text", ["", "x" * 400, "Job 7 to start at soon using 2 processors on nodes a in partition b"])
def test_what_is_no_estimate_is_shown_at_its_end(text: str) -> None:
    with pytest.raises(NoEstimateError) as caught:
        parse_listings.estimate(text)
    assert str(caught.value) == f"sbatch: not an estimate: {text[-300:]}"


def test_the_gpus_of_a_job_are_read_up_to_the_free_text_behind_them() -> None:
    shown = (
        "JobId=7 JobName=x\n   Nodes=gpu[001-002] CPU_IDs=0-1 Mem=0 GRES=gpu:h100:2(IDX:0-1)\n   Nodes=gpu003 CPU_IDs=0"
        " Mem=0 GRES=\n   MinCPUsNode=1\n   Comment=\n     Nodes=gpu009 CPU_IDs=0 Mem=0 GRES=gpu:h100:1(IDX:0)\n"
    )
    assert parse_listings.job_gpus(shown, "x") == (
        NodeGpus("gpu001", "h100", (0, 1)),
        NodeGpus("gpu002", "h100", (0, 1)),
    )


def test_what_only_a_jobs_page_tells_is_read() -> None:
    values = {"JobArrayID": "12", "JobID": "12", "State": "FAILED", "NumNodes": "1", "NumCPUs": "8", "RestartCnt": "0"}
    more = {"StdOut": "%x.log", "StdErr": "(null)", "exit_code": "3:15", "ExcNodes": "gpu[007-008]", "ReqNodes": ""}
    record = {**dict.fromkeys(parse_listings.DETAIL_FIELDS, ""), **values, **more, "Dependency": "(null)"}
    text = SEPARATOR.join(record.values()) + SEPARATOR + "\n"
    (detail,), unread = parse_listings.job(text, SEPARATOR)
    assert unread == ()
    assert (detail.exit_code, detail.exit_signal, detail.dependency) == (3, 15, "")
    assert (detail.output, detail.error, detail.excluded, detail.wanted) == ("%x.log", "", ("gpu007", "gpu008"), ())
