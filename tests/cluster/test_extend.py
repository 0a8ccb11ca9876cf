# SPDX-License-Identifier: Apache-2.0
"""A rank gives more memory while others copy, stop, die, and while the store goes away."""
import random
import signal
import threading
import time

import pytest

from cluster import (INVALID_PARAM, MALLOC_FAILED, MIB, NOT_CONNECTED, NOT_INIT, SLOT, TIMEOUT, ERROR,
                     free_port, now, report)
from test_kill import available_bytes

STEP = 2 * MIB
TOP = 32 * MIB


def test_while_all_copy__nobody_fails_and_all_have_it_at_once(cluster, store):
    ranks = cluster.ranks(4, store.url, top=TOP)
    for i, rank in enumerate(ranks):
        others = ",".join(str(other) for other in range(4) if other != i)
        rank.ok(f"loop all both ranks={others} off={4096 + 65536 * i} len=65536")
    took = []
    for size in range(SLOT, TOP, STEP):
        took.append(ranks[0].ok(f"extend 0 {STEP}").ms)
        for i, rank in enumerate(ranks):
            rank.ok(f"put 0 {size - 4096} 8192 {i + 1}")  # over the seam
            rank.ok(f"sget 0 {size - 4096} 8192 {i} {i + 1}")
    report(case="extended by 2 MiB under copies of 3 peers", ms=sorted(took)[len(took) // 2])
    assert ranks[0].ok("size 0").value("size") == TOP
    ranks[0].call(f"extend 0 {STEP}").fails(ERROR, str(TOP), "maxDramSize")
    for rank in ranks:
        stats = rank.ok("end all")
        assert stats.value("errors") == 0 and stats.value("wrong") == 0, stats


def test_peers_that_are_not_attached__get_it_with_the_first_call(cluster, store):
    cluster.env["MF_PEER_EAGER"] = "0"
    ranks = cluster.ranks(4, store.url, top=TOP)
    ranks[1].ok("put 0 0 4096 1")
    ranks[0].ok(f"extend 0 {STEP}")
    ranks[1].ok(f"put 0 {SLOT - 64} 4096 1")
    ranks[2].ok(f"put 0 {SLOT + 4096} 4096 2")  # the first thing that it wants of rank 0
    ranks[0].ok(f"extend 0 {2 * STEP}")
    ranks[3].ok(f"zeros 0 {SLOT + STEP} {2 * STEP}")  # by loads alone
    ranks[2].ok(f"g2g 0 {SLOT - 64} 1 0 4096")
    ranks[3].right(f"get 0 {SLOT - 64} 4096 1 1")


def test_stopped_peer__delays_little_and_learns_of_it_later(cluster, store):
    cluster.env["MF_PEER_CONNECT_MS"] = "300"
    ranks = cluster.ranks(3, store.url, top=TOP)
    ranks[2].signal(signal.SIGSTOP)
    answer = ranks[0].ok(f"extend 0 {STEP}")
    assert answer.ms < 2000, answer
    ranks[1].ok(f"put 0 {SLOT - 128} 256 1")
    ranks[2].signal(signal.SIGCONT)
    ranks[2].ok(f"put 0 {SLOT - 128} 256 2")
    ranks[1].right(f"get 0 {SLOT - 128} 256 2 2")


@pytest.mark.parametrize("delay_ms", [0, 1, 3, 7])
def test_owner_killed_while_extending__others_go_on(cluster, store, delay_ms):
    ranks = cluster.ranks(3, store.url, top=TOP)
    ranks[1].ok(f"loop far both ranks=0 off=4096 len={SLOT - 4096} keep=1")
    ranks[2].ok("loop pair both ranks=1 off=4096 len=65536")
    for _ in range((TOP - SLOT) // STEP):
        ranks[0].send(f"extend 0 {STEP}")
    time.sleep(delay_ms / 1000)
    ranks[0].kill()
    for rank in (ranks[1], ranks[2]):
        rank.call("until 0 5000").fails(NOT_CONNECTED, "rank 0")
    stats = ranks[1].ok("end far")
    assert stats.value("odd") == 0 and stats.value("wrong") == 0, stats
    stats = ranks[2].ok("end pair")
    assert stats.value("errors") == 0 and stats.value("wrong") == 0, stats
    again = cluster.comes(0, store.url, 3, top=TOP)  # with its first size
    again.ok(f"extend 0 {STEP}")
    for rank in (ranks[1], ranks[2]):
        rank.ok("reach 0 5000")
        rank.ok(f"put 0 {SLOT - 64} 128 3")
        rank.call(f"put 0 {SLOT + STEP - 64} 128 3").fails(INVALID_PARAM, "rank 0")


def test_peers_killed_while_it_extends__it_succeeds(cluster, store):
    ranks = cluster.ranks(6, store.url, top=TOP)
    rng = random.Random(5)

    def strike():
        for rank in ranks[2:]:
            time.sleep(rng.random() * 0.01)
            rank.kill()

    striker = threading.Thread(target=strike)
    striker.start()
    for _ in range((TOP - SLOT) // STEP):
        answer = ranks[0].ok(f"extend 0 {STEP}")
        assert answer.ms < 6000, answer
    striker.join()
    ranks[1].ok(f"put 0 {TOP - 4096} 4096 1")
    ranks[0].right(f"sget 0 {TOP - 4096} 4096 1 1")


def test_more_than_there_is__is_said_and_nothing_changes(cluster, store):
    much = (available_bytes() + (4 << 30)) // STEP * STEP
    ranks = cluster.ranks(2, store.url, top=2 * much)
    ranks[1].ok("loop far both ranks=0 off=4096 len=65536")
    ranks[0].call(f"extend 0 {much}").fails(MALLOC_FAILED, "may still be allocated, says",
                                            "extend the DRAM of rank 0 in pool 0")
    assert ranks[0].ok("size 0").value("size") == SLOT
    ranks[1].call(f"put 0 {SLOT} 64 1").fails(INVALID_PARAM, "rank 0 has 2097152 bytes")
    ranks[0].ok(f"extend 0 {STEP}")
    ranks[1].ok(f"put 0 {SLOT} 64 1")
    stats = ranks[1].ok("end far")
    assert stats.value("errors") == 0 and stats.value("wrong") == 0, stats


def test_store_away__fails_in_time_and_works_when_it_is_back(cluster):
    cluster.env["MF_STORE_SESSION_MS"] = "1000"
    store = cluster.store(f"tcp://127.0.0.1:{free_port()}")
    ranks = cluster.ranks(3, store.url, top=TOP, world=4, init="op=1")
    ranks[0].ok(f"extend 0 {STEP}")
    store.kill()
    begin = now()
    ranks[0].call(f"extend 0 {STEP}").fails((TIMEOUT, NOT_CONNECTED), "extend")
    assert now() - begin < 3
    assert ranks[0].ok("size 0").value("size") == SLOT + STEP
    ranks[1].ok(f"put 0 {SLOT + STEP - 64} 64 1")
    ranks[1].call(f"put 0 {SLOT + STEP} 64 1").fails(INVALID_PARAM)
    cluster.store(store.url)
    deadline = now() + 10
    while ranks[0].call(f"extend 0 {STEP}").code != 0:
        assert now() < deadline
        time.sleep(0.1)
    time.sleep(1.5)  # newcomers wait until the store has heard from all
    late = cluster.comes(3, store.url, 4, top=TOP, init="op=5")
    for rank in (ranks[1], late):
        rank.ok(f"put 0 {SLOT + 2 * STEP - 64} 64 1")
        rank.ok(f"put 0 {SLOT - 64} 128 1")


def test_fork__the_child_holds_nothing(cluster, store):
    ranks = cluster.ranks(2, store.url, top=TOP)
    ranks[0].ok(f"extend 0 {STEP}")
    ranks[0].ok("fork")
    ranks[0].ok(f"extend 0 {STEP}")
    ranks[1].ok(f"put 0 {SLOT + STEP - 64} 128 1")
    ranks[0].right(f"sget 0 {SLOT + STEP - 64} 128 1 1")
    ranks[1].send("until 0 5000")
    ranks[0].kill()
    ranks[1].reply().fails(NOT_CONNECTED, "rank 0")
    ranks[0].reply().ok()
    ranks[0].call(f"extend 0 {STEP}").fails(NOT_INIT, "fork")
