# SPDX-License-Identifier: Apache-2.0
"""A rank is stopped for longer than its session: it is dead for the others, and for itself."""
import signal
import time

import pytest

from cluster import MIB, NOT_CONNECTED, now, report

SESSION_S = 1.5
PATIENCE_S = 1  # with a machine that runs other tests as well
LARGE = 64 * MIB


@pytest.fixture(autouse=True)
def short_session(cluster):
    cluster.env.update(MF_STORE_SESSION_MS=str(int(SESSION_S * 1000)), MF_FENCE_WAIT_MS="300",
                       MF_PEER_CONNECT_MS="500")


@pytest.fixture
def store(cluster, short_session):
    return cluster.store()


def until_dead(rank, victim, stopped_at):
    seen = rank.call(f"until {victim} 5000 every=2000").fails(NOT_CONNECTED, f"rank {victim}")
    took = seen.at - stopped_at
    assert took < SESSION_S + 1 + PATIENCE_S, seen
    return took


def test_stopped_rank__is_dead_at_the_end_of_its_session(cluster, store):
    ranks = cluster.ranks(3, store.url)
    at = ranks[1].signal(signal.SIGSTOP)
    took = [until_dead(rank, 1, at) for rank in (ranks[0], ranks[2])]
    report(case="stopped", session_ms=SESSION_S * 1000, seen_ms=[round(t * 1000) for t in took])
    assert min(took) > 0.3 * SESSION_S, took
    ranks[0].ok("put 2 0 4096 1")
    # It goes on, and learns that it is dead.
    ranks[1].signal(signal.SIGCONT)
    time.sleep(0.3)
    ranks[1].call("put 0 0 4096 9").fails(NOT_CONNECTED, "rank 1", "declared dead", "uninit|again")
    ranks[1].call("get 2 0 4096 0 1").fails(NOT_CONNECTED, "declared dead")
    ranks[1].call("create 1").fails(NOT_CONNECTED, "declared dead")
    ranks[1].call("leave 0")
    ranks[1].call("join 0").fails(NOT_CONNECTED, "declared dead")
    ranks[0].ok("reach 2 1000")
    # It comes back.
    ranks[1].ok("destroy 0")
    ranks[1].ok("uninit")
    ranks[1].ok(f"init {store.url} rank=1 world=3")
    ranks[1].ok("create 0")
    ranks[1].ok("join 0")
    for rank in (ranks[0], ranks[2]):
        rank.ok("reach 1 2000")
        rank.ok("put 1 0 4096 3")
    ranks[1].right("get 1 0 4096 2 3")


def test_shortly_stopped_rank__stays_a_member(cluster, store):
    ranks = cluster.ranks(2, store.url)
    ranks[1].signal(signal.SIGSTOP)
    time.sleep(0.3 * SESSION_S)
    ranks[1].signal(signal.SIGCONT)
    time.sleep(SESSION_S)
    ranks[0].ok("put 1 0 4096 1")
    ranks[1].ok("put 0 0 4096 2")
    ranks[0].right("sget 0 0 4096 1 2")


@pytest.mark.parametrize("delay_us", [100, 2000, 5000])
def test_stopped_in_the_middle_of_a_copy__late_bytes_land_in_the_orphan(cluster, store, delay_us):
    """Rank 1 writes into rank 0 and is stopped in the middle; rank 0 leaves, and uses its memory
    again before rank 1 goes on."""
    ranks = cluster.ranks(3, store.url, dram=LARGE)
    ranks[1].ok(f"loop busy put ranks=0 off=0 len={LARGE} word=4096 keep=1")
    strike = ranks[2].ok(f"strike 1 4096 {ranks[1].pid} {int(signal.SIGSTOP)} {delay_us}")
    begin = now()
    ranks[0].ok("leave 0")
    left = now() - begin
    assert left < 2, left
    ranks[0].ok("join 0")
    assert ranks[0].ok(f"zeros 0 0 {LARGE}").value("other") == 0
    ranks[0].ok(f"sput 0 0 {LARGE} 77")
    until_dead(ranks[0], 1, strike.at)
    ranks[1].signal(signal.SIGCONT)
    time.sleep(0.5)
    ranks[0].right(f"sget 0 0 {LARGE} 0 77")
    ranks[2].ok("reach 0 2000")
    ranks[2].right(f"get 0 0 {LARGE} 0 77")
    stats = ranks[1].ok("end busy")
    assert stats.value("code") == NOT_CONNECTED and stats.value("odd") == 0, stats
    report(case="late bytes", delay_us=delay_us, middle=strike.value("middle"),
           leave_ms=round(left * 1000, 1))


def test_stopped_in_the_middle_of_a_read__nobody_waits_for_it(cluster, store):
    ranks = cluster.ranks(3, store.url, dram=LARGE)
    ranks[0].ok(f"sput 0 0 {LARGE} 1")
    ranks[1].ok(f"loop busy get ranks=0 off=0 len={LARGE} word=4096 gen=1 writer=0 keep=1")
    ranks[2].ok(f"strike 1 4096 {ranks[1].pid} {int(signal.SIGSTOP)} 1000")
    for command in ("leave 0", "join 0", "leave 0", "join 0"):
        answer = ranks[0].ok(command)
        assert answer.ms < 2000, (command, answer)
    ranks[0].ok(f"sput 0 0 {LARGE} 1")
    ranks[1].signal(signal.SIGCONT)
    time.sleep(0.2)
    stats = ranks[1].ok("end busy")
    assert stats.value("wrong") == 0 and stats.value("odd") == 0, stats


def test_join_beside_a_stopped_rank__does_not_wait_long(cluster, store):
    """A member that does not answer is no reason for the others to fail."""
    ranks = cluster.ranks(2, store.url, world=4)
    ranks[1].signal(signal.SIGSTOP)
    begin = now()
    new = cluster.comes(3, store.url, 4)
    took = now() - begin
    assert took < 3, took
    new.ok("put 0 0 4096 1")
    ranks[0].right("sget 0 0 4096 3 1")
    answer = new.call("get 1 0 64 0 0").fails(NOT_CONNECTED, "rank 1")
    assert answer.ms < 2000, answer
    ranks[1].signal(signal.SIGCONT)
