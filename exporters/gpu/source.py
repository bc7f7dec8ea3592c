"""What a process that looks at GPUs needs of whoever tells of them: NVML, or DCGM's host engine."""

from collections import Counter
from typing import Protocol

from fleetward.exporters.gpu.readings import CallError, Census, GpuReading


class GpuSource(Protocol):
    """Tells of the GPUs of this node; it may hang, and its process is then killed."""

    errors: Counter[CallError]

    def census(self) -> Census:
        """Ask how many GPUs there are, and which driver; nothing is raised where none answers."""
        ...

    def look(self, index: int) -> GpuReading:
        """Look at one GPU; one that does not answer has no values, and nothing is raised for it."""
        ...


class OpenSource(Protocol):
    """Makes a source in the process that uses it."""

    def __call__(self) -> GpuSource:
        """Open it; raises OutOfReachError where it does not answer."""
        ...
