"""What PostgreSQL can keep of text that nobody vouches for, and the JSON made of it."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb

_UNFIT = re.compile("[\0\ud800-\udfff]")
"""PostgreSQL's text knows neither NUL nor half of a surrogate pair; JSON can spell both."""
LONGEST_KEY = 300
"""Characters of what is indexed: an index refuses entries over some 2,700 bytes."""


def text(value: str) -> str:
    """Return the text with a replacement character for each that cannot be kept."""
    return _UNFIT.sub("\ufffd", value)


def key(value: str) -> str:
    """Return text short enough to be indexed; a longer one keeps its beginning and is told apart by its digest."""
    fit = text(value)
    if len(fit) <= LONGEST_KEY:
        return fit
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{fit[: LONGEST_KEY - len(digest) - 1]}~{digest}"


def json(value: Mapping[str, object] | Sequence[object]) -> Jsonb:
    """Return a JSON-ready map or list as a parameter; TypeError where it is not JSON-ready."""
    return Jsonb(_fit(value))


def _fit(value: object) -> object:
    match value:
        case str():
            return text(value)
        case float() if not math.isfinite(value):
            return str(value)  # JSON has no word for it
        case Mapping():
            return {text(str(name)): _fit(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_fit(inner) for inner in value]
        case _:
            return value
