"""`fleetward check --report` as Slurm runs it: a real process, a real daemon or none, and a Slurm of shell scripts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from played_receiver import says, serving

OFF_BUS = "NVRM: Xid (PCI:0000:1b:00): 79, pid=1, GPU has fallen off the bus.\n"
HEALTHY = "6,1,1,-;Linux version 6.1\n"
TAKES = says(200, b'{"incidents": []}')
SINFO = r"""#!/bin/sh
separator=$(printf '%s' "$*" | sed 's/.*NodeList:0\(~[0-9a-f]*~\).*/\1/')
only=$(printf '%s' "$*" | sed -n 's/.*--nodes=\([^ ]*\).*/\1/p')
for file in "$FOLDER"/*; do
    name=${file##*/}
    [ -z "$only" ] || [ "$only" = "$name" ] || continue
    { read -r state; read -r at; read -r reason; } <"$file"
    printf '%s\n' "$name$separator$state$separator$at$separator$reason$separator"
done
"""
SCONTROL = r"""#!/bin/sh
printf '%s\n' "$*" >>"$FOLDER/../writes"
case $3 in
state=drain) printf 'idle+drain\n%s\n%s\n' "$(date +%s)" "${4#reason=}" >"$FOLDER/${2#nodename=}" ;;
state=resume) printf 'idle\n0\nnone\n' >"$FOLDER/${2#nodename=}" ;;
esac
"""


@dataclass
class PlayedHost:
    """A node that is a folder, with Slurm's programs in it."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "node"

    def kernel_log(self, text: str) -> None:
        (self.root / "dev/kmsg").write_text(text)

    def program(self, name: str, text: str) -> None:
        file = self.root / "usr/bin" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("$FOLDER", str(self.folder / "slurm")))
        file.chmod(0o755)

    def settings(self, text: str) -> Path:
        file = self.folder / "node.toml"
        file.write_text(f'node = "gpu001"\n{text}')
        return file

    def daemon(self, url: str) -> Path:
        token = self.folder / "token"
        token.write_text("ab" * 32)
        return self.settings(f'{LISTED}[daemon]\nurl = "{url}"\ntoken_file = "{token}"\n')

    def command(self, *options: str, context: str = "periodic", within: float = 20) -> list[str]:
        """Return the command with the settings as they are."""
        (self.folder / "libnvidia-ml.so.1").write_text("no library")
        common = ["--root", str(self.root), "--settings", str(self.folder / "node.toml"), "--within", str(within)]
        reports = ["--report", "--context", context, "--state", str(self.folder / "state")]
        metrics = ["--metrics", str(self.folder / "fleetward_health.prom")]
        return [sys.executable, "-m", "fleetward", "check", *common, *reports, *metrics, *options]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "LD_LIBRARY_PATH": str(self.folder), "SLURM_JOB_ID": "4711"}

    def report(self, *options: str, context: str = "periodic", within: float = 20) -> str:
        """Run it; return what it said. It ends with 0 and prints nothing, whatever happens."""
        done = subprocess.run(
            self.command(*options, context=context, within=within),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (0, "")
        assert "Traceback" not in done.stderr
        return done.stderr

    def writes(self) -> list[str]:
        file = self.folder / "writes"
        return file.read_text().splitlines() if file.exists() else []

    def metrics(self) -> str:
        return (self.folder / "fleetward_health.prom").read_text()


LISTED = '[local_drain]\nchecks = ["xid_off_bus"]\nstreak = 2\n'


@pytest.fixture
def host(tmp_path: Path) -> PlayedHost:
    host = PlayedHost(tmp_path)
    (tmp_path / "node/dev").mkdir(parents=True)
    (tmp_path / "slurm").mkdir()
    for name in ("gpu001", "gpu002"):
        (tmp_path / "slurm" / name).write_text("idle\nUnknown\nnone\n")
    host.program("sinfo", SINFO)
    host.program("scontrol", SCONTROL)
    host.kernel_log(HEALTHY)
    host.settings(LISTED)
    return host


def test_without_a_daemon_a_streak_drains_the_node_and_a_streak_of_passes_undoes_it(host: PlayedHost) -> None:
    host.kernel_log(OFF_BUS)
    assert host.report() == ""
    assert host.writes() == []
    assert "node_health_report_accepted" not in host.metrics()
    said = host.report()
    (written,) = host.writes()
    assert written.startswith("update nodename=gpu001 state=drain reason=fleetward:local-xid_off_bus node_problem: ")
    assert "drained: fleetward:local-xid_off_bus" in said
    assert 'node_health_local_drain{check="xid_off_bus"} 1.0' in host.metrics()
    host.kernel_log(HEALTHY)
    assert host.report() == ""
    assert "resumed, the check passes again" in host.report()
    assert host.writes()[1:] == ["update nodename=gpu001 state=resume"]
    assert "node_health_local_drain" not in host.metrics()


def test_a_daemon_that_takes_the_report_is_the_one_that_decides(host: PlayedHost) -> None:
    host.kernel_log(OFF_BUS)
    with serving(TAKES) as daemon:
        host.daemon(daemon.url)
        for _ in range(3):
            assert host.report() == ""
    assert host.writes() == []
    assert "node_health_report_accepted 1.0" in host.metrics()
    path, headers, body = daemon.posts[0]
    assert path == "/v1/nodes/gpu001/health"
    assert headers["Authorization"] == "Bearer " + "ab" * 32
    assert (body["context"], body["job"]) == ("periodic", "4711")
    assert abs(body["at"] - time.time()) < 60
    assert {"check": "xid_off_bus", "status": "unhealthy", "entity": "0000:1b:00"}.items() <= body["findings"][
        0
    ].items()
    assert "xid_off_bus" not in body["passed"]
    assert "xid_gpu" in body["passed"]


def test_a_daemon_that_is_away_leaves_the_node_to_itself(host: PlayedHost) -> None:
    host.kernel_log(OFF_BUS)
    with serving(says(503, b'{"error": "later"}')) as daemon:
        host.daemon(daemon.url)
        said = host.report() + host.report()
    assert said.count("the answer is 503") == 2
    assert len(host.writes()) == 1
    assert "node_health_report_accepted 0.0" in host.metrics()


def test_a_daemon_that_refuses_the_token_is_there_and_nothing_is_drained(host: PlayedHost) -> None:
    host.kernel_log(OFF_BUS)
    with serving(says(401, b'{"error": "the token is wrong"}')) as daemon:
        host.daemon(daemon.url)
        said = [host.report() for _ in range(3)]
    assert host.writes() == []
    assert all("the token is wrong" in words and "abab" not in words for words in said)


@pytest.mark.parametrize("context", ["prolog", "epilog"])
def test_before_and_after_jobs_it_reports_and_drains_nothing(host: PlayedHost, context: str) -> None:
    host.kernel_log(OFF_BUS)
    for _ in range(4):
        assert host.report(context=context) == ""
    assert host.writes() == []
    assert not (host.folder / "fleetward_health.prom").exists()
    with serving(TAKES) as daemon:
        host.daemon(daemon.url)
        assert host.report(context=context) == ""
    assert daemon.posts[0][2]["context"] == context


def test_by_hand_nothing_is_drained_and_nobody_is_asked(host: PlayedHost) -> None:
    host.kernel_log(OFF_BUS)
    with serving(TAKES) as daemon:
        host.daemon(daemon.url)
        for _ in range(4):
            hand = [one for one in host.command() if one != "--report"]
            done = subprocess.run(hand, env=host.environment, capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == 5
    assert daemon.posts == []
    assert host.writes() == []
    assert not (host.folder / "state").exists()


WRONG: list[tuple[str, str, tuple[str, ...], str]] = [
    ("the settings", f"{LISTED}\nnonsense = 1", (), "'nonsense' is no key"),
    ("no TOML", "\0", (), "is not TOML"),
    ("a profile that is not there", f'profile = "/none.toml"\n{LISTED}', (), "/none.toml cannot be read"),
    ("a catalogue", LISTED, ("--catalogue", "/none.toml"), "/none.toml: cannot be read"),
    ("an unknown check", LISTED.replace('"]', '", "gpu_x"]'), (), "names 'gpu_x'"),
]


@pytest.mark.parametrize(("text", "options", "words"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_settings_that_cannot_be_read_drain_nothing_and_are_told(
    host: PlayedHost, text: str, options: tuple[str, ...], words: str
) -> None:
    host.settings(text)
    host.kernel_log(OFF_BUS)
    for _ in range(3):
        said = host.report(*options)
        assert words in said
        assert len(said.splitlines()) == 1
    assert host.writes() == []
    assert 'node_health_checks{status="healthy"}' in host.metrics(), "the checks are run all the same"


def test_places_that_cannot_be_written_are_told_and_the_report_goes_out(host: PlayedHost) -> None:
    host.kernel_log(OFF_BUS)
    (host.folder / "file").write_text("")
    wrong = ("--state", str(host.folder / "file/state"), "--metrics", str(host.folder / "none/health.prom"))
    with serving(TAKES) as daemon:
        host.daemon(daemon.url)
        said = host.report(*wrong)
    assert len(daemon.posts) == 1
    assert [line.split()[1] for line in said.splitlines()] == [f"{host.folder}/file/state", "the"]
    assert "the metrics" in said
    host.settings(LISTED)
    host.report(*wrong)
    host.report(*wrong)
    assert host.writes() == [], "without a state there is no streak"


def test_a_slurm_that_cannot_be_read_drains_nothing(host: PlayedHost) -> None:
    host.kernel_log(OFF_BUS)
    host.program("sinfo", "#!/bin/sh\necho 'sinfo: error: Unable to contact slurm controller' >&2; exit 1\n")
    host.report()
    assert "Unable to contact slurm controller" in host.report()
    assert host.writes() == []


SLEEPS = "#!/bin/sh\nexec sleep 300\n"


def hangs(handler: BaseHTTPRequestHandler) -> None:
    handler.rfile.read(1)


def test_where_everything_hangs_it_ends_in_time(host: PlayedHost) -> None:
    host.kernel_log(OFF_BUS)
    for name in ("nvme", "ipmitool", "systemctl", "sinfo", "scontrol"):
        host.program(name, SLEEPS)
    (host.root / "dev/ipmi0").touch()
    (host.root / "sys/class/nvme/nvme0").mkdir(parents=True)
    with serving(hangs) as daemon:
        host.daemon(daemon.url)
        host.report(within=6)
        begun = time.monotonic()
        said = host.report(within=6)
    assert time.monotonic() - begun < 6 + 4  # the interpreter's own start and end, on a busy machine
    assert f"{daemon.url}: no answer within 2 s" in said
    assert "sinfo" in said
    (drives,) = (one for one in daemon.posts[1][2]["findings"] if one["check"] == "nvme_wear")
    assert drives["status"] == "unknown"
    assert drives["why"].startswith("no answer within ")


@pytest.fixture
def sleepers(host: PlayedHost) -> Iterator[Callable[[], list[str]]]:
    """Have the programs of a probe and of Slurm sleep, and tell which of their processes there are."""
    marks = {name: f"3{os.getpid()}{number}" for number, name in enumerate(("nvme", "sinfo"))}
    for name, mark in marks.items():
        host.program(name, f"#!/bin/sh\nexec sleep {mark}\n")
    (host.root / "sys/class/nvme/nvme0").mkdir(parents=True)

    def alive() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            except OSError:
                continue
            found += [name for name, mark in marks.items() if len(words) > 1 and words[1].decode() == mark]
        return found

    yield alive
    assert alive() == []


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("program", ["nvme", "sinfo"])
def test_what_it_started_ends_with_it(
    host: PlayedHost, sleepers: Callable[[], list[str]], number: signal.Signals, program: str
) -> None:
    host.kernel_log(OFF_BUS)
    only = ("--only", "nvme_wear") if program == "nvme" else ("--only", "xid_off_bus")
    if program == "sinfo":
        host.report(*only)
    with subprocess.Popen(host.command(*only), env=host.environment, stderr=subprocess.DEVNULL) as running:
        until(lambda: program in sleepers())
        running.send_signal(number)
        running.wait(10)
    until(lambda: sleepers() == [])


def test_two_runs_at_the_same_time_do_the_work_once(host: PlayedHost, sleepers: Callable[[], list[str]]) -> None:
    with subprocess.Popen(host.command(), env=host.environment, stderr=subprocess.DEVNULL) as first:
        until(lambda: "nvme" in sleepers())
        assert "another run is going on" in host.report()
        assert not (host.folder / "fleetward_health.prom").exists()
        assert host.report(context="prolog") == "", "a job does not wait for it"
        first.kill()
    until(lambda: sleepers() == [])


def test_json_has_the_findings(host: PlayedHost) -> None:
    host.kernel_log(OFF_BUS)
    done = subprocess.run(
        host.command("--json", "--only", "xid_off_bus"),
        env=host.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    document = json.loads(done.stdout)
    assert document["counts"]["unhealthy"] == 1
    assert document["findings"][0]["check"] == "xid_off_bus"
