"""Reader of `sdiag`: what slurmctld says of itself. Its text is older, and stays longer as it is, than its JSON."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from fleetward.slurm.answers import Calls, Diagnostics

_MICROSECONDS = 1e6
_NUMBER = re.compile(r"(?P<name>[A-Za-z][^:]*?):\s+(?P<number>-?\d+)")
_TIMES = re.compile(r"^(?P<name>sdiag output at|Data since) .*\((?P<seconds>\d+)\)$", re.MULTILINE)
_CALLS = re.compile(
    r"\s+(?P<name>\S+)\s+\(\s*\d+\)\s+count:(?P<count>\d+)\s+ave_time:\d+\s+total_time:(?P<microseconds>\d+)"
)
_BY_TYPE, _BY_USER = "by message type", "by user"
_MAIN, _BACKFILL = "Main schedule statistics", "Backfilling stats"


def diagnostics(text: str) -> Diagnostics:
    """Read it whole; raises ValueError that says what is missing."""
    times = {match["name"]: datetime.fromtimestamp(int(match["seconds"]), UTC) for match in _TIMES.finditer(text)}
    sections = _sections(text)
    general, main, backfill = (_numbers(sections, name) for name in ("", _MAIN, _BACKFILL))
    try:
        return Diagnostics(
            at=times["sdiag output at"],
            since=times["Data since"],
            threads=general["Server thread count"],
            agent_queue=general["Agent queue size"],
            database_queue=general["DBD Agent queue size"],
            scheduler_cycle=main["Last cycle"] / _MICROSECONDS,
            scheduler_cycles=main["Total cycles"],
            backfill_cycle=backfill["Last cycle"] / _MICROSECONDS,
            backfill_cycles=backfill["Total cycles"],
            backfilled_jobs=backfill["Total backfilled jobs (since last slurm start)"],
            jobs_submitted=general["Jobs submitted"],
            jobs_started=general["Jobs started"],
            calls_by_type=_calls(sections, _BY_TYPE),
            calls_by_user=_calls(sections, _BY_USER),
        )
    except KeyError as error:
        raise ValueError(f"not what sdiag prints: it does not tell {error}") from None


def _sections(text: str) -> Mapping[str, list[str]]:
    """Return the indented lines below each heading, and those of the general part under the empty name."""
    found: dict[str, list[str]] = {"": []}
    heading = ""
    for line in text.split("\n"):
        if line.startswith(("\t", " ")):
            found.setdefault(heading, []).append(line)
        elif _NUMBER.match(line):
            found[""].append(line)
        else:
            heading = line.strip()
    return found


def _below(sections: Mapping[str, list[str]], words: str) -> list[str]:
    return next((lines for heading, lines in sections.items() if words in heading), [])


def _numbers(sections: Mapping[str, list[str]], words: str) -> Mapping[str, int]:
    lines = sections[""] if not words else _below(sections, words)
    matches = (_NUMBER.match(line.strip()) for line in lines)
    return {match["name"]: int(match["number"]) for match in matches if match}


def _calls(sections: Mapping[str, list[str]], words: str) -> tuple[Calls, ...]:
    matches = (_CALLS.fullmatch(line) for line in _below(sections, words))
    return tuple(
        Calls(match["name"], int(match["count"]), int(match["microseconds"]) / _MICROSECONDS)
        for match in matches
        if match
    )
