"""The container engine of this machine, asked for what needs no whole lab."""

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetward.lab import lifecycle
from fleetward.lab.engine import Engine

pytestmark = pytest.mark.lab


@pytest.fixture
def engine() -> Engine:
    return lifecycle.open_engine()


@pytest.fixture
def image(engine: Engine) -> Iterator[str]:
    name = f"localhost/fleetward-test-{os.getpid()}:one"
    yield name
    subprocess.run([engine.facts.engine, "image", "rm", "--force", name], check=True, capture_output=True)


def archive(folder: Path, content: str) -> Path:
    (folder / "file").write_text(content)
    with tarfile.open(folder / "root.tar", "w") as tar:
        tar.add(folder / "file", "file")
    return folder / "root.tar"


def image_ids(engine: Engine) -> set[str]:
    listed = subprocess.run(
        [engine.facts.engine, "image", "ls", "--all", "--no-trunc", "--format", "json"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = json.loads(listed) if listed.startswith("[") else [json.loads(line) for line in listed.splitlines()]
    return {row.get("Id") or row["ID"] for row in rows}


def test_an_image_built_again_leaves_nothing_of_the_one_before(engine: Engine, image: str, tmp_path: Path) -> None:
    before = image_ids(engine)
    engine.take_image(archive(tmp_path, "first"), image, "digest-1")
    engine.take_image(archive(tmp_path, "second"), image, "digest-2")
    assert engine.image_recipe(image) == "digest-2"
    assert len(image_ids(engine) - before) == 1


def test_an_image_in_use_is_left(engine: Engine, image: str, tmp_path: Path) -> None:
    program = engine.facts.engine
    before = image_ids(engine)
    engine.take_image(archive(tmp_path, "first"), image, "digest-1")
    made = subprocess.run(
        [program, "create", image, "/file"], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        engine.take_image(archive(tmp_path, "second"), image, "digest-2")
        assert len(image_ids(engine) - before) == 2
    finally:
        subprocess.run([program, "rm", made], check=True, capture_output=True)
        for old in image_ids(engine) - before - {engine._image_id(image)}:
            subprocess.run([program, "image", "rm", old], check=True, capture_output=True)
