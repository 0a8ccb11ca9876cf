# SPDX-License-Identifier: Apache-2.0
"""The config store goes away, and comes back: copies go on, joins and leaves say so in time."""
import time

import pytest

from cluster import INVALID_PARAM, NOT_CONNECTED, NOT_STARTED, TIMEOUT, SLOT, free_port, now, report


SESSION_MS = 2000
KINDS = ["process", "rank 0"]


def rank_0(cluster, url, world):
    host = cluster.rank("host")
    host.ok(f"init {url} rank=0 world={world} serve=1 op=1 init=10")
    host.ok(f"create 0 dram={SLOT}")
    host.ok("join 0")
    return host


def start(cluster, kind, count, world):
    """Ranks and what hosts their store: a process of its own, or rank 0. The host is last."""
    cluster.env["MF_STORE_SESSION_MS"] = str(SESSION_MS)
    if kind == "process":
        host = cluster.store()
        ranks = cluster.ranks(count, host.url, world=world, init="op=1")
        cluster.env["MF_STORE_SETTLE_MS"] = "200"
        return host.url, ranks, host
    cluster.env["MF_STORE_SETTLE_MS"] = "200"
    url = f"tcp://127.0.0.1:{free_port()}"
    host = rank_0(cluster, url, world)
    ranks = [cluster.comes(i, url, world, init="op=1") for i in range(1, count + 1)]
    return url, ranks, host


