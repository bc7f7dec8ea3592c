"""Alertmanager's webhook: who may post, and what a post says.

Format: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config, data of version 4. Its texts are
untrusted: they are cleaned of what no database or terminal takes, and nothing here acts on them.
"""

import hmac
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from fleetward.model.errors import UsageError
from fleetward.model.incidents import Alert, AlertStatus

MOST_BYTES = 1024 * 1024
"""Length of a post; Alertmanager's `max_alerts` bounds what it sends."""
MOST_LABELS = 128
MOST_CHARACTERS = 8192
"""Of one label or annotation; what is longer is cut."""


def is_authorized(header: str, token: str) -> bool:
    """Say whether an Authorization header carries this token; an empty token lets nobody in."""
    scheme, _, given = header.partition(" ")
    is_equal = hmac.compare_digest(given.strip().encode(), token.encode())
    return scheme.lower() == "bearer" and token != "" and is_equal


def clean(text: str) -> str:
    """Return text as PostgreSQL keeps it: no NUL, of bounded length."""
    return text[:MOST_CHARACTERS].replace("\x00", "\N{REPLACEMENT CHARACTER}")


Text = Annotated[str, AfterValidator(clean)]
Texts = Annotated[dict[Text, Text], Field(max_length=MOST_LABELS)]


class _Posted(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class PostedAlert(_Posted):
    """One alert of a post."""

    status: Literal["firing", "resolved"]
    labels: Texts
    annotations: Texts = {}
    startsAt: AwareDatetime
    endsAt: AwareDatetime | None = None
    fingerprint: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")]


class Post(_Posted):
    """One post."""

    version: Literal["4"]
    alerts: Annotated[tuple[PostedAlert, ...], Field(max_length=10_000)]
    truncatedAlerts: Annotated[int, Field(ge=0)] = 0


def read_post(body: bytes) -> tuple[Alert, ...]:
    """Return the alerts of a post; UsageError where it is not what Alertmanager sends."""
    try:
        post = Post.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the post"
        raise UsageError(f"this is no post of Alertmanager's (version 4): {place}: {clean(first['msg'])}") from None
    return tuple(_alert(posted) for posted in post.alerts)


def _alert(posted: PostedAlert) -> Alert:
    status = AlertStatus(posted.status)
    return Alert(
        fingerprint=posted.fingerprint,
        status=status,
        labels=posted.labels,
        annotations=posted.annotations,
        starts_at=posted.startsAt,
        ends_at=posted.endsAt if status is AlertStatus.RESOLVED else None,
    )
