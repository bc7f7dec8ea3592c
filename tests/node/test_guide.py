"""The guide to a node's health, held against what it tells of."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

import fleetward
from fleetward.model.node_reports import MOST_EVENTS
from fleetward.model.node_settings import DaemonAddress, GpuNumbers, LocalDrain, NodeSettings
from fleetward.server.node_tokens import LEAST_KEY_CHARACTERS
from fleetward.slurm.configuration_defaults import MOST_CHECKED_AT_ONCE
from fleetward.store.events import MOST_AN_HOUR, MOST_KEPT

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/node-health.md").read_text()


def keys() -> set[str]:
    """Return every key of node.toml, those of a section behind its name."""
    sections = {"daemon": DaemonAddress, "local_drain": LocalDrain}
    top = {one.name for one in fields(NodeSettings)} - sections.keys()
    return top | {f"{section}.{one.name}" for section, kind in sections.items() for one in fields(kind)}


def test_every_key_of_the_settings_has_a_row_and_there_are_no_others() -> None:
    rows = re.findall(r"^\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \|", GUIDE, re.MULTILINE)
    assert {key for row in rows for key in re.findall(r"`([a-z_.]+)`", row)} == keys()
    assert all(f"`{word}`" in GUIDE for word in GpuNumbers)


@pytest.mark.parametrize(
    "words",
    [
        f"no more than {MOST_AN_HOUR:,} events of a node within an hour",
        f"the newest {MOST_KEPT:,} of each node",
        f"A post has {MOST_EVENTS} events at most",
        f"of {LEAST_KEY_CHARACTERS} characters at least",
        f"Above {MOST_CHECKED_AT_ONCE:,} nodes",
    ],
)
def test_its_numbers_are_those_that_hold(words: str) -> None:
    assert words in " ".join(GUIDE.split())


@pytest.mark.parametrize("context", ["periodic", "prolog", "epilog"])
def test_the_times_of_its_runs_are_those_of_the_script(context: str) -> None:
    row = re.search(rf"^\| {context} \|.*\| (\d+) s \|", GUIDE, re.MULTILINE)
    script = (Path(fleetward.__file__).parent / "slurm/health/check.sh").read_text()
    assert row is not None
    usual = re.findall(r"\busual=(\d+)", script)
    assert row[1] == dict(zip(("prolog", "epilog", "periodic"), usual, strict=True))[context]


def test_the_role_has_the_variables_that_it_names() -> None:
    defaults = (Path(fleetward.__file__).parent / "roles/node_health/defaults/main.yml").read_text()
    named = set(re.findall(r"\bnode_health_(?:host|limits|fault|checks|kernel|slurm|daemon|local)\w*", GUIDE))
    assert len(named) >= 9
    assert {name for name in named if f"\n{name}:" not in defaults} == set()
