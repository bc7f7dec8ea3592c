"""What talks to the outside while the screen is drawn: a thread that takes pictures, and one for each wish.

Threads of their own, and daemonic: Textual's workers would hold the end of the program up until the last answer came.
"""

import threading
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.message import Message

from fleetward.model.errors import FleetwardError
from fleetward.tui.picture import Picture, take
from fleetward.tui.source import Source


class Arrived(Message):
    """A new picture."""

    def __init__(self, picture: Picture) -> None:
        super().__init__()
        self.picture = picture


class Answered(Message):
    """What became of one wish; `tell` is called in the thread that draws."""

    def __init__(self, tell: Callable[[Any], None], answer: object) -> None:
        super().__init__()
        self.tell, self.answer = tell, answer


class Broken(Message):
    """A thread met an error that nobody foresaw: the screen must not go on as if it were still renewed."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Background:
    """Opens the source in its own thread, then takes picture after picture and posts each to the app."""

    def __init__(
        self, app: App[None], open_source: Callable[[], Source], now: Callable[[], float], every: float
    ) -> None:
        self._app, self._open, self._now, self._every = app, open_source, now, every
        self._source: Source | None = None
        self._wanted, self._ended = threading.Event(), threading.Event()
        self._opening = threading.Lock()

    def start(self) -> None:
        """Begin."""
        self._begin(self._take_pictures)

    def hurry(self) -> None:
        """Take the next picture now."""
        self._wanted.set()

    def stop(self) -> None:
        """Take no more pictures, and close the source as soon as it rests."""
        self._ended.set()
        self._wanted.set()

    def ask(self, wish: Callable[[Source], Any], tell: Callable[[Any], None]) -> None:
        """Carry out a wish in a thread; `tell` gets its answer, or the FleetwardError it ended with."""

        def carry_out() -> None:
            try:
                answer: object = wish(self._get())
            except FleetwardError as error:
                answer = error
            self._post(Answered(tell, answer))

        self._begin(carry_out)

    def _begin(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Exception as error:
                self._post(Broken(error))
                raise

        threading.Thread(target=guarded, daemon=True).start()

    def _get(self) -> Source:
        with self._opening:
            if self._source is None:
                self._source = self._open()
            return self._source

    def _take_pictures(self) -> None:
        picture = Picture()
        while not self._ended.is_set():
            self._wanted.clear()
            try:
                picture = take(self._get(), picture, self._now)
            except FleetwardError as error:  # the source could not even be opened, as with settings that are wrong
                picture = Picture(problems=(str(error),))
            self._post(Arrived(picture))
            self._wanted.wait(self._every)
        if self._source is not None:
            self._source.close()

    def _post(self, message: Message) -> None:
        if self._app.is_running:
            self._app.post_message(message)
