"""The sample job as a whole: real processes, real data, a real network between them."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeRanks = Callable[..., Any]


def result_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "checkpoints" / "result.json").read_text())


def test_sixteen_ranks_on_two_nodes_learn_the_digits(make_ranks: MakeRanks, digits: Path) -> None:
    ranks = make_ranks(16)
    ranks.start(digits, job="16")
    assert ranks.wait() == [0] * 16, ranks.said(0)
    result = result_of(ranks.folder)
    assert result["accuracy"] > 0.95
    assert (result["ranks"], result["hosts"]) == (16, ["localhost", "gpu002"])
    assert (result["steps"], result["restarts"], result["resumed_from_step"]) == (330, 0, None)
    assert f"done: accuracy {result['accuracy']:.4f}" in ranks.said(0)
    for rank in range(16):
        assert f"holds {ranks.folder}/nvidia{rank % 8}, GPU-" in ranks.said(rank)


def test_the_number_of_ranks_changes_only_the_rounding(make_ranks: MakeRanks, digits: Path) -> None:
    found = {}
    for count in (1, 3):
        ranks = make_ranks(count, folder=f"of-{count}")
        ranks.start(digits, job=f"3{count}")
        assert ranks.wait() == [0] * count, ranks.said(0)
        found[count] = result_of(ranks.folder)["accuracy"]
    assert found[1] == pytest.approx(found[3], abs=2 / 360)


def test_kill_9_of_one_rank_ends_all_and_each_says_which(make_ranks: MakeRanks, digits: Path) -> None:
    ranks = make_ranks(16)
    ranks.start(digits, "--step-seconds=0.1", job="20")
    ranks.wait_until(lambda: "step 11 of" in ranks.said(0))
    ranks.processes[5].kill()
    killed = time.monotonic()
    codes = ranks.wait(10)
    assert time.monotonic() - killed < 10
    assert codes.pop(5) == -signal.SIGKILL
    assert codes == [76] * 15
    for rank in set(range(16)) - {5}:
        assert "ends: rank 5 on localhost ended" in ranks.said(rank)
    assert not (ranks.folder / "checkpoints" / "result.json").exists()


def test_a_rank_that_hangs_ends_all_after_the_peer_timeout(make_ranks: MakeRanks, digits: Path) -> None:
    ranks = make_ranks(4)
    ranks.start(digits, "--step-seconds=0.1", "--peer-timeout=2", job="21")
    ranks.wait_until(lambda: "step 11 of" in ranks.said(0))
    ranks.processes[2].send_signal(signal.SIGSTOP)
    for rank in (0, 1, 3):
        assert ranks.processes[rank].wait(10) == 76
        assert "ends: rank 2 on localhost has not answered for 2 s" in ranks.said(rank)


def test_a_rank_that_never_arrives_is_named(make_ranks: MakeRanks, digits: Path) -> None:
    ranks = make_ranks(4)
    ranks.count = 2  # of the four that they are told of
    environment = ranks.environment
    ranks.environment = lambda *known: {**environment(*known), "SLURM_NTASKS": "4"}
    ranks.start(digits, "--meet-timeout=3", job="22")
    assert ranks.wait(15) == [76, 76]
    assert "ranks 2, 3 did not arrive in time" in ranks.said(0)


def test_killed_in_the_middle_and_requeued_it_ends_with_the_same_bits(make_ranks: MakeRanks, digits: Path) -> None:
    whole = make_ranks(4, folder="whole")
    whole.start(digits, job="30")
    assert whole.wait() == [0] * 4

    torn = make_ranks(4, folder="torn")
    options = ("--checkpoint-every=40", "--step-seconds=0.02")
    torn.start(digits, *options, job="31")
    torn.wait_until(lambda: "step-00000080.checkpoint" in torn.said(0))
    for process in torn.processes:
        process.kill()
    torn.wait()

    again = make_ranks(4, folder="torn")
    again.start(digits, "--checkpoint-every=40", job="31", restarts=1)
    assert again.wait() == [0] * 4, again.said(0)
    found, expected = result_of(again.folder), result_of(whole.folder)
    assert found["resumed_from_step"] >= 80
    assert found["restarts"] == 1
    assert found["weights_sha256"] == expected["weights_sha256"]
    assert found["accuracy"] == expected["accuracy"]


def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(make_ranks: MakeRanks, digits: Path) -> None:
    first = make_ranks(4)
    first.start(digits, "--checkpoint-every=100", job="32")
    assert first.wait() == [0] * 4
    expected = result_of(first.folder)["weights_sha256"]
    last = first.folder / "checkpoints" / "32" / "step-00000330.checkpoint"
    last.write_bytes(last.read_bytes()[:5000])  # as a file system may leave it after a power cut

    again = make_ranks(4)
    again.start(digits, job="32", restarts=1)
    assert again.wait() == [0] * 4, again.said(0)
    assert f"passing over a checkpoint: checkpoints/32/{last.name}: it is damaged" in again.said(0)
    assert result_of(again.folder)["resumed_from_step"] == 300
    assert result_of(again.folder)["weights_sha256"] == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_asked_to_stop_all_ranks_save_and_leave_at_one_step(
    make_ranks: MakeRanks, digits: Path, number: signal.Signals
) -> None:
    ranks = make_ranks(4)
    ranks.start(digits, "--step-seconds=0.1", "--checkpoint-every=1000", job="33")
    ranks.wait_until(lambda: "step 11 of" in ranks.said(0))
    ranks.processes[2].send_signal(number)  # one rank asked is enough
    assert ranks.wait(10) == [75] * 4
    ends = {ranks.said(rank).splitlines()[-1].split(": ")[1] for rank in range(4)}
    assert len(ends) == 1
    step = int(ends.pop().split()[3])
    assert [path.name for path in (ranks.folder / "checkpoints" / "33").iterdir()] == [f"step-{step:08}.checkpoint"]


def test_a_lost_gpu_kills_its_rank_and_the_others_say_why(make_ranks: MakeRanks, digits: Path) -> None:
    ranks = make_ranks(4, per_node=2)
    ranks.start(digits, "--step-seconds=0.1", job="40")
    ranks.wait_until(lambda: "step 11 of" in ranks.said(0))
    (ranks.folder / "nvidia1").unlink()
    codes = ranks.wait(10)
    assert codes[0] == codes[2] == 76
    assert {codes[1], codes[3]} <= {79, 76} and 79 in codes
    loser = codes.index(79)
    assert f"ends: {ranks.folder}/nvidia1 has vanished" in ranks.said(loser)
    assert "nvidia1 has vanished" in ranks.said(0)


def test_a_gpu_that_nvml_calls_lost_kills_its_rank(make_ranks: MakeRanks, digits: Path) -> None:
    ranks = make_ranks(4)
    ranks.start(digits, "--step-seconds=0.1", job="41")
    ranks.wait_until(lambda: "step 11 of" in ranks.said(0))
    (ranks.folder / "lost").write_text("3\n")
    assert ranks.wait(10) == [76, 76, 76, 79]
    assert "ends: GPU 3 is lost: NVML says GPU is lost" in ranks.said(3)
    for rank in range(3):
        assert "ends: rank 3 on localhost ended: GPU 3 is lost" in ranks.said(rank)


def test_other_options_do_not_go_on_from_a_checkpoint(make_ranks: MakeRanks, digits: Path) -> None:
    first = make_ranks(1)
    first.start(digits, "--epochs=1", job="50")
    assert first.wait() == [0]
    second = make_ranks(1)
    second.start(digits, "--epochs=2", "--seed=1", job="50", restarts=1)
    assert second.wait() == [1]
    assert "checkpoints/50 holds a training with" in second.said(0)


def test_a_missing_data_set_says_what_to_put_where(make_ranks: MakeRanks, tmp_path: Path) -> None:
    ranks = make_ranks(1)
    ranks.start(tmp_path / "none.csv.gz", job="70")
    assert ranks.wait() == [1]
    assert "none.csv.gz cannot be read" in ranks.said(0)
    assert "Put scikit-learn's digits.csv.gz there" in ranks.said(0)
