"""The stand-in built for this machine, and a process that asks it questions through the unmodified pynvml."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TextIO

import pytest
from played_nvml import PlayedNode, build

# Runs in a process of its own: one line asks for one Python expression, one line of JSON answers.
ASKER = """
import json, os, sys
import pynvml as n
def h(index):
    return n.nvmlDeviceGetHandleByIndex(index)
def field(index, id, scope=0):
    answer = n.nvmlDeviceGetFieldValues(h(index), [(id, scope)])[0]
    member = {1: "uiVal", 3: "ullVal", 5: "siVal"}.get(answer.valueType)
    return {"code": answer.nvmlReturn, "value": getattr(answer.value, member) if member else None}
def versioned(function, struct, index, version=None):
    asked = struct()
    if version is not None:
        asked.version = version
    getattr(n, function)(h(index), n.byref(asked))
    return {name: list(value) if hasattr(value := getattr(asked, name), "_length_") else
            value.decode("latin-1") if isinstance(value, bytes) else value for name, *_ in struct._fields_}
def gpm(index, *metrics):
    samples = [n.nvmlGpmSampleGet(h(index), n.nvmlGpmSampleAlloc()) for _ in range(2)]
    asked = n.c_nvmlGpmMetricsGet_t(version=1, numMetrics=len(metrics), sample1=samples[0], sample2=samples[1])
    for place, metric in enumerate(metrics):
        asked.metrics[place].metricId = metric
    n.nvmlGpmMetricsGet(asked)
    [n.nvmlGpmSampleFree(sample) for sample in samples]
    return [one.value if one.nvmlReturn == 0 else {"code": one.nvmlReturn} for one in asked.metrics[:len(metrics)]]
def gpm_of_instance(index, instance, metric, other=None):
    samples = [n.nvmlGpmMigSampleGet(h(index), one, n.nvmlGpmSampleAlloc())
               for one in (instance, instance if other is None else other)]
    asked = n.c_nvmlGpmMetricsGet_t(version=1, numMetrics=1, sample1=samples[0], sample2=samples[1])
    asked.metrics[0].metricId = metric
    try:
        return n.nvmlGpmMetricsGet(asked).metrics[0].value
    finally:
        [n.nvmlGpmSampleFree(sample) for sample in samples]
def gpm_within(room, size):
    memory = n.create_string_buffer(size + 9)
    memory[size:] = b"untouched"
    header = n.c_nvmlGpmMetricsGet_t.metrics.offset
    samples = [n.nvmlGpmSampleGet(h(0), n.nvmlGpmSampleAlloc()) for _ in range(2)]
    memory[:header] = bytes(n.c_uint(1)) + bytes(n.c_uint(room)) + bytes(samples[0]) + bytes(samples[1])
    metrics = (n.c_nvmlGpmMetric_t * room).from_buffer(memory, header)
    for metric in metrics:
        metric.metricId = 2
    n._nvmlCheckReturn(n._nvmlGetFunctionPointer("nvmlGpmMetricsGet")(memory))
    return {"last": metrics[-1].value, "beyond": memory[size:].decode()}
held = {}
def hold(path):
    held[path] = os.open(path, os.O_RDONLY)
def release(path):
    os.close(held.pop(path))
for line in sys.stdin:
    try:
        answer = {"value": eval(json.loads(line))}
    except n.NVMLError as error:
        answer = {"nvml_error": error.value}
    print(json.dumps(answer, default=str), flush=True)
"""


class Nvml:
    """Asks pynvml in its own process; an error of NVML comes back as `NvmlError`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to: TextIO = process.stdin
        self._from: TextIO = process.stdout
        self.pid = process.pid

    def __call__(self, expression: str) -> Any:  # noqa: ANN401  whatever JSON can say
        self._to.write(json.dumps(expression) + "\n")
        self._to.flush()
        answer = json.loads(self._from.readline())
        if "nvml_error" in answer:
            raise NvmlError(answer["nvml_error"])
        return answer["value"]


class NvmlError(Exception):
    """An NVML call failed; `code` is its return code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"NVML return code {code}")
        self.code = code


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def played(tmp_path: Path, library: Path) -> PlayedNode:
    return PlayedNode(tmp_path, library)


@contextmanager
def asking(played: PlayedNode) -> Iterator[Nvml]:
    """Start a process in which pynvml is initialised."""
    with subprocess.Popen(
        [sys.executable, "-c", ASKER],
        env=played.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        asked = Nvml(process)
        asked("n.nvmlInit()")
        yield asked
        process.stdin.close()  # type: ignore[union-attr]  # a pipe was asked for above
        process.wait(timeout=10)


@pytest.fixture
def nvml(played: PlayedNode) -> Iterator[Nvml]:
    """Ask of the node of this test."""
    with asking(played) as asked:
        yield asked


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[tuple[PlayedNode, Nvml]]:
    """Hand out one node and one asking process to all tests of a file, each of which plays a scenario of its own."""
    node = PlayedNode(tmp_path_factory.mktemp("shared"), library)
    with asking(node) as asked:
        yield node, asked


@pytest.fixture(scope="session")
def ask() -> Callable[[PlayedNode], AbstractContextManager[Nvml]]:
    """Hand out `asking`, for a test that wants several processes or a library of its own."""
    return asking
