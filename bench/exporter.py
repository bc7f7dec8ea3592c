"""The GPU exporter beside nvitop-exporter, on the same played NVML with 8 GPUs: scrape, processor, memory, series."""

import http.client
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "build/peers"
GPUS = 8
SCRAPES = 300
CPU_SECONDS = 20.0
READY_SECONDS = 20.0
_MAPPING = r"^[0-9a-f]+-[0-9a-f]+ \S+ ([0-9a-f]+ \S+ [1-9]\d* +/[^\n]*)\n.*?^Rss: +(\d+) kB$.*?^Anonymous: +(\d+) kB$"
"""Of /proc/PID/smaps: place and name of a mapped file, how much of it is resident, and how much was written to."""
OURS_PORT, PEER_PORT = 19400, 19401


@dataclass
class Exporter:
    """One that runs, and what it takes."""

    process: int
    port: int
    connection: http.client.HTTPConnection

    def scrape(self) -> tuple[float, str]:
        """Return seconds and the page, over a connection that stays open, as Prometheus' does."""
        began = time.perf_counter()
        self.connection.request("GET", "/metrics")
        page = self.connection.getresponse().read()
        return time.perf_counter() - began, page.decode()

    def cpu_seconds(self) -> float:
        """Return the processor time of all its processes."""
        fields = (Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in self._processes())
        return sum(int(told[11]) + int(told[12]) for told in fields) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Return the memory of all its processes; what they share counts once.

        Pages of files count whole, also where others have the same file open: else it would matter who else runs.
        """
        anonymous, of_files = 0, Counter[str]()
        for one in self._processes():
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            anonymous += sum(map(int, re.findall(r"^Pss_(?:Anon|Shmem): +(\d+) kB", rollup, re.MULTILINE)))
            mappings = re.findall(_MAPPING, Path(f"/proc/{one}/smaps").read_text(), re.MULTILINE | re.DOTALL)
            of_files |= Counter({mapping: int(rss) - int(own) for mapping, rss, own in mappings})
        return (anonymous + of_files.total()) / 1024

    def series(self) -> float:
        """Return how many series a GPU has, those of XIDs left out."""
        lines = re.findall(r"^(?!gpu_xid)[A-Za-z_0-9]+\{[^}]*(?:gpu|index|uuid)=.*$", self.scrape()[1], re.MULTILINE)
        return len(lines) / GPUS

    def _processes(self) -> list[int]:
        found = [self.process]
        for one in found:
            found += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        return found


def measure() -> list[Figure]:
    """Measure both side by side."""
    with tempfile.TemporaryDirectory(prefix="fleetward-bench-") as folder:
        environment = played_nvml(Path(folder))
        ours_command = [
            str(Path(sys.executable).with_name("fleetward")),
            "exporter",
            "gpu",
            "--kernel-log",
            "/dev/null",
        ]
        peer_command = [str(_peer()), "--bind-address", "127.0.0.1", "--port", str(PEER_PORT), "--interval", "1"]
        with (
            running([*ours_command, "--listen", f"127.0.0.1:{OURS_PORT}"], OURS_PORT, environment) as ours,
            running(peer_command, PEER_PORT, environment) as peer,
        ):
            cpu, idle = _cpu_percent(ours, peer), [one.memory_mb() for one in (ours, peer)]
            scrapes = _scrape_ms(ours, peer)
            series = [one.series() for one in (ours, peer)]
    return [
        Figure("GPU exporter, scrape of 8 GPUs, p50", scrapes[0], scrapes[1] / 2, "ms"),
        Figure("  nvitop-exporter", scrapes[1], None, "ms"),
        Figure("GPU exporter, processor at a look a second", cpu[0], cpu[1], "%"),
        Figure("  nvitop-exporter", cpu[1], None, "%"),
        Figure("GPU exporter, memory of all its processes", idle[0], 1.5 * idle[1], "MB"),
        Figure("  nvitop-exporter", idle[1], None, "MB"),
        Figure("nvitop-exporter's series a GPU as a share of ours", 100 * series[1] / series[0], 25, "%"),
        Figure("  GPU exporter, series a GPU", series[0], None, ""),
    ]


def played_nvml(folder: Path) -> Mapping[str, str]:
    """Build the stand-in, and return the environment in which programs find it."""
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["sh", ROOT / "lab/nvml/build.sh", library], check=True)
    files = {"DEFAULTS": "defaults.conf", "SCENARIO": "scenario.conf", "EVENTS": "events", "DEVICES": "nvidia"}
    played = {f"FLEETWARD_NVML_{name}": str(folder / file) for name, file in files.items()}
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), **played}


def _peer() -> Path:
    """Install the peer where it is not there, and return its program."""
    program = PEERS / "bin/nvitop-exporter"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        install = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]
        subprocess.run([PEERS / "bin/pip", *install, ROOT / "requirements/peers.txt"], check=True)
        subprocess.run([PEERS / "bin/python", "-m", "compileall", "-q", PEERS / "lib"], check=False)
    return program


@contextmanager
def running(command: list[str], port: int, environment: Mapping[str, str]) -> Iterator[Exporter]:
    """Run an exporter until it serves, and end it behind what is done with it."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + READY_SECONDS
            while True:
                exporter = Exporter(process.pid, port, http.client.HTTPConnection("127.0.0.1", port, timeout=10))
                try:
                    exporter.scrape()
                    break
                except OSError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)
            yield exporter
        finally:
            process.send_signal(signal.SIGTERM)


def _cpu_percent(*exporters: Exporter) -> list[float]:
    """Return the processor time of each over the same while, scraped by nobody."""
    before = [one.cpu_seconds() for one in exporters]
    time.sleep(CPU_SECONDS)
    after = [one.cpu_seconds() for one in exporters]
    return [100 * (late - early) / CPU_SECONDS for early, late in zip(before, after, strict=True)]


def _scrape_ms(*exporters: Exporter) -> list[float]:
    """Return the median time of a scrape of each, asked in turn."""
    taken: list[list[float]] = [[] for _ in exporters]
    for _ in range(SCRAPES):
        for one, times in zip(exporters, taken, strict=True):
            times.append(one.scrape()[0])
            time.sleep(0.005)
    return [1000 * statistics.median(times) for times in taken]
