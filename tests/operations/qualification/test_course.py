"""Burn-ins that are played: each job that is wanted is answered with a log, until all is known."""

import json
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetward.model.burn_ins import BurnInJob, JobState, NewJob, Phase
from fleetward.model.errors import UsageError
from fleetward.model.fleet import HardwareProfile
from fleetward.operations.qualification.batch import Batch, render
from fleetward.operations.qualification.course import Candidate, Finished, Next, check, course
from fleetward.operations.qualification.judging import Outcome, Result, of_node
from fleetward.operations.qualification.workload import Scope, Workload
from fleetward.operations.qualification.workload_list import BY_ID

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USUAL = tuple(BY_ID[id] for id in ("dcgm_medium", "nccl_node", "nccl_pair", "ib_write"))
PAIRED = tuple(BY_ID[id] for id in ("dcgm_medium", "nccl_pair"))
GROUPED = tuple(BY_ID[id] for id in ("dcgm_medium", "nccl_group"))
WELL, SLOW, SILENT = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN
SAMPLES = {
    "dcgm_medium": ("dcgm-3.3.9-medium.json", "dcgm-3.3.9-failed.json"),
    "nccl_node": ("nccl-tests-2.19.6-node.txt", ""),
    "nccl_pair": ("nccl-tests-2.13.8-pair.txt", ""),
    "nccl_group": ("nccl-tests-2.13.8-pair.txt", ""),
    "ib_write": ("perftest-6.29-pair.txt", ""),
}
"""Of each workload a good output and one that failed; where none is named, the good one with smaller numbers."""
SLOWER = {"478.": "238.", "479.": "239.", "360.": "60.", "395.": "45.", "394.": "44."}

Fleet = Callable[[str, frozenset[str]], Outcome]
"""Says what comes of a workload on these nodes."""
Sample = Callable[[str], str]


def bad_nodes(*names: str, workloads: Collection[str] = SAMPLES.keys()) -> Fleet:
    return lambda workload, nodes: SLOW if workload in workloads and not nodes.isdisjoint(names) else WELL


def bad_link(one: str, other: str) -> Fleet:
    return lambda _, nodes: SLOW if nodes.issuperset((one, other)) else WELL


def output(workload: str, outcome: Outcome, sample: Sample) -> str:
    good, failed = SAMPLES[workload]
    text = sample(failed if failed and outcome is SLOW else good)
    if outcome is SLOW and not failed:
        for number, smaller in SLOWER.items():
            text = text.replace(number, smaller)
    return text


def fingerprint(node: str) -> str:
    return json.dumps({"kernel": "6.8", "bios": f"2.1 of {node}"})


