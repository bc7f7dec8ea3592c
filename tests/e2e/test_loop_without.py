"""The loop with one of its parts taken out: it does not come round, so each part is needed."""

import re
from collections.abc import Iterator

import pytest
from labs import Lab
from loops import HandDrain, put_right, wait_for
from test_loop import ALERT, PAGE, STEPS, heals_by_itself

pytestmark = [pytest.mark.lab, pytest.mark.verify]

UNIT = "fleetward.service"
RULES = "/etc/prometheus/rules"


@pytest.fixture
def whole(four_nodes: Lab) -> Iterator[Lab]:
    yield four_nodes
    put_right(four_nodes)


def edited(lab: Lab, path: str, change: str) -> None:
    """Put another text in the place of a file on the head; the old one is kept beside it."""
    lab.told("head", "sh", "-c", f"cp -a {path} {path}.kept")
    lab.told("head", "sh", "-c", f"cat > {path} <<'END-OF-FILE'\n{change}\nEND-OF-FILE")


def page_path(lab: Lab) -> str:
    return lab.told("head", "find", "/", "-xdev", "-path", f"*/runbooks/library/{PAGE}.md").strip()


def restart(lab: Lab) -> None:
    lab.told("head", "systemctl", "restart", UNIT)
    wait_for(lambda: lab.on("head", "fleetward", "autopilot", "status").returncode == 0, 30, "the daemon")


@pytest.fixture
def without_step(whole: Lab, request: pytest.FixtureRequest) -> Iterator[None]:
    path = page_path(whole)
    text = whole.told("head", "cat", path)
    cut = re.sub(rf"^```step {request.param}\n.*?^```\n", "", text, flags=re.MULTILINE | re.DOTALL)
    assert cut != text
    edited(whole, path, cut)
    restart(whole)
    yield
    whole.told("head", "mv", f"{path}.kept", path)
    restart(whole)


@pytest.fixture
def without_page(whole: Lab) -> Iterator[None]:
    path = page_path(whole)
    whole.told("head", "mv", path, f"{path}.kept")
    restart(whole)
    yield
    whole.told("head", "mv", f"{path}.kept", path)
    restart(whole)


@pytest.fixture
def without_rule(whole: Lab) -> Iterator[None]:
    path = whole.told("head", "grep", "-l", f"alert: {ALERT}", "-r", RULES).strip()
    text = whole.told("head", "cat", path)
    cut = text.replace(f"alert: {ALERT}\n", f"alert: {ALERT}Never\n").replace("expr: ", "expr: vector(0) > 1 and ", 1)
    edited(whole, path, cut)
    whole.told("head", "systemctl", "reload", "prometheus")
    yield
    whole.told("head", "mv", f"{path}.kept", path)
    whole.told("head", "systemctl", "reload", "prometheus")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("without_step", STEPS, indirect=True)
@pytest.mark.usefixtures("without_step")
def test_it_does_not_heal_without_a_step(whole: Lab, hand: HandDrain) -> None:
    with pytest.raises(AssertionError):
        heals_by_itself(whole, hand)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("without_page")
def test_it_does_not_heal_without_its_page(whole: Lab, hand: HandDrain) -> None:
    with pytest.raises(AssertionError, match=r"drained node|No runbook|runbook"):
        heals_by_itself(whole, hand)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("without_rule")
def test_without_its_rule_nobody_but_the_node_tells_of_it(whole: Lab, hand: HandDrain) -> None:
    """A node's own report opens the incident too: what is missing from the timeline is the alert of Prometheus."""
    with pytest.raises(AssertionError, match=r"Extra items in the left set:\n\s*'alertmanager'"):
        heals_by_itself(whole, hand)


@pytest.mark.timeout(900)
def test_it_heals_with_all_of_them(whole: Lab, hand: HandDrain) -> None:
    heals_by_itself(whole, hand)
