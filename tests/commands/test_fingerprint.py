"""`fleetward fingerprint` as it is typed, and as a unit of systemd runs it: a real process, and a daemon or none."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from played_receiver import says, serving

from fleetward.node.fingerprint import NodeParts, read_parts
from fleetward.node.surroundings import Surroundings
from fleetward.operations.qualification.fingerprint import read_fingerprint

TOKEN = "ab" * 32
TAKES = says(200, b'{"changed": true}')


@dataclass(frozen=True)
class PlayedHost:
    """A node that is a folder, on which no library of NVIDIA's is found."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "node"

    def write(self, name: str, text: str) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def program(self, name: str, script: str) -> None:
        self.write(f"usr/bin/{name}", f"#!/bin/sh\n{script}\n").chmod(0o755)

    def settings(self, text: str) -> None:
        (self.folder / "node.toml").write_text(f'node = "gpu001"\n{text}')

    def daemon(self, url: str) -> None:
        (self.folder / "token").write_text(TOKEN)
        self.settings(f'[daemon]\nurl = "{url}"\ntoken_file = "{self.folder}/token"\n')

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        places = ["--root", str(self.root), "--settings", str(self.folder / "node.toml")]
        done = subprocess.run(
            [sys.executable, "-m", "fleetward", "fingerprint", *places, *options],
            env={**os.environ, "LD_LIBRARY_PATH": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        assert TOKEN not in done.stdout + done.stderr
        return done


@pytest.fixture
def host(tmp_path: Path) -> PlayedHost:
    host = PlayedHost(tmp_path)
    host.write("proc/sys/kernel/osrelease", "6.12.48\n")
    host.write("sys/module/nvidia/version", "580.95.05\n")
    host.write("sys/class/infiniband/mlx5_0/fw_ver", "28.43.1014\n")
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")
    return host


def test_people_see_a_line_a_part_with_a_word_for_what_is_not_there_and_for_what_is_not_known(host: PlayedHost) -> None:
    host.program("dcgmi", "exit 1")
    done = host.run()
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split("  ", 1) for line in done.stdout.splitlines()[1:])
    found = {name: what.strip() for name, what in lines.items()}
    assert found["kernel"] == "6.12.48"
    assert (found["dcgm"], found["nccl"], found["module flavour"]) == ("unknown", "none", "none")
    assert found["InfiniBand mlx5_0"] == "firmware 28.43.1014"
    assert found["GPUs"] in ("none", "unknown")
    assert len(found) == 11


def test_json_is_what_the_head_reads_and_nothing_else(host: PlayedHost) -> None:
    done = host.run("--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert read_fingerprint(done.stdout).driver == "580.95.05"
    here = read_parts(Surroundings(host.root))
    assert json.loads(done.stdout)["hcas"] == json.loads(here.as_json())["hcas"]
    told = json.loads(done.stdout)
    words = {name: told[name] for name in here.words}
    assert done.stdout == NodeParts(words, told["hcas"], told["gpus"]).as_json() + "\n"


def test_without_report_nobody_is_asked_and_no_settings_are_read(host: PlayedHost) -> None:
    host.settings("nonsense = 1")
    assert host.run().returncode == 0
    with serving(TAKES) as daemon:
        host.daemon(daemon.url)
        assert host.run("--json").returncode == 0
    assert daemon.posts == []


@pytest.mark.parametrize("as_json", [False, True])
def test_a_report_is_the_same_object_with_the_nodes_token(host: PlayedHost, as_json: bool) -> None:
    with serving(TAKES) as daemon:
        host.daemon(f"{daemon.url}/fleet")
        done = host.run("--report", *["--json"] * as_json)
    assert (done.returncode, done.stderr) == (0, "")
    ((path, headers, body),) = daemon.posts
    assert path == "/fleet/v1/nodes/gpu001/fingerprint"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert body == json.loads(host.run("--json").stdout)
    assert done.stdout == (json.dumps(body) + "\n" if as_json else "")


@pytest.mark.parametrize("text", ["", "[daemon]\n", "nonsense = 1\n", "\0", "[daemon]\nurl = 'ftp://head'\n"])
def test_settings_that_are_wrong_or_name_no_daemon_are_usage_errors(host: PlayedHost, text: str) -> None:
    host.settings(text)
    done = host.run("--report")
    assert (done.returncode, done.stdout) == (2, "")
    assert "node.toml" in done.stderr


REFUSALS = [
    (400, b'{"error": "gpus of the fingerprint must be a list"}', "must be a list"),
    (401, b'{"error": "the token is wrong"}', "the token is wrong"),
    (404, b'{"error": "there is no node gpu001 in this fleet"}', "there is no node gpu001"),
    (413, b'{"error": "more than 9 bytes are not taken"}', "more than 9 bytes"),
]


@pytest.mark.parametrize(("status", "body", "words"), REFUSALS)
def test_a_daemon_that_refuses_it_says_why(host: PlayedHost, status: int, body: bytes, words: str) -> None:
    with serving(says(status, body)) as daemon:
        host.daemon(daemon.url)
        done = host.run("--report", "--json")
    assert done.returncode == 1
    assert words in done.stderr
    assert read_fingerprint(done.stdout).kernel == "6.12.48", "it is printed all the same"


def test_without_a_token_it_is_not_sent(host: PlayedHost) -> None:
    with serving(TAKES) as daemon:
        host.daemon(daemon.url)
        (host.folder / "token").unlink()
        done = host.run("--report")
    assert (done.returncode, daemon.posts) == (1, [])
    assert "token cannot be read" in done.stderr


@pytest.mark.parametrize(
    "answer", [says(503, b'{"error": "later"}'), says(200, b'{"incidents": []}'), says(200, b"<html>welcome</html>")]
)
def test_whatever_else_answers_is_no_daemon(host: PlayedHost, answer: object) -> None:
    with serving(answer) as daemon:  # type: ignore[arg-type]
        host.daemon(daemon.url)
        done = host.run("--report")
    assert (done.returncode, len(daemon.posts)) == (3, 1)
    assert daemon.url in done.stderr


def test_where_nobody_listens_it_is_out_of_reach(host: PlayedHost) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host.daemon(f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert host.run("--report").returncode == 3


def hangs(handler: BaseHTTPRequestHandler) -> None:
    handler.rfile.read(1)


def test_where_everything_hangs_it_ends_in_time(host: PlayedHost) -> None:
    for name in ("dcgmi", "nv-fabricmanager", "ofed_info"):
        host.program(name, "exec sleep 300")
    with serving(hangs) as daemon:
        host.daemon(daemon.url)
        begun = time.monotonic()
        done = host.run("--report", "--within", "4")
    assert time.monotonic() - begun < 4 + 6  # the interpreter's own start and end, on a busy machine
    assert (done.returncode, done.stdout) == (3, "")
    assert "no answer within" in done.stderr


def test_a_program_that_hangs_is_one_part_that_is_unknown(host: PlayedHost) -> None:
    host.program("dcgmi", "exec sleep 300")
    done = host.run("--json", "--within", "15")
    assert done.returncode == 0
    assert json.loads(done.stdout)["dcgm"] is None
    assert json.loads(done.stdout)["kernel"] == "6.12.48"
