"""`fleetward jobs report`: on recorded answers, on played ones, and its questions as Prometheus evaluates them."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import click
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from in_process import run_command
from played_answers import ATTEMPT

import fleetward
from fleetward.commands._jobs_report import (
    INTERVAL,
    KEYS,
    MEASURED,
    RECORDED,
    Asked,
    Report,
    make_report,
    questions,
    window_of,
)
from fleetward.commands._jobs_report_words import columns, document, notes, short_hours
from fleetward.commands._table import table
from fleetward.commands.jobs import GROUPINGS, jobs
from fleetward.model.errors import FleetwardError, UsageError
from fleetward.runbooks.prometheus import PrometheusOutOfReachError, RecordedPrometheus, Sample
from fleetward.slurm.accounting import Attempt
from fleetward.slurm.answers import Listing
from fleetward.slurm.verdicts.usage import Outcome, Prices, Window, read_prices

Run = subprocess.CompletedProcess[str]
Program = Callable[[str, str], Path]
RULES = Path(fleetward.__file__).parent / "alerting/rules/usage.yml"
BEGAN = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = Window(BEGAN, BEGAN + 24 * HOUR, BEGAN + 24 * HOUR)
BY_ACCOUNT = Asked(DAY, "account")
RECORDED_TIME = ("--since", "2026-01-01T00:00Z", "--until", "2028-01-01T00:00Z")
NOBODY = "http://127.0.0.1:9"


def ran(account: str, hours: float, gpus: int = 10, state: str = "COMPLETED", **changes: object) -> Attempt:
    changed = {
        "job_id": f"{account}{hours}",
        "account": account,
        "state": state,
        "started_at": BEGAN,
        "ended_at": BEGAN + hours * HOUR,
        "allocated": {"gres/gpu": str(gpus), "gres/gpu:h100": str(gpus)} if gpus else {"cpu": "4"},
    }
    return replace(ATTEMPT, **(changed | changes))  # type: ignore[arg-type]


FLEET = (
    ran("physics", 10, state="COMPLETED"),
    ran("physics", 2, state="NODE_FAIL"),
    ran("biology", 4, user="bob", state="FAILED", qos="high"),
    ran("biology", 1, user="bob", state="CANCELLED", partition="debug"),
    ran("cpu", 5, gpus=0),
)


def report(asked: Asked, prometheus: RecordedPrometheus | None = None, *attempts: Attempt, cluster: str = "") -> Report:
    return make_report(Listing(attempts or FLEET, "played"), asked, prometheus, cluster)


def answers(
    asked: Asked, cluster: str = "lab", **by_name: tuple[float, float, float]
) -> dict[str, list[tuple[Sample, ...] | FleetwardError]]:
    """Return what Prometheus says: of each row the sums of utilization, of known and of seen GPUs, once a minute."""
    return {
        text: [
            tuple(
                Sample({"cluster": cluster, asked.by: name}, values[place], DAY.until)
                for name, values in by_name.items()
            )
        ]
        for place, text in enumerate(questions(asked).values())
    }


def busy(asked: Asked = BY_ACCOUNT) -> RecordedPrometheus:
    """Return a Prometheus that saw physics half busy all of its 120 GPU-hours, and half of biology's 50 wholly idle."""
    return RecordedPrometheus(answers(asked, physics=(3600, 7200, 7200), biology=(0, 1500, 2700)))


def shown(asked: Asked, made: Report) -> str:
    return table(*columns(made, asked))


def test_accounts_for_people() -> None:
    made = report(BY_ACCOUNT, busy())
    assert shown(BY_ACCOUNT, made).split("\n") == [
        "ACCOUNT  JOBS  GPU-H  BUSY  IDLE  DONE  OPEN  FAILED  FLEET  CANCEL",
        "physics     2  120.0  60.0  60.0   100     0       0   20.0       0",
        "biology     2   50.0     0  50.0     0     0    40.0      0    10.0",
        "TOTAL       4  170.0  60.0   110   100     0    40.0   20.0    10.0",
    ]
    assert list(notes(made, BY_ACCOUNT)) == [
        "from 2026-11-21 03:00:00 to 2026-11-22 03:00:00 UTC",
        "Prometheus saw 97% of the GPU-hours and knows the utilization of 85%;"
        " BUSY and IDLE take the rest to be like that",
        "jobs without a GPU that are left out: 1; --all counts them",
    ]


