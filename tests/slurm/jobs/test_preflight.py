"""A specification against a cluster: every field that would be refused is named, with what is allowed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from played_answers import GPU, NODES

from fleetward.slurm.accounting import Association, Limits, Qos
from fleetward.slurm.answers import Partition, Share
from fleetward.slurm.jobs.preflight import Cluster, needs_of_spec, preflight
from fleetward.slurm.jobs.spec import JobSpec, check_job

NONE = Limits(None, {}, None, None, {}, None)
RESEARCH = Association("research", "ada", "", ("normal",), "normal", NONE)
CLUSTER = Cluster(
    partitions=(GPU, replace(GPU, name="debug", default=False, nodes=("gpu001",), time_limit=600, most_nodes=1)),
    nodes=NODES,
    qos=(
        Qos("normal", 0, (), NONE, {}, ()),
        Qos("small", 0, (), replace(NONE, time=60, tres_per_job={"gres/gpu": "2", "node": "1"}), {}, ()),
    ),
    associations=(RESEARCH, replace(RESEARCH, user="bob", account="ops"), replace(RESEARCH, user="")),
    shares=(Share("research", "ada", 1, 0.25, 10, 0.4, 0.31),),
)


def spec(**fields: object) -> JobSpec:
    return check_job({"name": "x", "command": ["true"], "gpus_per_node": "h100:2", "time": "00:05:00"} | fields)


def complaints(cluster: Cluster = CLUSTER, user: str = "ada", **fields: object) -> list[tuple[str, str]]:
    return list(preflight(spec(**fields), user, cluster).complaints)


def test_a_job_that_fits_has_no_complaint_and_its_cost_is_told() -> None:
    found = preflight(spec(nodes=2, time="01:30:00"), "ada", CLUSTER)
    assert found.complaints == ()
    assert found.gpu_hours == 6.0
    assert found.room is not None
    assert found.room.free == ("gpu001", "gpu002")
    assert (found.less, found.share) == (None, CLUSTER.shares[0])


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"partition": "gpuu"}, "partition", "gpuu is no partition; there are debug, gpu; did you mean gpu?"),
        ({"account": "ops"}, "account", "ops is no account of yours; there are research"),
        ({"qos": "high"}, "qos", "high is no QOS; there are normal, small"),
        ({"qos": "small"}, "qos", "small is not yours to use; you may use normal"),
        (
            {"partition": "debug", "time": "00:20:00"},
            "time",
            "partition debug allows 10 minutes, it asks for 20",
        ),
        ({"partition": "debug", "nodes": 2}, "nodes", "partition debug allows 1 nodes, it asks for 2"),
        ({"nodes": 9}, "nodes", "is 9, and partition gpu has 4"),
        ({"gpus_per_node": "h100:9"}, "gpus_per_node", "h100:9: 0 nodes of partition gpu have that"),
        ({"gpus_per_node": "b200:1"}, "gpus_per_node", "its nodes have GPUs a100:8, h100:8 and at most 64 CPUs"),
        ({"gpus_per_node": "h100:8", "nodes": 4}, "gpus_per_node", "3 nodes of partition gpu have that"),
        ({"gpus_per_node": None, "cpus_per_task": 65}, "cpus_per_task", "65 CPUs a node: 0 nodes"),
    ],
)
def test_a_field_is_named_with_what_is_allowed(fields: dict[str, object], field: str, words: str) -> None:
    found = complaints(**fields)
    assert field in [name for name, _ in found]
    assert any(words in why for name, why in found if name == field)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"state": "DRAIN"}, "partition", "partition gpu is DRAIN"),
        ({"reservation_only": True}, "reservation", "partition gpu takes jobs of a reservation only"),
        ({"least_nodes": 2}, "nodes", "partition gpu wants 2 nodes at least, it asks for 1"),
        ({"accounts": ("ops",)}, "account", "partition gpu does not take account research; it takes ops"),
        ({"accounts_denied": ("research",)}, "account", "partition gpu does not take account research"),
        ({"allowed_qos": ("small",)}, "qos", "partition gpu does not take QOS normal; it takes small"),
        ({"qos_denied": ("normal",)}, "qos", "partition gpu does not take QOS normal"),
    ],
)
def test_what_a_partition_does_not_take_is_told_by_field(changes: dict[str, object], field: str, words: str) -> None:
    partition: Partition = replace(GPU, **changes)  # type: ignore[arg-type]
    assert complaints(replace(CLUSTER, partitions=(partition,)), qos="normal") == [(field, words)]


def test_limits_of_a_qos_and_of_an_account_are_held() -> None:
    mine = replace(RESEARCH, qos=("normal", "small"), limits=replace(NONE, time=120))
    cluster = replace(CLUSTER, associations=(mine,))
    found = complaints(cluster, qos="small", nodes=2)
    assert found == [
        ("time", "00:05:00 is more than the 2 minutes that your account research allows"),
        ("time", "00:05:00 is more than the 1 minutes that QOS small allows"),
        ("gpus_per_node", "makes 4 GPUs, and QOS small allows 2 for a job"),
        ("nodes", "is 2, and QOS small allows 1 for a job"),
    ]


def test_a_cluster_without_a_default_partition_wants_one() -> None:
    cluster = replace(CLUSTER, partitions=(replace(GPU, default=False),))
    assert complaints(cluster) == [
        ("partition", "is needed, since the cluster has no default partition; there are gpu")
    ]


def test_what_slurm_did_not_tell_is_not_held_against_a_job() -> None:
    assert complaints(Cluster(), partition="x", account="y", qos="z", nodes=100) == []
    assert complaints(user="nobody", account="whatever") == []


def test_a_smaller_job_that_would_start_now_is_told() -> None:
    found = preflight(spec(nodes=3, gpus_per_node="h100:2"), "ada", CLUSTER)
    assert found.complaints == ()
    assert found.less is not None
    assert (found.less.nodes, found.less.gpus) == (2, {"h100": 2})


def test_a_sweep_costs_what_all_its_tasks_cost() -> None:
    swept = spec(sweep={"grid": {"lr": ["1", "2", "3"]}}, time="01:00:00")
    assert preflight(swept, "ada", CLUSTER).gpu_hours == 6.0


def test_a_job_without_a_time_has_the_partitions() -> None:
    bare = spec(time=None)
    assert needs_of_spec(bare, GPU).seconds == 86400
    assert needs_of_spec(bare, replace(GPU, default_time=60)).seconds == 60
    assert needs_of_spec(bare).seconds is None
    assert preflight(bare, "ada", Cluster()).gpu_hours is None


@given(st.integers(1, 6), st.integers(1, 10), st.integers(1, 70), st.sampled_from(["h100", "a100", "b200", None]))
def test_a_job_without_complaint_has_enough_able_nodes(nodes: int, gpus: int, cpus: int, kind: str | None) -> None:
    asked = f"{kind}:{gpus}" if kind else str(gpus)
    found = preflight(spec(nodes=nodes, gpus_per_node=asked, cpus_per_task=cpus), "ada", CLUSTER)
    assert found.room is not None
    assert (len(found.room.able) >= nodes) == (found.complaints == ())
