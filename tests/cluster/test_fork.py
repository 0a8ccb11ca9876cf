# SPDX-License-Identifier: Apache-2.0
"""A rank forks and is killed while its child lives: a death is a death."""
from cluster import NOT_CONNECTED, NOT_INIT, now, report


def test_child_lives_on__the_parent_is_seen_dead(cluster, store):
    ranks = cluster.ranks(3, store.url)
    ranks[0].ok("put 1 0 4096 2")
    child = ranks[1].ok("fork").value("pid")
    for rank in (ranks[0], ranks[2]):
        rank.send("until 1 5000")
    at = ranks[1].kill()
    took = [rank.reply().fails(NOT_CONNECTED, "rank 1").at - at for rank in (ranks[0], ranks[2])]
    assert max(took) < 2, took
    report(case="parent killed, child lives", seen_ms=[round(t * 1000, 2) for t in took])
    hello = ranks[1].reply().ok()  # the child goes on with the conversation
    assert hello.value("pid") == child
    # Its slot is free for a new process although the child has inherited all there was.
    again = cluster.comes(1, store.url, 3)
    for rank in (ranks[0], ranks[2]):
        rank.ok("reach 1 3000")
    again.ok("put 0 0 4096 3")
    ranks[0].right("sget 0 0 4096 1 3")


def test_child__has_no_service_and_says_so(cluster, store):
    ranks = cluster.ranks(2, store.url, world=4)
    ranks[1].ok("fork")
    ranks[1].kill()
    ranks[1].reply().ok()
    for command in ("join 0", "leave 0", "create 1", "get 0 0 64 0 0", "reach 0 10"):
        ranks[1].call(command).fails(NOT_INIT, "fork")


def test_child__can_begin_anew(cluster, store):
    ranks = cluster.ranks(3, store.url)
    ranks[1].ok("fork")
    ranks[1].kill()
    ranks[1].reply().ok()
    begin = now()
    ranks[1].ok(f"init {store.url} rank=1 world=3")
    ranks[1].ok("create 0 dram=2097152")
    ranks[1].ok("join 0")
    assert now() - begin < 5
    for rank in (ranks[0], ranks[2]):
        rank.ok("reach 1 3000")
        rank.ok("put 1 65536 65536 4")
    ranks[1].right("sget 1 65536 65536 2 4")
    ranks[1].ok("put 2 0 65536 6")
    ranks[2].right("sget 2 0 65536 1 6")
    ranks[1].ok("destroy 0")
    ranks[1].ok("uninit")


def test_fork_of_a_living_rank__harms_neither(cluster, store):
    """The parent goes on while a child of its lives, and leaves and joins."""
    ranks = cluster.ranks(3, store.url)
    ranks[1].ok("fork")
    ranks[1].ok("put 0 0 65536 1")
    ranks[0].ok("put 1 0 65536 2")
    ranks[1].right("sget 1 0 65536 0 2")
    ranks[1].ok("leave 0")
    ranks[0].call("until 1 2000").fails(NOT_CONNECTED, "left")
    ranks[1].ok("join 0")
    ranks[0].ok("reach 1 2000")
    ranks[1].ok("destroy 0")
    ranks[1].ok("uninit")


def test_store_host_forks__its_port_is_free_after_its_death(cluster):
    host = cluster.rank("host")
    from cluster import free_port
    url = f"tcp://127.0.0.1:{free_port()}"
    host.ok(f"serve {url}")
    host.ok("fork")
    host.kill()
    host.reply().ok()
    again = cluster.rank("again")
    again.ok(f"serve {url}")
    ranks = cluster.ranks(2, url)
    ranks[0].ok("put 1 0 64 1")