def test_nothing_is_said_of_the_rest_where_there_is_hardly_one() -> None:
    seen = RecordedPrometheus(answers(BY_ACCOUNT, physics=(3600, 6500, 7200), biology=(0, 2700, 2700)))
    assert not any("Prometheus" in text for text in notes(report(BY_ACCOUNT, seen), BY_ACCOUNT))


def test_that_prometheus_knows_others_only_is_said() -> None:
    others = RecordedPrometheus(answers(BY_ACCOUNT, chemistry=(3600, 7200, 7200)))
    assert any("saw 0% of the GPU-hours" in text for text in notes(report(BY_ACCOUNT, others), BY_ACCOUNT))
    by_qos = Asked(DAY, "qos")
    assert not any("Prometheus" in text for text in notes(report(by_qos), by_qos))


def test_accounts_for_programs() -> None:
    asked = replace(BY_ACCOUNT, prices=Prices({"h100": Decimal("0.01")}))
    told = json.loads(json.dumps(document(report(asked, busy()), asked, "played"), default=str))
    assert (told["by"], told["utilization_problem"], told["unread"], told["jobs_without_gpus_left_out"]) == (
        "account",
        None,
        [],
        1,
    )
    physics, biology = told["rows"]
    assert (physics["account"], physics["jobs"], physics["attempts"]) == ("physics", 2, 2)
    assert (physics["gpu_seconds"], physics["gpu_hours"], physics["cost"]) == (432_000, 120.0, "1.20")
    assert (physics["busy_ratio"], physics["busy_gpu_hours"], physics["idle_gpu_hours"]) == (0.5, 60.0, 60.0)
    assert physics["by_outcome"]["fleet"] == {
        "gpu_seconds": 72_000,
        "gpu_hours": 20.0,
        "by_type": {"h100": {"gpu_seconds": 72_000, "gpu_hours": 20.0}},
    }
    assert list(physics["by_outcome"]) == [str(one) for one in Outcome]
    assert (biology["utilization_known_gpu_hours"], biology["seen_gpu_hours"]) == (25.0, 45.0)
    assert (told["total"]["gpu_hours"], told["total"]["busy_gpu_hours"], told["total"]["cost"]) == (170.0, 60.0, "1.70")
    assert told["total"]["busy_ratio"] == pytest.approx(60 / 170)


def test_a_row_that_prometheus_does_not_know_is_neither_busy_nor_idle() -> None:
    made = report(BY_ACCOUNT, RecordedPrometheus(answers(BY_ACCOUNT, physics=(3600, 7200, 7200), chemistry=(9, 9, 9))))
    lines = shown(BY_ACCOUNT, made).split("\n")
    assert [line.split()[3:5] for line in lines] == [["BUSY", "IDLE"], ["60.0", "60.0"], ["-", "-"], ["60.0", "60.0"]]
    numbers = document(made, BY_ACCOUNT, "played")["rows"][1]  # type: ignore[index]
    assert (numbers["account"], numbers["busy_ratio"], numbers["idle_gpu_hours"]) == ("biology", None, None)


@pytest.mark.parametrize(
    ("busy_sum", "known", "ratio"),
    [("7201", "7200", 1.0), ("-1", "7200", 0.0), ("5", "0", None), ("nan", "7200", None), ("1", "inf", None)],
)
def test_a_share_is_a_share_whatever_prometheus_says(busy_sum: str, known: str, ratio: float | None) -> None:
    said = answers(BY_ACCOUNT, physics=(float(busy_sum), float(known), 7200))
    made = report(BY_ACCOUNT, RecordedPrometheus(said))
    assert made.rows[0].busy == (None if ratio is None else ratio * 432_000)


@pytest.mark.parametrize("error", [PrometheusOutOfReachError("no\x1b[31m route"), None])
def test_without_prometheus_the_columns_are_empty_and_a_note_says_why(error: FleetwardError | None) -> None:
    given: list[tuple[Sample, ...] | FleetwardError] = [error or ()]
    made = report(BY_ACCOUNT, RecordedPrometheus(dict.fromkeys(questions(BY_ACCOUNT).values(), given)))
    assert {tuple(line.split()[3:5]) for line in shown(BY_ACCOUNT, made).split("\n")[1:]} == {("-", "-")}
    (said,) = [text for text in notes(made, BY_ACCOUNT) if "is not known" in text]
    assert ("route" if error else RECORDED["seen"]) in said
    assert document(made, BY_ACCOUNT, "played")["utilization_problem"] == made.problem != ""


