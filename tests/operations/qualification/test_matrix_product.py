"""The script that multiplies matrices on each GPU, with a stand-in for PyTorch whose GPUs can be spoilt."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fleetward
from fleetward.model.fleet import HardwareProfile
from fleetward.operations.qualification.batch_log import Run
from fleetward.operations.qualification.judging import Outcome, judge
from fleetward.operations.qualification.workload_list import BY_ID
from fleetward.operations.qualification.workloads import matrix_product

SCRIPT = Path(fleetward.__file__).parent / "operations" / "qualification" / "scripts" / "matrix_product.py"
TORCH = """\
# As much of PyTorch as the script uses. SPOILT says what is wrong: {"3": "mismatch" | "other" | "broken"}.
import json, os, time
from types import SimpleNamespace as S

__version__ = "0 (stand-in)"
SPOILT = json.loads(os.environ.get("SPOILT", "{}"))
bfloat16 = int16 = int64 = "a type"

class Tensor:
    def __init__(self, value, order, device=None):
        self.value, self.order, self.device = value, order, device
    def __len__(self):
        return self.order
    def to(self, where):
        return Tensor(self.value, self.order, where if isinstance(where, Device) else self.device)
    def view(self, kind):
        return self
    def sum(self):
        return self.value
    def clone(self):
        return Tensor(self.value, self.order, self.device)
    def __matmul__(self, other):
        fault = SPOILT.get(str(self.device.index))
        if fault == "broken":
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
        return Tensor(self.value * other.value + (fault == "other"), self.order, self.device)

class Device(S):
    pass

class Generator:
    def manual_seed(self, seed):
        return self

class Event:
    def __init__(self, enable_timing):
        pass
    def record(self, stream):
        self.at = time.perf_counter()
    def synchronize(self):
        pass
    def elapsed_time(self, end):
        return (end.at - self.at) * 1000

def device(kind, index):
    return Device(type=kind, index=index)

def randn(rows, columns, generator):
    return Tensor(7, rows)

def matmul(one, other, out):
    out.value = (one @ other).value
    if SPOILT.get(str(one.device.index)) == "mismatch":
        out.value += 1

def equal(one, other):
    return one.value == other.value

cuda = S(is_available=lambda: "NO_GPU" not in os.environ, Event=Event, current_stream=lambda device: None)
"""


@pytest.fixture
def multiply(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    (tmp_path / "torch.py").write_text(TORCH)

    def run(**variables: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "--devices", "8", "--seconds", "0.05", "--order", "64", "--batch", "10"],
            env={**os.environ, "PYTHONPATH": str(tmp_path), **variables},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout

    return run


def test_good_gpus_give_a_speed_each(multiply: Callable[..., tuple[int, str]], hgx: HardwareProfile) -> None:
    code, text = multiply()
    assert text.count("\n") == 1
    workload = BY_ID["matrix_product"]
    result = judge(workload, Run(workload.id, text, code, 1), ["gpu001"], hgx)
    assert result.outcome is Outcome.PASSED
    assert len(result.measurements) == 8


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("mismatch", "differ from the first one: data was corrupted"),
        ("other", "is another one than that of the other GPUs"),
        ("broken", "uncorrectable ECC error encountered"),
    ],
)
def test_a_spoilt_gpu_is_named(multiply: Callable[..., tuple[int, str]], fault: str, why: str) -> None:
    code, text = multiply(SPOILT=json.dumps({"3": fault}))
    assert code == 0
    (found,) = matrix_product.parse(text).faults
    assert found.entity == "GPU 3"
    assert why in found.why


def test_without_gpus_or_pytorch_it_is_unknown(
    multiply: Callable[..., tuple[int, str]], hgx: HardwareProfile, tmp_path: Path
) -> None:
    workload = BY_ID["matrix_product"]
    code, text = multiply(NO_GPU="1")
    result = judge(workload, Run(workload.id, text, code, 1), ["gpu001"], hgx)
    assert (result.outcome, result.why) == (
        Outcome.UNKNOWN,
        "PyTorch finds no GPU, or was built without CUDA (exit code 3)",
    )
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12 is not there')")
    code, text = multiply()
    result = judge(workload, Run(workload.id, text, code, 1), ["gpu001"], hgx)
    assert (result.outcome, result.why) == (
        Outcome.UNKNOWN,
        "PyTorch cannot be imported: libcudart.so.12 is not there (exit code 3)",
    )
