"""The archive of the stand-in's sources that the role hands to hosts."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from fleetward.lab.nvml_archive import main, pack, sources


def test_what_is_unpacked_builds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--cache", str(tmp_path / "cache")])
    told = json.loads(capsys.readouterr().out)
    with tarfile.open(told["archive"]) as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / told["folder"]
    subprocess.run(["sh", folder / "build.sh", folder / "libnvidia-ml.so.1"], check=True)
    assert (folder / "libnvidia-ml.so.1").stat().st_size > 10000
    assert not (folder / "libnvidia-ml.so.1.new").exists()


def test_a_build_that_fails_leaves_no_library(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    for name, text in sources().items():
        (folder / name).write_bytes(text)
    (folder / "model.c").write_text("this is not C")
    output = tmp_path / "libnvidia-ml.so.1"
    done = subprocess.run(["sh", folder / "build.sh", output], capture_output=True, check=False)
    assert done.returncode != 0
    assert not output.exists()


def test_the_folder_is_named_after_what_is_in_it() -> None:
    folder, archive = pack({"a.c": b"int a;", "b.c": b"int b;"})
    assert pack({"a.c": b"int a;", "b.c": b"int b;"}) == (folder, archive)
    assert pack({"a.c": b"int a;", "b.c": b"int c;"})[0] != folder
    assert pack({"a.c": b"int a;b", "b.c": b"int b;"})[0] != folder


def test_the_cache_holds_nothing_half_written(tmp_path: Path) -> None:
    main(["--cache", str(tmp_path)])
    main(["--cache", str(tmp_path)])
    assert [path.suffix for path in tmp_path.iterdir()] == [".tar"]