class Play:
    """A burn-in on record, and the fleet that it is about."""

    def __init__(self, candidates: Sequence[Candidate], workloads: Sequence[Workload], sample: Sample) -> None:
        self.candidates, self.workloads, self.sample = candidates, workloads, sample
        self.profiles = {one.name: one.profile for one in candidates}
        self.jobs: list[BurnInJob] = []

    @property
    def next(self) -> Next | Finished:
        return course(self.candidates, self.workloads, self.jobs)

    def to_end(self, fleet: Fleet, endings: Callable[[Sequence[BurnInJob]], Sequence[BurnInJob]] = list) -> Finished:
        """Go on until all is known; `endings` says which of the jobs that are under way end before the next look."""
        for _ in range(400):
            found = self.next
            if isinstance(found, Finished):
                assert all(job.state is JobState.ENDED for job in self.jobs)
                return found
            self.plan(found.jobs)
            going = [job for job in self.jobs if job.state is not JobState.ENDED]
            assert going, "nothing is under way, and nothing is wanted"
            for job in endings(going):
                self.end(job, self.log(job, fleet))
        raise AssertionError("it does not come to its end")

    def plan(self, wanted: Sequence[NewJob]) -> None:
        for one in wanted:
            id = len(self.jobs) + 1
            token = f"{id:016x}"
            job = BurnInJob(id, one.phase, one.round, one.nodes, one.workloads, token, JobState.PLANNED, "", "", NOW)
            workloads = tuple(BY_ID[workload] for workload in job.workloads)
            # What a batch script cannot be made of is no job: a pair workload on three nodes, one without a workload.
            assert len({self.profiles[name] for name in job.nodes}) == 1
            render(Batch(job.name, job.nodes, self.profiles[job.nodes[0]], workloads, token))
            if one.phase in (Phase.PAIR_SEARCH, Phase.GROUP):
                assert not {*one.nodes} & self.busy(one.phase), f"{one} shares a node with another that is under way"
            self.jobs.append(job)

    def busy(self, phase: Phase) -> set[str]:
        going = [job for job in self.jobs if job.phase is phase and job.state is not JobState.ENDED]
        return {*chain.from_iterable(job.nodes for job in going)}

    def end(self, job: BurnInJob, log: str, why: str = "") -> None:
        self.jobs[job.id - 1] = replace(job, state=JobState.ENDED, log=log, why=why, ended_at=NOW)

    def log(self, job: BurnInJob, fleet: Fleet) -> str:
        mark = f"fleetward-{job.token}"
        texts = ["slurmstepd: a line of nobody's"]
        if job.phase is Phase.NODE:
            texts.append(f"{mark} begin fingerprint\n{fingerprint(job.nodes[0])}\n\n{mark} end fingerprint 0 1")
        for id in job.workloads:
            outcome = fleet(id, frozenset(job.nodes))
            if outcome is not SILENT:
                text = output(id, outcome, self.sample)
                texts.append(f"{mark} begin {id}\n{text}\n{mark} end {id} 0 60")
        return "".join(f"{text}\n" for text in texts)

    def ran(self, phase: Phase) -> list[tuple[str, ...]]:
        return [job.nodes for job in self.jobs if job.phase is phase]


Plays = Callable[..., Play]


@pytest.fixture
def play(hgx: HardwareProfile, sample: Sample) -> Plays:
    """Return a maker of burn-ins of so many nodes, gpu1 and on, four at a leaf switch."""

    def make(count: int, workloads: Sequence[Workload] = USUAL, profile: HardwareProfile = hgx) -> Play:
        return Play(
            [Candidate(f"gpu{at}", profile, f"leaf{(at - 1) // 4}") for at in range(1, count + 1)], workloads, sample
        )

    return make


def of(finished: Finished, workload: str, node: str) -> Result:
    found = of_node(node, [one for one in finished.results if one.workload == workload])
    assert found is not None
    return found


def blamed(finished: Finished) -> set[str]:
    return {*chain.from_iterable(one.blamed for one in finished.results)}


def passed(finished: Finished, workload: str, nodes: Collection[str]) -> set[str]:
    return {node for node in nodes if of(finished, workload, node).outcome is WELL}


