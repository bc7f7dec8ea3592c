#!/usr/bin/python
"""Ansible module: run one program at most once, outlive the connection, and tell later how it ended."""

from __future__ import annotations

import base64
import collections
import contextlib
import fcntl
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: fleetward_step
short_description: Runs one program at most once
description:
  - Begins a program unless one with the same marker was begun on this host, waits for it a while, and tells how it
    stands. What watches the program is a process of its own that outlives the connection.
options:
  request:
    description:
      - JSON in base64, so that nothing in it is ever taken for a template. C(marker) names the program. C(argv) is
        its list of arguments; without one the module only looks. C(seconds) is how long it may take, C(wait) how
        long the module waits for it. It is not begun where the host came up less than C(up_for) seconds ago.
        C(folder) keeps the markers.
    type: str
    required: true
author: The Fleetward authors
"""

EXAMPLES = """
- name: One program
  fleetward_step:
    request: "{{ node_step_request }}"
"""

RETURN = """
state:
  description: One of C(absent), C(running), C(ended) and C(lost), the last where its watcher died before its end.
  returned: always
  type: str
up_for:
  description: Seconds since the host came up.
  returned: always
  type: float
exit:
  description: Its exit status, or 128 + the number of the signal that ended it.
  returned: when ended
  type: int
timed_out:
  description: Whether it was ended since it took too long.
  returned: when ended
  type: bool
output:
  description: What it wrote to stdout and stderr, the middle left out where it was long; before its end, whole lines
    from the beginning.
  returned: when ended, running or lost
  type: str
cut:
  description: Bytes left out.
  returned: when ended
  type: int
"""

MARKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
HALF = 32 * 1024
"""Bytes of output that are kept of its beginning, and of its end."""
KEPT = 24 * 3600
"""Seconds for which a program that ended is remembered."""
GRACE = 3.0
"""Seconds between asking a program to end and ending it."""
SHOWN_EVERY = 0.3
"""Seconds between two looks at what a program writes."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def up_for() -> float:
    """Return the seconds since this host, or this container, came up: the age of its first process."""
    uptime = float(pathlib.Path("/proc/uptime").read_text().split()[0])
    began = pathlib.Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
    return uptime - int(began) / os.sysconf("SC_CLK_TCK")


def write(path: pathlib.Path, content: dict[str, Any]) -> None:
    """Write a file so that it is whole or not there, also after a loss of power."""
    new = path.with_suffix(".new")
    with new.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def take(folder: pathlib.Path) -> int | None:
    """Return the lock of a program as a descriptor; None where its watcher holds it."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def standing(folder: pathlib.Path) -> tuple[dict[str, Any], int | None]:
    """Return how a program stands, and its lock where nobody holds it and it has not ended."""
    end = folder / "end"
    if not folder.is_dir():
        return {"state": "absent"}, None
    lock = None if end.exists() else take(folder)
    if end.exists():  # it may have come to its end since the first look
        if lock is not None:
            os.close(lock)
        return {"state": "ended", **json.loads(end.read_text())}, None
    if lock is None:
        return {"state": "running", **so_far(folder)}, None
    return {"state": "lost", **so_far(folder)} if (folder / "begun").exists() else {"state": "absent"}, lock


def so_far(folder: pathlib.Path) -> dict[str, Any]:
    """Return what is kept of a program's output before its end."""
    try:
        return {"output": (folder / "output").read_bytes().decode("utf-8", "replace")}
    except FileNotFoundError:
        return {}


