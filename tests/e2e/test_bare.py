"""A lab from an image without packages: the roles install all, as on a freshly installed machine."""

import os

import pytest
from checks import missing
from labs import brought_up

pytestmark = [pytest.mark.lab, pytest.mark.verify]


@pytest.mark.timeout(1500)
def test_the_roles_make_a_cluster_of_bare_hosts(suite: str) -> None:
    with brought_up(f"bare-{suite}-{os.getpid()}", suite, "--bare") as lab:
        assert lab.up["job"]["state"] == "COMPLETED"
        assert missing(lab) == []