class TestNodesAndPairs:
    def test_where_all_is_well_each_runs_alone_then_with_its_neighbour(self, play: Plays) -> None:
        burn_in = play(4)
        first = burn_in.next
        assert first == Next(
            tuple(NewJob(Phase.NODE, 0, (f"gpu{at}",), ("dcgm_medium", "nccl_node")) for at in range(1, 5))
        )
        finished = burn_in.to_end(bad_nodes())
        assert [(job.nodes, job.workloads) for job in burn_in.jobs[4:]] == [
            (("gpu1", "gpu2"), ("nccl_pair", "ib_write")),
            (("gpu3", "gpu4"), ("nccl_pair", "ib_write")),
        ]
        assert {one.outcome for one in finished.results} == {WELL}
        for node in burn_in.profiles:
            assert all(of(finished, workload.id, node).outcome is WELL for workload in USUAL)
        assert finished.fingerprints == {node: fingerprint(node) for node in burn_in.profiles}

    def test_neighbours_are_those_at_one_leaf_switch(self, play: Plays) -> None:
        burn_in = play(4)
        burn_in.candidates = [replace(one, leaf=leaf) for one, leaf in zip(burn_in.candidates, "abab", strict=True)]
        burn_in.to_end(bad_nodes())
        assert burn_in.ran(Phase.PAIR) == [("gpu1", "gpu3"), ("gpu2", "gpu4")]

    @pytest.mark.parametrize("workload", ["dcgm_medium", "nccl_node"])
    def test_a_node_that_fails_by_itself_takes_no_part_in_pairs(self, play: Plays, workload: str) -> None:
        burn_in = play(5)
        finished = burn_in.to_end(bad_nodes("gpu2", workloads=[workload]))
        assert burn_in.ran(Phase.PAIR) == [("gpu1", "gpu3"), ("gpu4", "gpu5")]
        assert blamed(finished) == {"gpu2"}
        assert of(finished, workload, "gpu2").outcome is SLOW

    def test_one_that_is_left_over_is_paired_with_the_first(self, play: Plays) -> None:
        burn_in = play(5)
        finished = burn_in.to_end(bad_nodes())
        assert burn_in.ran(Phase.PAIR) == [("gpu1", "gpu2"), ("gpu3", "gpu4"), ("gpu5", "gpu1")]
        assert passed(finished, "nccl_pair", burn_in.profiles) == burn_in.profiles.keys()

    def test_a_single_node_has_no_pair_and_nothing_is_said_of_one(self, play: Plays) -> None:
        burn_in = play(1)
        finished = burn_in.to_end(bad_nodes())
        assert [job.phase for job in burn_in.jobs] == [Phase.NODE]
        assert [one.workload for one in finished.results] == ["dcgm_medium", "nccl_node"]

    def test_no_node_at_all_is_soon_done(self, play: Plays) -> None:
        assert play(0).next == Finished((), {})

    def test_nodes_of_two_profiles_meet_only_their_own_kind(self, play: Plays, hgx: HardwareProfile) -> None:
        other = replace(hgx, name="hgx-h200")
        without = replace(hgx, name="plain", gpu=None, infiniband=None)
        burn_in = play(7, (*USUAL, BY_ID["fio"]))
        profiles = [hgx, other, hgx, other, other, without, without]
        burn_in.candidates = [
            replace(one, profile=profile) for one, profile in zip(burn_in.candidates, profiles, strict=True)
        ]
        burn_in.profiles = {one.name: one.profile for one in burn_in.candidates}
        check(burn_in.candidates, burn_in.workloads)
        wanted = burn_in.next
        assert isinstance(wanted, Next)
        assert [job.workloads for job in wanted.jobs[-3:]] == [("dcgm_medium", "nccl_node", "fio"), ("fio",), ("fio",)]
        finished = burn_in.to_end(lambda workload, _: SILENT if workload == "fio" else WELL)
        assert burn_in.ran(Phase.PAIR) == [("gpu1", "gpu3"), ("gpu2", "gpu4"), ("gpu5", "gpu2")]
        assert blamed(finished) == set()

    def test_slower_than_its_peers_is_failed_where_the_profile_names_no_number(
        self, play: Plays, hgx: HardwareProfile
    ) -> None:
        silent = replace(
            hgx, bandwidth_gbytes_per_second=replace(hgx.bandwidth_gbytes_per_second, nvlink_all_reduce=None)
        )
        finished = play(7, (BY_ID["nccl_node"],), silent).to_end(bad_nodes("gpu3"))
        assert blamed(finished) == {"gpu3"}
        assert "of 6 peers" in of(finished, "nccl_node", "gpu3").why
        assert of(finished, "nccl_node", "gpu1").outcome is WELL


