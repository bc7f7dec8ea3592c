"""Ranks as threads: the meeting on loopback, and the sums over the ring."""

import select
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rendezvous
from all_reduce import ABORT, HEADER, Ring
from allocation import Allocation
from ends import PeerLostError
from rendezvous import Links, candidate_ports, connect_ring

NODES = ("gpu001", "gpu002", "gpu003", "gpu004", "gpu005")


def place(rank: int, ranks: int, job: str = "1", restarts: int = 0) -> Allocation:
    return Allocation(job, "0", restarts, rank, ranks, rank, NODES[rank % 5], "localhost", (0,))


def make_links(ranks: int) -> list[Links]:
    pairs = [socket.socketpair() for _ in range(ranks)]  # pair i leads from rank i to rank i + 1
    names = tuple(NODES[rank % 5] for rank in range(ranks))
    return [Links(pairs[rank - 1][1], pairs[rank][0], names) for rank in range(ranks)]


def on_all(ranks: int, work: Callable[[int], object]) -> list[object]:
    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(work, range(ranks)))


@pytest.fixture
def neighbours() -> Iterator[tuple[Ring, socket.socket, socket.socket]]:
    """One ring member, rank 1 of 3, and the far ends of its connections."""
    (before, far_before), (after, far_after) = socket.socketpair(), socket.socketpair()
    with before, after, far_before, far_after:
        yield Ring(1, Links(before, after, NODES[:3]), 0.5), far_before, far_after


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 4, 5, 1001])
def test_every_rank_gets_the_same_sum(ranks: int, length: int) -> None:
    vectors = [np.random.default_rng(rank).normal(size=length) for rank in range(ranks)]
    expected = np.sum(vectors, axis=0)
    links = make_links(ranks)

    def reduce(rank: int) -> bytes:
        with Ring(rank, links[rank], 5) as ring:
            ring.all_reduce(vectors[rank])
        return vectors[rank].tobytes()

    found = on_all(ranks, reduce)
    assert len(set(found)) == 1
    np.testing.assert_allclose(vectors[0], expected, rtol=1e-12, atol=1e-12)


def test_vectors_larger_than_any_socket_buffer_do_not_block() -> None:
    vectors = [np.full(4_000_000, float(rank)) for rank in range(3)]
    links = make_links(3)

    def reduce(rank: int) -> None:
        with Ring(rank, links[rank], 20) as ring:
            ring.all_reduce(vectors[rank])

    on_all(3, reduce)
    assert all((vector == 3.0).all() for vector in vectors)


@pytest.mark.parametrize("payload", [b"", b"checkpoint" * 100_000])
def test_broadcast_gives_all_what_rank_0_has(payload: bytes) -> None:
    links = make_links(3)

    def receive(rank: int) -> bytes:
        with Ring(rank, links[rank], 5) as ring:
            return ring.broadcast(payload if rank == 0 else b"something else")

    assert on_all(3, receive) == [payload] * 3


def test_the_reason_of_the_first_error_goes_round_the_ring() -> None:
    links = make_links(4)

    def work(rank: int) -> str:
        try:
            with Ring(rank, links[rank], 5) as ring:
                if rank == 2:
                    raise ValueError("the disk is full")
                ring.all_reduce(np.zeros(8))
        except (ValueError, PeerLostError) as error:
            return str(error)
        return "no error"

    assert set(on_all(4, work)) == {"the disk is full", "rank 2 on gpu003 ended: the disk is full"}


def test_a_silent_neighbour_is_named_after_the_timeout(neighbours: tuple[Ring, socket.socket, socket.socket]) -> None:
    with pytest.raises(PeerLostError, match=r"rank 0 on gpu001 has not answered for 0\.5 s"):
        neighbours[0].all_reduce(np.zeros(6))


def test_a_message_of_another_size_is_refused(neighbours: tuple[Ring, socket.socket, socket.socket]) -> None:
    ring, far_before, _ = neighbours
    far_before.sendall(struct.pack("!II", 1, 8) + bytes(24))
    with pytest.raises(PeerLostError, match="rank 0 on gpu001 sent 8 bytes where 16 were expected"):
        ring.all_reduce(np.zeros(6))


def test_control_characters_of_a_reason_do_not_reach_the_log(
    neighbours: tuple[Ring, socket.socket, socket.socket],
) -> None:
    ring, far_before, _ = neighbours
    text = b"rank 0 ended\x1b[31m"
    far_before.sendall(HEADER.pack(ABORT, len(text)) + text)
    with pytest.raises(PeerLostError, match=r"^rank 0 ended\?\[31m$"):
        ring.all_reduce(np.zeros(6))


def test_a_reason_is_never_put_into_the_middle_of_data(neighbours: tuple[Ring, socket.socket, socket.socket]) -> None:
    ring, far_before, far_after = neighbours
    far_before.close()
    with pytest.raises(PeerLostError), ring:
        ring.all_reduce(np.ones(3_000_000))  # more than the next rank's buffer takes
    received = bytearray()
    while part := far_after.recv(1 << 20):
        received += part
    assert len(received) < 8_000_000
    assert received[HEADER.size :] == np.ones(len(received)).tobytes()[: len(received) - HEADER.size]


def test_ranks_of_two_jobs_with_the_same_ports_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "PORTS", range(31990, 31998))

    def work(number: int) -> float:
        here = place(number // 2, 3, job="ab"[number % 2])
        with Ring(here.rank, connect_ring(here, 20), 5) as ring:
            vector = np.array([1.0 if here.job == "a" else 100.0])
            ring.all_reduce(vector)
        return float(vector[0])

    assert on_all(6, work) == [3.0, 300.0] * 3


def test_a_stranger_at_the_port_of_rank_0_is_turned_away() -> None:
    first = candidate_ports(place(0, 2, job="s"))[0]

    def work(rank: int) -> float:
        with Ring(rank, connect_ring(place(rank, 2, job="s"), 20), 5) as ring:
            vector = np.array([1.0])
            ring.all_reduce(vector)
        return float(vector[0])

    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(work, 0)
        while not listening(first):
            assert not waiting.done()
        with socket.create_connection(("localhost", first), 5) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\nHost: g\r\n\r")  # as long as what a rank says of itself
            stranger.settimeout(5)
            assert stranger.recv(100) == b""
        assert (pool.submit(work, 1).result(), waiting.result()) == (2.0, 2.0)


def listening(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), 1).close()
    except ConnectionRefusedError:
        return False
    return True


def test_the_meeting_leaves_nothing_unread_which_would_reset_a_connection_when_it_closes() -> None:
    with ThreadPoolExecutor(3) as pool:
        links = list(pool.map(lambda rank: connect_ring(place(rank, 3, job="u"), 20), range(3)))
    ends = [end for link in links for end in (link.before, link.after)]
    readable, _, _ = select.select(ends, [], [], 0.2)
    for end in ends:
        end.close()
    assert readable == []


def test_a_requeued_job_meets_elsewhere() -> None:
    assert candidate_ports(place(0, 2)) != candidate_ports(place(0, 2, restarts=1))
    assert candidate_ports(place(0, 2)) == candidate_ports(place(1, 2))
