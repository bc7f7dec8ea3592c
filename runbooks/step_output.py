"""What a step puts out while it acts, on its way into the record."""

from collections.abc import Callable

from fleetward.model.errors import ConflictError, OutOfReachError

MAX_WAITING = 256 * 1024
"""Characters that are kept while they cannot be written; of more, the last ones."""


class StepOutput:
    """Takes a step's output as it comes; what cannot be written now is kept for `flush`."""

    def __init__(self, append: Callable[[str], None]) -> None:
        self._append = append
        self._waiting = ""

    def __call__(self, text: str) -> None:
        """Take some text; a record that is out of reach is no fault of the action that reports."""
        self._waiting = (self._waiting + text)[-MAX_WAITING:]
        try:
            self.flush()
        except (OutOfReachError, ConflictError):
            return

    def flush(self) -> None:
        """Write what is waiting."""
        if self._waiting:
            self._append(self._waiting)
            self._waiting = ""
