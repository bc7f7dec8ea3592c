"""`fleetward check` as it is typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetward.node.check_list import CHECKS


def check(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it on a node that is a folder, where no library of NVIDIA's is found."""
    (folder / "libnvidia-ml.so.1").write_text("no library")
    return subprocess.run(
        [sys.executable, "-m", "fleetward", "check", *options],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """Make a node whose only file is the log of its kernel."""
    (tmp_path / "node/dev").mkdir(parents=True)
    (tmp_path / "node/dev/kmsg").write_text("6,1,1,-;Linux version 6.1\n")
    return tmp_path / "node"


def test_where_nothing_is_wrong_it_ends_with_0(tmp_path: Path, node: Path) -> None:
    done = check(tmp_path, "--root", str(node), "--only", "xid_gpu", "--only", "sxid")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 unhealthy, 0 degraded, 0 unknown, 2 healthy\n", "")


def test_findings_end_with_5_and_stand_with_glyph_word_and_action(tmp_path: Path, node: Path) -> None:
    (node / "dev/kmsg").write_text("NVRM: Xid (PCI:0000:1b:00): 79, pid=1, name=\x1b[31m, GPU has fallen off\n")
    done = check(tmp_path, "--root", str(node), "--only", "xid_off_bus")
    assert done.returncode == 5
    line = done.stdout.splitlines()[1]
    assert line.startswith("✗ unhealthy  xid_off_bus  0000:1b:00")
    assert "XID 79" in line
    assert "\x1b" not in done.stdout


def test_json_has_the_evidence(tmp_path: Path, node: Path) -> None:
    (node / "dev/kmsg").write_text("NVRM: Xid (PCI:0000:1b:00): 79, pid=1, GPU has fallen off the bus.\n")
    done = check(tmp_path, "--root", str(node), "--only", "xid_off_bus", "--json")
    document = json.loads(done.stdout)
    assert document["counts"] == {"unhealthy": 1, "degraded": 0, "unknown": 0, "healthy": 0}
    (found,) = document["findings"]
    assert (found["check"], found["entity"], found["severity"]) == ("xid_off_bus", "0000:1b:00", "fatal")
    assert found["evidence"]["line"].startswith("NVRM: Xid")


def test_a_node_of_which_nothing_can_be_read_ends_with_3_and_says_each_reason_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = check(tmp_path, "--root", str(tmp_path / "empty"))
    assert done.returncode == 3
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("0 unhealthy, 0 degraded, ")
    assert lines[-1].endswith(" 0 healthy")
    assert sum("/dev/kmsg" in line for line in lines) == 1
    assert len(lines) < 40


@pytest.mark.parametrize(
    "options",
    [
        ("--only", "nonsense"),
        ("--context", "noon"),
        ("--profile", "/none.toml"),
        ("--root", "/none"),
        ("--settings", "/none.toml"),
        ("--catalogue", "/none.toml"),
        ("--within", "0"),
        ("--report",),
        ("--report", "--context", "hand"),
        ("--report", "--context", "prolog", "--only", "nonsense"),
    ],
)
def test_wrong_options_are_usage_errors(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = check(tmp_path, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_the_list_has_every_check_with_what_it_reads_and_what_to_do(tmp_path: Path) -> None:
    lines = check(tmp_path, "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [one.id for one in CHECKS]
    listed = json.loads(check(tmp_path, "--list", "--json").stdout)["checks"]
    by_id = {one["id"]: one for one in listed}
    assert by_id["gpu_ecc_corrected"]["limits"] == {"errors": 2e7}
    assert by_id["gpu_ecc_corrected"]["reads"] == "NVML"
    assert all(one["source"] and one["action"] and one["meaning"].endswith(".") for one in listed)


def test_the_sites_word_on_faults_holds_in_every_check(tmp_path: Path, node: Path) -> None:
    (node / "dev/kmsg").write_text("NVRM: Xid (PCI:0000:1b:00): 79, pid=1, GPU has fallen off the bus.\n" * 5)
    (tmp_path / "first.toml").write_text("[[xid]]\ncode = 79\nfatal = false\n")
    (tmp_path / "second.toml").write_text('[[xid]]\ncode = 79\nseverity = "info"\n')
    options = ["--root", str(node), "--only", "xid_off_bus", "--only", "xid_fatal_repeated"]
    assert check(tmp_path, *options).stdout.splitlines()[-1].startswith("2 unhealthy")
    options += ["--catalogue", str(tmp_path / "first.toml")]
    assert check(tmp_path, *options).stdout.splitlines()[-1].startswith("0 unhealthy, 1 degraded")
    options += ["--catalogue", str(tmp_path / "second.toml")]
    assert check(tmp_path, *options).returncode == 0


def test_a_corrupt_catalogue_ends_a_run_by_hand_also_where_no_fault_asks_for_it(tmp_path: Path, node: Path) -> None:
    (tmp_path / "site.toml").write_text("[[xid]]\ncode = 79\n")
    done = check(tmp_path, "--root", str(node), "--only", "raid", "--catalogue", str(tmp_path / "site.toml"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "site.toml: xid 79: changes nothing" in done.stderr


def test_the_settings_say_what_is_left_out_and_where_the_kernels_log_is(tmp_path: Path, node: Path) -> None:
    (node / "var").mkdir()
    (node / "var/kmsg").write_text("NVRM: Xid (PCI:0000:1b:00): 79, pid=1, GPU has fallen off the bus.\n")
    settings = tmp_path / "node.toml"
    settings.write_text('kernel_log = "/var/kmsg"\nchecks_left_out = ["raid", "xid_fatal_repeated"]\n')
    done = check(tmp_path, "--root", str(node), "--settings", str(settings), "--json")
    told = {one["check"]: one["status"] for one in json.loads(done.stdout)["findings"]}
    assert told["xid_off_bus"] == "unhealthy"
    assert told.keys() == {one.id for one in CHECKS if "hand" in one.contexts} - {"raid", "xid_fatal_repeated"}
    named = check(tmp_path, "--root", str(node), "--settings", str(settings), "--only", "raid", "--json")
    assert len(json.loads(named.stdout)["findings"]) == 1, "what is named is run all the same"


def imported(*modules: str) -> set[str]:
    program = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


NODE = "fleetward.node"
BY_HAND = ("fleetward.commands.check", f"{NODE}.run_checks", f"{NODE}.site", f"{NODE}.deadline")


def test_it_imports_what_a_gpu_node_has_and_no_more() -> None:
    loaded = imported(*BY_HAND, f"{NODE}.report_run")
    others = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert {name for name in others if not name.startswith(("_", "sitecustomize"))} == {"click", "fleetward", "pynvml"}


def test_what_is_slow_to_import_waits_until_a_run_reports() -> None:
    assert not imported(*BY_HAND) & {"http.client", "email", "ssl", "asyncio", "concurrent.futures", f"{NODE}.daemon"}
