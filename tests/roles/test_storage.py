"""What the role storage makes of its variables: exports, units of systemd, the watch, and what it refuses."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

import fleetward

# Jinja's, of the backslashes in Ansible's conditions
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

init_plugin_loader()

ROLE = Path(fleetward.__file__).parent / "roles/storage"
HOME = {"path": "/home", "server": "nfs1", "export": "/srv/home"}


def read(file: str) -> Any:  # noqa: ANN401  a YAML file may hold anything
    return DataLoader().load_from_file(str(ROLE / file), trusted_as_template=True)


STANDING = {**read("defaults/main.yml"), **read("vars/main.yml")}
PREFLIGHT = read("tasks/preflight.yml")


def role(**given: object) -> Templar:
    host = {
        "inventory_hostname": "gpu001",
        "hostvars": {"nfs1": {"ansible_host": "10.60.0.51"}},
        "storage_clients": ["10.60.0.11", "10.60.1.1"],
    }
    return Templar(loader=DataLoader(), variables={**STANDING, **host, **given})


def value(templar: Templar, expression: str) -> Any:  # noqa: ANN401  whatever the variable is
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


def mount(**given: object) -> dict[str, Any]:
    """Return a mount with all that it leaves out."""
    (found,) = value(role(storage_mounts=[{**HOME, **given}]), "__storage_all_mounts")
    return dict(found)


def rendered(template: str, **given: object) -> str:
    return str(role(**given).template(trust_as_template((ROLE / "templates" / template).read_text())))


def refusal(templar: Templar) -> tuple[str, str] | None:
    """Return name and message of the first task of the preflight that refuses."""
    for task in PREFLIGHT:
        assertion = task["ansible.builtin.assert"]
        that = [assertion["that"]] if isinstance(assertion["that"], str) else assertion["that"]
        if not all(templar.evaluate_conditional(one) for one in that):
            return task["name"], templar.template(assertion["fail_msg"])
    return None


@pytest.mark.parametrize("path", ["/home", "/mnt/data-1", "/srv/a_b.c/d"])
def test_a_unit_is_called_as_systemd_calls_it(path: str) -> None:
    done = subprocess.run(["systemd-escape", "--path", path], capture_output=True, text=True, check=True)
    assert mount(path=path)["unit"] == done.stdout.strip()


@pytest.mark.parametrize(
    ("given", "automount", "nofail"),
    [
        ({}, True, True),
        ({"automount": False}, False, True),
        ({"needed": True}, False, False),
    ],
)
def test_no_start_waits_for_a_mount_but_for_one_that_is_needed(
    given: dict[str, bool], automount: bool, nofail: bool
) -> None:
    found = mount(**given)
    assert found["automount"] is automount
    assert ("nofail" in found["options"]) is nofail
    assert "_netdev" in found["options"]
    unit = rendered("mount.j2", item=found)
    assert ("Before=remote-fs.target" in unit) is not nofail
    installed = unit.splitlines()[-1]
    assert installed == ("WantedBy=remote-fs.target" if nofail else "RequiredBy=remote-fs.target")


@pytest.mark.parametrize(
    ("server", "what"),
    [
        ("nfs1", "10.60.0.51:/srv/home"),
        ("nas.example.org", "nas.example.org:/srv/home"),
        ("fd00::5", "[fd00::5]:/srv/home"),
    ],
)
def test_a_server_of_the_inventory_is_found_by_its_address_and_any_other_by_its_name(server: str, what: str) -> None:
    assert mount(server=server)["what"] == what


def test_systemd_starts_the_automount_in_the_place_of_its_mount() -> None:
    mounts = [HOME, {**HOME, "path": "/data", "automount": False}]
    assert value(role(storage_mounts=mounts), "__storage_started") == ["home.automount", "data.mount"]
    assert value(role(storage_mounts=mounts), "__storage_unit_files") == ["home.mount", "data.mount", "home.automount"]


def test_units_of_before_are_left_over_and_those_of_now_are_not() -> None:
    found = {
        "files": [{"path": f"/etc/systemd/system/{name}"} for name in ("home.mount", "old.automount", "old.mount")]
    }
    left = value(role(storage_mounts=[HOME], __storage_found_units=found), "__storage_left_over")
    assert left == ["old.automount", "old.mount"]


def test_what_lets_go_after_idle_time_is_not_watched() -> None:
    mounts = [HOME, {**HOME, "path": "/data", "automount": False}]
    every = value(role(storage_mounts=mounts), "__storage_watched")
    assert [one["path"] for one in every] == ["/home", "/data"]
    some = value(role(storage_mounts=mounts, storage_automount_idle_seconds=600), "__storage_watched")
    assert [one["path"] for one in some] == ["/data"]


def test_exports_name_each_client_with_the_options() -> None:
    exports = [
        {"path": "/srv/home"},
        {"path": "/srv/x", "clients": ["10.0.0.0/8"], "options": ["ro"], "mountpoint": True},
    ]
    assert rendered("fleetward.exports.j2", storage_exports=exports).splitlines()[1:] == [
        "/srv/home 10.60.0.11(rw,sync,no_subtree_check,root_squash,sec=sys)"
        " 10.60.1.1(rw,sync,no_subtree_check,root_squash,sec=sys)",
        "/srv/x 10.0.0.0/8(ro,mountpoint)",
    ]


@pytest.mark.parametrize(
    ("given", "task", "words"),
    [
        (
            {"storage_exports": [{"path": "/srv/x", "clients": ["*"]}]},
            "Exports must be ones that NFS takes",
            ["/srv/x"],
        ),
        ({"storage_exports": [{"path": "/srv/x", "clients": []}]}, "Exports must be ones that NFS takes", ["/srv/x"]),
        ({"storage_exports": [{"path": "srv"}]}, "Exports must be ones that NFS takes", ["absolute path"]),
        (
            {"storage_exports": [{"path": "/srv/x", "options": ["rw)\n/ *(rw"]}]},
            *("Exports must be ones that NFS takes", ["words of exports(5)"]),
        ),
        ({"storage_mounts": [{**HOME, "path": "/"}]}, "Mounts must be ones that NFS takes", [": /."]),
        ({"storage_mounts": [{**HOME, "path": "/a/../etc"}]}, "Mounts must be ones that NFS takes", ["/a/../etc"]),
        ({"storage_mounts": [{**HOME, "options": ["ro\nWhat=x"]}]}, "Mounts must be ones that NFS takes", ["/home"]),
        ({"storage_mounts": [HOME, HOME]}, "Mounts must be ones that NFS takes", ["a path twice"]),
        (
            {"storage_mounts": [{**HOME, "needed": True, "automount": True}]},
            *("A mount that a host needs cannot wait until somebody looks", ["Leave one of them out"]),
        ),
        ({"storage_watch_answer_seconds": 60}, "Times must be times", ["storage_watch_answer_seconds (60)"]),
    ],
)
def test_what_is_wrong_is_refused_in_words(given: dict[str, Any], task: str, words: list[str]) -> None:
    found = refusal(role(**given))
    assert found is not None
    assert found[0] == task
    for word in words:
        assert word in found[1]


def test_what_is_right_is_not_refused() -> None:
    assert refusal(role(storage_mounts=[HOME], storage_exports=[{"path": "/srv/home"}])) is None
    assert refusal(role()) is None


def test_a_mount_that_hangs_is_told_beside_those_that_do_not(tmp_path: Path) -> None:
    hanging = tmp_path / "stat"
    hanging.write_text('#!/bin/sh\ncase $2 in */hangs/.) sleep 60 ;; esac\nexec /usr/bin/stat "$@"\n')
    hanging.chmod(0o755)
    (tmp_path / "hangs").mkdir()
    (tmp_path / "empty").mkdir()
    file = tmp_path / "storage.prom"
    paths = [str(tmp_path / "hangs"), "/proc", str(tmp_path / "empty"), str(tmp_path / "nowhere")]
    subprocess.run(
        ["sh", str(ROLE / "files/storage_watch"), str(file), "1", *paths],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        timeout=20,
        check=True,
    )
    lines = file.read_text().splitlines()
    assert lines[:2] == [
        "# HELP node_mount_up Whether a declared mount is there and answers.",
        "# TYPE node_mount_up gauge",
    ]
    ups = [f'node_mount_up{{mountpoint="{path}"}} {int(path == "/proc")}' for path in paths]
    assert sorted(lines[2:]) == sorted(ups)
