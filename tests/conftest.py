"""What several rooms' tests share: the suite under test, and its node image."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite", default="trixie", choices=("trixie", "forky"), help="suite of the containers")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about another suite than the chosen one."""
    suite = config.getoption("--suite")
    others = [item for item in items if any(mark.args != (suite,) for mark in item.iter_markers("suite"))]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--suite"))


@pytest.fixture(scope="session")
def node_image(suite: str) -> str:
    """Return the tag of the suite's node image, built where it is not there."""
    from fleetward.lab import image, lifecycle
    from fleetward.lab.spec import LabSpec

    engine, spec = lifecycle.open_engine(), LabSpec(suite=suite)
    if not image.is_cached(engine, spec):
        image.build(engine, spec)
    return spec.image
