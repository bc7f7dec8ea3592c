"""Findings in jobs' logs: each kind, causes before consequences, tracebacks of ranks that write at once, and noise."""

import random
import traceback
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetward.slurm.logs import scanning
from fleetward.slurm.logs.lines import read_line
from fleetward.slurm.logs.scanning import Found, LogFinding, Scanned, Scanner, first_errors, scan
from fleetward.slurm.logs.signs import SIGNS, sign_of

LOGS = Path(__file__).parent / "samples"
LATEST = datetime(2026, 11, 28, 12, tzinfo=UTC)


def scanned(text: str | bytes, attempt: int | None = None, file: str = "job.log") -> Scanned:
    raw = text if isinstance(text, bytes) else text.encode()
    return scan(file, [raw], LATEST, attempt)


def found(*texts: str, attempt: int | None = None) -> Found:
    return first_errors([scanned(text, attempt, f"{number}.log") for number, text in enumerate(texts)], attempt)


def only(text: str) -> LogFinding:
    (finding,) = found(text).findings
    return finding


def kinds(text: str) -> list[str]:
    return [str(finding.kind) for finding in found(text).findings]


TRACEBACK = """\
Traceback (most recent call last):
  File "/data/train.py", line 210, in <module>
    main()
    ~~~~^^
  File "/data/train.py", line 77, in step
    loss.backward()
{raised}
"""


def raised(exception: str, label: str = "") -> str:
    return "".join(f"{label}{line}\n" for line in TRACEBACK.format(raised=exception).splitlines())