class TestJobsThatTellNothing:
    def test_while_jobs_are_under_way_nothing_else_is_wanted(self, play: Plays) -> None:
        burn_in = play(4)
        while not isinstance(wanted := burn_in.next, Finished):
            burn_in.plan(wanted.jobs)
            assert burn_in.next == Next(())
            going = [job for job in burn_in.jobs if job.state is JobState.PLANNED]
            for job in going[1:]:
                burn_in.end(job, burn_in.log(job, bad_nodes()))
            burn_in.jobs[going[0].id - 1] = replace(going[0], state=JobState.SUBMITTED, slurm_job="7")
            assert burn_in.next == Next(())
            burn_in.end(going[0], burn_in.log(going[0], bad_nodes()))

    @pytest.mark.parametrize("why", ["its job 7 CANCELLED", ""])
    def test_a_job_without_a_log_is_unknown_with_its_reason(self, play: Plays, why: str) -> None:
        burn_in = play(2)
        wanted = burn_in.next
        assert isinstance(wanted, Next)
        burn_in.plan(wanted.jobs)
        burn_in.end(burn_in.jobs[0], "", why)
        finished = burn_in.to_end(bad_nodes())
        for workload in ("dcgm_medium", "nccl_node"):
            result = of(finished, workload, "gpu1")
            assert (result.outcome, result.why) == (SILENT, why or "its job's log tells nothing of it")
        assert finished.fingerprints.keys() == {"gpu2"}
        in_pairs = {one.nodes for one in finished.results if one.workload == "nccl_pair"}
        assert in_pairs == (set() if why else {("gpu1", "gpu2")}), "nobody waits for a node that may be away"

    def test_of_a_log_that_breaks_off_what_was_done_counts(self, play: Plays) -> None:
        burn_in = play(1, (*USUAL, BY_ID["hpl"]))
        wanted = burn_in.next
        assert isinstance(wanted, Next)
        burn_in.plan(wanted.jobs)
        (job,) = burn_in.jobs
        log = burn_in.log(replace(job, workloads=("dcgm_medium", "nccl_node")), bad_nodes())
        burn_in.end(job, log[: log.rindex("fleetward-")], "its job 7 TIMEOUT")
        finished = burn_in.next
        assert isinstance(finished, Finished)
        assert of(finished, "dcgm_medium", "gpu1").outcome is WELL
        assert of(finished, "nccl_node", "gpu1").why == "its log ends before it did"
        assert of(finished, "hpl", "gpu1").why == "its job 7 TIMEOUT"

    def test_a_log_of_another_job_says_nothing(self, play: Plays) -> None:
        burn_in = play(1)
        wanted = burn_in.next
        assert isinstance(wanted, Next)
        burn_in.plan(wanted.jobs)
        (job,) = burn_in.jobs
        burn_in.end(job, burn_in.log(replace(job, token="f" * 16), bad_nodes()))
        finished = burn_in.next
        assert isinstance(finished, Finished)
        assert {one.outcome for one in finished.results} == {SILENT}
        assert finished.fingerprints == {}

    def test_a_fingerprint_whose_program_failed_is_none(self, play: Plays) -> None:
        burn_in = play(1)
        wanted = burn_in.next
        assert isinstance(wanted, Next)
        burn_in.plan(wanted.jobs)
        (job,) = burn_in.jobs
        log = burn_in.log(job, bad_nodes())
        burn_in.end(job, log.replace("end fingerprint 0", "end fingerprint 127"))
        finished = burn_in.next
        assert isinstance(finished, Finished)
        assert finished.fingerprints == {}
        assert {one.outcome for one in finished.results} == {WELL}


