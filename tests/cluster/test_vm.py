# SPDX-License-Identifier: Apache-2.0
"""Ranks that do not map each other's memory (MF_PEER_MAP=never): copies go by process_vm_readv, and
a rank that is killed, stopped or leaves in the middle harms nobody."""
import os
import signal
import time

import pytest

from cluster import ERROR, INVALID_PARAM, MIB, NOT_CONNECTED, TIMEOUT, now, report

LARGE = 64 * MIB
NEVER = {"MF_PEER_MAP": "never"}


def worlds(cluster, store, count, mapped=(), dram=LARGE, env=None):
    """Ranks that do not map their peers, but for those in `mapped`."""
    ranks = []
    for i in range(count):
        own = dict(env or {}) if i in mapped else dict(NEVER, **(env or {}))
        ranks.append(cluster.rank(f"rank{i}", own))
    for i, rank in enumerate(ranks):
        rank.send(f"init {store.url} rank={i} world={count}")
    for rank in ranks:
        rank.reply().ok()
    for rank in ranks:
        rank.send(f"create 0 dram={dram} max={dram}")
    for rank in ranks:
        rank.reply(60).ok()
    cluster.join(ranks)
    if ranks[0].call("load 1 0").code != ERROR:
        pytest.skip("process_vm_readv is not allowed between processes here: memory is mapped")
    return ranks


def stop(rank):
    """SIGSTOP, and wait until every thread has stopped; returns when it was sent."""
    at = rank.signal(signal.SIGSTOP)
    deadline = now() + 5
    states = ["R"]
    while set(states) != {"T"} and now() < deadline:
        states = []
        for task in os.listdir(f"/proc/{rank.pid}/task"):
            with open(f"/proc/{rank.pid}/task/{task}/stat", encoding="ascii") as stat:
                states.append(stat.read().rsplit(")", 1)[1].split()[0])
    return at


def fds_of(rank):
    return len(os.listdir(f"/proc/{rank.pid}/fd"))


def test_option__has_two_values(cluster, store):
    rank = cluster.rank("rank0", {"MF_PEER_MAP": "sometimes"})
    rank.ok(f"init {store.url} rank=0 world=1")
    rank.call("create 0").fails(INVALID_PARAM, "peer.map", '"sometimes"', "auto and never")


def test_copies__without_a_pointer(cluster, store):
    ranks = worlds(cluster, store, 3)
    ranks[0].call("load 1 0").fails(ERROR, "rank 1", "peer.map", "MF_PEER_MAP")
    ranks[0].ok("put 1 4096 1048576 7")
    ranks[1].right("sget 1 4096 1048576 0 7")
    ranks[2].right("get 1 4096 1048576 0 7")
    ranks[2].ok("g2g 1 4096 0 4096 1048576")
    ranks[0].right("sget 0 4096 1048576 0 7")
    ranks[1].ok(f"put 2 0 {LARGE} 8")
    ranks[0].right(f"get 2 0 {LARGE} 1 8")
    with open(f"/proc/{ranks[0].pid}/maps", encoding="ascii", errors="replace") as maps:
        assert sum("memfabric pool" in line for line in maps) == 1  # its own


@pytest.mark.parametrize("delay_us", [0, 300, 3000])
@pytest.mark.parametrize("kind", ["put", "get"])
def test_copier_is_killed__others_go_on(cluster, store, kind, delay_us):
    """Rank 1 writes into or reads from rank 0 and is killed in the middle: for a put, rank 0 is the
    one that reads a process that ends."""
    ranks = worlds(cluster, store, 3, mapped=(2,))
    ranks[0].ok(f"loop other both ranks=2 off={MIB} len=65536")
    ranks[1].ok(f"loop busy {kind} ranks=0 off=4096 len={LARGE // 2} word=1024 gen=1 writer=0 "
                "keep=1")
    ranks[2].ok("reach 1 5000")
    ranks[0].send("until 1 5000")
    ranks[1].note_sockets()
    strike = ranks[2].ok(f"strike 1 1024 {ranks[1].pid} 9 {delay_us}")
    seen = ranks[0].reply().fails(NOT_CONNECTED, "rank 1")
    assert seen.at - strike.at < 2, seen
    stats = ranks[0].ok("end other")
    assert stats.value("errors") == 0 and stats.value("wrong") == 0, stats
    assert ranks[0].ok("leave 0").ms < 2000
    ranks[0].ok("join 0")
    assert ranks[0].ok(f"zeros 0 4096 {LARGE // 2}").value("other") == 0
    ranks[2].ok("reach 0 2000")
    ranks[2].ok("put 0 4096 65536 3")
    ranks[0].right("sget 0 4096 65536 2 3")