def number(ranks, rank, kind):
    return ranks.index(rank) + (1 if kind == "rank 0" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_store_killed__copies_go_on_and_deaths_are_seen(cluster, kind):
    url, ranks, host = start(cluster, kind, 4, 8)
    ids = [number(ranks, rank, kind) for rank in ranks]
    for rank, me in zip(ranks, ids):
        others = ",".join(str(i) for i in ids if i != me)
        rank.ok(f"store {me} 0 {me + 100}")
        rank.ok(f"loop all both ranks={others} off={65536 * (me + 1)} len=65536 keep=1")
    time.sleep(0.1)
    if kind == "rank 0":
        for rank in ranks:
            rank.send("until 0 5000")
    at = host.kill()
    if kind == "rank 0":
        for rank in ranks:
            seen = rank.reply().fails(NOT_CONNECTED, "rank 0")
            assert seen.at - at < 2, seen
    time.sleep(1.3 * SESSION_MS / 1000)
    for rank in ranks:
        stats = rank.ok("stats all")
        assert stats.value("errors") == 0 and stats.value("wrong") == 0, stats
    victim = ids[3]
    for rank in ranks[:3]:
        rank.send(f"until {victim} 5000")
    time.sleep(0.02)
    at = ranks[3].kill()
    took = [rank.reply().fails(NOT_CONNECTED, f"rank {victim}").at - at for rank in ranks[:3]]
    assert max(took) < 2, took
    report(case=f"death without a store ({kind})", seen_ms=[round(t * 1000, 2) for t in took])
    for rank in ranks[:3]:
        stats = rank.ok("end all")
        assert stats.value("wrong") == 0 and stats.value("odd") == 0, stats
    ranks[0].ok(f"put {ids[1]} 0 65536 3")
    ranks[2].right(f"get {ids[1]} 0 65536 {ids[0]} 3")


@pytest.mark.parametrize("kind", KINDS)
def test_store_killed__joins_and_leaves_end_by_their_deadline(cluster, kind):
    url, ranks, host = start(cluster, kind, 3, 8)
    ids = [number(ranks, rank, kind) for rank in ranks]
    late = cluster.rank("late")
    late.ok(f"init {url} rank=7 world=8 op=1")
    late.ok(f"create 0 dram={SLOT}")
    host.kill()
    late.send("join 0")
    answer = late.reply().fails(TIMEOUT, "join pool 0", "store")
    assert 900 < answer.ms < 3000, answer
    newcomer = cluster.rank("newcomer")
    answer = newcomer.call(f"init {url} rank=6 world=8 init=1").fails(TIMEOUT, "store", url)
    assert 900 < answer.ms < 3000, answer
    create = ranks[2].call("create 1 dram=2097152", 20)
    assert create.code == TIMEOUT, create
    # A leave says that it could not tell the store, and takes the memory back all the same.
    ranks[0].ok(f"put {ids[1]} 4096 65536 3")
    answer = ranks[1].call("leave 0").fails(TIMEOUT, "leave pool 0", "store")
    assert 900 < answer.ms < 3000, answer
    assert ranks[1].ok(f"zeros {ids[1]} 0 {SLOT}").value("other") == 0
    ranks[1].call(f"get {ids[0]} 0 64 0 0").fails(NOT_STARTED, "join")
    ranks[0].call(f"get {ids[1]} 4096 64 0 0").fails(NOT_CONNECTED, f"rank {ids[1]}")
    ranks[0].ok(f"reach {ids[2]} 1000")


def test_destroy_without_a_store__takes_milliseconds(cluster):
    _, ranks, host = start(cluster, "process", 3, 3)
    host.kill()
    time.sleep(0.2)
    for rank in ranks:
        destroy = rank.call("destroy 0")
        end = rank.ok("uninit")
        report(case="end without a store", destroy_ms=destroy.ms, uninit_ms=end.ms)
        assert destroy.ms < 1500 and end.ms < 1500, (destroy, end)


def test_restarted_store__ranks_are_known_again(cluster):
    url, ranks, host = start(cluster, "process", 4, 8)
    for i, rank in enumerate(ranks):
        others = ",".join(str(j) for j in range(4) if j != i)
        rank.ok(f"store {i} 0 {i + 100}")
        rank.ok(f"loop all both ranks={others} off={65536 * (i + 1)} len=65536")
    for _ in range(2):
        host.kill()
        time.sleep(0.3)
        host = cluster.store(url)
        assert host.url == url
        begin = now()
        new = cluster.comes(6, url, 8, init="init=10")
        took = now() - begin
        report(case="join at a restarted store", ms=round(took * 1000, 1))
        assert took < 5, took
        for i, rank in enumerate(ranks):
            rank.ok("reach 6 3000")
            new.ok(f"put {i} 8192 4096 {i + 1}")
            rank.right(f"sget {i} 8192 4096 6 {i + 1}")
        new.ok("destroy 0")
        new.ok("uninit")
        time.sleep(1.3 * SESSION_MS / 1000)
        for rank in ranks:
            stats = rank.ok("stats all")
            assert stats.value("errors") == 0 and stats.value("wrong") == 0, stats
    for rank in ranks:
        stats = rank.ok("end all")
        assert stats.value("errors") == 0 and stats.value("wrong") == 0, stats
    ranks[0].ok("leave 0")
    ranks[1].call("until 0 2000").fails(NOT_CONNECTED, "rank 0", "left")
    ranks[0].ok("join 0")
    ranks[1].ok("reach 0 2000")


def test_restarted_host__hosts_again_and_is_one_of_them(cluster):
    """Rank 0 hosts the store, dies, and the same command is given again."""
    url, ranks, host = start(cluster, "rank 0", 3, 8)
    for rank in ranks:
        rank.ok(f"loop all both ranks={','.join(str(i + 1) for i, r in enumerate(ranks) if r is not rank)} "
                f"off={65536 * (1 + ranks.index(rank))} len=65536")
    for turn in range(3):
        host.kill()
        host = rank_0(cluster, url, 8)
        for i, rank in enumerate(ranks):
            rank.ok("reach 0 3000")
            host.ok(f"put {i + 1} 0 4096 {turn + 1}")
            rank.right(f"sget {i + 1} 0 4096 0 {turn + 1}")
            rank.ok(f"put 0 {4096 * (i + 1)} 4096 {turn + 10}")
            host.right(f"sget 0 {4096 * (i + 1)} 4096 {i + 1} {turn + 10}")
        if turn == 0:
            time.sleep(1.3 * SESSION_MS / 1000)
    for rank in ranks:
        stats = rank.ok("end all")
        assert stats.value("errors") == 0 and stats.value("wrong") == 0, stats


def test_restarted_store__a_rank_that_died_meanwhile_is_dead(cluster):
    url, ranks, host = start(cluster, "process", 3, 4)
    host.kill()
    ranks[1].kill()
    host = cluster.store(url)
    time.sleep(2 * SESSION_MS / 1000 + 0.5)
    ranks[0].call("get 1 0 64 0 0").fails(NOT_CONNECTED, "rank 1")
    ranks[0].ok("put 2 0 4096 5")
    again = cluster.comes(1, url, 4)
    for rank in (ranks[0], ranks[2]):
        rank.ok("reach 1 3000")
    again.right("get 2 0 4096 0 5")


def test_half_a_join_without_a_store__can_be_repeated(cluster):
    url, ranks, host = start(cluster, "process", 2, 4)
    late = cluster.rank("late")
    late.ok(f"init {url} rank=3 world=4 op=1")
    late.ok(f"create 0 dram={SLOT}")
    host.kill()
    late.call("join 0").fails(TIMEOUT)
    cluster.store(url)
    deadline = now() + 10
    answer = late.call("join 0")
    while answer.code != 0 and now() < deadline:
        answer = late.call("join 0")
    answer.ok()
    ranks[0].ok("reach 3 3000")
    ranks[0].ok("put 3 0 4096 1")
    late.right("sget 3 0 4096 0 1")


def test_restarted_store__pools_lie_where_they_lay(cluster):
    """A newcomer creates the pools in another order than those who laid them down."""
    url, ranks, host = start(cluster, "process", 2, 4)
    for pool in (5, 2):
        for rank in ranks:
            rank.ok(f"create {pool} dram={SLOT * pool}")
            rank.ok(f"join {pool}")
    host.kill()
    cluster.store(url)
    new = cluster.rank("new")
    new.ok(f"init {url} rank=3 world=4 op=2 init=10")
    for pool in (2, 5):
        new.ok(f"create {pool} dram={SLOT * pool}")
        new.ok(f"join {pool}")
        for i, rank in enumerate(ranks):
            new.ok(f"put {i} 0 65536 {pool} pool={pool}")
            rank.right(f"sget {i} 0 65536 3 {pool} pool={pool}")
            rank.ok(f"reach 3 2000 pool={pool}")
    wrong = new.call(f"create 0 dram={SLOT * 2}")
    wrong.fails(INVALID_PARAM, "pool 0 exists", str(SLOT), str(SLOT * 2))