class TestSearch:
    @pytest.mark.parametrize("bad", ["gpu1", "gpu2", "gpu6", "gpu9"])
    def test_of_a_slow_pair_only_the_bad_node_is_blamed(self, play: Plays, bad: str) -> None:
        burn_in = play(9, PAIRED)
        finished = burn_in.to_end(bad_nodes(bad, workloads=["nccl_pair"]))
        assert blamed(finished) == {bad}
        assert passed(finished, "nccl_pair", burn_in.profiles) == burn_in.profiles.keys() - {bad}
        assert "which are fast with others" in " ".join(of(finished, "nccl_pair", bad).evidence)
        assert len(burn_in.ran(Phase.PAIR_SEARCH)) <= 4

    def test_only_the_workload_that_was_slow_is_run_again(self, play: Plays) -> None:
        burn_in = play(6)
        finished = burn_in.to_end(bad_nodes("gpu3", workloads=["ib_write"]))
        searched = [job for job in burn_in.jobs if job.phase is Phase.PAIR_SEARCH]
        assert {job.workloads for job in searched} == {("ib_write",)}
        assert blamed(finished) == {"gpu3"}
        assert of(finished, "nccl_pair", "gpu3").outcome is WELL

    def test_two_workloads_of_one_pair_are_searched_one_after_the_other(self, play: Plays) -> None:
        burn_in = play(6)
        finished = burn_in.to_end(bad_nodes("gpu3", workloads=["nccl_pair", "ib_write"]))
        assert blamed(finished) == {"gpu3"}
        for workload in ("nccl_pair", "ib_write"):
            assert passed(finished, workload, burn_in.profiles) == burn_in.profiles.keys() - {"gpu3"}

    def test_a_bad_link_blames_neither_of_its_nodes(self, play: Plays) -> None:
        burn_in = play(6, PAIRED)
        finished = burn_in.to_end(bad_link("gpu3", "gpu4"))
        assert blamed(finished) == set()
        assert passed(finished, "nccl_pair", burn_in.profiles) == burn_in.profiles.keys()
        assert of(finished, "nccl_pair", "gpu3").evidence == (
            "gpu3 and gpu4 are fast, and slow with each other: both at leaf switch leaf0: its ports, and their cables",
        )

    def test_a_pair_without_others_cannot_be_told_apart(self, play: Plays) -> None:
        burn_in = play(2, PAIRED)
        finished = burn_in.to_end(bad_nodes("gpu2", workloads=["nccl_pair"]))
        assert blamed(finished) == set()
        assert {of(finished, "nccl_pair", node).outcome for node in burn_in.profiles} == {SILENT}

    def test_slow_pairs_are_searched_at_the_same_time(self, play: Plays) -> None:
        burn_in = play(12, PAIRED)
        burn_in.to_end(bad_nodes("gpu1", "gpu5", workloads=["nccl_pair"]))
        rounds = [job.round for job in burn_in.jobs if job.phase is Phase.PAIR_SEARCH]
        assert rounds.count(min(rounds)) == 4

    def test_slow_pairs_of_one_switch_take_other_partners_than_each_other(self, play: Plays) -> None:
        burn_in = play(12, PAIRED)
        burn_in.candidates = [replace(one, leaf="leaf0") for one in burn_in.candidates]
        burn_in.to_end(bad_nodes("gpu1", "gpu3", workloads=["nccl_pair"]))
        first = [job for job in burn_in.jobs if job.phase is Phase.PAIR_SEARCH][:4]
        assert len({*chain.from_iterable(job.nodes for job in first)}) == 8

    def test_however_many_pairs_are_slow_each_search_has_its_rounds(self, play: Plays) -> None:
        burn_in = play(44, PAIRED)
        bad = {f"gpu{at}" for at in range(1, 43, 2)}
        finished = burn_in.to_end(bad_nodes(*bad, workloads=["nccl_pair"]))
        assert blamed(finished) == bad
        assert passed(finished, "nccl_pair", burn_in.profiles) == burn_in.profiles.keys() - bad

    def test_a_node_of_two_slow_pairs_is_not_blamed_where_the_search_for_one_clears_it(self, play: Plays) -> None:
        # gpu01 is in both, at another switch than gpu23: the searches take their partners from either switch.
        burn_in = play(0, PAIRED)
        profile = play(1).candidates[0].profile
        burn_in.candidates = [
            Candidate(f"gpu{at:02}", profile, "near" if at <= 12 else "remote") for at in range(1, 24)
        ]
        burn_in.profiles = {one.name: one.profile for one in burn_in.candidates}
        near = {one.name for one in burn_in.candidates if one.leaf == "near"}

        def fleet(workload: str, nodes: frozenset[str]) -> Outcome:
            is_slow = "gpu23" in nodes or ("gpu01" in nodes and nodes <= near)
            return SLOW if workload == "nccl_pair" and is_slow else WELL

        finished = burn_in.to_end(fleet)
        assert blamed(finished) == {"gpu23"}
        assert of(finished, "nccl_pair", "gpu01").outcome is WELL