@pytest.mark.parametrize("delay_us", [0, 500, 4000])
@pytest.mark.parametrize("kind", ["put", "get"])
def test_owner_is_killed__the_copy_fails_and_says_so(cluster, store, kind, delay_us):
    ranks = worlds(cluster, store, 3, mapped=(2,))
    ranks[1].ok(f"sput 1 4096 {LARGE // 2} 1")
    ranks[0].ok(f"loop busy {kind} ranks=1 off=4096 len={LARGE // 2} word=1024 gen=1 writer=1")
    ranks[2].ok("reach 0 5000")
    ranks[1].note_sockets()
    strike = ranks[2].ok(f"strike 0 1024 {ranks[1].pid} 9 {delay_us}")
    deadline = now() + 3
    while ranks[0].ok("stats busy").value("errors") == 0 and now() < deadline:
        time.sleep(0.01)
    stats = ranks[0].ok("end busy")
    assert stats.value("code") == NOT_CONNECTED and stats.value("wrong") == 0, stats
    assert stats.at - strike.at < 2, stats
    assert "rank 1" in stats.text
    report(case="owner killed", kind=kind, delay_us=delay_us, middle=strike.value("middle"),
           seen_ms=round((stats.at - strike.at) * 1000, 1))
    ranks[0].ok("put 2 0 4096 1")


def test_owner_is_stopped__a_put_costs_its_deadline_and_a_get_nothing(cluster, store):
    env = {"MF_COPY_WAIT_MS": "700", "MF_STORE_SESSION_MS": "20000"}
    ranks = worlds(cluster, store, 2, env=env, dram=2 * MIB)
    ranks[1].ok("sput 1 0 65536 3")
    ranks[0].ok("put 1 131072 4096 1")
    stop(ranks[1])
    ranks[0].right("get 1 0 65536 1 3")
    answer = ranks[0].call("put 1 131072 4096 2").fails(
        TIMEOUT, "rank 1", "target range is unknown", "stopped")
    assert 600 < answer.ms < 3000, answer
    ranks[1].signal(signal.SIGCONT)
    ranks[0].ok("put 1 131072 4096 4")
    ranks[1].right("sget 1 131072 4096 0 4")
    time.sleep(0.2)  # what was given up has not begun, so it never lands
    ranks[1].right("sget 1 131072 4096 0 4")


def test_owner_is_stopped__until_it_is_declared_dead(cluster, store):
    """What waits for it fails when its session ends."""
    session_s = 1.5
    ranks = worlds(cluster, store, 3, env={"MF_STORE_SESSION_MS": "1500"}, dram=2 * MIB)
    ranks[0].ok("put 1 0 4096 1")
    begin = stop(ranks[1])
    ranks[0].call("put 1 0 4096 2").fails(NOT_CONNECTED, "rank 1", "declared dead|dead")
    took = now() - begin
    assert took < session_s + 2, took
    report(case="owner stopped", seen_ms=round(took * 1000))
    ranks[0].ok("put 2 0 4096 3")
    ranks[1].signal(signal.SIGCONT)
    time.sleep(0.3)
    ranks[1].call("put 0 0 4096 9").fails(NOT_CONNECTED, "rank 1|declared dead")


def test_target_leaves__during_puts(cluster, store):
    ranks = worlds(cluster, store, 3, dram=4 * MIB)
    for rank, off in ((ranks[0], 4096), (ranks[2], 2 * MIB)):
        rank.ok(f"loop busy both ranks=1 off={off} len=300000 keep=1")
    for _ in range(8):
        time.sleep(0.05)
        assert ranks[1].ok("leave 0").ms < 2000
        ranks[1].ok("join 0")
    for rank in (ranks[0], ranks[2]):
        rank.ok("reach 1 3000")
        stats = rank.ok("end busy")
        assert stats.value("wrong") == 0 and stats.value("odd") == 0, stats
        assert stats.value("rounds") > 0, stats


def test_lives_of_a_peer__leave_no_descriptors(cluster, store):
    ranks = worlds(cluster, store, 2, dram=2 * MIB)
    counts = []
    for life in range(6):
        ranks[0].ok("reach 1 3000")
        ranks[0].ok(f"put 1 0 4096 {life + 1}")
        ranks[1].ok("put 0 0 4096 1")
        ranks[0].right(f"get 1 0 4096 0 {life + 1}")
        counts.append(fds_of(ranks[0]))
        ranks[1].kill()
        ranks[0].call("until 1 3000").fails(NOT_CONNECTED)
        ranks[1] = cluster.comes(1, store.url, 2, dram=2 * MIB, env=NEVER)
    assert counts[-1] <= counts[1] + 1, counts
    report(case="descriptors of lives", counts=counts)


def test_memory_of_a_killed_rank__is_nobodys(cluster, store):
    """Nobody else maps it, so it is free with its process."""
    ranks = worlds(cluster, store, 2)
    ranks[0].ok(f"put 1 0 {LARGE} 1")
    ranks[1].kill()
    ranks[0].call("until 1 3000").fails(NOT_CONNECTED, "rank 1")
    with open(f"/proc/{ranks[0].pid}/maps", encoding="ascii", errors="replace") as maps:
        assert sum("memfabric pool" in line for line in maps) == 1
