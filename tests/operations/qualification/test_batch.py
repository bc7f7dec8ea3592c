"""Batch scripts of burn-in jobs: as text, and as they run with stand-ins for srun and the workloads' programs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.errors import UsageError
from fleetward.model.fleet import HardwareProfile, InfinibandProfile
from fleetward.operations.qualification.batch import (
    FINGERPRINT,
    FINGERPRINT_SECONDS,
    Batch,
    BatchSettings,
    limit_of,
    render,
)
from fleetward.operations.qualification.batch_log import Run, read_log
from fleetward.operations.qualification.judging import Outcome, judge
from fleetward.operations.qualification.workload import Scope
from fleetward.operations.qualification.workload_list import BY_ID, WORKLOADS

GOLDEN = Path(__file__).parent / "golden"
TOKEN = "0123456789abcdef0123456789abcdef"
SITE = BatchSettings(
    reservation="bring-up",
    account="operations",
    partition="burn-in",
    qos="high",
    path=("/opt/nccl-tests/build", "/opt/with space/bin"),
    scratch="/local scratch",
    python="/opt/venv/bin/python",
    mpi_type="pmix_v5",
    output="qualify/%x-%j.log",
)


def batch(profile: HardwareProfile, *ids: str, nodes: tuple[str, ...] = ("gpu001",)) -> Batch:
    return Batch("qualify-test", nodes, profile, tuple(BY_ID[id] for id in ids), TOKEN)


def scripts(profile: HardwareProfile) -> dict[str, str]:
    """Return what the golden folder holds, by name."""
    node = [one.id for one in WORKLOADS if one.scope is Scope.NODE]
    return {
        "node.sh": render(batch(profile, *node), SITE),
        "pair.sh": render(batch(profile, "ib_write", "ib_write_gpu", "nccl_pair", nodes=("gpu001", "gpu002")), SITE),
        "group.sh": render(batch(profile, "nccl_group", nodes=("gpu001", "gpu002", "gpu003"))),
    }


def test_the_scripts_are_as_reviewed(hgx: HardwareProfile) -> None:
    rendered = scripts(hgx)
    assert {path.name for path in GOLDEN.iterdir()} == rendered.keys()
    for name, text in rendered.items():
        assert text == (GOLDEN / name).read_text(), name


@pytest.mark.parametrize("name", ["node.sh", "pair.sh", "group.sh"])
def test_bash_and_shellcheck_find_nothing_wrong(name: str) -> None:
    script = GOLDEN / name
    subprocess.run(["bash", "-n", script], check=True)
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if checker is None:
        pytest.skip("shellcheck is not installed")
    # SC2016: what is quoted is not to be expanded. SC1097: the value of NCCL_IB_HCA begins with =.
    found = subprocess.run([checker, "--exclude=SC2016,SC1097", script], check=False, capture_output=True, text=True)
    assert found.stdout == ""


def test_every_workload_is_in_a_golden_script(hgx: HardwareProfile) -> None:
    everything = "".join(scripts(hgx).values())
    assert all(f"fleetward_run {one.id} {one.seconds} " in everything for one in WORKLOADS)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"token": "x"}, "16 to 64 hexadecimal digits"),
        ({"token": f"{TOKEN}; rm -rf /"}, "16 to 64 hexadecimal digits"),
        ({"workloads": ()}, "has no workload"),
        ({"nodes": ("gpu001", "gpu002")}, "nccl_node runs on a node, and there are 2 nodes"),
        ({"nodes": ("gpu[001-002]",)}, "are no different nodes"),
        ({"nodes": ("$(reboot)",)}, "are no different nodes"),
        ({"workloads": (BY_ID["nccl_pair"],), "nodes": ("gpu001", "gpu001")}, "are no different nodes"),
        ({"workloads": (BY_ID["nccl_pair"],)}, "nccl_pair runs on a pair, and there are 1 nodes"),
        ({"name": "a b"}, "name: 'a b' is not allowed"),
        ({"name": "a\n#SBATCH --uid=0"}, "name: "),
    ],
)
def test_a_job_that_cannot_be_is_refused(hgx: HardwareProfile, change: Mapping[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        render(replace(batch(hgx, "nccl_node"), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"partition": "a b"}, "partition: 'a b' is not allowed"),
        ({"reservation": "a\nb"}, "reservation: "),
        ({"output": "/tmp/x y"}, "output: "),
        ({"mpi_type": "pmix;reboot"}, "mpi_type: "),
        ({"path": ("bin",)}, "'bin' is no folder"),
        ({"path": ("/a:/b",)}, "'/a:/b' is no folder"),
        ({"scratch": "scratch"}, "'scratch' is no folder"),
        ({"scratch": "/a\nb"}, "is no folder"),
        ({"python": "python3; reboot"}, "is no Python"),
        ({"python": "-c"}, "is no Python"),
    ],
)
def test_settings_that_cannot_be_are_refused(hgx: HardwareProfile, change: Mapping[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        render(batch(hgx, "nccl_node"), replace(SITE, **change))  # type: ignore[arg-type]


def test_what_a_node_lacks_is_not_run_on_it(hgx: HardwareProfile) -> None:
    with pytest.raises(UsageError, match="ib_write needs hca, which hgx-h100 lacks"):
        render(batch(replace(hgx, infiniband=None), "ib_write", nodes=("gpu001", "gpu002")))
    with pytest.raises(UsageError, match="nccl_node needs gpu"):
        render(batch(replace(hgx, gpu=None), "nccl_node"))
    without = render(batch(replace(hgx, gpu=None, infiniband=None), "fio"))
    assert "gpus-per-node" not in without
    assert "NCCL" not in without


def test_the_job_has_time_for_all_that_it_runs(hgx: HardwareProfile) -> None:
    job = batch(hgx, "nccl_node", "nvbandwidth")
    assert limit_of(job.workloads) == FINGERPRINT_SECONDS + 600 + 600 + 2 * 120
    assert "#SBATCH --time=0:25:00\n" in render(job)


SRUN = """\
# A stand-in for srun: the command once for each process of each node, all nodes being this one.
nodes=1 tasks=1
while [[ $1 == --* ]]; do
  case $1 in
    --nodes=*) nodes=${1#*=} ;;
    --ntasks-per-node=*) tasks=${1#*=} ;;
  esac
  shift
done
echo "$nodes x $tasks: $1" >> "$RECORD"
status=0
pids=()
for node in $(seq "$nodes"); do
  SLURMD_NODENAME=$(printf 'gpu%03d' "$node") "$@" &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
exit "$status"
"""


class Node:
    """A folder with stand-ins on PATH, in which rendered scripts run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder, folder / "bin"
        self.programs.mkdir()
        (folder / "scratch").mkdir()
        for name in ("bash", "sh", "timeout", "sed", "mktemp", "rm", "cat", "seq", "sleep", "env"):
            found = shutil.which(name)
            assert found
            (self.programs / name).symlink_to(found)
        self.program("srun", SRUN)

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (self.programs / name).chmod(0o755)

    def run(self, job: Batch) -> dict[str, Run]:
        settings = BatchSettings(scratch=str(self.folder / "scratch"), python=str(self.programs / "python"))
        (self.folder / "job.sh").write_text(render(job, settings))
        done = subprocess.run(
            ["bash", "job.sh"],
            cwd=self.folder,
            env={"PATH": str(self.programs), "SLURMD_NODENAME": "gpu001", "RECORD": str(self.folder / "record")},
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert list((self.folder / "scratch").iterdir()) == []
        return read_log(done.stdout, TOKEN)

    @property
    def record(self) -> list[str]:
        return (self.folder / "record").read_text().splitlines()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_workload_stands_in_the_log_with_its_exit_code(node: Node, hgx: HardwareProfile) -> None:
    node.program("all_reduce_perf", "echo \"$@\"; printf 'no end of line'; exit 3")
    run = node.run(batch(hgx, "nccl_node"))["nccl_node"]
    assert run.output == "-b 16G -e 16G -f 2 -g 8 -c 1 -n 20\nno end of line"
    assert (run.exit_code, run.missing) == (3, ())
    assert run.seconds is not None


def test_a_node_by_itself_says_what_it_is_at_the_end_and_nothing_else(node: Node, hgx: HardwareProfile) -> None:
    node.program("all_reduce_perf", "echo well")
    node.program("fleetward", 'echo "$@" > "$RECORD"; echo "a warning" >&2; echo "{}"')
    found = node.run(batch(hgx, "nccl_node"))
    assert list(found) == ["nccl_node", FINGERPRINT]
    assert (found[FINGERPRINT].output, found[FINGERPRINT].exit_code) == ("{}\n", 0)
    assert node.record == ["fingerprint --json"]
    assert FINGERPRINT not in BY_ID
    assert FINGERPRINT not in node.run(batch(hgx, "nccl_pair", nodes=("gpu001", "gpu002")))


def test_a_node_that_cannot_say_what_it_is_runs_its_workloads_all_the_same(node: Node, hgx: HardwareProfile) -> None:
    node.program("all_reduce_perf", "echo well")
    found = node.run(batch(hgx, "nccl_node"))
    assert found[FINGERPRINT].exit_code == 127
    assert found["nccl_node"].output == "well\n"


def test_programs_that_a_node_lacks_are_named_and_nothing_is_run(node: Node, hgx: HardwareProfile) -> None:
    node.program("all_reduce_perf", "echo well")
    found = node.run(batch(hgx, "dcgm_medium", "nccl_node", "nvbandwidth"))
    assert found["dcgm_medium"] == Run("dcgm_medium", missing=("gpu001 lacks dcgmi",))
    assert found["nvbandwidth"].missing == ("gpu001 lacks nvbandwidth",)
    assert found["nccl_node"].exit_code == 0


def test_every_node_of_several_is_looked_at(node: Node, hgx: HardwareProfile) -> None:
    run = node.run(batch(hgx, "nccl_pair", nodes=("gpu001", "gpu002")))["nccl_pair"]
    assert sorted(run.missing) == ["gpu001 lacks all_reduce_perf", "gpu002 lacks all_reduce_perf"]


def test_one_process_is_started_for_each_gpu_of_each_node(node: Node, hgx: HardwareProfile) -> None:
    node.program("all_reduce_perf", "echo here")
    run = node.run(batch(hgx, "nccl_group", nodes=("gpu001", "gpu002", "gpu003")))["nccl_group"]
    assert run.output == "here\nhere\nhere\n"
    assert node.record == ["3 x 1: bash", "3 x 8: all_reduce_perf"]


def test_one_that_hangs_is_ended_and_the_next_one_runs(node: Node, hgx: HardwareProfile) -> None:
    node.program("nvbandwidth", "echo begun; exec sleep 60")
    node.program("all_reduce_perf", "echo well")
    hasty = replace(BY_ID["nvbandwidth"], seconds=1)
    job = replace(batch(hgx, "nccl_node"), workloads=(hasty, BY_ID["nccl_node"]))
    found = node.run(job)
    assert (found["nvbandwidth"].exit_code, found["nvbandwidth"].output) == (124, "begun\n")
    assert judge(hasty, found["nvbandwidth"], ["gpu001"], hgx).outcome is Outcome.FAILED
    assert found["nccl_node"].output == "well\n"


def test_files_lie_in_the_folder_of_the_job(node: Node, hgx: HardwareProfile) -> None:
    node.program("xhpl", "cat HPL.dat")
    node.program("python", 'echo "$@"; [ -s matrix_product.py ]')
    found = node.run(batch(hgx, "hpl", "matrix_product"))
    assert "261120" in found["hpl"].output
    assert found["matrix_product"].output == "matrix_product.py --devices 8 --seconds 60\n"
    assert found["matrix_product"].exit_code == 0


IB_WRITE_BW = """\
# A stand-in for ib_write_bw: a server that makes a file and waits for its client to take it away.
device= port= cuda=
while [ $# -gt 0 ]; do
  case $1 in
    -d) device=$2; shift ;;
    -p) port=$2; shift ;;
    -s) shift ;;
    --use_cuda=*) cuda=${1#*=} ;;
    -*) ;;
    *) server=$1 ;;
  esac
  shift
done
row() {
  printf ' #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]\\n'
  printf ' 8388608    5000             395.15             39%s.%s\\t\\t     0.005887\\n' "${device#mlx5_}" "${cuda:-0}"
}
here="$RECORD.$port.$device.$cuda"
if [ -z "${server:-}" ]; then
  [ "$device" = mlx5_1 ] && sleep 1.5
  : > "$here"
  while [ -e "$here" ]; do sleep 0.05; done
  row
elif [ "$server" = gpu001 ] && [ -e "$here" ]; then
  row
  rm "$here"
else
  echo "Couldn't connect to $server:$port" >&2
  exit 1
fi
"""


@pytest.mark.parametrize(("id", "gpus"), [("ib_write", (0, 0, 0, 0)), ("ib_write_gpu", (0, 2, 4, 6))])
def test_the_second_node_writes_to_each_device_of_the_first(
    node: Node, hgx: HardwareProfile, id: str, gpus: tuple[int, ...]
) -> None:
    node.program("ib_write_bw", IB_WRITE_BW)
    job = batch(hgx, id, nodes=("gpu001", "gpu002"))
    run = node.run(job)[id]
    assert run.exit_code == 0, run.output
    measured = {one.entity: one.value * 8 for one in BY_ID[id].parse(run.output).measurements}
    assert measured == {f"mlx5_{at}": pytest.approx(390 + at + gpu / 10) for at, gpu in enumerate(gpus)}
    assert judge(BY_ID[id], run, job.nodes, hgx).outcome is Outcome.PASSED


def test_names_of_devices_reach_no_shell(node: Node, hgx: HardwareProfile) -> None:
    node.program("ib_write_bw", 'printf "%s\\n" "$@"; exit 0')
    strange = replace(hgx, infiniband=InfinibandProfile(("mlx5_0; touch $HOME/x `id` $(id) *",), 400))
    run = node.run(batch(strange, "ib_write", nodes=("gpu001", "gpu002")))["ib_write"]
    assert "\nmlx5_0; touch $HOME/x `id` $(id) *\n" in run.output


def test_a_log_is_read_up_to_where_it_was_cut_off(node: Node, hgx: HardwareProfile) -> None:
    mark = f"fleetward-{TOKEN}"
    text = f"slurmstepd: x\n{mark} begin nccl_node\na\nb\n\n{mark} end nccl_node 0 12\n{mark} begin fio\nhalf"
    assert read_log(text, TOKEN) == {
        "nccl_node": Run("nccl_node", "a\nb\n", 0, 12),
        "fio": Run("fio", "half"),
    }
    assert read_log(text, "f" * 32) == {}
    again = f"{text}\n{mark} begin fio\nwhole\n\n{mark} end fio 1 3\n"
    assert read_log(again, TOKEN)["fio"] == Run("fio", "whole\n", 1, 3)


def test_only_whole_lines_of_ours_count() -> None:
    mark = f"fleetward-{TOKEN}"
    text = f"{mark} begin fio\n x {mark} end fio 0 1\n{mark} end fio\n{mark} end fio 0 1 2\n\n{mark} end fio 0 7\n"
    assert read_log(text, TOKEN)["fio"].seconds == 7
    other = f"{mark} begin fio\na\n\n{mark} end nccl_node 0 1\n"
    assert read_log(other, TOKEN) == {"fio": Run("fio", "a\n\n")}


@given(st.text())
def test_no_log_breaks_the_reader(text: str) -> None:
    mark = f"fleetward-{TOKEN}"
    assert read_log(text, TOKEN) == {}
    found = read_log(f"{mark} begin fio\n{text}\n{mark} end fio 0 1\n", TOKEN)
    assert found == {"fio": Run("fio", text, 0, 1)}
