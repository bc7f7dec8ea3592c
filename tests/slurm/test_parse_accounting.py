"""What slurmdbd's programs print, read; hostile names and truncated answers too."""

from hypothesis import given
from hypothesis import strategies as st

from fleetward.slurm import parse_accounting

SEPARATOR = "~5f1eed0a4d~"
FIELDS = {
    "JobID": "12",
    "State": "CANCELLED by 1000",
    "Reason": "None",
    "ExitCode": "3:15",
    "ElapsedRaw": "62",
    "TimelimitRaw": "90",
    "ReqTRES": "cpu=16,gres/gpu=16",
    "AllocTRES": "cpu=16,gres/gpu:h100=16,gres/gpu=16",
    "Restarts": "2",
    "NodeList": "gpu[001-002]",
    "FailedNode": "gpu002",
    "User": "ada",
    "Account": "research",
    "Partition": "gpu",
    "QOS": "normal",
    "Submit": "1795220144",
    "Start": "1795220150",
    "End": "1795220212",
    "WorkDir": "/data",
    "StdOut": "%x-%j.log",
    "JobName": "digits",
}
BARE = FIELDS | {"State": "PENDING", "ExitCode": "0", "ElapsedRaw": "", "Restarts": "", "Start": "Unknown", "End": ""}
NAMES = st.text().filter(lambda text: SEPARATOR not in text)


def printed(*records: dict[str, str]) -> str:
    return "".join(SEPARATOR.join(each[name] for name in FIELDS) + SEPARATOR + "\n" for each in records)


def test_the_fields_are_those_that_are_asked_for() -> None:
    assert tuple(FIELDS) == parse_accounting.ATTEMPT_FIELDS


def test_an_attempt_is_read_with_its_counts_and_without() -> None:
    waits = BARE | {"NodeList": "None assigned", "AllocTRES": "", "TimelimitRaw": "UNLIMITED"}
    (ended, waiting), unread = parse_accounting.attempts(printed(FIELDS, waits), SEPARATOR)
    assert unread == ()
    assert (ended.state, ended.cancelled_by, ended.exit_code, ended.exit_signal) == ("CANCELLED", "1000", 3, 15)
    assert (ended.elapsed, ended.restarts, ended.nodes, ended.failed_node) == (62, 2, ("gpu001", "gpu002"), "gpu002")
    assert (ended.time_limit, ended.gpus, ended.reason, ended.output) == (5400, 16, "", "%x-%j.log")
    assert (waiting.exit_code, waiting.exit_signal, waiting.elapsed, waiting.restarts) == (0, 0, 0, 0)
    assert (waiting.started_at, waiting.ended_at, waiting.nodes, waiting.time_limit) == (None, None, (), None)
    assert (waiting.gpus, waiting.cancelled_by, waiting.ended) == (0, "", False)


@given(NAMES, NAMES, NAMES)
def test_no_name_or_folder_changes_its_record_or_its_neighbour(name: str, folder: str, log: str) -> None:
    odd = FIELDS | {"JobName": name, "WorkDir": folder, "StdOut": log}
    found, unread = parse_accounting.attempts(printed(odd, FIELDS), SEPARATOR)
    assert unread == ()
    assert [(one.name, one.working_directory, one.output, one.job_id) for one in found] == [
        (name, folder, log, "12"),
        ("digits", "/data", "%x-%j.log", "12"),
    ]


@given(st.data())
def test_a_truncated_answer_loses_nothing_silently(data: st.DataObject) -> None:
    whole = printed(FIELDS, FIELDS)
    cut = whole[: data.draw(st.integers(0, len(whole) - 2))]
    found, unread = parse_accounting.attempts(cut, SEPARATOR)
    assert len(found) < 2
    assert bool(unread) == (cut.strip() not in ("", printed(FIELDS).strip()))


def test_a_record_that_makes_no_sense_is_handed_back_and_the_others_stay() -> None:
    for wrong in ({"State": "lower case"}, {"ExitCode": "x"}, {"AllocTRES": "gpu"}, {"Start": "yesterday"}):
        found, unread = parse_accounting.attempts(printed(FIELDS | wrong, FIELDS), SEPARATOR)
        assert ([one.job_id for one in found], len(unread)) == (["12"], 1)


def test_steps_are_read_and_the_jobs_own_line_is_left_out() -> None:
    rows = [("12_3", "FAILED", "1:0"), ("12_3.batch", "FAILED", "1:0"), ("12_3.0", "OUT_OF_MEMORY", "0:125")]
    form = [(job, state, code, "9", "gpu001", "1795220150", "Unknown", "python") for job, state, code in rows]
    answer = "".join(SEPARATOR.join(row) + SEPARATOR + "\n" for row in form)
    (batch, first), unread = parse_accounting.steps(answer, SEPARATOR)
    assert unread == ()
    assert (batch.job_id, batch.step, batch.exit_code) == ("12_3", "batch", 1)
    assert (first.step, first.state, first.exit_signal, first.ended_at) == ("0", "OUT_OF_MEMORY", 125, None)


def test_a_row_of_sacctmgr_that_is_short_is_handed_back() -> None:
    found, unread = parse_accounting.qos("normal|0|||||||||\nhigh|100\n")
    assert ([one.name for one in found], len(unread)) == (["normal"], 1)
    found_too, unread = parse_accounting.associations("")
    assert (found_too, unread) == ((), ())


def test_priorities_are_weighted_parts_as_whole_numbers() -> None:
    (one,), unread = parse_accounting.priorities("          5|gpu|root|1012|1000|2|3|4|5|0|\n")
    assert unread == ()
    assert (one.number, one.total, one.age, one.fair_share, one.job_size, one.partition_part, one.qos) == (
        *(5, 1012, 1000, 2),
        *(3, 4, 5),
    )