@pytest.mark.parametrize(("cluster", "ratio"), [("lab", 0.5), ("other", 1.0), ("", None), ("third", None)])
def test_of_several_clusters_ours_is_taken_or_none(cluster: str, ratio: float | None) -> None:
    ours = answers(BY_ACCOUNT, "lab", physics=(3600, 7200, 7200))
    others = answers(BY_ACCOUNT, "other", physics=(7200, 7200, 7200))
    both = {text: [(*ours[text][0], *others[text][0])] for text in ours}  # type: ignore[misc]
    made = report(BY_ACCOUNT, RecordedPrometheus(both), cluster=cluster)  # type: ignore[arg-type]
    assert made.rows[0].busy == (None if ratio is None else ratio * 432_000)
    assert ("lab, other" in made.problem) == (ratio is None)


def test_one_cluster_is_ours_whatever_the_screen_calls_it() -> None:
    assert report(BY_ACCOUNT, busy(), cluster="Our lab").rows[0].busy == 216_000


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("account", ["physics", "biology"]),
        ("user", ["ada", "bob"]),
        ("partition", ["gpu", "debug"]),
        ("qos", ["normal", "high"]),
        ("job", ["physics10", "biology4", "physics2", "biology1"]),
    ],
)
def test_rows_are_what_was_asked_for_most_gpu_hours_first(by: str, names: list[str]) -> None:
    asked = Asked(DAY, by)
    made = report(asked)
    assert [row.name for row in made.rows] == names
    assert sum(row.usage.total for row in made.rows) == made.total.usage.total == 170 * 3600
    assert ("BUSY" in columns(made, asked)[0]) == (by in MEASURED)


def test_the_groupings_that_can_be_typed_are_those_that_there_are() -> None:
    assert {*KEYS, "job"} == set(GROUPINGS)
    assert set(KEYS) >= MEASURED


@pytest.mark.parametrize(
    ("asked", "hours"),
    [
        (replace(BY_ACCOUNT, user="bob"), {"biology": 50}),
        (replace(BY_ACCOUNT, account="physics"), {"physics": 120}),
        (replace(BY_ACCOUNT, user="bob", account="physics"), {}),
        (replace(BY_ACCOUNT, everything=True), {"physics": 120, "biology": 50, "cpu": 0}),
        (replace(BY_ACCOUNT, top=1), {"physics": 120}),
        (replace(BY_ACCOUNT, top=0), {"physics": 120, "biology": 50}),
    ],
)
def test_only_what_was_asked_for_is_shown(asked: Asked, hours: dict[str, int]) -> None:
    made = report(asked)
    assert {row.name: row.usage.total / 3600 for row in made.rows} == hours
    assert made.left_out == (asked.top == 1)
    assert made.total.usage.total / 3600 == (170 if asked.top == 1 else sum(hours.values()))


def test_of_jobs_there_are_twenty_unless_told_otherwise() -> None:
    many = [ran(f"a{number:02}", number) for number in range(1, 24)]
    asked = Asked(DAY, "job")
    made = report(asked, None, *many)
    assert (len(made.rows), made.left_out, made.rows[0].name) == (20, 3, "a2323")
    assert "rows that are left out here, and not in the total: 3; --top 0 shows them" in list(notes(made, asked))
    assert made.total.usage.jobs == 23
    assert len(report(replace(asked, top=0), None, *many).rows) == 23


def test_two_jobs_of_one_number_are_two_rows_that_can_be_told_apart() -> None:
    again = ran("physics", 1, job_id="7", started_at=BEGAN + 5 * HOUR, ended_at=BEGAN + 6 * HOUR, user="eve")
    asked = Asked(DAY, "job")
    made = report(asked, None, ran("physics", 2, job_id="7"), again)
    assert shown(asked, made).split("\n")[1:3] == [
        "7      ada    20.0  20.0     0       0      0       0",
        "7      eve    10.0  10.0     0       0      0       0",
    ]
    rows = document(made, asked, "played")["rows"]
    assert [(one["job"], one["user"], one["started_at"]) for one in rows] == [  # type: ignore[attr-defined]
        ("7", "ada", BEGAN),
        ("7", "eve", BEGAN + 5 * HOUR),
    ]


