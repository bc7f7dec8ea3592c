"""The exporter as a process of its own, on NVML as the stand-in plays it, asked over HTTP."""

import http.client
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from played_nvml import PlayedNode


@dataclass(frozen=True)
class Exporter:
    process: subprocess.Popen[str]
    address: str
    told: str
    """What it said before it served."""

    def scrape(self) -> str:
        return self.asked("")[1]

    def asked(self, accept: str) -> tuple[str, str]:
        """Return the content's type and the page, for one who accepts such a type."""
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
            answer = connection.getresponse()
            return answer.headers["Content-Type"], answer.read().decode()
        finally:
            connection.close()

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of the one series with at least these labels; None where there is none."""
        for line in self.scrape().splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if (
                match
                and match[1] == name
                and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', match[2] or "")).items()
            ):
                return float(match[3])
        return None


def kernel_log(played: PlayedNode) -> Path:
    """Return what plays /dev/kmsg."""
    return played.folder / "kmsg"


def log(played: PlayedNode, text: str) -> None:
    """Have the kernel write a line, or several."""
    with kernel_log(played).open("a") as file:
        file.write(text)


@contextmanager
def running(played: PlayedNode, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Exporter]:
    command = [
        sys.executable,
        "-m",
        "fleetward",
        "exporter",
        "gpu",
        "--listen",
        "127.0.0.1:0",
        "--interval",
        "0.1",
        "--kernel-log",
        str(kernel_log(played)),
        *options,
    ]
    surroundings = {**played.environment, **(environment or {})}
    with subprocess.Popen(command, env=surroundings, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = ""
        while not (match := re.search(r"https?://(\S+)/metrics", told)):
            line = process.stderr.readline()
            assert line, told
            told += line
        try:
            yield Exporter(process, match[1], told)
        finally:
            process.kill()


def wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
