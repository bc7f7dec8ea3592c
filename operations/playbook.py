"""One run of one playbook through ansible-runner, as events on the way and a result at the end."""

import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fleetward

ROOT = Path(fleetward.__file__).parent


@dataclass(frozen=True)
class TaskFailure:
    """A task that failed on a host, or a host that did not answer."""

    host: str
    task: str
    message: str
    unreachable: bool = False

    def __str__(self) -> str:
        """Say where, what, and why, in one line."""
        return f"{self.host}: {self.task}: {self.message}"


@dataclass(frozen=True)
class TaskChange:
    """A task that changed something on a host, or in check mode would have."""

    host: str
    role: str
    """Empty for a task of the playbook itself."""
    task: str


@dataclass(frozen=True)
class PlaybookResult:
    """How a playbook ended: 0 is well; `changed` and `ok` count tasks per host."""

    status: int
    changed: Mapping[str, int] = field(default_factory=dict)
    ok: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[TaskFailure, ...] = ()
    changes: tuple[TaskChange, ...] = ()
    last_words: str = ""
    """The end of what Ansible printed, as it came: all there is where it ended before any task."""
    timed_out: bool = False
    """Whether Ansible was ended because it took too long."""


@dataclass(frozen=True)
class PlaybookRun:
    """What to run, where, and how."""

    inventory: Path
    playbook: str = "site"
    limit: str | None = None
    tags: str | None = None
    skip_tags: str | None = None
    check: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: int | None = None
    """After which Ansible is ended; None lets it take as long as it takes."""
    log: Path | None = None
    """Ansible's own output is appended here"""

    def checked(self) -> "PlaybookRun":
        """Return the same in check mode."""
        return replace(self, check=True)


def ansible_environment() -> dict[str, str]:
    """Return the settings that make Ansible find roles, plugins and programs of this very installation."""
    beside = str(Path(sys.executable).parent)
    return {
        "ANSIBLE_CONFIG": str(ROOT / "playbooks/ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "PATH": os.pathsep.join([beside, os.environ.get("PATH", "")]),
        "ANSIBLE_PYTHON_INTERPRETER_FALLBACK": "python3",
    }


def run_playbook(wanted: PlaybookRun, on_task: Callable[[str], None] = lambda _: None) -> PlaybookResult:
    """Run it to the end; `on_task` is told the name of each task as it begins."""
    import ansible_runner

    failures: list[TaskFailure] = []
    changes: list[TaskChange] = []
    printed: deque[str] = deque(maxlen=20)
    stats: dict[str, Any] = {}

    def on_event(event: dict[str, Any]) -> bool:
        kind, data = event["event"], event.get("event_data", {})
        printed.extend(str(event.get("stdout") or "").splitlines())
        if wanted.log and event.get("stdout"):
            with wanted.log.open("a") as log:
                log.write(event["stdout"] + "\n")
        if kind == "playbook_on_task_start":
            on_task(str(data.get("name", "")))
        elif kind == "runner_on_ok" and (data.get("res") or {}).get("changed"):
            changes.append(task_change(data))
        elif kind == "playbook_on_stats":
            stats.update(data)
        elif kind in {"runner_on_failed", "runner_on_unreachable"} and not data.get("ignore_errors"):
            failures.append(task_failure(data, unreachable=kind.endswith("unreachable")))
        return False  # events are read here, not kept as files

    private = tempfile.mkdtemp(prefix="fleetward-run-")
    try:
        words = [f"--tags={wanted.tags}"] if wanted.tags else []
        words += [f"--skip-tags={wanted.skip_tags}"] if wanted.skip_tags else []
        words += ["--check"] if wanted.check else []
        ended = ansible_runner.run(
            private_data_dir=private,
            playbook=str(ROOT / "playbooks" / f"{wanted.playbook}.yml"),
            inventory=str(wanted.inventory.absolute()),
            limit=wanted.limit,
            cmdline=" ".join(words) or None,
            extravars=dict(wanted.variables),
            envvars={**ansible_environment(), **wanted.environment},
            event_handler=on_event,
            quiet=True,
            timeout=wanted.seconds,
        )
        changed, ok = stats.get("changed", {}), stats.get("ok", {})
        return PlaybookResult(
            status=int(ended.rc),
            changed={host: changed.get(host, 0) for host in ok},
            ok=ok,
            failures=tuple(failures),
            changes=tuple(changes),
            last_words="\n".join(printed),
            timed_out=ended.status == "timeout",
        )
    finally:
        shutil.rmtree(private, ignore_errors=True)


def task_change(data: Mapping[str, Any]) -> TaskChange:
    """Return what an event of ansible-runner says of a task that changed something."""
    return TaskChange(str(data.get("host", "?")), str(data.get("role") or ""), str(data.get("task", "?")))


def task_failure(data: Mapping[str, Any], *, unreachable: bool) -> TaskFailure:
    """Return what an event of ansible-runner says of a failure: the message, or the program's own last words."""
    result = data.get("res") or {}
    words = str(result.get("msg") or "").strip()
    if words in {"", "non-zero return code"}:
        words = str(result.get("stderr") or result.get("stdout") or words).strip()
    last = " / ".join(line.strip() for line in words.splitlines()[-3:])
    return TaskFailure(
        host=str(data.get("host", "?")),
        task=str(data.get("task", "?")),
        message=last,
        unreachable=unreachable,
    )