def test_a_state_that_is_not_known_gets_a_column_of_its_own() -> None:
    made = report(BY_ACCOUNT, None, ran("physics", 1, state="REVOKED"), ran("physics", 2))
    head, (physics, total) = columns(made, BY_ACCOUNT)
    assert (head[-1].strip(), physics[-1].strip(), total[-1].strip()) == ("OTHER", "10.0", "10.0")


def test_what_costs_nothing_yet_has_a_price_and_rows_may_differ_from_the_total_by_rounding() -> None:
    asked = replace(BY_ACCOUNT, prices=Prices({}, Decimal("0.10")))
    thirds = [ran(name, 1 / 3, gpus=1, job_id=name) for name in ("a", "b", "c")]
    head, rows = columns(report(asked, None, *thirds), asked)
    assert head[-1] == "COST"
    assert [row[-1] for row in rows] == ["0.03", "0.03", "0.03", "0.10"]


def test_types_without_a_price_are_all_named_whichever_rows_they_are_in() -> None:
    other = ran("zoology", 9, allocated={"gres/gpu": "2", "gres/gpu:a100": "2"})
    with pytest.raises(UsageError, match="a100, h100"):
        report(replace(BY_ACCOUNT, prices=read_prices(["l40=1"])), None, *FLEET, other)


def test_a_busy_months_table_fits_into_80_columns() -> None:
    asked = replace(BY_ACCOUNT, prices=Prices({}, Decimal("2.50")))
    states = ("COMPLETED", "RUNNING", "FAILED", "NODE_FAIL", "CANCELLED")
    month = [ran("research", 23.7, gpus=99, state=state, job_id=f"{n}") for n in range(10) for state in states]
    made = report(asked, RecordedPrometheus(answers(asked, research=(1, 2, 3))), *month)
    assert all(len(line) <= 80 for line in shown(asked, made).split("\n"))


def test_hostile_names_draw_nothing() -> None:
    asked = replace(BY_ACCOUNT, user='e"}\x1b[2J\n')
    hostile = ran("\x1b[31mred\nTOTAL", 1, user='e"}\x1b[2J\n')
    made = report(asked, None, hostile)
    lines = shown(asked, made).split("\n")
    assert len(lines) == 3
    assert lines[1].startswith(r"\x1b[31mred\nTOTAL ")


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.01, "<0.1"),
        (0.049, "<0.1"),
        (0.05, "0.1"),
        (99.94, "99.9"),
        (99.95, "100"),
        (9999.4, "9999"),
        (9999.5, "10k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
    ],
)
def test_hours_are_short(hours: float | None, text: str) -> None:
    assert short_hours(None if hours is None else hours * 3600) == text


@given(st.floats(0, 9999 * 3600))
def test_hours_take_four_letters_at_most(seconds: float) -> None:
    assert len(short_hours(seconds)) <= 4


def test_windows() -> None:
    now = datetime(2026, 11, 28, 12, 0, 0, 999, timezone(HOUR))
    here = datetime(2026, 11, 28, 11, tzinfo=UTC)
    assert window_of("7d", None, now) == Window(here - timedelta(days=7), here, here)
    named = window_of("2026-11-01T08:00:00.5+02:00", "90s", now)
    assert (named.since, named.until) == (
        datetime(2026, 11, 1, 6, tzinfo=UTC),
        datetime(2026, 11, 28, 10, 58, 30, tzinfo=UTC),
    )
    assert window_of("2026-11-01", None, now).since == datetime(2026, 11, 1).astimezone(UTC)  # this machine's


@pytest.mark.parametrize(
    ("since", "until"),
    [
        *(
            (text, None)
            for text in ("", "7", "7w", "yesterday", "2026-13-01", "2026-11-01T25:00", "\x1b[31m", "9" * 5000)
        ),
        *((text, None) for text in ("1960-01-01", "0001-01-01", "9999-12-31T23:59:59-14:00", "٣d")),
        ("1h", "1h"),
        ("1h", "2h"),
        ("2099-01-01", None),
        ("7d", "soon"),
    ],
)
def test_wrong_times_are_refused(since: str, until: str | None) -> None:
    with pytest.raises(UsageError):
        window_of(since, until, datetime(2026, 11, 28, tzinfo=UTC))


