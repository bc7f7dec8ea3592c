"""Tasks that copy say what they changed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import fleetward

TASKS = sorted((Path(fleetward.__file__).parent / "roles").glob("*/tasks/*.yml"))


def copies(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the arguments of every copy, also of those in blocks."""
    found = [task["ansible.builtin.copy"] for task in tasks if "ansible.builtin.copy" in task]
    for task in tasks:
        for part in ("block", "rescue", "always"):
            found += copies(task.get(part, []))
    return found


@pytest.mark.parametrize("file", TASKS, ids=lambda file: f"{file.parents[1].name}/{file.stem}")
def test_no_folder_is_copied_whole(file: Path) -> None:
    """Ansible's copy of a folder with one file in a new sub-folder says `ok`, and notifies no handler."""
    folders = [
        copy["src"] for copy in copies(yaml.safe_load(file.read_text())) if str(copy.get("src", "")).endswith("/")
    ]
    assert folders == []
