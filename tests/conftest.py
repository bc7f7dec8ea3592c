"""Options that several rooms' tests share."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite", default="trixie", choices=("trixie", "forky"), help="suite of the lab under test")
