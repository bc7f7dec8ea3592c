"""The command as it is typed: its help, its exit codes, and what it imports."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fleetward.group import cli
from fleetward.nouns import NOUNS, help_page

FLEETWARD = str(Path(sys.executable).with_name("fleetward"))


def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FLEETWARD, *words], capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",)])
def test_help_lists_every_noun(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout, done.stderr) == (0, help_page(), "")


@pytest.mark.parametrize("noun", sorted(NOUNS))
def test_every_noun_is_a_command_that_explains_itself(noun: str) -> None:
    command = cli.get_command(click.Context(cli), noun)
    assert command is not None
    assert command.help


def test_the_table_and_the_files_name_the_same_nouns() -> None:
    files = {path.stem for path in (Path(cli.callback.__code__.co_filename).parent / "commands").glob("[a-z]*.py")}
    assert {name.replace("_", "-") for name in files} == set(NOUNS)


def test_help_imports_nothing_that_is_slow() -> None:
    program = "import sys; from fleetward.main import main; main(); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    imported = set(done.stderr.split())
    assert "fleetward.nouns" in imported
    assert not imported & {
        "click",
        "pydantic",
        "yaml",
        "ClusterShell",
        "textual",
        "prometheus_client",
        "rich",
        "ansible",
    }


def test_a_wrong_noun_is_a_usage_error() -> None:
    done = run("nonsense")
    assert done.returncode == 2
    assert "No such command 'nonsense'" in done.stderr


def test_a_users_own_modules_change_nothing(tmp_path: Path) -> None:
    for name in ("slurm", "tui", "lab", "model", "operations", "exporters"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the user module was imported')\n")
    done = run("lab", "--help", cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    with_inventory = run("inventory", "check", cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert "user module" not in with_inventory.stderr + with_inventory.stdout
