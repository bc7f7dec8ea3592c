"""A page as HTML: readable, with the alert's values in it, and nothing of anybody's running in the browser."""

from html.parser import HTMLParser

import pytest
from whole_daemon import NOON, PAGE, Daemon

from fleetward.model.incidents import Incident, IncidentState, Severity
from fleetward.runbooks.page import parse
from fleetward.server.pages import page_html, page_url

ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; drop table",
    "</mark><b>",
    "{{ page.text }}",
    "[x](javascript:1)",
)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def made(**labels: str) -> str:
    return page_html(parse(PAGE % {"mode": "propose"}, "test"), labels)


def test_values_stand_where_the_page_names_them() -> None:
    text = made(node="gpu002")
    assert "<mark>gpu002</mark> is broken" in text
    assert "slurm.drain: &quot;<mark>gpu002</mark>&quot;" in text
    assert "Not filled in" not in text


def test_without_a_value_the_placeholder_stays_and_is_told() -> None:
    assert "{{ node }} is broken" in made()
    assert "Not filled in: node" in made()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_value_is_text_wherever_it_stands(attack: str) -> None:
    harmless = Tags(made(node="gpu002", rack="r1")).names
    assert Tags(made(node=attack, rack=attack)).names == harmless
    assert Tags(made(**{"node": "gpu002", attack: "r1"})).names == harmless


def test_html_in_a_page_is_shown_and_not_run() -> None:
    text = made(node="gpu002")
    assert "script" not in Tags(text).names
    assert "&lt;script&gt;" in text


def test_the_headline_is_there_once() -> None:
    assert Tags(made()).names.count("h1") == 1


def test_an_address_carries_the_labels_whatever_is_in_them() -> None:
    incident = Incident(
        1, "A", Severity.INFO, IncidentState.OPEN, "", "gpu002", "", {"job": "a&b=c d", "node": "gpu002"}, NOON
    )
    assert page_url("http://head:9720/", "a", incident) == "http://head:9720/runbooks/a?job=a%26b%3Dc+d&node=gpu002"


def test_it_is_served_with_a_policy_that_lets_nothing_run(at_rest: Daemon) -> None:
    answer = at_rest.public.get("/runbooks/test-node-broken?node=gpu002")
    assert answer.status_code == 200
    assert "<mark>gpu002</mark>" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("page", ["nothing", "..%2f..%2fetc", "%3Cscript%3E"])
def test_a_page_that_is_not_there_is_told_harmlessly(at_rest: Daemon, page: str) -> None:
    answer = at_rest.public.get(f"/runbooks/{page}")
    assert answer.status_code == 404
    assert "<script>" not in answer.text


@pytest.mark.parametrize(
    "page",
    ["gpu-off-bus", "gpu-xid-fatal", "gpu-count-wrong", "node-down", "watchdog", "target-missing", "exporter-down"],
)
def test_every_shipped_page_can_be_shown(at_rest: Daemon, page: str) -> None:
    text = at_rest.public.get(f"/runbooks/{page}?node=gpu002&gpu=3").text
    assert {"h1", "h2", "p"} <= set(Tags(text).names)
