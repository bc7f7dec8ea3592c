"""What actions say, made fit for the record: PostgreSQL keeps neither NUL nor half a character."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from fleetward.model.errors import ConflictError, OutOfReachError

MAX_OUTPUT = 256 * 1024
"""Characters of one act's output that are kept."""

_CUT = "\n[the rest was cut off]\n"

Kept = TypeVar("Kept")


def storable(value: Kept) -> Kept:
    """Return a value of texts, numbers, lists and mappings with every text in it fit to be kept."""
    return _fit(value)  # type: ignore[return-value]


def _fit(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_fit(str(key)): _fit(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_fit(one) for one in value]
    return value


class StepOutput:
    """Takes a step's output as it comes; what cannot be written now is kept for `flush`."""

    def __init__(self, append: Callable[[str], None]) -> None:
        self._append = append
        self._waiting = ""
        self._room = MAX_OUTPUT

    def __call__(self, text: str) -> None:
        """Take some text; never raises for a journal that is out of reach, since that is no fault of the action."""
        if self._room <= 0:
            return
        fit = storable(text)
        self._waiting += fit[: self._room] + (_CUT if len(fit) > self._room else "")
        self._room -= len(fit)
        try:
            self.flush()
        except (OutOfReachError, ConflictError):
            return

    def flush(self) -> None:
        """Write what is waiting."""
        if self._waiting:
            self._append(self._waiting)
            self._waiting = ""
