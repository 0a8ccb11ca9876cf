# SPDX-License-Identifier: Apache-2.0
"""Many ranks on one host. The limits that are asserted are four times what the figures promise, since
a test shares its machine; the figures themselves are printed."""
import os
import resource
import time

import pytest

from cluster import MIB, SANITIZE, SLOT, now, proc_status, report

pytestmark = pytest.mark.skipif(bool(SANITIZE), reason="figures of a sanitizer say nothing")


def together(ranks, command, seconds=60):
    """All at once; returns how long until the last was done, and the slowest by its own count."""
    begin = now()
    for rank in ranks:
        rank.send(command(ranks.index(rank)) if callable(command) else command)
    slowest = max(rank.reply(seconds).ok().ms for rank in ranks)
    return (now() - begin) * 1000, slowest


def start(cluster, count, url, world):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    ranks = [cluster.rank(f"rank{i}", {"MF_LOG_LEVEL": "2"}) for i in range(count)]
    for rank in ranks:
        rank.send("sleep 0")
    for rank in ranks:
        rank.reply(60).ok()
    init, _ = together(ranks, lambda i: f"init {url} rank={i} world={world} op=60 init=60")
    create, _ = together(ranks, f"create 0 dram={SLOT}")
    join, slowest = together(ranks, "join 0")
    report(case="join", ranks=count, init_ms=round(init), create_ms=round(create),
           join_ms=round(join), slowest_join_ms=round(slowest, 1),
           in_all_ms=round(init + create + join))
    return ranks, (init + create + join) / 1000


def private_kib(pid):
    """What the process has of its own: resident memory that is not shared."""
    status = proc_status(pid)
    return int(status["VmRSS"].split()[0]) - int(status["RssShmem"].split()[0])


def wake_ups(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as status:
            total += sum(int(line.split()[1]) for line in status
                         if line.startswith("voluntary_ctxt_switches"))
    return total


def check_all(ranks, pairs):
    for a, b in pairs:
        ranks[a].ok(f"put {b} 4096 4096 {a + 1}")
        ranks[b].right(f"sget {b} 4096 4096 {a} {a + 1}")


def test_64_ranks__join_and_idle_cheaply(cluster, store):
    ranks, in_all = start(cluster, 64, store.url, 65)
    assert in_all < 8, in_all
    check_all(ranks, [(i, (i * 37 + 11) % 64) for i in range(64)])
    # One more rank.
    more = cluster.rank("more")
    more.ok(f"init {store.url} rank=64 world=65")
    more.ok(f"create 0 dram={SLOT}")
    one_more = more.ok("join 0").ms
    assert one_more < 400, one_more
    more.stop()
    # Idle.
    time.sleep(1.5)
    before = [wake_ups(rank.pid) for rank in ranks]
    time.sleep(4)
    rates = sorted((wake_ups(rank.pid) - was) / 4 for rank, was in zip(ranks, before))
    memory = sorted(private_kib(rank.pid) for rank in ranks)
    report(case="idle", ranks=64, private_kib_median=memory[32], private_kib_max=memory[-1],
           wake_ups_per_s_median=rates[32], wake_ups_per_s_max=rates[-1], one_more_ms=one_more)
    assert memory[-1] <= 8192, memory
    assert rates[32] <= 2, rates
    destroy = ranks[7].ok("destroy 0").ms
    uninit = ranks[7].ok("uninit").ms
    report(case="end of one of 64", destroy_ms=destroy, uninit_ms=uninit)
    assert destroy + uninit < 400, (destroy, uninit)
    destroy, _ = together(ranks[:7] + ranks[8:], "destroy 0")
    uninit, _ = together(ranks[:7] + ranks[8:], "uninit")
    report(case="end of 63", destroy_ms=round(destroy), uninit_ms=round(uninit))
    assert destroy + uninit < 20000


def test_256_ranks__join_and_one_more(cluster, store):
    with open("/proc/meminfo", encoding="ascii") as info:
        fields = dict(line.split(":", 1) for line in info)
    if int(fields["MemAvailable"].split()[0]) < 3 * 1024 * 1024:
        pytest.skip("256 ranks need 3 GiB of memory")
    ranks, in_all = start(cluster, 255, store.url, 256)
    assert in_all < 32, in_all
    more = cluster.rank("more")
    more.ok(f"init {store.url} rank=255 world=256")
    more.ok(f"create 0 dram={SLOT}")
    one_more = more.ok("join 0").ms
    report(case="one more into 255", join_ms=one_more)
    assert one_more < 1000, one_more
    ranks.append(more)
    check_all(ranks, [(i, (i * 101 + 57) % 256) for i in range(0, 256, 5)])
    report(case="idle", ranks=256, private_kib_max=max(private_kib(rank.pid) for rank in ranks))
    at = ranks[100].kill()
    others = [ranks[i] for i in (0, 50, 99, 101, 255)]
    took = []
    for rank in others:
        took.append(rank.call("until 100 5000").at - at)
    report(case="death in a world of 256", seen_ms=[round(t * 1000, 1) for t in took])
    assert max(took) < 2, took
    # Killed all at once: nothing of them is left (see the fixture).
    for rank in ranks:
        if rank.popen.poll() is None:
            rank.popen.kill()
