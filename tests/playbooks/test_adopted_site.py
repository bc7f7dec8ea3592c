"""What playbooks/site.yml would do to the nodes of a Slurm that others configure."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fleetward
from fleetward.slurm.adoption.adopting import adopt
from fleetward.slurm.adoption.files import inventory_files
from fleetward.slurm.adoption.folder import look, write
from fleetward.slurm.answers import Node

SITE = Path(fleetward.__file__).parent / "playbooks/site.yml"
REFUSES = "Refuse a wrong inventory before any host is touched"


def plays_that_have(host: str, folder: Path) -> set[str]:
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), SITE, "-i", folder, "--list-hosts"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=SITE.parent,
    )
    plays = re.findall(r"play #\d+ \([^)]*\): (.+?)\tTAGS.*\n(?:.*\n){2}((?:      .*\n)*)", done.stdout)
    assert len(plays) > 10, done.stdout
    return {name for name, hosts in plays if host in hosts.split()}


@pytest.mark.parametrize(
    ("exporters", "plays"),
    [
        ([], {REFUSES}),
        (
            ["gpu_exporter", "node_exporter"],
            {
                REFUSES,
                "Nodes of such a Slurm that get an exporter from here",
                "The fleetward command",
                "Metrics of hosts",
                "Metrics of GPUs",
            },
        ),
    ],
)
def test_an_adopted_node_gets_the_exporters_that_were_asked_for_and_nothing_else(
    exporters: list[str], plays: set[str], tmp_path: Path
) -> None:
    files = inventory_files(
        "theirs", adopt([Node("gpu1", "IDLE", (), (), {"h100": 8}, {}, 8, 0, 1000, 0)], []), exporters
    )
    write(tmp_path, files, look(tmp_path, tuple(files)))
    (tmp_path / "watch.yml").write_text("prometheus: {hosts: {watch: {}}}\n")
    assert plays_that_have("gpu1", tmp_path) == plays
    assert plays_that_have("watch", tmp_path) == {
        REFUSES,
        "Every host, but not the nodes of a Slurm that others configure",
        "Prometheus",
    }
