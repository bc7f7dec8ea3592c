"""A role's README is made from the role, and one that is not up to date is found."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "role_readme.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "roles" / "common", tmp_path / "common")
    return tmp_path


def test_every_readme_is_what_the_role_says() -> None:
    done = run("--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("meta/argument_specs.yml", "type: bool", "type: str"),
        ("defaults/main.yml", "Etc/UTC", "Asia/Taipei"),
        ("meta/main.yml", "trixie", "sid"),
        ("tasks/main.yml", "common_run", "common_go"),
        ("README.md", "# common", "# Common"),
    ],
)
def test_a_change_that_the_readme_does_not_tell_is_found(roles: Path, file: str, old: str, new: str) -> None:
    changed = roles / "common" / file
    text = changed.read_text()
    assert old in text
    changed.write_text(text.replace(old, new))
    done = run("--check", f"--roles={roles}")
    assert done.returncode == 1
    assert "common/README.md: not up to date: run tools/role_readme.py" in done.stderr
    assert run(f"--roles={roles}").returncode == 0
    assert run("--check", f"--roles={roles}").returncode == 0


def test_variables_are_listed_with_those_inside_them_and_cells_stay_whole(roles: Path) -> None:
    (roles / "common/defaults/main.yml").write_text('common_users: "{{ a | b }}"\n')
    assert run(f"--roles={roles}").returncode == 0
    readme = (roles / "common/README.md").read_text()
    assert "| `common_users` | list of dict | `{{ a \\| b }}` | Users that every host has. |" in readme
    assert "| `common_users[].name` | str | required | The user's name. |" in readme