@pytest.mark.parametrize(
    ("line", "kind", "consequence"),
    [
        (
            "[rank3]:[E1128 10:00:00.123456789 ProcessGroupNCCL.cpp:616] [Rank 3] Watchdog caught collective operation"
            " timeout: WorkNCCL(SeqNum=9, OpType=ALLREDUCE, Timeout(ms)=600000) ran for 600009 milliseconds before"
            " timing out.",
            "nccl_timeout",
            False,
        ),
        ("gpu001:7:9 [3] transport/net_ib.cc:9 NCCL WARN Timeout waiting for peer", "nccl_timeout", False),
        ("gpu001:7:9 [3] NCCL WARN Cuda failure 'out of memory'", "cuda_out_of_memory", False),
        ("gpu001:7:9 [3] NCCL WARN Cuda failure 'uncorrectable ECC error encountered'", "cuda_error", False),
        ("[2026-11-28 10:00:00] gpu001:7:9 [3] NCCL WARN Call to ibv_modify_qp failed", "nccl_error", True),
        ("gpu001:7:9 [3] NCCL WARN NET/IB : Got completion from peer 10.0.0.2 with status=12", "nccl_error", True),
        ("ncclSystemError: System call (e.g. socket, malloc) or external library call failed", "nccl_error", True),
        (
            "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting",
            "nccl_error",
            True,
        ),
        ("RuntimeError: NCCL error in: x.cpp:2, unhandled system error, NCCL version 2.21.5", "nccl_error", True),
        ("[E1128 10:00:00 x.cpp:9] Some NCCL operations have failed or timed out.", "nccl_error", True),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "cuda_out_of_memory", False),
        ("RuntimeError: CUDA error: out of memory", "cuda_out_of_memory", False),
        ("RuntimeError: CUDA error: an illegal memory access was encountered", "cuda_error", False),
        ("RuntimeError: CUDA error: device-side assert triggered", "cuda_error", False),
        ("torch.AcceleratorError: CUDA error: unspecified launch failure", "cuda_error", False),
        ("CUDA error: all CUDA-capable devices are busy or unavailable", "cuda_error", False),
        ("  what(): cudaErrorDevicesUnavailable", "cuda_error", False),
        ("NVRM: Xid (PCI:0000:61:00): 79, GPU has fallen off the bus.", "cuda_error", False),
        (
            "../aten/src/ATen/native/cuda/Indexing.cu:1290: indexSelectLargeIndex: block: [1,0,0], thread: [64,0,0]"
            " Assertion `srcIndex < srcSelectDimSize` failed.",
            "cuda_error",
            False,
        ),
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=12.0. Some of the step tasks have been OOM Killed.",
            "host_out_of_memory",
            False,
        ),
        ("[2026-11-28T10:00:00.1] error: Detected 3 oom_kill events in StepId=12.0.", "host_out_of_memory", False),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=12.batch.", "host_out_of_memory", False),
        ("srun: error: gpu001: task 3: Out Of Memory", "host_out_of_memory", False),
        ("srun: error: gpu001: task 3: Exited with exit code 137", "host_out_of_memory", False),
        ("/var/spool/slurmd/job12/slurm_script: line 9:  4242 Killed    python train.py", "host_out_of_memory", False),
        ("OSError: [Errno 12] Cannot allocate memory", "host_out_of_memory", False),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9 GiB", "host_out_of_memory", False),
        ("RuntimeError: DataLoader worker (pid 9) is killed by signal: Killed. ", "host_out_of_memory", False),
        ("srun: error: gpu001: task 2: Segmentation fault (core dumped)", "segfault", False),
        ("Fatal Python error: Segmentation fault", "segfault", False),
        ("slurm_script: line 9:  4242 Segmentation fault      (core dumped) ./a", "segfault", False),
        ("[gpu001:4242] Signal: Segmentation fault (11)", "segfault", False),
        ("srun: error: gpu001: tasks 0-1: Bus error", "bus_error", False),
        ("RuntimeError: DataLoader worker (pid 9) is killed by signal: Bus error. It is possible", "bus_error", False),
        ("terminate called after throwing an instance of 'std::runtime_error'", "abort", False),
        ("terminate called after throwing an instance of 'c10::DistBackendError'", "abort", True),
        ("double free or corruption (!prev)", "abort", False),
        ("a.out: a.c:5: main: Assertion `n > 0' failed.", "assertion", False),
        ("OSError: [Errno 28] No space left on device: '/data/ckpt'", "no_space", False),
        ("tee: /data/x: No space left on device", "no_space", False),
        ("OSError: [Errno 116] Stale file handle: '/data/x'", "io_error", False),
        ("cat: /data/x: Input/output error", "io_error", False),
        (
            "/usr/bin/python3: can't open file '/data/train.py': [Errno 2] No such file or directory",
            "file_not_found",
            False,
        ),
        ("/usr/bin/python3: No module named torchrun", "import_error", False),
        (
            "./a: error while loading shared libraries: libcudart.so.12: cannot open shared object file: No such file",
            "loader_error",
            False,
        ),
        ("python: symbol lookup error: /x.so: undefined symbol: foo", "loader_error", False),
        ("./a: /lib/libc.so.6: version `GLIBC_2.38' not found (required by ./a)", "loader_error", False),
        ("slurmstepd: error: execve(): pyhton: No such file or directory", "loader_error", False),
        ("slurm_script: line 4: nvcc: command not found", "loader_error", True),
        ("torch.distributed.DistNetworkError: The client socket has timed out after 60000ms", "connection_lost", False),
        ("torch.distributed.DistNetworkError: Connection reset by peer", "connection_lost", True),
        ("[W1128 10:00:00 TCPStore.cpp:106] [c10d] sendBytes failed on SocketImpl(fd=3)", "connection_lost", True),
        (
            "RuntimeError: [/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.1]:7",
            "connection_lost",
            True,
        ),
        (
            "slurmstepd: error: *** JOB 12 ON gpu001 CANCELLED AT 2026-11-28T10:00:00 DUE TO TIME LIMIT ***",
            "killed_by_slurm",
            False,
        ),
        (
            "slurmstepd: error: *** STEP 12.0 ON gpu001 CANCELLED AT 2026-11-28T10:00:00 DUE TO PREEMPTION ***",
            "killed_by_slurm",
            False,
        ),
        (
            "slurmstepd: error: *** STEP 12.0 ON gpu001 CANCELLED AT 2026-11-28T10:00:00 DUE TO NODE FAILURE, SEE"
            " SLURMCTLD LOG FOR DETAILS ***",
            "killed_by_slurm",
            False,
        ),
        ("slurmstepd: error: *** JOB 12 ON gpu001 CANCELLED AT 2026-11-28T10:00:00 ***", "killed_by_slurm", False),
        ("0: slurmstepd: error: *** STEP 12.0 ON gpu001 CANCELLED AT 2026-11-28T10:00:00 ***", "killed_by_slurm", True),
        ("srun: error: Node failure on gpu001", "killed_by_slurm", False),
        ("srun: error: gpu001: task 3: Exited with exit code 1", "srun_exit", True),
        ("srun: error: gpu001: tasks 0-2,5: Terminated", "srun_exit", True),
        ("srun: error: gpu001: task 3: Killed", "srun_exit", True),
        (
            "E1128 10:00:00 4 api.py:869] failed (exitcode: 1) local_rank: 3 (pid: 9) of binary: python",
            "worker_exit",
            True,
        ),
        ("E1128 10:00:00 4 api.py:869] failed (exitcode: -11) local_rank: 3 (pid: 9) of binary: x", "segfault", False),
        ("E1128 10:00:00 4 api.py:869] failed (exitcode: -9) local_rank: 3 (pid: 9)", "host_out_of_memory", False),
        ("SyntaxError: invalid syntax", "traceback", False),
        ("DistBackendError: NCCL communicator was aborted on rank 3.", "nccl_error", True),
        ("a.cu:9 'unhandled cuda error'", "nccl_error", True),
        ("[E1128 10:00:00 x.cpp:9] Received a dump signal due to a collective timeout from rank 1", "nccl_error", True),
        ("torch.distributed.DistBackendError: gone", "nccl_error", True),
        ("torch.cuda.OutOfMemoryError: Allocation on device", "cuda_out_of_memory", False),
        ("RuntimeError: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "cuda_out_of_memory", False),
        ("XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate", "cuda_out_of_memory", False),
        ("Unable to determine the device handle for GPU0000:61:00.0: GPU is lost.", "cuda_error", False),
        ("RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "cuda_error", False),
        ("  what():  std::bad_alloc", "host_out_of_memory", False),
        (
            "RuntimeError: [enforce fail at alloc.cpp:1] . DefaultCPUAllocator: not enough memory",
            "host_out_of_memory",
            False,
        ),
        ("srun: error: gpu001: task 3: Exited with exit code 139", "segfault", False),
        ("srun: error: gpu001: task 3: Exited with exit code 135", "bus_error", False),
        ("E1128 10:00:00 4 api.py:869] failed (exitcode: -7) local_rank: 3 (pid: 9)", "bus_error", False),
        ("free(): invalid pointer", "abort", False),
        ("OSError: [Errno 122] Disk quota exceeded", "no_space", False),
        ("cat: /lustre/x: Cannot send after transport endpoint shutdown", "io_error", False),
        ("[gpu001] Connection reset by peer", "connection_lost", True),
        ("[E1128 10:00:00 socket.cpp:9] The client socket has timed out after 600000ms", "connection_lost", False),
        (
            "[E1128 10:00:00 socket.cpp:9] The server socket has failed to listen on any address",
            "connection_lost",
            False,
        ),
        (
            "slurmstepd: error: *** JOB 12 ON gpu001 UNCORRECTABLE MEMORY ERROR AT 2026-11-28 ***",
            "killed_by_slurm",
            False,
        ),
        ("slurmstepd: error: *** JOB 12 STEPD TERMINATED ON gpu001 AT 2026 ***", "killed_by_slurm", True),
        ("fleetward: job 12_3, attempt 1 of 3: warned, and its step ended with 0; requeued", "warned", True),
    ],
)
@pytest.mark.parametrize("label", ["", "3: ", " 3: ", "[default3]:"])
def test_each_kind_is_known_with_and_without_labels(label: str, line: str, kind: str, consequence: bool) -> None:
    if label and line.startswith(("srun", "0: ")):
        label = ""
    finding = only(f"{label}{line}\n")
    assert (finding.kind, finding.consequence) == (kind, consequence)
    assert finding.line_number == 1


