"""Placeholders are filled with values, and values never become anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.errors import UsageError
from fleetward.runbooks.prometheus import quoted
from fleetward.runbooks.template import fill, placeholders

PROMQL = "prometheus.expect"


def test_texts_at_any_depth_are_filled_and_numbers_left() -> None:
    given = {"": ["ping", "-c", "{{node}}"], "expect": {"contains": "{{ node }} is {{ gpu }}", "exit": 0}}
    assert fill(given, "node.run", {"node": "a1", "gpu": "3"}) == {
        "": ["ping", "-c", "a1"],
        "expect": {"contains": "a1 is 3", "exit": 0},
    }


@given(st.text())
def test_a_value_stays_one_argument_and_is_not_filled_again(value: str) -> None:
    assert fill({"": ["echo", "{{ x }}"]}, "node.run", {"x": value}) == {"": ["echo", value]}


@given(st.text())
def test_a_value_in_an_expression_is_one_quoted_string(value: str) -> None:
    filled = fill({"": 'up{a=$x, b="$x", c=`$x`}', "for": "30s"}, PROMQL, {"x": value})
    assert filled == {"": f'up{{a={quoted(value)}, b="$x", c=`$x`}}', "for": "30s"}


def test_a_regular_expression_keeps_its_dollar() -> None:
    expression = "up{a=~'x$', b=~\"y$\"} == 1"
    assert fill({"": expression}, PROMQL, {}) == {"": expression}


def test_a_placeholder_without_a_value_is_refused() -> None:
    with pytest.raises(UsageError, match="host has no value"):
        fill({"": "{{ host }}"}, "slurm.drain", {"node": "a"})
    with pytest.raises(UsageError, match="host has no value"):
        fill({"": "up{a=$host}"}, PROMQL, {"node": "a"})


def test_placeholders_are_named_by_their_key() -> None:
    given = {"": "{{ node }}", "why": "GPU {{ gpu }} of {{ node }}"}
    assert set(placeholders(given, "slurm.drain")) == {("", "node"), ("why", "gpu"), ("why", "node")}
    assert set(placeholders({"": 'up{a=$node, b="$no"}'}, PROMQL)) == {("", "node")}
