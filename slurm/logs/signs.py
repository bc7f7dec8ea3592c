r"""By which words an error is known in a job's log: one line of a table for each.

A sign has a needle (letters that every such line has; they are searched for first, in whole blocks of a file), a
pattern that the line's text must have too, and whether it is the cause of a job's end or a consequence of one: what
other ranks say once one has died. The first sign that fits a line counts.

Needles that begin with a capital are searched for all at once, and cost less than others.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class LogKind(StrEnum):
    """What kind of error a line tells of."""

    NCCL_TIMEOUT = "nccl_timeout"
    NCCL_ERROR = "nccl_error"
    CUDA_OUT_OF_MEMORY = "cuda_out_of_memory"
    CUDA_ERROR = "cuda_error"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    SEGFAULT = "segfault"
    BUS_ERROR = "bus_error"
    ABORT = "abort"
    """A C or C++ program that ended itself."""
    TRACEBACK = "traceback"
    """An exception of Python that is none of the other kinds."""
    ASSERTION = "assertion"
    FILE_NOT_FOUND = "file_not_found"
    NO_SPACE = "no_space"
    IO_ERROR = "io_error"
    IMPORT_ERROR = "import_error"
    LOADER_ERROR = "loader_error"
    """A program or a shared library that could not be started or loaded."""
    CONNECTION_LOST = "connection_lost"
    """A rendezvous that did not come about, or a peer that went away."""
    KILLED_BY_SLURM = "killed_by_slurm"
    SRUN_EXIT = "srun_exit"
    WARNED = "warned"
    """A batch script of ours that was warned before its time limit (`jobs/script_survive.py`)."""
    WORKER_EXIT = "worker_exit"
    """A process of torchrun that ended otherwise than well."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One way in which a log tells of an error."""

    kind: LogKind
    needle: str
    pattern: re.Pattern[str] | None
    consequence: bool


def _cause(kind: LogKind, needle: str, pattern: str = "") -> Sign:
    return Sign(kind, needle, re.compile(pattern) if pattern else None, consequence=False)


def _consequence(kind: LogKind, needle: str, pattern: str = "") -> Sign:
    return Sign(kind, needle, re.compile(pattern) if pattern else None, consequence=True)


_RAISED = r"^(?:[\w<>]+\.)*"
"""Before the name of an exception at the start of a traceback's last line."""
_SAID = r"(?:^|[\]:] |- |\d )"
"""Before a message, at the start of a line or after what programs and their logs put before it."""
_SRUN = r"^srun: error: [\w.-]+: tasks? [\d,-]+: "
_DIED = r"(?=$|[.:(]|\s+\(|\s{2})"
"""After the name of a signal that a program died of."""
_ENTITY = r"\*\*\* (?:JOB|STEP) \S+ "

