"""Golden files, renewed by `pytest tests/golden --renew-golden`; read the diff before it is committed."""

from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-golden", action="store_true", help="write the golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the golden file of a name, or write that file with --renew-golden."""
    renew = request.config.getoption("--renew-golden", default=False)

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if renew:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        assert text == file.read_bytes().decode()

    return compare
