"""A day of a healthy node with all the noise that one has: nothing comes of it. A real fault in its midst is found.

24 hours are played on a clock of their own, a run a minute, through the whole chain behind the probes: judgements,
report, state, local rules, metrics. That really takes some 5 s, and the tests with a fault 6 s together, where the
machine has nothing else to do. Only the readings, the daemon and Slurm are played.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from played_fleet import PlayedFleet
from played_readings import HEALTHY, MEMORY, PROCESSES, PROCESSORS, PROFILE, fabric, gpu, log, xid
from prometheus_client.parser import text_string_to_metric_families

from fleetward.exporters.gpu.readings import Census, GpuIdentity, GpuProcess, GpuReading
from fleetward.model.node_reports import HealthReport
from fleetward.model.node_settings import LocalDrain, NodeSettings
from fleetward.node.check_list import CHECKS
from fleetward.node.daemon import Reception, Sent
from fleetward.node.deadline import Deadline
from fleetward.node.local_state import StateFolder
from fleetward.node.probes.clock import ClockState
from fleetward.node.probes.gpus import Gpus
from fleetward.node.probes.host import Process
from fleetward.node.probes.kernel_log import KernelRecords, Record
from fleetward.node.report_run import Reach, Reported, run_and_report
from fleetward.node.results import Context, ProbeError, Problem, Status
from fleetward.node.run_checks import judged
from fleetward.node.site import Site

MINUTE, HOURS = 60.0, 24
MINUTES = HOURS * 60
FATAL = tuple(one.id for one in CHECKS if one.problem is Problem.NODE)
"""A site could list no more than these."""
SETTINGS = NodeSettings(node="gpu001", local_drain=LocalDrain(FATAL))
AWAY = (range(200, 440), range(900, 1140))
"""Minutes in which the daemon is out of reach: for four hours, twice."""
PROGRAM_XIDS = (13, 31, 43, 45)


@dataclass
class Day:
    """One node's day: what its probes read in each minute, and what came of each run."""

    folder: Path
    seed: int
    now: float = 1_795_000_000.0
    minute: int = 0
    reports: list[HealthReport] = field(default_factory=list)
    runs: list[Reported] = field(default_factory=list)
    kernel: list[tuple[float, str]] = field(default_factory=list)
    """When, and what."""
    broken: Mapping[str, object] = field(default_factory=dict)
    """What a real fault makes of the readings, by probe."""

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311  the same day at every run
        self.slurm = PlayedFleet(lambda: self.now).add(*(f"gpu{number:03}" for number in range(1, 21)))
        self.metrics = self.folder / "fleetward_health.prom"
        self.counts: Counter[str] = Counter()
        self._reach = Reach(
            self._post, self.slurm, StateFolder(self.folder), self.metrics, lambda: self.now, self._sleep
        )

    def play(self, minutes: int) -> None:
        for _ in range(minutes):
            for context in self._contexts():
                checks = [one for one in CHECKS if context in one.contexts]
                run = partial(judged, checks, {**HEALTHY, **self._noise(context), **self.broken}, PROFILE)
                site = Site(SETTINGS, PROFILE)
                self.runs.append(run_and_report(run, context, site, self._reach, Deadline(20), job="7"))
            self.minute += 1
            self.now += MINUTE

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def daemon_is_there(self) -> bool:
        return not any(self.minute in hours for hours in AWAY)

    def _post(self, report: HealthReport) -> Sent:
        if not self.daemon_is_there:
            return Sent(Reception.AWAY, "http://head:9720: no answer within 2 s")
        self.reports.append(report)
        return Sent(Reception.TAKEN)

    def _contexts(self) -> Iterator[Context]:
        """Yield what is run in this minute: jobs of an hour or so, and the checks that Slurm runs beside them."""
        if self.minute % 67 == 0:
            yield Context.PROLOG
        yield Context.PERIODIC
        if self.minute % 67 == 60:
            yield Context.EPILOG

    def _noise(self, context: Context) -> dict[str, object]:
        """Return readings that differ from those of a healthy node by no more than healthy nodes do."""
        dice, busy = self.dice, self.minute % 67 < 60 and context is Context.PERIODIC
        self.counts["ecc"] += dice.random() < 0.5
        self.counts["replays"] += dice.random() < 0.3
        self.counts["symbols"] += dice.random() < 0.02
        self.counts["memory"] += dice.random() < 0.2
        if busy and dice.random() < 0.02:
            code, bus = dice.choice(PROGRAM_XIDS), dice.choice(("01", "02"))
            self.kernel.append((self.now, xid(code, bus, "pid=4711, name=python, Ch 00000008")))
        found = {
            "NVML": self._gpus(busy),
            "kernel log": KernelRecords(
                (*log("Linux version 6.1").records, *(Record(text, self.now - at) for at, text in self.kernel))
            ),
            "InfiniBand": fabric(symbol_error=self.counts["symbols"], link_error_recovery=self.minute // 700),
            "kernel clock": ClockState(True, dice.uniform(-0.01, 0.01)),
            "memory": replace(MEMORY, corrected={"mc0": self.counts["memory"]}),
            "processors": replace(PROCESSORS, megahertz={"cpu0": dice.uniform(2900, 3400)}),
            "processes": replace(PROCESSES, odd=(Process(dice.randrange(9999), "dd", "D", dice.uniform(0, 100)),)),
        }
        return found | {name: ProbeError("no answer within 2 s") for name in HEALTHY if dice.random() < 0.002}

    def _gpus(self, busy: bool) -> Gpus:
        dice = self.dice
        looks = []
        for index in range(2):
            celsius = dice.uniform(55, 75) if busy else dice.uniform(28, 40)
            look = gpu(
                index,
                processes=(GpuProcess(4711),) if busy else (),
                gpu_temperature_celsius=celsius,
                gpu_memory_temperature_celsius=celsius + dice.uniform(5, 15),
                gpu_temperature_margin_celsius=87 - celsius,
                gpu_utilization_ratio=dice.random() if busy else 0.0,
                gpu_sm_clock_hertz=dice.uniform(1.2e9, 1.98e9) if busy else 345e6,
                gpu_power_watts=dice.uniform(90, 690),
                gpu_pcie_link_generation=5 if busy else 1,
                gpu_performance_state=0 if busy else 8,
                gpu_ecc_errors_total__corrected=self.counts["ecc"] * (index + 1),
                gpu_ecc_location_errors_total__sram__corrected=self.counts["ecc"] // 100,
                gpu_remapped_rows__corrected=1,
                gpu_pcie_replay_total=self.counts["replays"],
                gpu_nvlink_errors_total__3__replay=float(self.minute > 500),
                gpu_clock_event_active__sw_power_cap=float(dice.random() < 0.3),
            )
            looks.append(look)
        hangs = dice.random() < 0.003
        return Gpus(Census(2, "570.1"), tuple(looks[: 1 if hangs else 2]), (1,) if hangs else ())


def told(day: Day, status: Status) -> Counter[str]:
    return Counter(one.check for run in day.runs for one in run.findings if one.status is status)


def test_a_day_of_noise_drains_nothing_and_finds_nothing_unhealthy(tmp_path: Path) -> None:
    day = Day(tmp_path, seed=1)
    day.play(MINUTES)
    assert len(day.runs) > MINUTES
    assert told(day, Status.UNHEALTHY) == {}
    assert day.slurm.writes == []
    assert day.slurm.looks == 0, "Slurm is not even asked"
    assert told(day, Status.UNKNOWN).total() > 100, "probes did time out"
    assert {"xid_program", "gpu_nvlink_errors"} <= told(day, Status.DEGRADED).keys(), "there was noise"
    away = sum(run.reception is Reception.AWAY for run in day.runs)
    assert away >= sum(map(len, AWAY))
    assert len(day.reports) == len(day.runs) - away
    assert all(later.at >= earlier.at for earlier, later in pairwise(day.reports))
    names = {family.name for family in text_string_to_metric_families(day.metrics.read_text())}
    assert "node_health_local_drain" not in names
    assert "node_health_last_run_timestamp_seconds" in names


LOST = Gpus(Census(2, "570.1"), (gpu(0), GpuReading(GpuIdentity(1, "GPU-1"), None, failure="GPU is lost")))


@pytest.mark.parametrize(("begins", "drains"), [(210, True), (600, False), (889, True)])
def test_a_real_fault_in_the_midst_of_it_is_found_at_once_and_drains_within_the_streak(
    tmp_path: Path, begins: int, drains: bool
) -> None:
    """The last fault begins while the daemon is there, and outlasts it."""
    day = Day(tmp_path, seed=2)
    day.play(begins)
    assert day.slurm.writes == []
    day.broken = {"NVML": LOST}
    day.play(1)
    assert [one.check for one in day.runs[-1].findings if one.status is Status.UNHEALTHY] == ["gpu_lost"]
    assert ("gpu_lost" in {one.check for one in day.reports[-1].findings}) is day.daemon_is_there
    streak = SETTINGS.local_drain.streak
    day.play(streak - 1 if begins == 210 else 12)
    assert [write[:2] for write in day.slurm.writes] == ([("drain", "gpu001")] if drains else [])
    if drains:
        assert day.slurm.nodes_now["gpu001"].reason == "fleetward:local-gpu_lost node_problem: GPU 1: GPU is lost"
        assert 'node_health_local_drain{check="gpu_lost"} 1.0' in day.metrics.read_text()
    day.broken = {}
    day.play(streak + 5)  # a probe may time out once or twice
    assert day.slurm.nodes_now["gpu001"].is_in_service
    assert [write[0] for write in day.slurm.writes] == (["drain", "resume"] if drains else [])
    day.play(60)
    assert len(day.slurm.writes) == (2 if drains else 0)