@pytest.mark.parametrize(
    ("exception", "kind", "consequence"),
    [
        ("ValueError: bad", "traceback", False),
        ("AssertionError", "assertion", False),
        ("KeyError: 'x'", "traceback", False),
        ("__main__.main.<locals>.OddProblem: no", "traceback", False),
        ("socket.gaierror: [Errno -2] Name or service not known", "traceback", False),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/data/x'", "file_not_found", False),
        ("ModuleNotFoundError: No module named 'apex'", "import_error", False),
        ("ImportError: libcudart.so.12: cannot open shared object file: No such file", "loader_error", False),
        ("OSError: [Errno 5] Input/output error", "io_error", False),
        ("MemoryError", "host_out_of_memory", False),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.", "cuda_out_of_memory", False),
        ("torch.distributed.DistBackendError: NCCL error in: x.cpp:3, remote process exited", "nccl_error", True),
        ("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ", "traceback", True),
        ("torch.distributed.elastic.multiprocessing.api.SignalException: Process 4 got signal: 15", "traceback", True),
        ("BrokenPipeError: [Errno 32] Broken pipe", "connection_lost", True),
        ("ConnectionResetError: [Errno 104] Connection reset by peer", "connection_lost", True),
        ("KeyboardInterrupt", "traceback", True),
        ("RuntimeError: DataLoader worker (pid(s) 9) exited unexpectedly", "traceback", True),
    ],
)
@pytest.mark.parametrize(
    "label", ["", "12: ", "[rank12]: ", "[default12]:", " 0: [rank12]: ", "0: [default4]:[rank12]: "]
)
def test_a_traceback_is_its_exception(label: str, exception: str, kind: str, consequence: bool) -> None:
    finding = only(raised(exception, label))
    assert (finding.kind, finding.consequence, finding.text) == (kind, consequence, exception.strip())
    assert finding.rank == (12 if label else None)
    assert finding.line_number == 1


