"""Partitions, reservations, fair shares and sdiag: as two releases of Slurm wrote them, and spoilt."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.slurm.answers import Partition, Reservation
from fleetward.slurm.client import SlurmRefusedError
from fleetward.slurm.command_line import CommandLineClient
from fleetward.slurm.parse_diagnostics import diagnostics
from fleetward.slurm.parse_records import partitions, reservations, shares
from fleetward.slurm.process import Finished
from fleetward.slurm.recorded import RecordedClient

RECORDINGS = Path(__file__).parent / "recordings"
NIGHT = Partition(
    name="night",
    state="DRAIN",
    default=False,
    nodes=("gpu002", "gpu003"),
    gpus={"h100": 4},
    time_limit=7200,
    default_time=1800,
    least_nodes=1,
    most_nodes=2,
    accounts=("research", "physics"),
    accounts_denied=(),
    allowed_qos=(),
    qos_denied=("batch",),
    qos="normal",
    tier=5,
    preemption="OFF",
    reservation_only=True,
)


@pytest.fixture(params=["records-24.11", "records-26.05"])
def folder(request: pytest.FixtureRequest) -> Path:
    return RECORDINGS / str(request.param)


@pytest.fixture
def client(folder: Path) -> RecordedClient:
    return RecordedClient(folder)


def text(folder: Path, program: str, number: int = 0) -> str:
    return sorted(folder.glob(f"*-{program}.txt"))[number].read_text()


def test_partitions_are_read_with_who_may_use_them(client: RecordedClient) -> None:
    found = client.partitions()
    assert (found.backend, found.unread) == ("recorded", ())
    by_name = {one.name: one for one in found.items}
    assert list(by_name) == ["debug", "empty", "gpu", "night"]
    assert by_name["night"] == NIGHT
    gpu, empty = by_name["gpu"], by_name["empty"]
    assert (gpu.state, gpu.default, gpu.time_limit, gpu.most_nodes) == ("UP", True, 86400, None)
    assert (gpu.accounts, gpu.allowed_qos, gpu.qos, gpu.reservation_only) == ((), (), "", False)
    assert (empty.nodes, empty.gpus, empty.time_limit, empty.state) == ((), {}, None, "INACTIVE")
    assert (empty.accounts_denied, empty.allowed_qos) == (("physics",), ("normal", "batch"))


def test_reservations_are_read_with_their_time(client: RecordedClient) -> None:
    teaching, upkeep = client.reservations().items
    assert (teaching.active, teaching.accounts, teaching.partition) == (True, ("research", "physics"), "gpu")
    assert teaching.nodes == ("gpu002",)
    assert upkeep.starts_at is not None
    assert upkeep == Reservation(
        "upkeep",
        False,
        upkeep.starts_at,
        upkeep.starts_at + timedelta(hours=1),
        ("gpu001",),
        ("MAINT", "SPEC_NODES"),
        ("root",),
        (),
        "",
    )


def test_where_there_is_no_reservation_there_is_none() -> None:
    assert reservations("No reservations in the system\n") == ((), ())
    assert reservations("") == ((), ())


def test_shares_are_read_in_the_order_of_the_tree(client: RecordedClient) -> None:
    found = client.shares().items
    assert [(one.account, one.user) for one in found] == [
        ("root", ""),
        ("root", "root"),
        ("physics", ""),
        ("physics", "root"),
        ("research", ""),
        ("research", "root"),
    ]
    assert [one.shares for one in found] == [None, 1, 1, 1, 1, None]
    assert [one.fair_share for one in found] == [None, 1.0, None, 0.0, None, 1.0]
    assert found[1].normalized_shares == 0.333333


def test_what_slurmctld_says_of_itself_is_read(client: RecordedClient) -> None:
    found = client.diagnostics()
    assert found.since < found.at < datetime(2026, 11, 29, tzinfo=UTC)
    assert (found.threads, found.jobs_submitted) == (1, 1)
    assert found.scheduler_cycles > 0
    assert 0 < found.scheduler_cycle < 1
    calls = {one.name: one for one in found.calls_by_type}
    assert calls["REQUEST_CREATE_PARTITION"].count == 2
    assert calls["REQUEST_SUBMIT_BATCH_JOB"].count == 1
    users = {one.name: one for one in found.calls_by_user}
    assert set(users) == {"root", "slurm"}
    assert sum(one.count for one in users.values()) == sum(one.count for one in calls.values())
    assert users["root"].seconds == pytest.approx(sum(one.seconds for one in calls.values()), abs=0.001)


def test_a_line_that_is_none_is_handed_back(folder: Path) -> None:
    whole = text(folder, "scontrol")
    found, unread = partitions(whole + "PartitionName=half State=UP\nMaxNodes=many\n\n" + whole.split("\n")[0][:80])
    assert len(found) == 4
    assert [line[:20] for line in unread] == ["PartitionName=half S", "MaxNodes=many", "PartitionName=gpu Al"]
    assert shares("root|x\n||||||\n") == ((), ("root|x", "||||||"))


def test_text_in_a_record_does_not_change_what_came_before(folder: Path) -> None:
    """Reservations have had a comment for some releases."""
    lines = text(folder, "scontrol", 1).rstrip("\n").split("\n")
    found, unread = reservations("\n".join(f"{line} Comment=by bob Users=eve Nodes=gpu003" for line in lines))
    assert unread == ()
    assert [one.nodes for one in found] == [("gpu002",), ("gpu001",)]
    assert [one.users for one in found] == [(), ("root",)]


def test_what_lacks_a_number_is_no_answer_of_sdiag(folder: Path) -> None:
    whole = text(folder, "sdiag")
    for line in ("DBD Agent queue size", "Data since", "Server thread count"):
        spoilt = "\n".join(one for one in whole.split("\n") if line not in one)
        with pytest.raises(ValueError, match=line):
            diagnostics(spoilt)
    with pytest.raises(ValueError, match="sdiag"):
        diagnostics("")
    without = whole[: whole.index("Remote Procedure Call")]
    assert replace(diagnostics(whole), calls_by_type=(), calls_by_user=()) == diagnostics(without)


def test_the_command_line_says_whose_answer_it_was() -> None:
    client = CommandLineClient(runner=lambda argv, **_: Finished(0, "nonsense", ""))
    with pytest.raises(SlurmRefusedError, match="sdiag"):
        client.diagnostics()
    assert client.partitions().unread == ("nonsense",)
    assert client.reservations().unread == ("nonsense",)
    assert client.shares().unread == ("nonsense",)


@given(st.text())
def test_no_text_makes_a_reader_fail(anything: str) -> None:
    for reader in (partitions, reservations, shares):
        found, unread = reader(anything)
        assert len(found) + len(unread) <= anything.count("\n") + 1