def test_the_interval_is_that_of_the_recording_rules() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    assert group["interval"] == f"{INTERVAL}s"
    assert {rule["record"] for rule in group["rules"]} == set(RECORDED.values())


def promtool(folder: Path, series: dict[str, str], expressions: dict[str, list[dict[str, Any]]], minutes: int) -> Run:
    """Have Prometheus' own code evaluate expressions over series, at a minute from 1970."""
    cases = [
        {"expr": expression, "eval_time": f"{minutes}m", "exp_samples": expected}
        for expression, expected in expressions.items()
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    tests = [{"interval": "1m", "input_series": given, "promql_expr_test": cases}]
    (folder / "cases.yml").write_text(json.dumps({"evaluation_interval": "1m", "tests": tests}))
    found = shutil.which("promtool", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert found, "promtool is missing: run `make setup-dev`"
    return subprocess.run(
        [found, "test", "rules", folder / "cases.yml"], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("user", [None, 'e"}\x1b[2J\n\\'])
def test_prometheus_sums_the_window_by_row_and_only_what_was_asked_for(tmp_path: Path, user: str | None) -> None:
    metric = RECORDED["busy"]
    name = json.dumps(user or "ada").replace("\\u001b", "\\x1b")
    series = {
        f'{metric}{{cluster="lab", account="physics", user={name}, partition="gpu"}}': "0.5x30",
        f'{metric}{{cluster="lab", account="physics", user={name}, partition="debug"}}': "2x30",
        f'{metric}{{cluster="lab", account="biology", user="bob", partition="gpu"}}': "4x30",
        f'{metric}{{cluster="other", account="physics", user={name}, partition="gpu"}}': "8x30",
    }
    start = datetime(1970, 1, 1, tzinfo=UTC)
    window = Window(start + timedelta(seconds=330), start + timedelta(seconds=630), start + HOUR)
    asked = Asked(window, "account", user=user)
    expected = [
        {"labels": '{cluster="lab", account="physics"}', "value": 12.5},
        {"labels": '{cluster="other", account="physics"}', "value": 40},
        *([] if user else [{"labels": '{cluster="lab", account="biology"}', "value": 20}]),
    ]
    done = promtool(tmp_path, series, {questions(asked)["busy"]: expected}, minutes=25)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass
class Web:
    """A Prometheus that answers every question with one value for each row."""

    values: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (query,) = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["query"]
            web.asked.append(query)
            labels = [({"cluster": "lab", "account": name}, value) for name, value in web.values.items()]
            found = [{"metric": metric, "value": [1, value]} for metric, value in labels]
            self.send_response(200)
            self.end_headers()
            answer = {"status": "success", "data": {"resultType": "vector", "result": found}}
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_port}"
    yield web
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def played(tmp_path: Path, recording: Path) -> Callable[..., Run]:
    """Run the report on recorded answers; where no other address is given, no Prometheus answers."""

    def run(*arguments: str, prometheus: str = NOBODY) -> Run:
        variables = {"FLEETWARD_SLURM_RECORDING": str(recording), "FLEETWARD_DAEMON_PROMETHEUS_URL": prometheus}
        return run_command(
            tmp_path, "jobs", "report", *arguments, "--backend", "recorded", **variables, HOME=str(tmp_path)
        )

    return run


def test_what_slurm_recorded_without_prometheus(played: Callable[..., Run]) -> None:
    done = played(*RECORDED_TIME, "--price", "h100=3600")
    assert done.returncode == 0
    head, research, total = done.stdout.splitlines()
    assert head.split()[:5] == ["ACCOUNT", "JOBS", "GPU-H", "BUSY", "IDLE"]
    assert research.split()[:2] == ["research", "3"]
    assert research.split()[3:5] == total.split()[3:5] == ["-", "-"]
    window, problem = done.stderr.splitlines()
    assert window == "fleetward: from 2026-01-01 00:00:00 to 2028-01-01 00:00:00 UTC"
    assert problem.startswith(f"fleetward: how busy the GPUs were is not known: Prometheus at {NOBODY} does not answer")


def test_what_slurm_recorded_with_prometheus(played: Callable[..., Run], web: Web) -> None:
    web.values = {"research": "1"}
    done = played(*RECORDED_TIME, "--json", "--account", "research", prometheus=web.url)
    told = json.loads(done.stdout)
    assert (told["backend"], told["since"], told["by"]) == ("recorded", "2026-01-01T00:00:00+00:00", "account")
    (row,) = told["rows"]
    assert (row["account"], row["busy_ratio"], row["idle_gpu_hours"], row["cost"]) == ("research", 1.0, 0.0, None)
    assert row["by_outcome"]["failed"]["gpu_seconds"] == 12
    assert len(web.asked) == 3
    assert all('{account="research"}[63072000s] @ 1830297600' in query for query in web.asked)


def test_jobs_that_slurm_recorded_ask_no_prometheus(played: Callable[..., Run], web: Web) -> None:
    told = json.loads(played(*RECORDED_TIME, "--json", "--by", "job", prometheus=web.url).stdout)
    states = {row["job"]: (row["state"], row["attempts"], row["user"]) for row in told["rows"]}
    assert states == {"1": ("FAILED", 1, "root"), "2": ("CANCELLED", 2, "root"), "3": ("RUNNING", 1, "root")}
    assert (told["utilization_problem"], web.asked) == (None, [])


def test_a_type_without_a_price_is_exit_code_2(played: Callable[..., Run]) -> None:
    done = played(*RECORDED_TIME, "--price", "a100=3")
    assert (done.returncode, done.stdout) == (2, "")
    assert "GPUs of type h100 have no price; add --price h100=PRICE" in done.stderr


@pytest.mark.parametrize("wrong", [("--since", "soon"), ("--price", "free"), ("--by", "node"), ("--top", "-1")])
def test_wrong_words_are_exit_code_2(played: Callable[..., Run], wrong: tuple[str, str]) -> None:
    done = played(*wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert wrong[1] in done.stderr


def sacct(program: Program, text: str) -> str:
    """Return a PATH on which sacct does what shell text says."""
    return f"{program('sacct', text)}:/usr/bin:/bin"


def test_a_slurmdbd_that_is_away_is_exit_code_3(tmp_path: Path, program: Program) -> None:
    message = "sacct: error: Problem talking to the database: Connection refused"
    path = sacct(program, f"echo '{message}' >&2; exit 1")
    done = run_command(tmp_path, "jobs", "report", "--backend", "command-line", PATH=path, HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (3, "")
    assert message in done.stderr


def test_records_that_cannot_be_read_are_counted(tmp_path: Path, program: Program) -> None:
    path = sacct(program, "printf 'half \\033[31m a record\\n\\377\\n'")
    variables = {"PATH": path, "HOME": str(tmp_path), "FLEETWARD_DAEMON_PROMETHEUS_URL": NOBODY}
    done = run_command(tmp_path, "jobs", "report", "--backend", "command-line", **variables)
    assert done.returncode == 0
    assert "of Slurm's records of jobs could not be read" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].split()[:3] == ["TOTAL", "0", "0"]


def test_an_option_of_the_list_before_report_is_refused(tmp_path: Path) -> None:
    done = run_command(tmp_path, "jobs", "--json", "--user", "ada", "report", HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "--json and --user before report: write options behind it" in done.stderr


def test_a_backend_that_the_environment_names_is_no_option_that_was_typed(tmp_path: Path, recording: Path) -> None:
    variables = {"FLEETWARD_SLURM_BACKEND": "recorded", "FLEETWARD_SLURM_RECORDING": str(recording)}
    prometheus = {"FLEETWARD_DAEMON_PROMETHEUS_URL": NOBODY, "HOME": str(tmp_path)}
    assert run_command(tmp_path, "jobs", "report", *RECORDED_TIME, **variables, **prometheus).returncode == 0


def test_jobs_alone_still_lists(tmp_path: Path, recording: Path) -> None:
    variables = {"FLEETWARD_SLURM_BACKEND": "recorded", "FLEETWARD_SLURM_RECORDING": str(recording)}
    done = run_command(tmp_path, "jobs", "--all", **variables)
    assert done.stdout.startswith("JOB ")
    assert isinstance(jobs, click.Group)
    assert run_command(tmp_path, "jobs", "everything", **variables).returncode == 2
