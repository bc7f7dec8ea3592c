"""Job specifications: what people get wrong is said by file and field, and nothing ends an #SBATCH line."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.errors import UsageError
from fleetward.slurm.jobs.script import render
from fleetward.slurm.jobs.spec import JobSpec, UnfitJobError, check_job, read_job_spec
from fleetward.slurm.jobs.spec_fields import BASH_VARIABLES, seconds_of
from fleetward.slurm.jobs.spec_parts import Container, Dependency, Mount, Survive
from fleetward.slurm.jobs.sweep import Sweep

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
        ("gpus: 8", "gpus", "there is no such field; did you mean gpus_per_node? There are name, account, partition"),
        ("nodse: 8", "nodse", "there is no such field; did you mean nodes? There are"),
        ("zzz: 8", "zzz", "there is no such field; there are name, account, partition"),
        ("launcher: slurm", "launcher", "'srun', 'torchrun', 'deepspeed' or 'mpi'"),
        ("environment: {UID: 5}", "environment.UID", "bash keeps UID for itself"),
        ("environment: {FLEETWARD_ATTEMPT: 5}", "environment.FLEETWARD_ATTEMPT", "the script itself sets"),
        ("environment: {FLEETWARD_SWEEP_LR: 5}", "environment.FLEETWARD_SWEEP_LR", "the script itself sets"),
        ("environment: {fleetward_step: 5}", "environment.fleetward_step", "the script itself sets"),
        ("exclude: [gpu001 gpu002]", "exclude.0", "one name or range in each entry"),
        ('exclude: "gpu001,gpu002"', "exclude.0", "one name or range in each entry"),
        ('exclude: ["gpu[001\\n#SBATCH --uid=0]"]', "exclude.0", "one name or range in each entry"),
        ("exclude: []", "exclude", "at least 1"),
        ('nodelist: ["gpu[1-]"]', "nodelist.0", "one name or range in each entry"),
        ("constraint: a b", "constraint", "no blank"),
        ('constraint: "a#b"', "constraint", "no blank"),
        ("reservation: two words", "reservation", "without spaces"),
        ("mpi_type: pmix --x", "mpi_type", "as in pmix"),
        ("depends_on: [{job: 12}]", "depends_on.0.job", "read 12_3 as the number 123; write it in quotes"),
        ("depends_on: [{job: 12_3}]", "depends_on.0.job", "read 12_3 as the number 123; write it in quotes"),
        ('depends_on: [{job: "12,13"}]', "depends_on.0.job", '"12_3" for one task'),
        ('depends_on: [{job: "12", condition: ok}]', "depends_on.0.condition", "'afterok'"),
        ('depends_on: [{jbo: "12"}]', "depends_on.0.jbo", "did you mean job? There are job, condition"),
        ("depends_on: [{}]", "depends_on.0", "condition: afterok needs job"),
        ('depends_on: [{job: "1", condition: singleton}]', "depends_on.0", "leave job out"),
        ('depends_on: [{job: "1_2", condition: aftercorr}]', "depends_on.0", "needs a whole array as job"),
        ('depends_on: ["12"]', "depends_on.0", "'12' has no fields; there are job, condition"),
        ("container: image.sqsh", "container", "'image.sqsh' has no fields; there are image, mounts"),
        ("container: {}", "container.image", "is missing"),
        ("container: {image: two words}", "container.image", "without blanks"),
        ("container: {image: --privileged}", "container.image", "without blanks"),
        ("container: {image: a, mounts: [/a:/b]}", "container.mounts.0.source", "no `,` and no `:`"),
        ('container: {image: a, mounts: ["/a,/etc"]}', "container.mounts.0.source", "no `,` and no `:`"),
        ("container: {image: a, mounts: [{source: /a, target: /b:rw}]}", "container.mounts.0.target", "no `:`"),
        ("container: {image: a, mounts: [data]}", "container.mounts.0.source", "begins with /"),
        ("container: {image: a, mounts: [{source: /a, ro: true}]}", "container.mounts.0.ro", "read_only"),
        ("container: {image: a, workdir: x}", "container.workdir", "begins with /"),
        ("survive: {attempts: 0}", "survive.attempts", "greater than or equal to 1"),
        ("survive: {warning: 5}", "survive.warning", "greater than or equal to 10"),
        ("survive: {warning: 65536}", "survive.warning", "less than or equal to 65535"),
        ("survive: {signal: TERM}", "survive.signal", "'USR1' or 'USR2'"),
        ("survive: {warning: 60, grace: 30}", "survive", "make warning more than 60, or grace less"),
        ("survive: {warn: 60}", "survive.warn", "did you mean warning? There are warning, signal"),
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


def refusal(**fields: object) -> str:
    with pytest.raises(UnfitJobError) as caught:
        check_job({"name": "x", "command": ["train"], **fields})
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (
            {"launcher": "torchrun"},
            "gpus_per_node: launcher: torchrun starts one process for each GPU; say how many a node has, as in 8 or "
            "h100:8, or take launcher: srun or mpi",
        ),
        ({"launcher": "deepspeed"}, "gpus_per_node: launcher: deepspeed starts one process for each GPU;"),
        (
            {"launcher": "torchrun", "gpus_per_node": 8, "cpus_per_task": 8, "tasks_per_node": 8},
            "tasks_per_node: is 8, and launcher: torchrun starts one task on each node, which starts a process for "
            "each of gpus_per_node; leave tasks_per_node out, or take launcher: srun, deepspeed or mpi",
        ),
        (
            {"launcher": "torchrun", "gpus_per_node": "h100:8", "cpus_per_task": 7},
            "cpus_per_task: is 7, and launcher: torchrun has one task on a node, whose CPUs the processes of "
            "gpus_per_node: h100:8 share; ask for 8 or more",
        ),
        (
            {"launcher": "deepspeed", "gpus_per_node": 8, "tasks_per_node": 1},
            "tasks_per_node: is 1, and launcher: deepspeed starts one task for each of gpus_per_node: 8; leave "
            "tasks_per_node out, or write 8",
        ),
        ({"mpi_type": "pmi2"}, "mpi_type: is for launcher: mpi, and launcher is srun; leave one of the two out"),
        (
            {"launcher": "torchrun", "gpus_per_node": 1, "command": ["/opt/bin/torchrun", "x"]},
            "command: begins with torchrun, and launcher: torchrun starts the tasks already",
        ),
        ({"command": ["srun", "x"]}, "command: begins with srun, and launcher: srun starts"),
        ({"launcher": "mpi", "command": ["mpirun", "x"]}, "command: begins with mpirun, and launcher: mpi"),
        (
            {"requeue": False, "survive": {}},
            "requeue: is false, and survive.attempts is 3; leave requeue out, since survive.attempts says how often",
        ),
        ({"requeue": True, "survive": {"attempts": 1}}, "requeue: is true, and survive.attempts is 1;"),
        (
            {"time": "05:00", "survive": {"warning": 300}},
            "survive.warning: is 300 s, which is not less than time: 05:00; the job would be warned at its start",
        ),
        (
            {"depends_on": [{"job": "1", "condition": "aftercorr"}]},
            "depends_on.0.condition: aftercorr pairs the tasks of two arrays, and this job has no sweep; take afterok",
        ),
        ({"kill_on_invalid_dependency": True}, "kill_on_invalid_dependency: needs depends_on;"),
        (
            {"nodelist": ["gpu001", "gpu002"], "exclude": ["gpu002", "gpu003"]},
            "exclude: gpu002 is in nodelist too; take it out of one of the two",
        ),
    ],
)
def test_a_contradiction_names_the_fields_and_what_is_allowed(fields: dict[str, object], why: str) -> None:
    assert refusal(**fields).startswith(why)


def test_every_contradiction_is_told_at_once() -> None:
    told = refusal(launcher="torchrun", gpus_per_node=8, tasks_per_node=2, mpi_type="pmi2", command=["srun", "x"])
    assert [line.split(":")[0] for line in told.split("\n")] == [
        "tasks_per_node",
        "cpus_per_task",
        "mpi_type",
        "command",
    ]


def test_a_contradiction_is_refused_however_a_specification_is_made() -> None:
    with pytest.raises(ValueError, match="tasks_per_node: is 2, and launcher: torchrun"):
        JobSpec(name="x", command=("x",), launcher="torchrun", gpus_per_node="1", tasks_per_node=2)


def test_surviving_means_being_started_again() -> None:
    def requeues(**fields: object) -> bool:
        return check_job({"name": "x", "command": ["x"], **fields}).requeues

    assert requeues(survive={})
    assert requeues(survive={}, requeue=True)
    assert requeues(survive={"requeue_on_timeout": False})
    assert not requeues(survive={"attempts": 1})
    assert not requeues()


@given(st.integers(10, 65_535), st.one_of(st.none(), st.integers(1, 65_535)))
def test_a_warned_step_has_ended_before_the_limit(warning: int, grace: int | None) -> None:
    try:
        survive = Survive(warning=warning, grace=grace)
    except ValueError:
        assert grace is not None and grace + min(grace, 30) >= warning
    else:
        assert 0 < survive.grace_seconds + survive.kill_wait < warning


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("10:00", 600),
        ("01:02:03", 3723),
        ("2-12", 216_000),
        ("1-02:03", 93_780),
        ("1-02:03:04", 93_784),
        ("0-00:00:30", 30),
    ],
)
def test_a_time_limit_in_seconds(time: str, seconds: int) -> None:
    assert seconds_of(time) == seconds


@pytest.mark.parametrize("name", sorted(BASH_VARIABLES))
def test_variables_that_bash_keeps_cannot_be_set(name: str) -> None:
    assert refusal(environment={name: "x"}) == f"environment.{name}: bash keeps {name} for itself; take another name"


PARTS = (JobSpec, Container, Mount, Dependency, Survive, Sweep)


@pytest.mark.parametrize("part", PARTS)
def test_every_field_says_what_it_is(part: type[JobSpec]) -> None:
    assert [name for name, field in part.model_fields.items() if not field.description] == []


@pytest.mark.checkout
@pytest.mark.parametrize("part", PARTS)
def test_the_guide_has_every_field(part: type[JobSpec]) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "jobs.md").read_text()
    assert [name for name in part.model_fields if not re.search(rf"`{name}`|\b{name}: ", guide)] == []


@given(
    arguments=st.lists(st.text().filter(lambda text: "\0" not in text), min_size=1),
    environment=st.dictionaries(
        st.from_regex(r"V[A-Za-z0-9_]{0,20}", fullmatch=True), st.text().filter(lambda text: "\0" not in text)
    ),
)
def test_no_argument_and_no_variable_adds_an_option(arguments: list[str], environment: dict[str, str]) -> None:
    command = ("python", *arguments)
    spec = JobSpec(name="x", command=command, environment=environment, setup=(command,))
    before_the_first_command = re.split(r"\n(?!#)", render(spec), maxsplit=1)[0]
    plain = render(JobSpec(name="x", command=("true",)))
    assert before_the_first_command == re.split(r"\n(?!#)", plain, maxsplit=1)[0]
