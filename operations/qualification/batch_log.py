"""What a burn-in job's log says of each of its workloads: what it printed, how it ended, what a node lacked for it."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a workload, as its log tells of it."""

    workload: str
    output: str = ""
    exit_code: int | None = None
    """None where the log ends before the workload did."""
    seconds: int | None = None
    missing: tuple[str, ...] = ()
    """What kept it from running: `gpu001 lacks nvbandwidth`."""


def read_log(text: str, token: str) -> dict[str, Run]:
    """Return by workload what a log tells; of one that was begun twice, the last run.

    `token` is that of the job's Batch. Lines that look like ours and cannot be read belong to the output around them.
    """
    mark = re.compile(
        rf"^fleetward-{re.escape(token)} (?:begin (?P<begin>[a-z0-9_]{{1,64}})"
        r"|end (?P<end>[a-z0-9_]{1,64}) (?P<code>\d{1,3}) (?P<seconds>\d{1,9})"
        r"|missing (?P<lacking>[a-z0-9_]{1,64}) (?P<node>[\w.-]{1,255}) (?P<program>\S{1,255}))\r?$",
        re.MULTILINE,
    )
    runs: dict[str, Run] = {}
    lacking: dict[str, list[str]] = {}
    begun: tuple[str, int] | None = None
    for found in mark.finditer(text):
        if found["lacking"]:
            lacking.setdefault(found["lacking"], []).append(f"{found['node']} lacks {found['program']}")
            continue
        if begun is not None:
            id, at = begun
            whole = found["end"] == id
            output = text[at : found.start()]
            code, seconds = (int(found["code"]), int(found["seconds"])) if whole else (None, None)
            runs[id] = Run(id, _without_ours(output) if whole else output, code, seconds)
        begun = (found["begin"], min(found.end() + 1, len(text))) if found["begin"] else None
    if begun is not None:
        id, at = begun
        runs[id] = Run(id, text[at:])
    for id, words in lacking.items():
        runs[id] = Run(id, missing=tuple(words))
    return runs


def _without_ours(output: str) -> str:
    """Return an output without the end of line that the script puts before its own line."""
    return output.removesuffix("\n")