class TestGroups:
    def test_all_that_are_not_bad_run_together(self, play: Plays) -> None:
        burn_in = play(5, GROUPED)
        finished = burn_in.to_end(bad_nodes("gpu2", workloads=["dcgm_medium"]))
        assert burn_in.ran(Phase.GROUP) == [("gpu1", "gpu3", "gpu4", "gpu5")]
        assert passed(finished, "nccl_group", ["gpu1", "gpu3", "gpu4", "gpu5"]) == {"gpu1", "gpu3", "gpu4", "gpu5"}

    def test_who_makes_a_group_slow_is_found_by_halves(self, play: Plays) -> None:
        burn_in = play(8, GROUPED)
        finished = burn_in.to_end(bad_nodes("gpu6", workloads=["nccl_group"]))
        assert blamed(finished) == {"gpu6"}
        assert passed(finished, "nccl_group", burn_in.profiles) == burn_in.profiles.keys() - {"gpu6"}
        assert [job.round for job in burn_in.jobs if job.phase is Phase.GROUP][:3] == [0, 1, 1]
        assert burn_in.ran(Phase.GROUP)[1:3] == [
            ("gpu1", "gpu2", "gpu3", "gpu4"),
            ("gpu5", "gpu6", "gpu7", "gpu8"),
        ]

    def test_who_was_found_by_pairs_takes_no_part(self, play: Plays) -> None:
        burn_in = play(6, (*PAIRED, BY_ID["nccl_group"]))
        burn_in.to_end(bad_nodes("gpu4"))
        assert all("gpu4" not in nodes for nodes in burn_in.ran(Phase.GROUP))

    def test_each_kind_is_a_group(self, play: Plays, hgx: HardwareProfile) -> None:
        burn_in = play(5, GROUPED)
        burn_in.candidates = [
            replace(one, profile=replace(hgx, name="other")) if at % 2 else one
            for at, one in enumerate(burn_in.candidates)
        ]
        burn_in.profiles = {one.name: one.profile for one in burn_in.candidates}
        burn_in.to_end(bad_nodes())
        assert burn_in.ran(Phase.GROUP) == [("gpu1", "gpu3", "gpu5"), ("gpu2", "gpu4")]


class TestCheck:
    def test_a_node_without_a_workload_of_its_own_is_refused(self, play: Plays, hgx: HardwareProfile) -> None:
        candidates = play(1).candidates
        with pytest.raises(UsageError, match="gpu1: of nccl_pair, ib_write nothing runs on a node of profile hgx-h100"):
            check(candidates, USUAL[2:])
        with pytest.raises(UsageError, match="nothing runs on a node of profile plain by itself"):
            check([replace(candidates[0], profile=replace(hgx, name="plain", gpu=None))], USUAL)
        check(candidates, USUAL)


@pytest.mark.parametrize("ids", [("dcgm_medium", "nccl_pair"), ("dcgm_medium", "nccl_pair", "nccl_group")])
@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 11), per_leaf=st.integers(1, 6), dice=st.randoms(use_true_random=False), in_parts=st.booleans()
)
def test_whatever_comes_of_its_jobs_it_ends_and_says_one_thing_of_each_node(
    hgx: HardwareProfile,
    sample: Sample,
    ids: Sequence[str],
    count: int,
    per_leaf: int,
    dice: random.Random,
    in_parts: bool,
) -> None:
    kinds = (hgx, replace(hgx, name="other"))
    often = {"dcgm_medium": (WELL, WELL, WELL, SILENT, SLOW), "nccl_pair": (WELL, SLOW, SLOW, SILENT)}
    candidates = [Candidate(f"n{at}", dice.choice(kinds), f"leaf{at // per_leaf}") for at in range(count)]
    workloads = [BY_ID[id] for id in ids]
    burn_in = Play(candidates, workloads, sample)

    def some(going: Sequence[BurnInJob]) -> Sequence[BurnInJob]:
        return dice.sample(going, dice.randint(1, len(going))) if in_parts else going

    finished = burn_in.to_end(lambda workload, _: dice.choice(often.get(workload, (WELL, SLOW, SILENT))), some)
    assert course(candidates, workloads, burn_in.jobs) == finished
    for workload in workloads:
        own = [one for one in finished.results if one.workload == workload.id and len(one.nodes) == 1]
        failed = {*chain.from_iterable(one.blamed for one in own)}
        assert failed.isdisjoint(one.nodes[0] for one in own if one.outcome is WELL)
    names = {one.name for one in candidates}
    assert names.issuperset(blamed(finished))
    by_itself = {
        one.blamed for one in finished.results if one.outcome is SLOW and BY_ID[one.workload].scope is Scope.NODE
    }
    assert {*chain.from_iterable(by_itself)}.isdisjoint(chain.from_iterable(burn_in.ran(Phase.PAIR)))
