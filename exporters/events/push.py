"""Faults pushed to the daemon as they happen, until it has them on record.

Whatever the network does, or the other side, is a failure that is tried again, ever less often. Nothing is lost by it:
an event waits in the outbox until it is said to be done. Only the daemon's own word makes an event refused, not that of
a proxy before it.
"""

import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Protocol

from fleetward.exporters.daemon_link import Answer, DaemonLinkError, post, token_of
from fleetward.model.node_reports import MOST_EVENTS
from fleetward.model.node_settings import DaemonAddress

MOST_BYTES = 900_000
"""Of one post; the daemon takes 1 MiB."""
MOST_ANSWER_BYTES = 512 * 1024
"""200 keys of 128 characters, each with a sentence of 300 why it is refused, however many bytes a character has."""
POST_SECONDS = 5.0
IDLE_SECONDS = 0.5
"""How long nothing is asked where nothing waits; so late it may be seen that this is to stop."""
LEAST_REST_SECONDS = 0.2
MOST_REST_SECONDS = 30.0
TOLD_SECONDS = 300.0
"""How often at most it is told that events were refused."""
LONGEST_WHY = 300
_TOO_MUCH = frozenset({400, 413})
"""The post as a whole is refused, if only for one event in it."""


class Outbox(Protocol):
    """Events that wait to be pushed; safe to use from this thread while others put more in. Nothing here raises."""

    def wait(self, seconds: float) -> bool:
        """Wait until an event is there; False where none came in so many seconds."""
        ...

    def batch(self, most: int) -> Mapping[str, bytes]:
        """Return at most so many events, the most urgent first: by key, each as a JSON object in UTF-8."""
        ...

    def done(self, taken: Collection[str], refused: Mapping[str, str]) -> None:
        """Forget events that the daemon has, and those that it will never have, with why: neither is sent again."""
        ...


class Push:
    """Pushes what an outbox holds to the daemon."""

    def __init__(
        self,
        address: DaemonAddress,
        node: str,
        outbox: Outbox,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`tell` gets a sentence for the log; `jitter` returns 0 to 1: half of each rest is left to chance.

        So nodes that lost the daemon together do not all come back at once.
        """
        self.failures = 0
        """Posts that failed so far."""
        self._address = address
        self._node = node
        self._outbox = outbox
        self._tell = tell
        self._clock = clock
        self._jitter = jitter
        self._token = ""
        self._most = MOST_EVENTS
        self._rest_seconds = LEAST_REST_SECONDS
        self._wrong = ""
        self._untold_refusals = 0
        self._refusals_told = -TOLD_SECONDS

    def run(self, stop: threading.Event) -> None:
        """Push until told to stop; a post that is under way then is ended first, in POST_SECONDS at most.

        The resolver of names heeds no limit: no program should wait for this thread to end.
        """
        while not stop.is_set():
            if not self._outbox.wait(IDLE_SECONDS):
                continue
            batch = _fitting(self._outbox.batch(self._most), self._most)
            if not batch:
                stop.wait(IDLE_SECONDS)
                continue
            try:
                self._push(batch)
            except DaemonLinkError as error:
                self.failures += 1
                self._is_wrong(self._shown(str(error)))
                stop.wait(self._rest())

    def _push(self, batch: Mapping[str, bytes]) -> None:
        """Post a batch, or learn that it is to be smaller; DaemonLinkError where nothing came of it."""
        body = b'{"events":[%s]}' % b",".join(batch.values())
        if len(body) > MOST_BYTES:  # of one event
            self._done(set(), dict.fromkeys(batch, f"it has {len(body)} bytes, and a post {MOST_BYTES} at most"))
            return
        self._token = token_of(self._address.token_file)
        answer = post(self._address, self._token, self._node, "events", body, POST_SECONDS, MOST_ANSWER_BYTES)
        if answer.status in _TOO_MUCH and len(batch) > 1:
            self._most = len(batch) // 2
            return
        if answer.status in _TOO_MUCH and answer.error():
            taken, refused = set[str](), dict.fromkeys(batch, answer.error())
        else:
            taken, refused = _became(answer, batch)
        self._done(taken, {key: self._shown(why) for key, why in refused.items()})
        self._most = min(MOST_EVENTS, 2 * self._most)
        self._works()

    def _done(self, taken: Collection[str], refused: Mapping[str, str]) -> None:
        self._outbox.done(taken, refused)
        self._untold_refusals += len(refused)
        if refused and self._clock() - self._refusals_told >= TOLD_SECONDS:
            key, why = next(iter(refused.items()))
            self._tell(f"events that {self._address.url} will not have: {self._untold_refusals}, such as {key}: {why}")
            self._untold_refusals, self._refusals_told = 0, self._clock()

    def _is_wrong(self, why: str) -> None:
        if why != self._wrong:
            self._tell(f"events of faults are kept, since they cannot be pushed to {self._address.url}: {why}")
        self._wrong = why

    def _works(self) -> None:
        if self._wrong:
            self._tell(f"events of faults are pushed to {self._address.url} again")
        self._wrong = ""
        self._rest_seconds = LEAST_REST_SECONDS

    def _rest(self) -> float:
        """Return how many seconds to leave the daemon alone now."""
        rest = self._rest_seconds
        self._rest_seconds = min(MOST_REST_SECONDS, 2 * rest)
        return rest * (1 + self._jitter()) / 2

    def _shown(self, text: str) -> str:
        """Return text from elsewhere as one line for a log, without the token, which an answer may quote."""
        known = text.replace(self._token, "(the token)") if self._token else text
        line = "".join(sign if sign.isprintable() else " " for sign in known[: LONGEST_WHY + 1])
        return line if len(line) <= LONGEST_WHY else f"{line[: LONGEST_WHY - 1]}…"


def _fitting(batch: Mapping[str, bytes], most: int) -> dict[str, bytes]:
    """Return the first events, as many as one post may have; the very first however long it is."""
    fitting: dict[str, bytes] = {}
    left = MOST_BYTES - len(b'{"events":[]}')
    for key, event in islice(batch.items(), most):
        left -= len(event) + 1
        if left < 0 and fitting:
            break
        fitting[key] = event
    return fitting


def _became(answer: Answer, batch: Collection[str]) -> tuple[set[str], dict[str, str]]:
    """Return which events of a batch are taken, and why others are refused; DaemonLinkError where that is not said."""
    if answer.status != 200:
        raise DaemonLinkError(f"the answer is {answer.status}: {answer.error() or 'it does not say why'}")
    document = answer.document()
    taken, refused = document.get("taken"), document.get("refused")
    if not isinstance(taken, list) or not isinstance(refused, dict):
        raise DaemonLinkError("the answer is not the daemon's")
    ours = {key for key in taken if isinstance(key, str)} & set(batch)
    theirs = {
        key: why if isinstance(why, str) else "it does not say why"
        for key, why in refused.items()
        if key in batch and key not in ours
    }
    if not ours and not theirs:
        raise DaemonLinkError("the answer names none of the events that were sent")
    return ours, theirs
