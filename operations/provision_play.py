"""A run of a playbook whose every event is told, and which a person may interrupt; leaves nothing behind on disk."""

import shlex
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetward.operations.playbook import ROOT, PlaybookRun, ansible_environment


@dataclass(frozen=True, slots=True)
class PlayEnd:
    """How Ansible ended."""

    status: int
    timed_out: bool = False
    interrupted: bool = False


def play(wanted: PlaybookRun, see: Callable[[Mapping[str, Any]], object]) -> PlayEnd:
    """Run it to its end; SIGINT and SIGTERM end Ansible first, and come back as `interrupted`."""
    import ansible_runner

    def on_event(event: dict[str, Any]) -> bool:
        if wanted.log and event.get("stdout"):
            with wanted.log.open("a", encoding="utf-8") as log:
                log.write(event["stdout"] + "\n")
        see(event)
        return False  # events are read here, not kept as files

    private = tempfile.mkdtemp(prefix="fleetward-run-")
    try:
        with _signals_kept():
            ended = ansible_runner.run(
                private_data_dir=private,
                playbook=str(ROOT / "playbooks" / f"{wanted.playbook}.yml"),
                inventory=str(wanted.inventory.absolute()),
                limit=wanted.limit,
                cmdline=" ".join(map(shlex.quote, _options(wanted))) or None,
                extravars=dict(wanted.variables),
                envvars={**ansible_environment(), **wanted.environment},
                event_handler=on_event,
                status_handler=_remove_environment,
                quiet=True,
                suppress_env_files=True,
                timeout=wanted.seconds,
            )
    finally:
        shutil.rmtree(private, ignore_errors=True)
    return PlayEnd(int(ended.rc), timed_out=ended.status == "timeout", interrupted=ended.status == "canceled")


def _options(wanted: PlaybookRun) -> Iterator[str]:
    if wanted.tags:
        yield f"--tags={wanted.tags}"
    if wanted.skip_tags:
        yield f"--skip-tags={wanted.skip_tags}"
    if wanted.check:
        yield "--check"


def _remove_environment(status: Mapping[str, Any], runner_config: Any) -> None:  # noqa: ANN401  ansible-runner has no types
    """Remove the file in which ansible-runner keeps the whole environment: a person may have a secret in it."""
    if status.get("status") == "running":
        Path(runner_config.artifact_dir, "command").unlink(missing_ok=True)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Give SIGINT and SIGTERM back as they were: ansible-runner sets both, and does not."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
