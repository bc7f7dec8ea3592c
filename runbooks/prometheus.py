"""Questions to Prometheus, and the writing of values into them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from fleetward.model.errors import FleetwardError, OutOfReachError, UsageError

MOST_BYTES = 8 * 1024 * 1024
"""Length of an answer that is still read; a step's question has a handful of samples."""

_NOT_WELL = frozenset({502, 503, 504})
_TO_ESCAPE = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class PrometheusOutOfReachError(OutOfReachError):
    """Prometheus did not answer, or not in time."""


class PrometheusRefusedError(FleetwardError):
    """Prometheus answered that it cannot evaluate the expression."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of an answer; `at` is when Prometheus evaluated it."""

    labels: Mapping[str, str]
    value: float
    at: datetime


class Prometheus(Protocol):
    """Something that evaluates PromQL at this moment."""

    def query(self, expression: str) -> tuple[Sample, ...]:
        """Return the samples of a vector; a scalar other than 0 is one sample without labels, 0 is none.

        PrometheusOutOfReachError where there is no answer, PrometheusRefusedError where the expression is wrong.
        """


class HttpPrometheus:
    """Prometheus' HTTP API, version 1."""

    def __init__(self, url: str, seconds: float = 5) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{url!r} is not the address of a Prometheus; it looks like http://head:9090")
        self._shown = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._url = url.rstrip("/") + "/api/v1/query"
        self._seconds = seconds

    def query(self, expression: str) -> tuple[Sample, ...]:
        """Ask for an expression at this moment."""
        try:
            status, body = self._post({"query": expression, "timeout": f"{self._seconds:g}s"})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise PrometheusOutOfReachError(f"Prometheus at {self._shown} does not answer: {why}") from error
        return self._read(expression, status, body)

    def _post(self, form: dict[str, str]) -> tuple[int, bytes]:
        # A proxy that the environment names is none of the cluster's.
        with (
            httpx.Client(timeout=self._seconds, trust_env=False) as client,
            client.stream("POST", self._url, data=form) as answer,
        ):
            body = b""
            for part in answer.iter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise PrometheusRefusedError(f"the answer is longer than {MOST_BYTES} bytes; ask for less")
            return answer.status_code, body

    def _read(self, expression: str, status: int, body: bytes) -> tuple[Sample, ...]:
        if status in _NOT_WELL:
            raise PrometheusOutOfReachError(f"Prometheus at {self._shown} is not well: HTTP status {status}")
        try:
            answer = httpx.Response(status, content=body).json()
            if answer["status"] == "success":
                return samples(answer["data"])
            why = f"{answer['error']}"
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise PrometheusOutOfReachError(
                f"what answers at {self._shown} is no Prometheus (HTTP status {status}): {body[:80]!r}"
            ) from error
        raise PrometheusRefusedError(f"Prometheus cannot evaluate `{expression}`: {why}")


def samples(data: Mapping[str, Any]) -> tuple[Sample, ...]:
    """Read `data` of an answer, a vector or a scalar; ValueError where it is neither."""
    if data["resultType"] == "vector":
        return tuple(_sample(entry["metric"], entry["value"]) for entry in data["result"])
    if data["resultType"] == "scalar":
        only = _sample({}, data["result"])
        return (only,) if only.value and not math.isnan(only.value) else ()
    raise ValueError(f"neither a vector nor a scalar: {data['resultType']!r}")


def _sample(labels: Mapping[str, object], value: Sequence[Any]) -> Sample:
    at, number = value
    named = {str(name): str(text) for name, text in labels.items()}
    return Sample(named, float(number), datetime.fromtimestamp(float(at), UTC))


class RecordedPrometheus:
    """Answers each expression with what was recorded for it, one after the other; the last of them stays.

    An answer that is an error is raised. An expression that was not recorded is a PrometheusRefusedError.
    """

    def __init__(self, answers: Mapping[str, list[tuple[Sample, ...] | FleetwardError]]) -> None:
        self._answers = {expression: list(given) for expression, given in answers.items()}

    def query(self, expression: str) -> tuple[Sample, ...]:
        """Play the next answer."""
        given = self._answers.get(expression)
        if not given:
            raise PrometheusRefusedError(f"no answer was recorded to `{expression}`")
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, FleetwardError):
            raise answer
        return answer


def quoted(value: str) -> str:
    """Return a string of PromQL that has this value; what cannot be printed is written as its code."""
    return '"' + "".join(_TO_ESCAPE.get(sign, sign) if _plain(sign) else _code(sign) for sign in value) + '"'


def _plain(sign: str) -> bool:
    return sign.isprintable() or sign in _TO_ESCAPE


def _code(sign: str) -> str:
    number = ord(sign)
    if 0xD800 <= number < 0xE000:  # half of a character: PromQL knows no such string
        number = 0xFFFD
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