def test_every_sign_is_the_first_that_fits_one_of_these_lines() -> None:
    """A sign that another one always comes before would never be seen."""
    lines = [
        case[0]
        for test in (test_each_kind_is_known_with_and_without_labels, test_a_traceback_is_its_exception)
        for mark in test.pytestmark  # type: ignore[attr-defined]
        if isinstance(mark.args[0], tuple)
        for case in mark.args[1]
    ]
    tried = [sign_of(read_line(line.encode()).text) for line in lines]
    assert [sign for sign in SIGNS if sign not in tried] == []


def test_needles_begin_no_other_text_than_their_own() -> None:
    assert all(sign.needle and sign.needle.isascii() and "\n" not in sign.needle for sign in SIGNS)


NORMAL = """\
fleetward: attempt 1 of job 12 on gpu[001-002] at 2026-11-28T09:00:00Z
 0: [2026-11-28 09:00:01,123][train][INFO] - error rate: 0.1, 0 errors, no traceback, killed 0
12: epoch 3 loss 0.31 val_error: 0.12 top1_error=0.44 failed: 0 failures: 0
 1: WARNING: the assertion checks are off; Segmentation model loaded, 0 exceptions
 2: gpu001:77:99 [2] NCCL INFO NCCL_IB_TIMEOUT set by environment to 22.
 2: gpu001:77:99 [2] NCCL INFO Channel 00/16 : 0 1 2 3; timeout 600000 ms
 2: gpu001:77:99 [2] NCCL WARN NCCL_SOCKET_IFNAME set by environment to eth0
 0: [W1128 09:00:00.5 socket.cpp:697] The client socket has failed to connect to [gpu001]:29500 (Connection refused).
 0: Rendezvous complete for workers; timeout=1800, will abort after 3 errors
 0: memory: 0 oom events, no out of memory so far, CUDA memory 12 GiB
 0: Epoch 1:  10%|#         | 1/10 [00:01<00:09]\rEpoch 1:  20%|##        | 2/10 [00:02<00:08]
srun: Job step created
srun: warning: can't run 1 processes on 2 nodes
 0: cp: cannot stat 'x': No such file or directory
 0: Error bars are drawn; RuntimeError is caught and tried again
 0: on ValueError: we go on. Exception handling is on.
 0: see "Traceback (most recent call last):" in the manual
 0: Traceback (most recent call last):
 0: epoch 4 loss 0.30
 0: jobs CANCELLED so far: 0; *** all good ***
 0: Detected 0 oom_kill events, Detected 8 GPUs
 0: done, exit code 0, Killed processes: 0
"""


def test_a_normal_log_gives_nothing() -> None:
    assert scanned(NORMAL).findings == ()
    assert scanned(NORMAL.replace(" 0: ", "").replace("12: ", "")).findings == ()


HARMLESS = """
error errors Error: rate 0 0.1 failed failure killed timeout NCCL INFO CUDA memory out of warning loss epoch signal
exception traceback cancelled Rank srun: task bus fault aborted lost refused cannot not found step= 1e-4 [rank0]
assertion segmentation space disk full connection peer closed retry 137 -9 exit code
"""
HARMLESS_WORDS = st.sampled_from(HARMLESS.split())


@given(st.lists(st.lists(HARMLESS_WORDS, max_size=12).map(" ".join), max_size=8), st.integers(0, 200))
def test_words_of_errors_alone_are_none(lines: list[str], rank: int) -> None:
    assert scanned("".join(f"{rank}: note that {line}\n" for line in lines)).findings == ()


