"""How a family of metrics is written: Prometheus' text format, or OpenMetrics."""

from collections.abc import Iterable, Mapping

from fleetward.exporters.gpu.readings import GpuIdentity
from fleetward.exporters.gpu.series import Family

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Row = tuple[Mapping[str, str], float]
"""Labels and value."""


class Writer:
    """Writes families one after the other, in one of the two formats."""

    def __init__(self, *, openmetrics: bool) -> None:
        """Begin an empty page."""
        self.lines: list[str] = []
        self._openmetrics = openmetrics

    def head(self, family: Family) -> None:
        """Write what a family is."""
        name = family.name
        if self._openmetrics and family.counter:
            name = name.removesuffix("_total")
        kind = "counter" if family.counter else "gauge"
        self.lines.append(f"# HELP {name} {family.help}\n# TYPE {name} {kind}\n")

    def family(self, family: Family, rows: Iterable[Row]) -> None:
        """Write a family with its rows, unless there are none."""
        begin = len(self.lines)
        self.lines += [f"{family.name}{labelled(labels)} {float(value)!r}\n" for labels, value in rows]
        if len(self.lines) > begin:
            added = self.lines[begin:]
            del self.lines[begin:]
            self.head(family)
            self.lines += added

    def text(self) -> str:
        """Return the page."""
        return "".join(self.lines) + ("# EOF\n" if self._openmetrics else "")


def labels_of(identity: GpuIdentity) -> dict[str, str]:
    """Return the labels that every series of a GPU has."""
    return {"gpu": str(identity.index), "uuid": identity.uuid}


def labelled(labels: Mapping[str, str]) -> str:
    """Return labels as they stand behind a name."""
    inside = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""
