"""A real lab for the end-to-end tests, brought up once and taken down whatever happens."""

import os
from collections.abc import Iterator

import pytest
from labs import Lab, brought_up


@pytest.fixture(scope="session")
def lab(suite: str) -> Iterator[Lab]:
    with brought_up(f"e2e-{suite}-{os.getpid()}", suite, "--no-job") as running:
        yield running