INTERESTING = st.sampled_from(
    [
        b"Traceback (most recent call last):",
        b'  File "x.py", line 1, in f',
        b"    raise ValueError",
        b"ValueError: bad",
        b"KeyError",
        b"During handling of the above exception, another exception occurred:",
        b"Exception ignored in: <function f>",
        b"fleetward: attempt 1 of job 1 on gpu001 at 2026-11-28T09:00:00Z",
        b"fleetward: attempt 2 of job 1 on gpu001 at 2026-11-28T10:00:00Z",
        b"fleetward: attempt 999999999",
        b"CUDA error: x",
        b"[2026-11-28 10:00:00] NCCL WARN failed",
        b"[2026-99-99 10:00:00] NCCL WARN failed",
        b"srun: error: gpu001: task 1: Killed",
        b"\x1b[31mCUDA out of memory\x1b[0m",
        b"50%|##\rCUDA error: y",
        b"  + Exception Group Traceback (most recent call last):",
        b"  | ValueError: in a group",
        b"",
        b"\xff\xfe\x80",
        b"\0\0\0",
        b"x" * 5000,
    ]
)
LABELS = st.sampled_from([b"", b"0: ", b"12: ", b"[rank3]: ", b"[default3]:", b" 1: [rank9]:"])
LINES = st.lists(st.tuples(LABELS, INTERESTING | st.binary(max_size=40)).map(b"".join), max_size=30)


@given(LINES, st.sampled_from([None, 1, 2]))
@settings(max_examples=300)
def test_however_a_file_is_cut_into_blocks_the_findings_are_the_same(lines: list[bytes], attempt: int | None) -> None:
    whole = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    at_once = scan("f", [whole], LATEST, attempt)
    assert scan("f", whole.splitlines(keepends=True) if b"\r" not in whole else _cut(whole), LATEST, attempt) == at_once
    for finding in at_once.findings:
        assert 1 <= finding.line_number <= len(lines)
        assert len(finding.text) <= scanning.LONGEST_TEXT
        assert attempt in (None, finding.attempt) or not at_once.attempts


def _cut(whole: bytes) -> list[bytes]:
    return [line + b"\n" for line in whole.split(b"\n")[:-1]]


@given(st.binary(max_size=3000))
def test_any_bytes_are_read(raw: bytes) -> None:
    scanned(raw)


