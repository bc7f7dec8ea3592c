"""A cluster without one of the roles: what it lacks is said in the words of that role."""

import os

import pytest
from checks import CHECKS, missing
from labs import brought_up, fleetward

pytestmark = [pytest.mark.lab, pytest.mark.verify]


@pytest.mark.parametrize("role", sorted({check.role for check in CHECKS}))
@pytest.mark.timeout(900)
def test_without_the_role_what_it_provides_is_named(role: str, suite: str) -> None:
    with brought_up(f"no-{role.replace('_', '-')}-{os.getpid()}", suite, "--no-provision") as lab:
        fleetward("provision", "--inventory", lab.inventory(), "--skip-tags", role)  # may fail: others lean on it
        # what leans on the role is missing too, and takes its time to say so: only the role's own part is asked for
        own = [check for check in CHECKS if check.role == role]
        assert missing(lab, own) == [f"role {role} provides {check.provides}: not there" for check in own]
