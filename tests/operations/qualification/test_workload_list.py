"""Workloads as declared: each says what it needs, where its limits come from, and where to look; what sites require."""

import re
from dataclasses import replace

import pytest

from fleetward.model.errors import UsageError
from fleetward.model.fleet import HardwareProfile
from fleetward.operations.qualification.workload import Scope, Setting, Tasks, Workload, entities_of
from fleetward.operations.qualification.workload_list import BY_ID, USUAL, WORKLOADS, required, workload


@pytest.mark.parametrize("one", WORKLOADS, ids=lambda one: one.id)
def test_a_declaration_is_complete(one: Workload, hgx: HardwareProfile) -> None:
    assert re.fullmatch(r"[a-z0-9_]{1,64}", one.id)
    assert one.title
    assert one.programs
    assert one.uses
    assert one.look_next
    assert one.source
    assert one.measures or one.judges_itself
    assert all(measure.source for measure in one.measures if measure.expected)
    command = one.command(Setting(hgx, ("gpu001", "gpu002"), "python3"))
    assert all(isinstance(word, str) and "\0" not in word for word in command)
    assert one.tasks is not Tasks.NODE or one.scope is not Scope.NODE


def test_ids_are_different() -> None:
    assert len(BY_ID) == len(WORKLOADS)


def test_every_usual_workload_can_pass_by_the_profile_alone(hgx: HardwareProfile) -> None:
    for one in required(hgx):
        expected = [measure.expected(hgx) for measure in one.measures if measure.expected]
        assert one.judges_itself or any(value is not None for value in expected), one.id


def test_what_is_required_follows_from_the_profile(hgx: HardwareProfile) -> None:
    assert tuple(one.id for one in required(hgx)) == USUAL
    assert [one.id for one in required(replace(hgx, infiniband=None))] == ["dcgm_medium", "nvbandwidth", "nccl_node"]
    assert [one.id for one in required(replace(hgx, gpu=None, infiniband=None))] == ["fio"]


def test_a_site_may_list_what_it_requires(hgx: HardwareProfile) -> None:
    assert [one.id for one in required(hgx, ["hpl", "dcgm_long", "hpl"])] == ["hpl", "dcgm_long"]
    assert [one.id for one in required(replace(hgx, gpu=None), ["hpl", "ib_write"])] == ["ib_write"]


@pytest.mark.parametrize("site", [[], ["hpl_2"], ["hpl"]])
def test_a_list_that_leaves_nothing_is_refused(hgx: HardwareProfile, site: list[str]) -> None:
    with pytest.raises(UsageError):
        required(replace(hgx, gpu=None), site)


def test_a_workload_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="there is no workload 'x'; there are dcgm_medium, dcgm_long, nvbandwidth"):
        workload("x")


def test_the_parts_that_are_measured_are_those_of_the_profile(hgx: HardwareProfile) -> None:
    parts = {measure.name: entities_of(measure.each, hgx) for one in WORKLOADS for measure in one.measures}
    assert parts["host_to_device_bandwidth"] == tuple(f"GPU {at}" for at in range(8))
    assert parts["rdma_write_bandwidth"] == ("mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3")
    assert parts["all_reduce_bus_bandwidth"] == ("",)