K = LogKind
SIGNS: tuple[Sign, ...] = (
    # NCCL, and who waits for it
    _cause(K.NCCL_TIMEOUT, "Watchdog caught collective operation timeout"),
    _cause(K.NCCL_TIMEOUT, "NCCL WARN", r"(?i)NCCL WARN .*\b(?:timeout|timed out)\b"),
    _cause(K.CUDA_ERROR, "ECC error", r"(?i)\buncorrectable ECC error\b"),
    _cause(K.CUDA_ERROR, "illegal memory access was encountered"),
    _cause(K.CUDA_OUT_OF_MEMORY, "NCCL WARN", r"NCCL WARN .*\bout of memory\b"),
    _consequence(K.NCCL_ERROR, "NCCL WARN", r"(?i)NCCL WARN .*\b(?:failed|failure|completion|connection|closed by)\b"),
    _consequence(K.NCCL_ERROR, "Error", r"\bnccl(?:System|Remote|Internal|UnhandledCuda)Error\b"),
    _consequence(K.NCCL_ERROR, "NCCL error", r"\bNCCL error(?: in)?: "),
    _consequence(K.NCCL_ERROR, "NCCL communicator was aborted"),
    _consequence(K.NCCL_ERROR, "NCCL operations have failed or timed out"),
    _consequence(K.NCCL_ERROR, "unhandled ", r"\bunhandled (?:system|cuda) error\b"),
    _consequence(K.NCCL_ERROR, "dump signal due to a collective timeout"),
    _consequence(K.NCCL_ERROR, "Error", _RAISED + r"DistBackendError\b"),
    # the GPU
    _cause(K.CUDA_OUT_OF_MEMORY, "CUDA out of memory", _SAID + r"CUDA out of memory"),
    _cause(K.CUDA_OUT_OF_MEMORY, "CUDA error: out of memory"),
    _cause(K.CUDA_OUT_OF_MEMORY, "Error", _RAISED + r"OutOfMemoryError\b"),
    _cause(K.CUDA_OUT_OF_MEMORY, "CUBLAS_STATUS_ALLOC_FAILED"),
    _cause(K.CUDA_OUT_OF_MEMORY, "RESOURCE_EXHAUSTED: Out of memory"),
    _cause(K.CUDA_ERROR, "device-side assert triggered"),
    _cause(K.CUDA_ERROR, "Assertion", r"block: \[[\d,]+\], thread: \[[\d,]+\] Assertion\b.*\bfailed"),
    _cause(K.CUDA_ERROR, "has fallen off the bus"),
    _cause(K.CUDA_ERROR, "GPU is lost"),
    _cause(K.CUDA_ERROR, "cudaErrorDevicesUnavailable"),
    _cause(K.CUDA_ERROR, "CUDA error: ", _SAID + r"CUDA error: "),
    _cause(K.CUDA_ERROR, "Error", r"Error: .*\b(?:CUDNN|CUBLAS|CUFFT|CUSPARSE)_STATUS_(?!SUCCESS)"),
    # the node's memory
    _cause(K.HOST_OUT_OF_MEMORY, "Detected ", r"\bDetected [1-9]\d* oom[_-]kill event"),
    _cause(K.HOST_OUT_OF_MEMORY, "Out Of Memory", _SRUN + r"Out Of Memory"),
    _cause(K.HOST_OUT_OF_MEMORY, "Exited with exit code 1", _SRUN + r"Exited with exit code 137\b"),
    _cause(K.HOST_OUT_OF_MEMORY, "Killed", r"^Killed$|\bline \d+: +\d+ Killed\b|killed by signal: Killed\b"),
    _cause(K.HOST_OUT_OF_MEMORY, "(exitcode: ", r"\(exitcode: -9\)"),
    _cause(K.HOST_OUT_OF_MEMORY, "Cannot allocate memory", _SAID + r"Cannot allocate memory"),
    _cause(K.HOST_OUT_OF_MEMORY, "Error", _RAISED + r"_?(?:Array)?MemoryError\b"),
    _cause(K.HOST_OUT_OF_MEMORY, "std::bad_alloc"),
    _cause(K.HOST_OUT_OF_MEMORY, "DefaultCPUAllocator", r"DefaultCPUAllocator: (?:can't allocate|not enough) memory"),
    # signals that programs die of
    _cause(K.SEGFAULT, "Segmentation fault", r"(?:^|\d +|: |\()Segmentation fault" + _DIED),
    _cause(K.SEGFAULT, "Exited with exit code 1", _SRUN + r"Exited with exit code 139\b"),
    _cause(K.SEGFAULT, "(exitcode: ", r"\(exitcode: -11\)"),
    _cause(K.BUS_ERROR, "Bus error", r"(?:^|\d +|: |\()Bus error" + _DIED),
    _cause(K.BUS_ERROR, "Exited with exit code 1", _SRUN + r"Exited with exit code 135\b"),
    _cause(K.BUS_ERROR, "(exitcode: ", r"\(exitcode: -7\)"),
    _consequence(K.ABORT, "terminate called after throwing", r"instance of 'c10::DistBackendError'"),
    _cause(K.ABORT, "terminate called after throwing"),
    _cause(K.ABORT, "double free or corruption", r"^double free or corruption"),
    _cause(K.ABORT, "invalid pointer", r"^(?:free|realloc|munmap_chunk)\(\): invalid pointer"),
    # files and programs
    _cause(K.NO_SPACE, "No space left on device", _SAID + r"No space left on device"),
    _cause(K.NO_SPACE, "Disk quota exceeded", _SAID + r"Disk quota exceeded"),
    _cause(K.IO_ERROR, "Stale file handle", _SAID + r"Stale file handle"),
    _cause(K.IO_ERROR, "Input/output error", _SAID + r"Input/output error"),
    _cause(K.IO_ERROR, "Cannot send after transport endpoint shutdown"),
    _cause(K.LOADER_ERROR, "cannot open shared object", r"(?:libraries|Error): .*cannot open shared object"),
    _cause(K.LOADER_ERROR, "undefined symbol: ", r"(?:symbol lookup error|Error): .*undefined symbol: "),
    _cause(K.LOADER_ERROR, "' not found (required by "),
    _cause(K.LOADER_ERROR, "error: execve(): "),
    _consequence(K.LOADER_ERROR, ": command not found", r": line \d+: [^ ]+: command not found$"),
    _cause(K.FILE_NOT_FOUND, "Error", _RAISED + r"FileNotFoundError\b"),
    _cause(K.FILE_NOT_FOUND, "can't open file '", r": can't open file '.*': \[Errno 2\]"),
    _cause(K.IMPORT_ERROR, "Error", _RAISED + r"(?:ModuleNotFoundError|ImportError)\b"),
    _cause(K.IMPORT_ERROR, "No module named ", r"^\S*python[\d.]*: No module named "),
    # peers
    _consequence(K.CONNECTION_LOST, "Error", _RAISED + r"(?:Connection(?:Reset|Aborted)|BrokenPipe)Error\b"),
    _consequence(K.CONNECTION_LOST, "Error", _RAISED + r"Dist\w*Error: .*(?i:reset|broken pipe|closed|failed to recv)"),
    _consequence(K.CONNECTION_LOST, "Connection closed by peer", r"(?:\]|Error:) Connection closed by peer"),
    _consequence(K.CONNECTION_LOST, "Connection reset by peer", r"(?:\]|Error:) Connection reset by peer"),
    _consequence(K.CONNECTION_LOST, "failed on SocketImpl"),
    _cause(K.CONNECTION_LOST, "Error", _RAISED + r"(?:Dist(?:Network|Store)|Rendezvous\w*|ConnectionRefused)Error\b"),
    _cause(K.CONNECTION_LOST, "The client socket has timed out"),
    _cause(K.CONNECTION_LOST, "The server socket has failed to listen"),
    # Slurm
    _consequence(K.WARNED, "fleetward: job ", r"^fleetward: job \S+, attempt \d+ of \d+: warned\b"),
    _cause(K.KILLED_BY_SLURM, "CANCELLED ", _ENTITY + r"(?:ON \S+ )?CANCELLED (?:AT \S+ )?DUE TO "),
    _cause(K.KILLED_BY_SLURM, "CANCELLED AT ", r"\*\*\* JOB \S+ (?:ON \S+ )?CANCELLED AT "),
    _consequence(K.KILLED_BY_SLURM, "CANCELLED AT ", r"\*\*\* STEP \S+ (?:ON \S+ )?CANCELLED AT "),
    _cause(K.KILLED_BY_SLURM, "UNCORRECTABLE MEMORY ERROR", _ENTITY + r"ON \S+ UNCORRECTABLE MEMORY ERROR"),
    _cause(K.KILLED_BY_SLURM, "Node failure on ", r"^srun: error: Node failure on "),
    _consequence(K.KILLED_BY_SLURM, "STEPD TERMINATED", _ENTITY + r"STEPD TERMINATED ON "),
    _consequence(K.SRUN_EXIT, "srun: error: ", _SRUN),
    _consequence(K.WORKER_EXIT, "(exitcode: ", r"\bfailed \(exitcode: "),
    # exceptions that another process's end brings about
    _consequence(K.TRACEBACK, "Error", _RAISED + r"ChildFailedError\b"),
    _consequence(K.TRACEBACK, "SignalException", _RAISED + r"SignalException\b"),
    _consequence(K.TRACEBACK, "KeyboardInterrupt", r"^KeyboardInterrupt$"),
    _consequence(K.TRACEBACK, "DataLoader worker", r"DataLoader worker \(pid.*(?:unexpectedly|: Terminated)"),
    # what needs no traceback
    _cause(K.ASSERTION, "AssertionError", r"^AssertionError\b"),
    _cause(K.ASSERTION, "Assertion", r"\bAssertion [`'\"].+['`\"] failed\.?$"),
    _cause(K.TRACEBACK, "Error", r"^(?:SyntaxError|IndentationError|TabError): "),
)
"""All signs, in the order in which they are tried."""


_SEARCHES = tuple((sign.needle, None if sign.pattern is None else sign.pattern.search, sign) for sign in SIGNS)


def sign_of(text: str) -> Sign | None:
    """Return the first sign that a line's text, without labels and colours, has; None where it has none."""
    for needle, search, sign in _SEARCHES:
        if needle in text and (search is None or search(text) is not None):
            return sign
    return None
