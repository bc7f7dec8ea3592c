"""What nodes may post, read: bounded, and cleaned of what no database takes.

Nobody vouches for any of it. Fields that this release does not know are left out, so that nodes may be upgraded first.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fleetward.model.errors import UsageError
from fleetward.model.gpu_faults import Action, FaultKind, Scope, Severity
from fleetward.model.node_reports import LONGEST_LINE, MOST_EVENTS, FaultEvent, HealthReport, ReportedFinding
from fleetward.operations.qualification.fingerprint import Fingerprint, FingerprintError, read_fingerprint
from fleetward.store import words

MOST_BYTES = 1024 * 1024
MOST_FINGERPRINT_BYTES = 128 * 1024
"""Some ten times what a node with 16 GPUs tells; the record keeps it as it stands."""
MOST_FINDINGS = 1000
MOST_EVIDENCE = 32
LONGEST_ERROR = 300


def _fit(value: object) -> object:
    return words.text(value) if isinstance(value, str) else value


Short = Annotated[str, Field(max_length=128), BeforeValidator(_fit)]
Text = Annotated[str, Field(max_length=LONGEST_LINE), BeforeValidator(_fit)]
Key = Annotated[str, Field(pattern=r"^[0-9A-Za-z.:_-]{1,128}$"), BeforeValidator(_fit)]
CheckId = Annotated[str, Field(pattern=r"^[0-9A-Za-z_]{1,64}$"), BeforeValidator(_fit)]
Time = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False, strict=True)]


class _Posted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


Shape = TypeVar("Shape", bound=_Posted)


class PostedEvent(_Posted):
    """A FaultEvent."""

    key: Key
    at: Time
    kind: FaultKind
    code: Annotated[int, Field(ge=1, le=99_999, strict=True)]
    gpu: Annotated[int, Field(ge=0, le=999, strict=True)] | None
    uuid: Short
    address: Short
    severity: Severity
    action: Action
    blame: Scope
    meaning: Text
    source: Short
    parent: Key | Literal[""] = ""
    line: Text = ""


class PostedEvents(_Posted):
    """A post of events; each is looked at by itself."""

    events: Annotated[list[Any], Field(max_length=MOST_EVENTS)]


class PostedFinding(_Posted):
    """A ReportedFinding."""

    check: CheckId
    status: Literal["unhealthy", "degraded", "unknown"]
    why: Text
    entity: Short = ""
    severity: Short = ""
    action: Short = ""
    problem: Literal["node_problem", "user_problem"] = "node_problem"
    evidence: Annotated[dict[Short, Text | int | float], Field(max_length=MOST_EVIDENCE)] = {}


class PostedHealth(_Posted):
    """A HealthReport."""

    context: Literal["periodic", "prolog", "epilog", "hand"]
    at: Time
    findings: Annotated[tuple[PostedFinding, ...], Field(max_length=MOST_FINDINGS)]
    passed: Annotated[tuple[CheckId, ...], Field(max_length=MOST_FINDINGS)]
    job: Short = ""


def read_events(body: bytes) -> tuple[tuple[FaultEvent, ...], Mapping[str, str]]:
    """Return the events of a post, each key once, and by key why others are refused.

    UsageError where the post is none, or one of its events cannot even be named.
    """
    found: dict[str, FaultEvent] = {}
    refused: dict[str, str] = {}
    for index, raw in enumerate(_shaped(PostedEvents, _tree(body)).events):
        try:
            event = PostedEvent.model_validate(raw)
        except ValidationError as error:
            key = raw.get("key") if isinstance(raw, dict) else None
            if not _is_key(key):
                raise UsageError(f"events.{index}.{_first(error)}") from None
            refused[str(key)] = _first(error)
            continue
        found.setdefault(event.key, FaultEvent(**event.model_dump()))
    return tuple(found.values()), {key: why for key, why in refused.items() if key not in found}


def read_health(body: bytes) -> HealthReport:
    """Return the report of a post; UsageError where it is none."""
    posted = _shaped(PostedHealth, _tree(body))
    findings = tuple(ReportedFinding(**one.model_dump()) for one in posted.findings)
    return HealthReport(posted.context, posted.at, findings, posted.passed, posted.job)


def read_parts(body: bytes) -> tuple[str, Fingerprint]:
    """Return the fingerprint of a post, and its text as it is kept; UsageError where it is none."""
    try:
        text = body.decode("utf-8")
        return text, read_fingerprint(text)
    except (UnicodeDecodeError, RecursionError) as error:
        said = "is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else "is nested too deeply"
        raise UsageError(f"the fingerprint {said}") from None
    except FingerprintError as error:
        raise UsageError(words.text(str(error))[:LONGEST_ERROR]) from None


def _tree(body: bytes) -> object:
    """Return what a body says as JSON.

    Python's own reader takes half of a surrogate pair, which a kernel line may have in it: pydantic's would give up the
    whole post for that one line.
    """
    try:
        tree: object = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        said = " ".join(str(error).split()) if isinstance(error, ValueError) else "nested too deeply"
        raise UsageError(words.text(f"the post is no JSON: {said}")[:LONGEST_ERROR]) from None
    return tree


def _shaped(shape: type[Shape], tree: object) -> Shape:
    try:
        return shape.model_validate(tree)
    except ValidationError as error:
        raise UsageError(_first(error)) from None


def _is_key(value: object) -> bool:
    fits = isinstance(value, str) and 0 < len(value) <= 128 and value.isascii()
    return fits and all(sign.isalnum() or sign in ".:_-" for sign in str(value))


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"])) or "the post"
    return words.text(f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}")[:LONGEST_ERROR]
