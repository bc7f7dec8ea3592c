"""Job specifications: what people get wrong is said by file and field, and nothing ends an #SBATCH line."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.errors import UsageError
from fleetward.slurm.job_script import render
from fleetward.slurm.job_spec import JobSpec, read_job_spec

DIGITS = """
name: digits
account: research
partition: gpu
nodes: 2
gpus_per_node: h100:8
tasks_per_node: 8
cpus_per_task: 1
memory_per_node: 4G
time: "00:10:00"
requeue: true
output: digits-%j.log
command: [./venv/bin/python, train.py, --checkpoints, checkpoints]
"""


def written(tmp_path: Path, text: str, name: str = "job.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_yaml_and_toml_say_the_same(tmp_path: Path) -> None:
    toml = """
name = "digits"
account = "research"
partition = "gpu"
nodes = 2
gpus_per_node = "h100:8"
tasks_per_node = 8
cpus_per_task = 1
memory_per_node = "4G"
time = "00:10:00"
requeue = true
output = "digits-%j.log"
command = ["./venv/bin/python", "train.py", "--checkpoints", "checkpoints"]
"""
    assert read_job_spec(written(tmp_path, DIGITS)) == read_job_spec(written(tmp_path, toml, "job.toml"))


@pytest.mark.parametrize("time", ["10:00", "1:00:00", "00:10:00"])
def test_a_time_that_yaml_takes_for_a_number_is_read_as_written(time: str, tmp_path: Path) -> None:
    text = DIGITS.replace('"00:10:00"', time)
    assert read_job_spec(written(tmp_path, text)).time == time


@pytest.mark.parametrize(
    ("line", "field", "advice"),
    [
        ("nodes: 0", "nodes", "greater than or equal to 1"),
        ("nodes: two", "nodes", "valid integer"),
        ("gpus_per_node: h100", "gpus_per_node", "TYPE:COUNT"),
        ("memory_per_node: 4096", "memory_per_node", "in quotes"),
        ("memory_per_node: 4GB", "memory_per_node", "as in 4G"),
        ("time: 600", "time", "says no unit"),
        ("time: soon", "time", "HH:MM:SS"),
        ("requeue: maybe", "requeue", "boolean"),
        ("name: two words", "name", "without spaces"),
        ('name: "a\\n#SBATCH --uid=0"', "name", "without spaces"),
        ('output: "x.log\\n#SBATCH --uid=0"', "output", "%j"),
        ("output: a b.log", "output", "%j"),
        ("command: []", "command", "at least 1"),
        ("command: python train.py", "command", "valid tuple"),
        ("command: [train, 0.5]", "command.1", "write it in quotes"),
        ("command: [--uid=0, train]", "command", "no program"),
        ('command: [""]', "command", "no program"),
        ('command: [train, "a\\0b"]', "command.1", "NUL"),
        ('environment: {A: "a\\0b"}', "environment.A", "NUL"),
        ('working_directory: "/a\\0b"', "working_directory", "NUL"),
        ("environment: {A-B: x}", "environment.A-B", "no digit first"),
        ("environment: {A: [x]}", "environment.A", "write it in quotes"),
        ("gpus: 8", "gpus", "there is no such field; there are name, account, partition"),
    ],
)
def test_a_wrong_value_is_refused_by_file_and_field(line: str, field: str, advice: str, tmp_path: Path) -> None:
    key = line.partition(":")[0]
    kept = [row for row in DIGITS.strip().split("\n") if not row.startswith(f"{key}:")]
    path = written(tmp_path, "\n".join([*kept, line]))
    with pytest.raises(UsageError) as caught:
        read_job_spec(path)
    assert str(caught.value).startswith(f"{path}: {field}: ")
    assert advice in str(caught.value)


def test_what_is_left_out_is_the_least_that_a_job_can_be() -> None:
    spec = JobSpec(name="x", command=("true",))
    assert (spec.nodes, spec.tasks_per_node, spec.cpus_per_task) == (1, 1, 1)
    assert (spec.requeue, spec.output, spec.gpus_per_node) == (False, "%x-%j.log", None)


@pytest.mark.parametrize(
    ("field", "largest"), [("nodes", 100_000), ("tasks_per_node", 10_000), ("cpus_per_task", 10_000)]
)
def test_a_count_has_a_largest_value(field: str, largest: int) -> None:
    assert getattr(JobSpec.model_validate({"name": "x", "command": ["true"], field: largest}), field) == largest
    with pytest.raises(ValueError, match=f"less than or equal to {largest}"):
        JobSpec.model_validate({"name": "x", "command": ["true"], field: largest + 1})


def test_a_log_has_a_longest_path() -> None:
    assert JobSpec(name="x", command=("true",), output="l" * 255).output == "l" * 255
    with pytest.raises(ValueError, match="at most 255"):
        JobSpec(name="x", command=("true",), output="l" * 256)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_job_spec(written(tmp_path, "nodes: 0\ntime: soon\n"))
    assert [line.split(": ")[1] for line in str(caught.value).split("\n")] == ["name", "nodes", "time", "command"]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("job.yaml", "- a list", "holds no job"),
        ("job.yaml", "name: [", "not valid YAML"),
        ("job.yaml", "name: a\nname: b\ncommand: [true]", "twice"),
        ("job.toml", "name = ", "not valid TOML"),
        ("job.json", "{}", ".yaml, .yml or .toml"),
    ],
)
def test_a_file_that_is_no_specification_is_named(name: str, text: str, why: str, tmp_path: Path) -> None:
    path = written(tmp_path, text, name)
    with pytest.raises(UsageError) as caught:
        read_job_spec(path)
    assert str(path) in str(caught.value)
    assert why in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("job.yaml", "job.toml"):
        with pytest.raises(UsageError, match=name):
            read_job_spec(tmp_path / name)


@given(
    arguments=st.lists(st.text().filter(lambda text: "\0" not in text), min_size=1),
    environment=st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True), st.text().filter(lambda text: "\0" not in text)
    ),
)
def test_no_argument_and_no_variable_adds_an_option(arguments: list[str], environment: dict[str, str]) -> None:
    command = ("python", *arguments)
    spec = JobSpec(name="x", command=command, environment=environment, setup=(command,))
    before_the_first_command = re.split(r"\n(?!#)", render(spec), maxsplit=1)[0]
    plain = render(JobSpec(name="x", command=("true",)))
    assert before_the_first_command == re.split(r"\n(?!#)", plain, maxsplit=1)[0]
