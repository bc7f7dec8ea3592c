"""What `fleetward provision` shows while it works, on stderr: a live table on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fleetward.lab.progress import PlainProgress
from fleetward.operations.playbook import TaskFailure
from fleetward.operations.provision_progress import HostProgress, HostState, PlayProgress
from fleetward.operations.provision_run import Told
from fleetward.printable import length, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_STYLES = {
    HostState.FAILED: "red",
    HostState.UNREACHABLE: "magenta",
    HostState.WORKING: "",
    HostState.WAITING: "dim",
    HostState.DONE: "green",
}
_LINES_BESIDE_HOSTS = 5
"""Two of the heading, the table's own heading, one for those that are left out, and the one that the cursor is on."""


@contextlib.contextmanager
def watched(progress: PlayProgress, title: str) -> Iterator[Told]:
    """Show a run while the block is under way, in the way that fits where stdout and stderr go."""
    if sys.stdout.isatty() and sys.stderr.isatty():
        from rich.console import Console

        with live(progress, title, Console(stderr=True)) as told:
            yield told
        return
    with PlainProgress().step(title) as detail:
        yield Told(lambda task: detail(printable(task)), lambda failure: detail(_failed(failure)))


@contextlib.contextmanager
def live(progress: PlayProgress, title: str, console: "Console") -> Iterator[Told]:
    """Draw hosts by tasks four times a second, failures above them as they come, and leave one line."""
    from rich.live import Live
    from rich.text import Text

    def drawn() -> "RenderableType":
        return picture(progress.hosts(), progress.task, time.time() - progress.began, console.height)

    def failure(failed: TaskFailure) -> None:
        console.print(Text(f"✗ {_failed(failed)}", style="red"))

    try:
        with Live(get_renderable=drawn, console=console, refresh_per_second=4, transient=True):
            yield Told(failure=failure)
    finally:
        counts = Counter(host.state for host in progress.hosts())
        is_well = not (counts[HostState.FAILED] or counts[HostState.UNREACHABLE]) and counts[HostState.DONE]
        mark = Text("✓ ", style="green") if is_well else Text("✗ ", style="red")
        console.print(mark + Text(f"{title}  ") + _states(counts) + Text(f"  {_time(time.time() - progress.began)}"))


def picture(hosts: Sequence[HostProgress], task: str, seconds: float, lines: int) -> "RenderableType":
    """Return the hosts with what each is at; where there are more than fit, the states and those to look at first."""
    from rich.console import Group
    from rich.text import Text

    shown = looked_at_first(hosts, max(1, lines - _LINES_BESIDE_HOSTS))
    left_out = len(hosts) - len(shown)
    parts: list[RenderableType] = [
        Text(f"{_time(seconds)}  {printable(task) or 'Ansible is starting'}", no_wrap=True, overflow="ellipsis"),
        Text(f"{len(hosts)} hosts: ") + _states(Counter(host.state for host in hosts)),
    ]
    if shown:
        parts.append(_table(shown))
    if left_out:
        parts.append(Text(f"and {left_out} others", style="dim"))
    return Group(*parts)


def looked_at_first(hosts: Sequence[HostProgress], room: int) -> Sequence[HostProgress]:
    """Return all hosts where there is room; else those that fail, then those that are at their task for longest."""
    if len(hosts) <= room:
        return hosts
    order = list(HostState)

    def rank(host: HostProgress) -> tuple[int, float, float]:
        is_failing = host.failed or host.state in {HostState.FAILED, HostState.UNREACHABLE}
        return 0 if is_failing else 1 + order.index(host.state), -host.task_seconds, -host.worked_seconds

    return sorted(hosts, key=rank)[:room]


def _table(hosts: Sequence[HostProgress]) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    for name in ("HOST", "STATE", "ROLE"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    table.add_column("TASK", ratio=1, no_wrap=True, overflow="ellipsis")
    for name in ("OK", "CHANGED", "FAILED", "TIME"):
        table.add_column(name, justify="right", no_wrap=True)
    for host in hosts:
        task = host.said if host.said and host.state is not HostState.WORKING else host.task
        table.add_row(
            printable(host.name),
            Text(str(host.state), style=_STYLES[host.state]),
            Text(printable(host.role) or "-"),
            Text(printable(task) or "-"),
            str(host.ok),
            str(host.changed),
            Text(str(host.failed), style="red" if host.failed else ""),
            _time(host.worked_seconds),
        )
    return table


def _states(counts: Counter[HostState]) -> "Text":
    from rich.text import Text

    found = [Text(f"{counts[state]} {state}", style=_STYLES[state]) for state in HostState if counts[state]]
    return Text(", ").join(found)


def _failed(failure: TaskFailure) -> str:
    return f"{'does not answer' if failure.unreachable else 'failed'}: {printable(str(failure))}"


def _time(seconds: float) -> str:
    return length(int(max(0.0, seconds)))
