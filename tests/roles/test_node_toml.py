"""What the role node_health writes about a node is what the node's programs read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import yaml

import fleetward
from fleetward.model.node_settings import GpuNumbers, NodeSettings, read_node_settings

ROLE = Path(fleetward.__file__).parent / "roles/node_health"
URL = "https://head:9720"


def written(folder: Path, **given: object) -> NodeSettings:
    """Return the settings as the programs read them, of a node that reports to URL unless another is given."""
    names: dict[str, Any] = {
        **yaml.safe_load((ROLE / "vars/main.yml").read_text()),
        **yaml.safe_load((ROLE / "defaults/main.yml").read_text()),
        **{"inventory_hostname": "gpu001", "ansible_managed": "managed", "node_health_kernel_log": "/dev/kmsg"},
        **{"node_health_daemon_url": URL, **given},
    }
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)  # noqa: S701  TOML, not HTML
    environment.filters["to_json"] = json.dumps
    file = folder / "node.toml"
    file.write_text(environment.from_string((ROLE / "templates/node.toml.j2").read_text()).render(names))
    return read_node_settings(file)


def test_what_is_not_given_is_as_the_programs_have_it(tmp_path: Path) -> None:
    found, usual = written(tmp_path), NodeSettings()
    assert found.node == "gpu001"
    assert (found.kernel_log, found.slurm_gpu_numbers) == (usual.kernel_log, usual.slurm_gpu_numbers)
    assert replace(found.local_drain, checks=()) == usual.local_drain
    assert found.local_drain.checks
    assert (found.daemon.url, found.daemon.ca_file) == (URL, None)


def test_what_is_given_is_read(tmp_path: Path) -> None:
    found = written(tmp_path, node_health_slurm_gpu_numbers="index", node_health_daemon_ca_file="/etc/ssl/site.pem")
    assert found.slurm_gpu_numbers is GpuNumbers.INDEX
    assert found.daemon.ca_file == Path("/etc/ssl/site.pem")
    assert found.daemon.token_file is not None


def test_without_a_daemon_the_node_has_none_to_report_to(tmp_path: Path) -> None:
    assert written(tmp_path, node_health_daemon_url="").daemon == NodeSettings().daemon


def test_the_numbers_of_gpus_that_the_role_takes_are_those_that_there_are() -> None:
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert set(options["node_health_slurm_gpu_numbers"]["choices"]) == set(GpuNumbers)
