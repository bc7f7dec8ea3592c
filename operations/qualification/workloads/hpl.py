"""High-Performance Linpack over the GPUs of a node: `xhpl`, as netlib and NVIDIA build it.

The lines are those of HPLinpack 2.3 and of NVIDIA's HPL 24 and 25, which adds the share of each GPU in brackets. The
input file has the format of both; NVIDIA's reads the sizes of it and ignores the rest.
"""

import re
from math import isqrt

from fleetward.operations.qualification.measuring import (
    Fault,
    Measurement,
    Reading,
    Unit,
    UnreadableError,
    complete_lines,
    last_words,
    number,
    shown,
)
from fleetward.operations.qualification.workload import Measure, Part, Scope, Setting, Tasks, Workload, gpus_of

PERFORMANCE = "hpl_performance"
_RESULT = re.compile(r" *W[RC]\w{1,12} +\d{1,18} +\d{1,9} +\d{1,9} +\d{1,9} +\S+ +(\S+)(?: +\( *\S+ *\))? *")
_RESIDUAL = re.compile(r" *\|\|Ax-b\|\|_oo ?/ ?\(.{1,60}\) ?= *(\S+) +\.{3,9} (PASSED|FAILED) *")
_BLOCK = 1024
"""Columns that are factored at once; NVIDIA's sample files have it."""
_SHARE = 0.8
"""Of the GPUs' memory that the matrix takes: NVIDIA's sample for 8 GPUs of 80 GB takes 0.82."""


def parse(text: str) -> Reading:
    """Read what `xhpl` printed."""
    lines = complete_lines(text)
    results = [found[1] for line in lines if (found := _RESULT.fullmatch(line))]
    residuals = [found for line in lines if (found := _RESIDUAL.fullmatch(line))]
    faults = tuple(
        Fault(f"the solution is wrong: its scaled residual is {shown(found[1])}")
        for found in residuals
        if found[2] == "FAILED"
    )
    if faults:
        return Reading(faults=faults)
    if not results or len(results) != len(residuals):
        raise UnreadableError(f"xhpl did not come to a checked result: {last_words(text)}")
    gflops = [number(one) for one in results]
    known = [one for one in gflops if one]
    if len(known) != len(gflops):
        raise UnreadableError(f"{shown(results[0])!r} Gflops is no result")
    return Reading((Measurement(PERFORMANCE, min(known) / 1000, Unit.TFLOPS),))


def input_file(gpus: int, memory_mib: int) -> str:
    """Return HPL.dat for so many GPUs, each with so much memory: one matrix of the largest size that fits."""
    order = isqrt(int(_SHARE * gpus * memory_mib * 2**20) // 8) // _BLOCK * _BLOCK
    rows = next(rows for rows in range(isqrt(gpus), 0, -1) if gpus % rows == 0)
    values = (
        ("HPL.out", "file, where the next line asks for one"),
        ("6", "standard output"),
        ("1", "sizes"),
        (str(max(order, _BLOCK)), "N"),
        ("1", "block sizes"),
        (str(_BLOCK), "NB"),
        ("0", "processes by rows"),
        ("1", "grids"),
        (str(rows), "P"),
        (str(gpus // rows), "Q"),
        ("16.0", "threshold of the residual"),
        *(pair for name, value in _VARIANT for pair in (("1", f"of {name}"), (value, name))),
        ("1", "swap: long"),
        ("192", "threshold of swap"),
        ("1", "L1 as it is"),
        ("0", "U transposed"),
        ("0", "no equilibration"),
        ("8", "alignment in doubles"),
    )
    return "HPL\nfleetward\n" + "".join(f"{value:12} {words}\n" for value, words in values)


_VARIANT = (
    ("panel factorisation", "1"),
    ("columns to stop at", "4"),
    ("panels", "2"),
    ("recursive factorisation", "1"),
    ("broadcast", "1"),
    ("look-ahead", "1"),
)


def _command(_: Setting) -> list[str]:
    return ["xhpl"]


def _files(setting: Setting) -> dict[str, str]:
    gpu = setting.profile.gpu
    return {"HPL.dat": input_file(gpus_of(setting.profile), gpu.memory_mib if gpu else 0)} if gpu else {}


HPL = Workload(
    id="hpl",
    title="High-Performance Linpack over the GPUs of a node",
    scope=Scope.NODE,
    programs=("xhpl",),
    command=_command,
    seconds=1800,
    uses=frozenset({Part.GPU}),
    parse=parse,
    measures=(Measure(PERFORMANCE, Unit.TFLOPS),),
    look_next="clocks and power under load (`nvidia-smi -q -d PERFORMANCE`), heat, ECC counts; a wrong residual is "
    "silent data corruption: keep the node out, and tell the owners of its jobs",
    source="NVIDIA HPC Benchmarks, netlib HPL",
    tasks=Tasks.GPU,
    judges_itself=True,
    files=_files,
)

WORKLOADS = (HPL,)
