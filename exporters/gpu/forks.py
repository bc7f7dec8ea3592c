"""A small process that does nothing but fork others, end them, and say when one has ended.

It is made before anything else: without threads and without a driver, so that what it forks begins in a known state
within a millisecond and shares its memory. It never waits for a process: one that hangs in the driver, and cannot even
be killed, holds nobody up.
"""

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

_START, _KILL, _ENDED = b"S", b"K", b"E"
LANE_NAME = "gpu-lane-"
"""What the kernel calls a lane's process, with its number: so it is told from others, and by people too."""
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_LIBC = ctypes.CDLL(None)
_MESSAGE_BYTES = 8
_KEPT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""They are for the parent, which ends this process by closing its socket."""


class ForksGoneError(Exception):
    """The process that forks is gone, and every process that it forked."""


class Forks:
    """Starts and ends processes by a number of one's own, the lane; at most one process a lane is alive."""

    def __init__(self, work: Callable[[int], None]) -> None:
        """Fork the process that forks; `work(lane)` is what each of its children does.

        RuntimeError where this process has threads already: a fork would copy their locks as they stand.
        """
        if threading.active_count() > 1:
            raise RuntimeError("processes are forked before the first thread is started")
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gc.collect()
        _LIBC.malloc_trim(0)  # what importing has freed: 0.8 MB that each process would show
        gc.freeze()  # what is shared stays shared: no collector, here or in a child, writes to it
        self.process = os.fork()
        if self.process == 0:
            try:
                here.close()
                _Forker(there, work).run()
            finally:  # it must not go on as a second parent
                os._exit(0)
        there.close()
        self._socket = here

    def start(self, lane: int) -> None:
        """Start the lane's process; nothing happens where it is alive."""
        self._tell(_START, lane)

    def kill(self, lane: int) -> None:
        """Kill the lane's process; `ended` tells when it is gone."""
        self._tell(_KILL, lane)

    def ended(self) -> list[int]:
        """Return the lanes whose process has ended since the last call; ForksGoneError where nothing forks any more."""
        lanes: list[int] = []
        while select.select([self._socket], [], [], 0)[0]:
            message = self._socket.recv(_MESSAGE_BYTES)
            if not message:
                raise ForksGoneError("the process that forks the others was killed")
            lanes.append(message[1])
        return lanes

    def close(self) -> None:
        """Kill every process, and the one that forks them."""
        self._socket.close()
        os.waitpid(self.process, 0)

    def _tell(self, word: bytes, lane: int) -> None:
        with contextlib.suppress(BrokenPipeError, OSError):
            self._socket.send(word + bytes([lane]))


class _Forker:
    """The process that forks."""

    def __init__(self, parent: socket.socket, work: Callable[[int], None]) -> None:
        self._parent = parent
        self._work = work
        self._lanes: dict[int, int] = {}
        """Lane by process."""

    def run(self) -> None:
        """Do what the parent says until it is gone."""
        for number in _KEPT_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        while True:
            ready = select.select([self._parent.fileno(), woken], [], [])[0]
            if woken in ready:
                os.read(woken, 4096)
                self._reap()
            if self._parent.fileno() in ready and not self._obey():
                break
        for process in self._lanes:
            os.kill(process, signal.SIGKILL)

    def _obey(self) -> bool:
        message = self._parent.recv(_MESSAGE_BYTES)
        if not message:
            return False
        word, lane = message[:1], message[1]
        if word == _START and lane not in self._lanes.values():
            self._fork(lane)
        elif word == _KILL:
            for process in [process for process, its in self._lanes.items() if its == lane]:
                os.kill(process, signal.SIGKILL)
        return True

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                process, _ = os.waitpid(-1, os.WNOHANG)
                if process == 0:
                    return
                lane = self._lanes.pop(process)
                with contextlib.suppress(BrokenPipeError):
                    self._parent.send(_ENDED + bytes([lane]))

    def _fork(self, lane: int) -> None:
        me = os.getpid()
        process = os.fork()
        if process:
            self._lanes[process] = lane
            return
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_KEPT_SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            die_with_parent(me)
            _LIBC.prctl(_PR_SET_NAME, f"{LANE_NAME}{lane}".encode(), 0, 0, 0)
            self._parent.close()
            self._work(lane)
            status = 0
        finally:  # nothing may come back into the loop of the process that forks
            if status:
                sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
            os._exit(status)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent is gone."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it went before the line above
        os._exit(0)


def _nothing(_signal: int, _frame: FrameType | None) -> None:
    """Only wake the loop up."""