def run(request: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    """Begin the program where it is not there, and return how it stands after a wait."""
    until = time.monotonic() + request["wait"]
    while True:
        found, lock = standing(folder)
        if found["state"] == "absent" and "argv" in request and up_for() >= request["up_for"]:
            if lock is None:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                continue
            detach(lambda: watch(folder, request["argv"], request["seconds"]), lock)
            found = {"state": "running"}
        if lock is not None:
            os.close(lock)
        if found["state"] != "running" or time.monotonic() > until:
            return found
        time.sleep(0.1)


def detach(work: Callable[[], None], lock: int) -> None:
    """Do some work in a process that is nobody's child, has no terminal, and holds the lock until it ends."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(nothing, number)
            os.closerange(3, lock)
            os.closerange(lock + 1, 65536)
            work()
    finally:
        os._exit(0)


def watch(folder: pathlib.Path, argv: list[str], seconds: float) -> None:
    """Run the program to its end or for so many seconds, and write down how it ended."""
    write(folder / "begun", {"argv": argv, "watcher": os.getpid(), "at": time.time()})
    try:
        program = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**os.environ, "PATH": PATH},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        status = 127 if isinstance(error, FileNotFoundError) else 126
        write(folder / "end", {"exit": status, "timed_out": False, "output": f"{argv[0]}: {error}\n", "cut": 0})
        return
    output = Output(folder / "output")
    timed_out = not follow(program, output, time.monotonic() + seconds)
    if timed_out:
        end_all(program)
        follow(program, output, time.monotonic() + 1)
    status = program.wait()
    text, cut = output.text()
    exit_status = status if status >= 0 else 128 - status
    write(folder / "end", {"exit": exit_status, "timed_out": timed_out, "output": text, "cut": cut})


def follow(program: subprocess.Popen[bytes], output: Output, until: float) -> bool:
    """Take what the program writes until it ends; say whether it did in time.

    A service that it started may hold its output open for ever: the end of the program itself is what counts.
    """
    source = program.stdout.fileno() if program.stdout else -1
    reading, ended = source >= 0, False
    while time.monotonic() < until:
        output.show()
        if not ended and program.poll() is not None:
            ended, until = True, time.monotonic() + 1
        ready = select.select([source], [], [], 0 if ended else 0.2)[0] if reading else []
        if ready:
            chunk = os.read(source, 65536)
            output.take(chunk)
            reading = bool(chunk)
        elif ended:
            return True
        elif not reading:
            time.sleep(0.05)
    return program.poll() is not None


def end_all(program: subprocess.Popen[bytes]) -> None:
    """End the program's whole process group, kindly at first."""
    for which, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, which)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(patience)


class Output:
    """The beginning and the end of what is written, and how much there was."""

    def __init__(self, shown: pathlib.Path) -> None:
        """Show the beginning in this file while it grows."""
        self.shown = shown
        self.shown_bytes = 0
        self.show_again_at = 0.0
        self.head = b""
        self.tail: collections.deque[bytes] = collections.deque()
        self.in_tail = 0
        self.seen = 0

    def take(self, chunk: bytes) -> None:
        """Take some bytes."""
        self.seen += len(chunk)
        room = HALF - len(self.head)
        self.head += chunk[:room]
        rest = chunk[room:]
        self.tail.append(rest)
        self.in_tail += len(rest)
        while self.in_tail - len(self.tail[0]) >= HALF:
            self.in_tail -= len(self.tail.popleft())

    def show(self) -> None:
        """Write down the lines that are whole, a few times a second at most, for whoever looks before the end."""
        whole = self.head.rfind(b"\n") + 1
        if whole > self.shown_bytes and time.monotonic() >= self.show_again_at:
            with self.shown.open("ab") as file:
                file.write(self.head[self.shown_bytes : whole])
            self.shown_bytes, self.show_again_at = whole, time.monotonic() + SHOWN_EVERY

    def text(self) -> tuple[str, int]:
        """Return it with a line where the middle is left out, and how many bytes those are."""
        tail = b"".join(self.tail)[-HALF:]
        cut = self.seen - len(self.head) - len(tail)
        middle = b"\n[%d bytes left out]\n" % cut if cut else b""
        return (self.head + middle + tail).decode("utf-8", "replace"), cut


def forget_old(root: pathlib.Path) -> None:
    """Remove what ended long ago."""
    for end in root.glob("*/end"):
        with contextlib.suppress(OSError):
            if time.time() - end.stat().st_mtime > KEPT:
                for path in end.parent.iterdir():
                    path.unlink()
                end.parent.rmdir()


def main() -> None:
    """Answer Ansible."""
    module = AnsibleModule({"request": {"type": "str", "required": True}})
    request = json.loads(base64.b64decode(module.params["request"]))
    root = pathlib.Path(request["folder"])
    if not MARKER.fullmatch(request["marker"]):
        module.fail_json(msg=f"{request['marker']!r} is no marker")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    forget_old(root)
    module.exit_json(changed="argv" in request, up_for=up_for(), **run(request, root / request["marker"]))


if __name__ == "__main__":
    main()
