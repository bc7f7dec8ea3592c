"""The stand-in built for this machine, and a process that asks it questions through the unmodified pynvml."""

import json
import subprocess
import sys
from collections.abc import Iterator
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
    member = {1: "uiVal", 3: "ullVal"}.get(answer.valueType)
    return {"code": answer.nvmlReturn, "value": getattr(answer.value, member) if member else None}
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


@pytest.fixture
def nvml(played: PlayedNode) -> Iterator[Nvml]:
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
