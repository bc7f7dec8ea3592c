"""The picture without a daemon while slurmctld goes away, comes back, is slow, and is asked by an impatient person."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from played_answers import GPU
from played_slurm import CountingSlurm, PlayedClock, job, node

from fleetward.server.client import DaemonClient
from fleetward.slurm.accounting import Association, Qos
from fleetward.slurm.answers import Estimate, Listing, Partition, Share, Submitted
from fleetward.slurm.client import SlurmClient, SlurmOutOfReachError, SlurmRefusedError
from fleetward.slurm.jobs.spec import UnfitJobError, check_job
from fleetward.tui.daemon_source import DaemonSource
from fleetward.tui.direct_source import LONGEST_PAUSE, DirectSource
from fleetward.tui.picture import Picture, take

AT = datetime(2026, 12, 1, tzinfo=UTC)
AWAY = SlurmOutOfReachError("no answer")
ALL = ("nodes", "jobs", "partitions")


@dataclass
class Slurm(CountingSlurm):
    """Counts how often it is opened and closed, too."""

    known: tuple[Partition, ...] = ()
    opened: int = 0
    closed: int = 0

    def cancel(self, job_id: str) -> None:
        self.ask("cancel")

    def submit(self, script: str, working_directory: Path) -> Submitted:
        self.ask("submit")
        return Submitted("8", self.backend)

    def partitions(self) -> Listing[Partition]:
        self.ask("partitions")
        return Listing(self.known, self.backend)

    def qos(self) -> Listing[Qos]:
        raise SlurmRefusedError("slurmdbd is away")

    def associations(self) -> Listing[Association]:
        return Listing((), self.backend)

    def shares(self) -> Listing[Share]:
        return Listing((), self.backend)

    def estimate(self, script: str, working_directory: Path) -> Estimate:
        self.ask("estimate")
        return Estimate(AT, 1, ("gpu001",), "gpu")

    @contextmanager
    def open(self, choice: str, note: Callable[[str], None]) -> Iterator[SlurmClient]:
        self.opened += 1
        note(f"{choice} answers")
        yield self  # type: ignore[misc]  # what is not played is not asked
        self.closed += 1


@pytest.fixture
def slurm() -> Slurm:
    played = Slurm(PlayedClock())
    played.add(node("gpu001"), node("gpu002"), job(7, "gpu001"))
    return played


@pytest.fixture
def source(slurm: Slurm) -> DirectSource:
    return DirectSource("played", slurm.open, lambda: slurm.now)


def test_one_look_tells_everything_and_each_part_has_its_age(slurm: Slurm, source: DirectSource) -> None:
    slurm.takes = 0.125
    fleet = source.fleet()
    assert slurm.asked == list(ALL)
    assert fleet.ages == {"nodes": 0.375, "jobs": 0.25, "partitions": 0.125}
    assert [one.name for one in fleet.nodes] == ["gpu001", "gpu002"]
    assert (fleet.nodes[0].jobs, [one.id for one in fleet.jobs]) == (("7",), ["7"])
    assert fleet.problems == ("played answers",)
    source.close()
    assert (slurm.opened, slurm.closed) == (1, 1)


def test_a_job_is_held_against_the_cluster_and_what_could_not_be_checked_is_told(
    slurm: Slurm, source: DirectSource, tmp_path: Path
) -> None:
    job = check_job({"name": "x", "command": ["true"]})
    told = source.check(job, "#!/bin/sh\n", tmp_path)
    assert told[0].startswith("would start about")
    assert told[-1] == "not checked: slurmdbd is away"
    assert "submit" not in slurm.asked
    slurm.known = (GPU,)
    with pytest.raises(UnfitJobError, match="partition: gpuu is no partition; there are gpu"):
        source.check(job.model_copy(update={"partition": "gpuu"}), "", tmp_path)


def test_what_was_known_stays_while_slurm_is_away_and_says_why(slurm: Slurm, source: DirectSource) -> None:
    source.fleet()
    slurm.now += 30
    slurm.errors["nodes"] = AWAY
    fleet = source.fleet()
    assert [one.name for one in fleet.nodes] == ["gpu001", "gpu002"]
    assert fleet.ages == dict.fromkeys(ALL, 30.0)
    assert fleet.problems == ("Slurm does not answer about nodes, jobs, partitions: no answer", "played answers")
    slurm.now += 30
    slurm.errors.clear()
    assert source.fleet().problems == ("played answers",)
    assert set(source.fleet().ages.values()) == {0.0}


def test_a_part_that_slurm_refuses_costs_only_itself(slurm: Slurm, source: DirectSource) -> None:
    source.fleet()
    slurm.now += 5
    slurm.errors["jobs"] = SlurmRefusedError("you may not see them")
    fleet = source.fleet()
    assert fleet.ages == {"nodes": 0.0, "jobs": 5.0, "partitions": 5.0}
    assert fleet.problems[0] == "Slurm does not answer about jobs: you may not see them"


def test_before_slurm_ever_answered_there_is_no_fleet(slurm: Slurm, source: DirectSource) -> None:
    slurm.errors["nodes"] = AWAY
    for _ in range(2):
        with pytest.raises(SlurmOutOfReachError, match="no answer"):
            source.fleet()
    assert slurm.asked == ["nodes"], "the second time it is too early to ask again"


def test_who_is_away_is_asked_less_and_less_often(slurm: Slurm, source: DirectSource) -> None:
    source.fleet()
    slurm.asked.clear()
    slurm.errors["nodes"] = AWAY
    began, times = slurm.now, []
    while slurm.now < began + 60:
        slurm.now += 1
        if source.fleet().ages["nodes"] and slurm.asked:
            times.append(slurm.now - began)
            slurm.asked.clear()
    assert times == [1, 3, 7, 15, 25, 35, 45, 55]
    assert times[-1] - times[-2] == LONGEST_PAUSE


def test_questions_take_no_more_than_a_fifth_of_the_time(slurm: Slurm, source: DirectSource) -> None:
    slurm.takes = 2.0
    source.fleet()
    for _ in range(14):
        slurm.now += 2
        source.fleet()
    assert slurm.asked == list(ALL)
    slurm.now += 2
    source.fleet()
    assert slurm.asked == [*ALL, "nodes", "jobs"]


def test_a_person_who_asks_again_and_again_asks_slurm_once(slurm: Slurm, source: DirectSource) -> None:
    for _ in range(9):
        source.fleet()
        slurm.now += 0.1
    assert slurm.asked == list(ALL)


@pytest.mark.parametrize("change", ["cancel", "submit"])
def test_what_one_has_changed_is_seen_at_once(slurm: Slurm, source: DirectSource, change: str) -> None:
    source.fleet()
    slurm.asked.clear()
    if change == "cancel":
        source.cancel("7")
    else:
        assert source.submit("#!/bin/sh\n", Path("/tmp")) == "8"
    source.fleet()
    assert slurm.asked == [change, "nodes", "jobs"]
    assert slurm.opened == 1


def test_the_screen_shows_the_ages_of_a_slurm_that_is_away(slurm: Slurm, source: DirectSource, tmp_path: Path) -> None:
    alone = DaemonSource(DaemonClient(tmp_path / "none.sock"), source)
    before = take(alone, Picture(), lambda: slurm.now)
    slurm.now += 20
    slurm.errors["nodes"] = AWAY
    after = take(alone, before, lambda: slurm.now)
    alone.close()
    assert after.fleet is not None
    assert len(after.fleet.nodes) == 2
    assert after.ages(slurm.now + 2) == dict.fromkeys(ALL, 22.0)
    assert after.problems[0] == "Slurm does not answer about nodes, jobs, partitions: no answer"
    assert "no daemon there" in after.problems[-1]
