"""The form of a job's specification: what a file says survives it, and each field tells what is wrong with it."""

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fleetward
from fleetward.slurm.jobs.spec import JobSpec, UnfitJobError, check_job, read_job_document
from fleetward.tui.job_form import FIELDS, document_of, texts_of

WORDS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), max_size=4)
PROGRAM = st.text(string.ascii_letters, min_size=1, max_size=8)
SPECS = st.fixed_dictionaries(
    {"name": st.just("digits"), "command": st.tuples(PROGRAM, WORDS).map(lambda pair: [pair[0], *pair[1]])},
    optional={
        "nodes": st.integers(1, 9000),
        "gpus_per_node": st.sampled_from(["8", "h100:4", 2]),
        "time": st.sampled_from(["10:00", "1-12:00:00"]),
        "requeue": st.booleans(),
        "environment": st.dictionaries(st.sampled_from(["A", "_b", "C9"]), st.text("ab =\"'$\\;\n", max_size=8)),
        "setup": st.lists(st.tuples(PROGRAM, WORDS).map(lambda pair: [pair[0], *pair[1]]), max_size=2),
        "sweep": st.just({"grid": {"lr": ["0.1", "1e-3"], "seed": [1, 2]}}),
        "survive": st.just({"warning": 120, "attempts": 4}),
        "depends_on": st.just([{"job": "12_3", "condition": "afterany"}]),
        "container": st.just({"image": "/images/torch.sqsh", "mounts": ["/data"]}),
        "exclude": st.just(["gpu003", "gpu[010-012]"]),
    },
)


def outcome(document: Mapping[str, Any]) -> JobSpec | tuple[tuple[str, str], ...]:
    try:
        return check_job(document)
    except UnfitJobError as error:
        return error.complaints


def test_every_field_of_a_specification_is_in_the_form() -> None:
    assert sorted(field.name for field in FIELDS) == sorted(JobSpec.model_fields)


@given(SPECS)
def test_a_specification_goes_through_the_form_unchanged(spec: dict[str, Any]) -> None:
    document, complaints = document_of(texts_of(spec))
    assert complaints == []
    assert outcome(document) == outcome(spec)


def test_the_sample_job_goes_through_the_form_unchanged() -> None:
    document = read_job_document(Path(fleetward.__file__).parent / "examples" / "digits" / "job.yaml")
    assert check_job(document_of(texts_of(document))[0]) == check_job(document)


def test_a_time_that_yaml_made_a_number_of_is_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: a\ncommand: [x]\ntime: 00:10:00\n")
    assert texts_of(read_job_document(file))["time"] == "00:10:00"


@pytest.mark.parametrize(
    ("field", "text", "word"),
    [
        ("command", "python 'train", "No closing quotation"),
        ("environment", "A=1 B", "'B' has no value"),
        ("setup", "module load", "in JSON"),
    ],
)
def test_a_text_that_makes_no_value_is_told_by_field(field: str, text: str, word: str) -> None:
    document, complaints = document_of({"name": "a", field: text})
    assert document == {"name": "a"}
    assert [name for name, _ in complaints] == [field]
    assert word in complaints[0][1]