@given(
    st.lists(st.sampled_from(["ValueError: a", "KeyError: 'b'", "AssertionError"]), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_tracebacks_of_ranks_that_write_at_once_are_put_together(exceptions: list[str], chance: random.Random) -> None:
    left = {
        rank: raised(exception, f"{rank:2d}: ").splitlines(keepends=True) for rank, exception in enumerate(exceptions)
    }
    lines: list[str] = []
    began: dict[int, int] = {}
    while left:
        rank = chance.choice(list(left))
        began.setdefault(rank, len(lines) + 1)
        lines.append(left[rank].pop(0))
        if not left[rank]:
            del left[rank]
        if chance.random() < 0.3:
            lines.append(f"{rank:2d}: step 3 loss 0.1\n" if rank not in left else "99: step 3 loss 0.1\n")
    findings = found("".join(lines)).findings
    assert {one.rank: (one.text, one.line_number) for one in findings} == {
        rank: (exception, began[rank]) for rank, exception in enumerate(exceptions)
    }
    assert findings[0].line_number == 1


def test_tracebacks_without_labels_in_one_another_lose_no_cause() -> None:
    one, two = raised("ValueError: a").splitlines(), raised("KeyError: 'b'").splitlines()
    mixed = [line for pair in zip(one, two, strict=True) for line in pair]
    assert [finding.text for finding in found("\n".join(mixed) + "\n").findings] == ["ValueError: a", "KeyError: 'b'"]


def test_lines_of_others_in_a_traceback_without_labels_do_not_end_it() -> None:
    lines = raised("ValueError: a").splitlines()
    lines[3:3] = ["step 12 loss 0.1", "INFO: saved", "WARNING", "a = 3"]
    assert only("\n".join(lines) + "\n").text == "ValueError: a"


def test_a_traceback_after_a_progress_bar_is_seen() -> None:
    text = raised("ValueError: a", "3: ")
    finding = only(text.replace("3: Trace", "3: Epoch 1:   0%|   | 0/9\rEpoch 1:  10%|#  | 1/9Trace", 1))
    assert (finding.rank, finding.text) == (3, "ValueError: a")


def test_a_traceback_that_was_cut_short_is_told_by_its_last_line() -> None:
    lines = raised("ValueError: a", "3: ").splitlines()[:-1]
    finding = only("\n".join(lines))
    assert (finding.kind, finding.rank, finding.text) == ("traceback", 3, "loss.backward()")


def caught(error: Exception) -> Exception:
    """Return an exception that was raised, and so has a traceback."""
    try:
        raise error
    except type(error) as found:
        return found


def chain(*, group: bool = False) -> str:
    """Return what Python itself writes."""
    try:
        try:
            {}["x"]
        except KeyError as error:
            if group:
                raise ExceptionGroup("two", [caught(ValueError("a")), caught(OSError(28, "No space left"))]) from error
            raise ValueError("second") from error
    except (ValueError, ExceptionGroup):
        return traceback.format_exc()
    raise AssertionError


def test_of_a_chain_the_last_exception_is_told() -> None:
    finding = only(chain())
    assert (finding.text, finding.line_number) == ("ValueError: second", 1)


@pytest.mark.parametrize(
    ("first", "then", "text"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory.", "RuntimeError: step failed", 0),
        ("ConnectionResetError: gone", "RuntimeError: lost a peer", 0),
        ("KeyError: 'x'", "torch.distributed.DistBackendError: NCCL error in: x", 0),
        ("KeyError: 'x'", "OSError: [Errno 28] No space left on device", 1),
    ],
)
def test_of_a_chain_what_says_more_is_told(first: str, then: str, text: int) -> None:
    link = "3: \n3: During handling of the above exception, another exception occurred:\n3: \n"
    finding = only(raised(first, "3: ") + "4: between\n" + link + raised(then, "3: "))
    assert finding.text == (first, then)[text]


def test_the_exceptions_of_a_group_are_found() -> None:
    texts = ["ExceptionGroup: two (2 sub-exceptions)", "ValueError: a", "OSError: [Errno 28] No space left"]
    assert [finding.text for finding in found(chain(group=True)).findings] == texts
    labelled = "".join(f"[rank1]: {line}\n" for line in chain(group=True).splitlines())
    assert [(finding.rank, finding.text) for finding in found(labelled).findings] == [(1, text) for text in texts]


def test_what_python_goes_on_after_is_no_cause() -> None:
    text = "3: Exception ignored in: <function A.__del__ at 0x7f>\n" + raised("TypeError: a", "3: ")
    findings = found(text + raised("ValueError: b", "4: ")).findings
    assert [(one.text, one.consequence) for one in findings] == [("ValueError: b", False), ("TypeError: a", True)]


@pytest.mark.parametrize(
    ("log", "kind", "rank", "line_number", "text"),
    [
        ("torchrun", "traceback", 2, 7, "IndexError: index 40960 is out of bounds for axis 0 with size 40960"),
        ("host-memory", "host_out_of_memory", None, 16, "slurmstepd: error: Detected 1 oom_kill event in StepId=77.0."),
        ("hang", "nccl_timeout", 3, 7, "[E1128 10:20:00.200000000 ProcessGroupNCCL.cpp:616] [Rank 3] Watchdog caught"),
        ("time-limit", "killed_by_slurm", None, 4, "slurmstepd: error: *** JOB 79 ON gpu001 CANCELLED AT"),
    ],
)
def test_the_first_error_of_whole_logs(log: str, kind: str, rank: int | None, line_number: int, text: str) -> None:
    findings = found((LOGS / f"{log}.log").read_text()).findings
    first = findings[0]
    assert (first.kind, first.rank, first.line_number) == (kind, rank, line_number)
    assert first.text.startswith(text)
    assert findings == tuple(sorted(findings, key=lambda one: (one.consequence, one.line_number)))


def test_a_whole_log_of_a_lost_peer_has_one_cause_twice_told() -> None:
    findings = found((LOGS / "host-memory.log").read_text()).findings
    assert [(one.kind, one.rank, one.node) for one in findings if not one.consequence] == [
        ("host_out_of_memory", None, None),
        ("host_out_of_memory", 9, "gpu002"),
    ]
    assert {one.rank for one in findings if one.kind == "nccl_error"} == {4, 12}


KILLED_TASKS = """\
fleetward: attempt 1 of job 12 on gpu[001-002] at 2026-11-28T08:00:00Z
srun: error: gpu002: task 8: Segmentation fault
fleetward: attempt 2 of job 12 on gpu[001-002] at 2026-11-28T10:00:00Z
 0: step 1 loss 2.0
 9: [rank9]: Traceback (most recent call last):
 1: [rank1]:[E1128 10:07:01.5 ProcessGroupNCCL.cpp:616] Some NCCL operations have failed or timed out.
 9: [rank9]:   File "/data/train.py", line 3, in <module>
 9: [rank9]:     main()
srun: error: gpu001: task 1: Aborted (core dumped)
 9: [rank9]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.
 0: slurmstepd: error: *** STEP 12.0 ON gpu001 CANCELLED AT 2026-11-28T10:07:02 ***
srun: error: gpu002: task 9: Exited with exit code 1
srun: error: gpu001: tasks 0,2-7: Terminated
srun: error: gpu002: tasks 8,10-15: Killed
"""


@pytest.mark.parametrize("how", ["slurmstepd: error:", "[2026-11-28T10:00:00.000] error:"])
def test_slurms_own_lines_are_of_no_rank(how: str) -> None:
    """Behind srun they have the label of the node's first task, whichever task they tell of."""
    assert only(f"8: {how} Detected 1 oom_kill event in StepId=12.0.\n").rank is None
    step = only(f"8: {how} *** STEP 12.0 ON gpu002 CANCELLED AT 2026-11-28T10:00:00 DUE TO PREEMPTION ***\n")
    assert (step.rank, step.node, step.at) == (None, "gpu002", datetime(2026, 11, 28, 10, tzinfo=UTC))


def test_torchruns_own_number_is_no_rank_beside_a_label_of_srun() -> None:
    assert only("1: [default3]:CUDA error: x\n").rank is None
    assert only("1: [default3]:[rank11]: CUDA error: x\n").rank == 11
    assert only("[E1128 x.cpp:9] [PG 0 (default_pg) Rank 5] Watchdog caught collective operation timeout\n").rank == 5


def test_times_of_torch_have_no_year() -> None:
    line = "[rank1]:[E{day} 10:00:00.25 x.cpp:9] CUDA error: x\n"
    at = datetime(2026, 11, 28, 10, 0, 0, 250000, tzinfo=UTC)
    assert only(line.format(day="1128")).at == at
    assert only(line.format(day="1231")).at == at.replace(year=2025, month=12, day=31)
    assert only(line.format(day="0230")).at is None
    assert only("[2026-02-30 10:00:00] CUDA error: x\n").at is None


def test_the_first_error_is_the_cause_of_the_last_attempt() -> None:
    everything = found(KILLED_TASKS)
    first = everything.findings[0]
    assert (first.kind, first.rank, first.line_number, first.attempt) == ("cuda_out_of_memory", 9, 5, 2)
    assert everything.attempt == 2
    assert all(one.consequence for one in everything.findings[1:])
    assert [(one.rank, one.node) for one in everything.findings[1:]] == [
        (1, None),
        (1, "gpu001"),
        (None, "gpu001"),
        (9, "gpu002"),
        (None, "gpu001"),
        (None, "gpu002"),
    ]


def test_an_earlier_attempt_can_be_asked_for() -> None:
    first = found(KILLED_TASKS, attempt=1)
    assert [(one.kind, one.rank, one.node) for one in first.findings] == [("segfault", 8, "gpu002")]
    assert found(KILLED_TASKS, attempt=3).findings == ()


def test_an_attempt_that_begins_anew_forgets_its_namesake() -> None:
    """Another job that appends to the same file begins with attempt 1 again."""
    again = KILLED_TASKS + "fleetward: attempt 1 of job 13 on gpu001 at 2026-11-28T11:00:00Z\nall is well\n"
    assert found(again).findings == ()
    assert found(again, attempt=1).findings == ()
    assert len(found(again, attempt=2).findings) == len(found(KILLED_TASKS).findings)


def test_what_stands_before_the_first_attempt_is_of_attempt_1() -> None:
    text = "srun: error: gpu001: task 1: Bus error\n"
    assert len(found(text + "fleetward: attempt 1 of job 1 on a at 2026-11-28T08:00:00Z\n").findings) == 1
    later = text + "fleetward: attempt 2 of job 1 on a at 2026-11-28T08:00:00Z\n"
    assert found(later).findings == ()
    assert len(found(later, attempt=1).findings) == 1


def test_a_rank_cannot_begin_an_attempt() -> None:
    assert found("3: fleetward: attempt 7 of job 1\nCUDA error: x\n").attempt == 1


def test_a_log_that_tells_of_no_attempts_is_of_the_one_that_is_asked_for() -> None:
    assert [one.attempt for one in found("CUDA error: x\n", attempt=3).findings] == [3]


def test_files_are_put_in_order_by_time() -> None:
    early = "[2026-11-28 10:00:01] CUDA error: b\n"
    late = "2026-11-28T10:00:00,500 step\n" + "quiet\n" * 3 + "2026-11-28T10:00:03Z a: CUDA error: a\n"
    torch = "[rank2]:[E1128 10:00:02.25 x.cpp:1] [Rank 2] Watchdog caught collective operation timeout: W\n"
    assert [one.file for one in found(late, early, torch).findings] == ["1.log", "2.log", "0.log"]
    assert [one.file for one in found(late).findings] == ["0.log"]


def test_a_cause_without_a_time_comes_before_those_of_other_files() -> None:
    timeout = "[E1128 10:10:00.0 x.cpp:1] [Rank 2] Watchdog caught collective operation timeout: W\n"
    assert [one.kind for one in found(timeout, raised("ValueError: a")).findings] == ["traceback", "nccl_timeout"]


def test_an_error_has_the_time_of_a_line_before_it() -> None:
    noon = datetime(2026, 11, 28, 10, 0, 1, tzinfo=UTC)
    text = "3: [2026-11-28 10:00:01] step\n" + "4: x\n" * 5 + raised("ValueError: a", "3: ")
    assert only(text).at == noon
    scanner = Scanner("f", LATEST)
    scanner.feed(b"[2026-11-28 10:00:01] step\n" + b"x\n" * 20)
    scanner.feed(b"x\n" * 500)
    scanner.feed(b"CUDA error: a\n")
    assert scanner.result().findings[0].at == noon


def test_files_without_attempts_are_placed_by_time() -> None:
    first, second = (f"fleetward: attempt {n} of job 1 on a at 2026-11-28T0{n}:00:00Z\n" for n in (1, 2))
    out = first + second
    errors = "[2026-11-28 01:30:00] CUDA error: a\n[2026-11-28 02:30:00] CUDA error: b\n"
    assert [one.text[-1] for one in found(out, errors).findings] == ["b"]
    assert [one.text[-1] for one in found(out, errors, attempt=1).findings] == ["a"]
    assert [one.attempt for one in found(out, "CUDA error: a\n").findings] == [2]
    assert [one.attempt for one in found(out, "[2026-11-27 01:30:00] CUDA error: a\n", attempt=1).findings] == [1]


def test_times_of_several_zones_compare() -> None:
    zone = timezone(timedelta(hours=1))
    local = scan("local", [b"[2026-11-28 11:00:00] CUDA error: a\n"], LATEST.astimezone(zone))
    assert local.findings[0].at == datetime(2026, 11, 28, 10, tzinfo=UTC)


def test_the_text_is_bounded_and_plain() -> None:
    finding = only("3: \x1b[1;31mCUDA error: \x1b[0m" + "x" * 5000 + "\n")
    assert finding.text == ("CUDA error: " + "x" * 5000)[: scanning.LONGEST_TEXT]
    assert only("CUDA error: \udcff\n".encode("utf-8", "surrogateescape").decode("latin-1")).kind == "cuda_error"
    assert scanned(b"CUDA error: \xff\n").findings[0].text == "CUDA error: \\xff"


def test_many_alike_are_counted() -> None:
    several = found("3: CUDA error: a\n" * 100 + "4: CUDA error: a\n")
    assert [one.rank for one in several.findings] == [3] * scanning.MOST_ALIKE + [4]
    assert several.left_out == 100 - scanning.MOST_ALIKE


def test_consequences_leave_room_for_the_cause() -> None:
    flood = "".join(f"{rank}: ncclSystemError: x\n" for rank in range(scanning.MOST + 50))
    many = found(flood + "1: CUDA error: a\n")
    assert many.findings[0].kind == "cuda_error"
    assert len(many.findings) == scanning.MOST + 1
    assert many.left_out == 50


def test_a_traceback_without_an_end_does_not_hide_what_comes_after() -> None:
    text = raised("ValueError: a", "3: ").rsplit("3: Val", 1)[0]
    lines = "4: step\n" * 100 + "4: CUDA error: a\n"
    assert kinds(text + lines) == ["traceback", "cuda_error"]
    in_one_stream = raised("x").rsplit("x", 1)[0] + "a line\n" * 1000 + "CUDA error: a\n"
    assert kinds(in_one_stream) == ["traceback", "cuda_error"]


def test_a_line_is_no_error_by_two_signs() -> None:
    assert sign_of("RuntimeError: CUDA error: out of memory") is not None
    assert kinds("RuntimeError: NCCL error in: a, ncclSystemError, unhandled system error\n") == ["nccl_error"]
