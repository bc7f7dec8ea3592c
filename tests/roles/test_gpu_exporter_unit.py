"""The unit of the GPU exporter: its command line is one that the command takes."""

import re
import shlex
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

import fleetward
from fleetward.commands.exporter import exporter

ROLE = Path(fleetward.__file__).parent / "roles/gpu_exporter"
UNIT = "fleetward-gpu-exporter.service.j2"


def read(path: Path) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return yaml.safe_load(path.read_text())


def command_line(**given: object) -> list[str]:
    """Return what follows `fleetward exporter`, with the settings of the role's own file in their places."""
    facts = {"ansible_host": "10.0.0.7", "inventory_hostname": "gpu001", "group_names": []}
    names = {**facts, **read(ROLE / "defaults/main.yml"), **read(ROLE / "vars/main.yml"), **given}
    native = NativeEnvironment(undefined=jinja2.StrictUndefined)
    for _ in range(2):  # one variable stands in another
        names = {
            name: native.from_string(value.strip()).render(names) if isinstance(value, str) and "{{" in value else value
            for name, value in names.items()
        }
    task = next(one for one in read(ROLE / "tasks/configure.yml") if one["name"] == "Write the exporter's options")
    plain = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701  a unit, not HTML
    options = plain.from_string(task["ansible.builtin.copy"]["content"]).render(names)
    environment = dict(line.split("=", 1) for line in options.splitlines() if not line.startswith("#"))
    unit = plain.from_string((ROLE / "templates" / UNIT).read_text()).render(names, ansible_managed="managed")
    started = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    state = re.search(r"^StateDirectory=(.*)$", unit, re.MULTILINE)
    assert started is not None and state is not None
    environment["STATE_DIRECTORY"] = f"/var/lib/{state[1]}"  # as systemd sets it
    words = [re.sub(r"\$\{(\w+)\}", lambda name: environment[name[1]], word) for word in shlex.split(started[1])]
    return words[words.index("exporter") + 1 :]


def taken(**given: object) -> dict[str, Any]:
    """Return what the command makes of its command line; it refuses what it does not know."""
    name, *words = command_line(**given)
    command = exporter.commands[name]
    return dict(command.make_context(name, words).params)


def test_nvml_tells_of_the_gpus_unless_it_is_said_otherwise() -> None:
    assert taken()["backend"] == "nvml"
    assert not {"--backend", "--dcgm-address"} & set(command_line())


@pytest.mark.parametrize("address", ["127.0.0.1:5555", "/run/dcgm.sock"])
def test_dcgm_tells_of_them_at_the_address_that_is_given(address: str) -> None:
    found = taken(gpu_exporter_backend="dcgm", gpu_exporter_dcgm_address=address)
    assert (found["backend"], found["dcgm_address"]) == ("dcgm", address)


def test_without_an_address_it_is_the_one_that_the_command_has() -> None:
    said = taken(gpu_exporter_backend="dcgm")["dcgm_address"]
    usual = next(one for one in exporter.commands["gpu"].params if one.name == "dcgm_address")
    assert said == usual.default


def test_the_other_options_come_along() -> None:
    found = taken(gpu_exporter_backend="dcgm", gpu_exporter_dcgm_names=True, gpu_exporter_web_config={"a": 1})
    assert found["dcgm_names"] is True
    assert str(found["web_config"]) == "/etc/fleetward/gpu-exporter-web.json"
    assert found["interval"] == 1
