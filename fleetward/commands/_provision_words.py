"""Records of runs as people read them, and as JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetward.commands._daemon import moment
from fleetward.commands._table import table
from fleetward.printable import length, printable

if TYPE_CHECKING:
    from fleetward.operations.provision_records import RunRecord

_MOST_FAILURES = 50


def history(records: "Sequence[RunRecord]") -> str:
    """Return a table with a line for each run."""
    asked = ("RUN", "STATE", "BEGAN", "TOOK", "BY", "LIMIT", "TAGS", "CHECK", "REVISION")
    return table((*asked, "HOSTS", "CHANGED", "FAILED"), [_row(record) for record in records])


def _row(record: "RunRecord") -> tuple[str, ...]:
    return (
        record.name,
        str(record.state),
        moment(record.began),
        _took(record),
        record.by,
        record.limit or "",
        _tags(record),
        "yes" if record.check else "",
        str(record.revision or ""),
        str(len(record.hosts)),
        str(record.changed_hosts),
        str(record.failed_hosts),
    )


def whole(record: "RunRecord") -> str:
    """Return everything of one run: what it was, its hosts, and what failed."""
    facts = {
        "state": str(record.state),
        "began": moment(record.began),
        "took": _took(record),
        "by": f"{record.by} on {record.machine}",
        "inventory": record.inventory,
        "revision": _revision(record),
        "limit": record.limit or "",
        "tags": _tags(record),
        "mode": "check: nothing was changed" if record.check else "",
    }
    lines = [f"{record.name}", *(f"  {name:<9}  {printable(value)}" for name, value in facts.items() if value)]
    if record.hosts:
        rows = [
            (name, str(host.state), str(host.ok), str(host.changed), str(host.failed), length(int(host.seconds)))
            for name, host in sorted(record.hosts.items())
        ]
        lines += ["", table(("HOST", "STATE", "OK", "CHANGED", "FAILED", "TIME"), rows)]
    lines += ["", "Failures:"] if record.failures else []
    lines += [f"  {printable(str(failure))}" for failure in record.failures[:_MOST_FAILURES]]
    if len(record.failures) > _MOST_FAILURES:
        lines.append(f"  and {len(record.failures) - _MOST_FAILURES} more; --json has all")
    if record.last_words and not record.failures:
        lines += ["", "Ansible's last words:", *(f"  {printable(line)}" for line in record.last_words.splitlines())]
    return "\n".join(lines)


def _revision(record: "RunRecord") -> str:
    if record.revision is None:
        return "none: git does not know this inventory"
    return record.revision.commit + (", with changes that are in no commit" if record.revision.is_changed else "")


def _took(record: "RunRecord") -> str:
    return "" if record.ended is None else length(int((record.ended - record.began).total_seconds()))


def _tags(record: "RunRecord") -> str:
    left_out = f"not {record.skip_tags}" if record.skip_tags else ""
    return ", ".join(filter(None, (record.tags, left_out)))
