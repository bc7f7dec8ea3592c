"""A runbook page as HTML, with an alert's values in it.

A page is written by the site, a value by whoever named the alerting thing: HTML in a page is shown as text, and a
value is escaped wherever it stands. Nothing is loaded from elsewhere and nothing runs.
"""

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt

from fleetward.model.incidents import Incident
from fleetward.runbooks.page import Page

TEMPLATES = Path(__file__).parent / "templates"
MOST_VALUES = 32
MOST_CHARACTERS = 256

_PLACEHOLDER = re.compile(r"\{\{\s*([a-z][a-z0-9_]*)\s*\}\}")
_ABOVE = re.compile(r"\A---\n.*?\n---\n\s*(?:# [^\n]*\n)?", re.DOTALL)
"""Front matter and the page's own headline: both are shown above it."""
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


def page_html(page: Page, labels: Mapping[str, str]) -> str:
    """Return the page as HTML, with the labels of an alert in the place of its parameters."""
    shown = {name: value[:MOST_CHARACTERS] for name, value in list(labels.items())[:MOST_VALUES]}
    values = {
        name: shown[label]
        for name, param in page.params.items()
        if (label := param.source.removeprefix("labels.") or name) in shown
    }
    body = _markdown.render(_ABOVE.sub("", page.text, count=1))
    missing = sorted(page.params.keys() - values.keys())
    return (
        _templates()
        .get_template("page.html")
        .render(page=page, body=_filled(body, values), values=shown, missing=missing, style=_style())
    )


def error_html(title: str, sentence: str) -> str:
    """Return a page that says what is wrong."""
    return _templates().get_template("error.html").render(title=title, sentence=sentence, style=_style())


def page_url(base: str, page: str, incident: Incident) -> str:
    """Return the address of a page with an incident's labels in it."""
    named = {"node": incident.node, "gpu": incident.gpu, **incident.labels}
    query = urlencode({name: value for name, value in sorted(named.items()) if value})
    return f"{base.rstrip('/')}/runbooks/{page}" + (f"?{query}" if query else "")


@cache
def security_policy() -> str:
    """Return the Content-Security-Policy: our one style sheet, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _filled(body: str, values: Mapping[str, str]) -> str:
    """Return HTML with escaped values where placeholders stood; those without a value stay as they are."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return f"<mark>{html.escape(values[name])}</mark>" if name in values else match[0]

    return _PLACEHOLDER.sub(value, body)


@cache
def _style() -> str:
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(default=True), undefined=StrictUndefined
    )
