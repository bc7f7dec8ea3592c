"""What is given out and to whom, and mounts that are watched and keep no host from starting.

The kernel that these containers share knows neither NFS nor autofs: what is given out is asked of exportfs and not
mounted, and what mounts is played, by played_mount.sh.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

On = Callable[[str], Host]
Address = Callable[[str], str]
ROOT = Path(__file__).parents[3]
STATE = Path(os.environ.get("FLEETWARD_LAB_STATE", "~/.local/state/fleetward/lab/molecule")).expanduser()
METRICS = "/var/lib/prometheus/node-exporter/fleetward_storage.prom"
DATA = "'mnt-data\\x2d1.mount'"


def provision(host: str, *arguments: str, **given: object) -> subprocess.CompletedProcess[str]:
    """Run the role once more on one host, with other variables."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "playbooks/ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_LOOKUP_PLUGINS": str(ROOT / "playbooks/lookup_plugins"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [
            *(str(Path(sys.executable).with_name("ansible-playbook")), f"--inventory={STATE}/inventory"),
            *(f"--limit={host}", str(ROOT / "molecule/storage/converge.yml"), *arguments),
            f"--extra-vars={json.dumps(given)}",
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def shown(host: Host, unit: str, *properties: str) -> dict[str, str]:
    """Return what systemd says of a unit."""
    said = host.check_output(f"systemctl show --property={','.join(properties)} {unit}")
    return dict(line.split("=", 1) for line in said.splitlines())


def watched(host: Host) -> dict[str, int]:
    """Look at the mounts now, and return what was seen."""
    host.check_output("systemctl start fleetward-storage-watch.service")
    lines = host.file(METRICS).content_string.splitlines()
    series = [line.split() for line in lines if not line.startswith("#")]
    return {name.split('"')[1]: int(up) for name, up in series}


@pytest.fixture
def hanging(on: On) -> Iterator[subprocess.CompletedProcess[str]]:
    """Have the node mount from a server that does not answer; return what the role said of it."""
    mounts = [{"path": "/mnt/hangs", "server": "head", "export": "/hangs", "automount": False}]
    yield provision("gpu001", storage_mounts=mounts, storage_mount_timeout_seconds=5)
    done = provision("gpu001")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_fleet_may_mount_what_is_given_out_and_nobody_else(on: On, address: Address) -> None:
    table = on("head").file("/var/lib/nfs/etab").content_string.splitlines()
    given = {tuple(line.split("(")[0].split("\t")): line for line in table}
    assert set(given) == {
        ("/srv/data", address("head")),
        ("/srv/data", address("gpu001")),
        ("/srv/scratch", "10.213.0.0/16"),
    }
    assert ",mountpoint," in given["/srv/scratch", "10.213.0.0/16"]
    line = given["/srv/data", address("gpu001")]
    assert "(rw,sync," in line
    assert ",root_squash," in line


def test_the_server_speaks_nfs_4_alone_and_comes_back_with_the_host(on: On) -> None:
    head = on("head")
    assert head.check_output("nfsconf --get nfsd vers3") == "n"
    assert head.check_output("nfsconf --get nfsd threads") == "32"
    assert head.service("nfs-server").is_enabled


def test_systemd_takes_the_units_without_a_word(on: On) -> None:
    units = f"{DATA} needed.mount software.mount software.automount fleetward-storage-watch.timer"
    done = on("gpu001").run(f"cd /etc/systemd/system && systemd-analyze verify {units}")
    assert done.rc == 0, done.stderr
    assert done.stderr == ""


def test_a_mount_is_what_was_declared(on: On, address: Address) -> None:
    said = shown(on("gpu001"), DATA, "What", "Type", "ActiveState", "TimeoutUSec")
    assert said["ActiveState"] == "active"
    assert said["TimeoutUSec"] == "1min"
    unit = on("gpu001").file("/etc/systemd/system/mnt-data\\x2d1.mount").content_string
    assert f"What={address('head')}:/srv/data\n" in unit
    assert "Options=vers=4.2,hard,timeo=600,retrans=2,nodev,nosuid,noatime,_netdev,nofail\n" in unit


def test_no_start_waits_for_a_mount_but_for_one_that_is_needed(on: On) -> None:
    host = on("gpu001")
    # One that was never mounted: what is played is a local file system once it is there.
    before = shown(host, "software.mount", "Before")["Before"].split()
    assert not {"remote-fs.target", "local-fs.target"} & set(before)
    assert "remote-fs.target" in shown(host, "needed.mount", "Before")["Before"].split()
    assert "needed.mount" in shown(host, "remote-fs.target", "Requires")["Requires"].split()
    assert host.service("software.automount").is_enabled
    assert not host.service("software.mount").is_enabled, "it is mounted when somebody looks"


def test_a_server_that_is_away_keeps_no_host_from_starting(on: On, hanging: subprocess.CompletedProcess[str]) -> None:
    assert hanging.returncode == 2, hanging.stdout + hanging.stderr
    assert "mnt-hangs.mount" in hanging.stdout + hanging.stderr
    host = on("gpu001")
    host.check_output("systemctl stop remote-fs.target mnt-hangs.mount")
    begun = time.monotonic()
    host.check_output("systemctl start remote-fs.target")
    assert time.monotonic() - begun < 4
    assert shown(host, "mnt-hangs.mount", "ActiveState") == {"ActiveState": "activating"}
    assert host.check_output("systemctl is-active remote-fs.target") == "active"


def test_what_is_declared_no_more_is_taken_away(on: On) -> None:
    host = on("gpu001")
    kept = [{"path": "/needed", "server": "head", "export": "/srv/needed", "needed": True}]
    try:
        done = provision("gpu001", storage_mounts=kept)
        assert done.returncode == 0, done.stdout + done.stderr
        assert host.check_output("findmnt --noheadings --output TARGET --types tmpfs --source played") == "/needed"
        units = host.check_output("find /etc/systemd/system -type f -name '*mount'").split()
        assert units == ["/etc/systemd/system/needed.mount"]
        assert watched(host) == {"/needed": 1}
    finally:
        done = provision("gpu001")
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_mount_is_watched_and_what_is_not_there_is_told(on: On) -> None:
    host = on("gpu001")
    assert watched(host) == {"/mnt/data-1": 1, "/needed": 1, "/software": 0}
    host.check_output("umount /mnt/data-1")
    try:
        assert watched(host) == {"/mnt/data-1": 0, "/needed": 1, "/software": 0}
    finally:
        host.check_output(f"systemctl start {DATA}")
    assert host.service("fleetward-storage-watch.timer").is_running
    assert host.service("fleetward-storage-watch.timer").is_enabled
