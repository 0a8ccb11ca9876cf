# SPDX-License-Identifier: Apache-2.0
"""A rank's part of the pool is a memfd of the application: the bytes are the application's before,
during and after, and nobody can kill a peer by truncating it."""
import mmap
import os
import signal
import time

import pytest

from cluster import INVALID_PARAM, MIB, NOT_CONNECTED, RES_IN_USE, SLOT, now

SHM = 1 << 8  # SMEM_BM_FLAG_CREATE_WITH_SHM
LARGE = 64 * MIB


class View:
    """What the application has of its memfd, apart from the library."""

    def __init__(self, rank, number, size):
        self.fd = os.open(f"/proc/{rank.pid}/fd/{number}", os.O_RDWR)
        self.map = mmap.mmap(self.fd, size)

    def truncate(self, size):
        os.ftruncate(self.fd, size)

    def close(self):
        self.map.close()
        os.close(self.fd)


def ranks_with_memfd(cluster, store, count, size=SLOT, begin=None):
    """Rank 0's part is a memfd; returns the ranks and the view of it."""
    ranks = [cluster.rank(f"rank{i}") for i in range(count)]
    for i, rank in enumerate(ranks):
        rank.ok(f"init {store.url} rank={i} world={count}")
    number = ranks[0].ok(f"memfd {begin or size}").value("fd")
    ranks[0].ok(f"create 0 dram={size} max={size} flags={SHM} shm={number}", 60)
    for rank in ranks[1:]:
        rank.ok(f"create 0 dram={size} max={size}", 60)
    cluster.join(ranks)
    return ranks, View(ranks[0], number, size)


def test_bytes__are_seen_outside_and_kept(cluster, store):
    ranks, view = ranks_with_memfd(cluster, store, 2, begin=4096)
    ranks[1].ok("put 0 4096 8192 7 writer=0")
    ranks[1].ok("store 0 64 77")
    assert int.from_bytes(view.map[64:72], "little") == 77
    view.map[128:136] = (99).to_bytes(8, "little")
    assert ranks[1].ok("load 0 128").value("value") == 99
    before = bytes(view.map)
    for _ in range(2):  # neither zeroed nor given back
        ranks[0].ok("leave 0")
        assert bytes(view.map) == before
        ranks[0].ok("join 0")
        ranks[1].ok("reach 0 5000")
        ranks[1].right("get 0 4096 8192 0 7")
    ranks[0].ok("destroy 0")
    assert bytes(view.map) == before
    ranks[0].ok("uninit")
    assert bytes(view.map) == before
    view.close()


def test_death__leaves_the_bytes_to_the_application(cluster, store):
    ranks, view = ranks_with_memfd(cluster, store, 3, LARGE)
    ranks[1].ok(f"put 0 0 {LARGE} 3")
    before = bytes(view.map)
    for rank in ranks[1:]:
        rank.ok("reach 0 5000")
        rank.send("until 0 5000")
    ranks[0].kill()
    for rank in ranks[1:]:
        rank.reply().fails(NOT_CONNECTED, "rank 0")
    time.sleep(0.5)  # time enough to give 64 MiB back
    assert bytes(view.map) == before
    assert ranks[1].ok("zeros 0 0 65536").value("other") == 0  # there it is gone
    view.close()


def test_truncated_under_copies__is_not_allowed_and_kills_nobody(cluster, store):
    ranks, view = ranks_with_memfd(cluster, store, 3, LARGE)
    for kind, rank in zip(("put", "get"), ranks[1:]):
        rank.ok(f"loop busy {kind} ranks=0 off=0 len={LARGE} gen=1 writer=1 keep=1")
    deadline = now() + 1
    while now() < deadline:
        for size in (0, 4096, LARGE // 2):
            with pytest.raises(PermissionError):
                view.truncate(size)
    view.truncate(2 * LARGE)  # larger is harmless
    for rank in ranks[1:]:
        stats = rank.ok("end busy")
        assert stats.value("errors") == 0, stats
        rank.ok("put 0 0 4096 1")
    view.close()


def test_what_cannot_be_sealed__is_refused(cluster, store):
    rank = cluster.rank("rank0")
    rank.ok(f"init {store.url} rank=0 world=1")
    names = [os.path.join(cluster.scratch, "file"), f"/dev/shm/mf_test_{os.getpid()}"]
    for name in names:
        number = rank.ok(f"open {name}").value("fd")
        os.truncate(name, SLOT)
        answer = rank.call(f"create 0 dram={SLOT} flags={SHM} shm={number}")
        answer.fails(INVALID_PARAM, "create pool 0 on rank 0", "cannot be sealed against shrinking",
                     "memfd_create")
        os.unlink(name)
    for number in (-1, 1000):
        answer = rank.call(f"create 0 dram={SLOT} flags={SHM} shm={number}")
        answer.fails(INVALID_PARAM, "dramShmFd")
    number = rank.ok(f"memfd {SLOT} seals=4").value("fd")  # F_SEAL_GROW
    rank.call(f"create 0 dram={2 * SLOT} flags={SHM} shm={number}").fails(
        INVALID_PARAM, "sealed against growing")
    rank.ok(f"create 0 dram={SLOT} flags={SHM} shm={number}")
    rank.ok("join 0")


@pytest.mark.parametrize("call", ["leave", "destroy"])
def test_stopped_in_its_copy__never_success(cluster, store, call):
    """Rank 1 is stopped while it writes to rank 0's memory: bytes of it may still come."""
    cluster.env["MF_FENCE_WAIT_MS"] = "300"
    cluster.env["MF_STORE_SESSION_MS"] = "60000"  # being stopped is not being dead
    ranks, view = ranks_with_memfd(cluster, store, 3, LARGE)
    ranks[1].ok(f"loop busy put ranks=0 off=4096 len={LARGE - 8192} word=1024 keep=1")
    ranks[2].ok("reach 1 5000")
    strike = f"strike 1 1024 {ranks[1].pid} {int(signal.SIGSTOP)} 2000"
    while ranks[2].ok(strike).value("middle") != 1:
        ranks[1].signal(signal.SIGCONT)
    ranks[0].call(f"{call} 0").fails(RES_IN_USE, "rank 1", str(ranks[1].pid))
    if call == "leave":
        ranks[0].call("join 0").fails(RES_IN_USE, "call smem_bm_leave until it succeeds")
        ranks[0].call(f"extend 0 {SLOT}").fails(RES_IN_USE)
        ranks[0].call("leave 0").fails(RES_IN_USE, "rank 1")
        ranks[1].signal(signal.SIGCONT)
        ranks[0].ok("leave 0")
        before = bytes(view.map)
        time.sleep(0.1)
        assert bytes(view.map) == before
        ranks[0].ok("join 0")
        ranks[1].ok("reach 0 5000")
    else:
        ranks[0].call("leave 0").fails(INVALID_PARAM)  # the handle is gone
        ranks[0].call(f"create 0 dram={SLOT}").fails(-2006)  # its id and addresses are not
        ranks[1].signal(signal.SIGCONT)
    stats = ranks[1].ok("end busy")
    assert stats.value("odd") == 0, stats
    ranks[0].ok("uninit")
    view.close()
