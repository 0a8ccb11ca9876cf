# SPDX-License-Identifier: Apache-2.0
"""Pools whose global addresses are no addresses of any process: each process reaches a segment where it
had room, global addresses and pointers are one in copies, and what goes wrong says why."""
import resource

import pytest

from cluster import (INVALID_PARAM, MALLOC_FAILED, MIB, NOT_CONNECTED, NO_RESOURCES, OK, RES_IN_USE, SANITIZE,
                     proc_status, report)

WIDE = 1 << 56
WIDE_FREE = WIDE + (1 << 55)
GIB = 1 << 30
TIB = 1 << 40
BYTES = 4 * MIB
ALWAYS = {"MF_GVA_TRANSLATE": "always"}


def vm_size(rank):
    return int(proc_status(rank.pid)["VmSize"].split()[0]) * 1024


def mappings(rank):
    with open(f"/proc/{rank.pid}/maps", encoding="ascii", errors="replace") as maps:
        return sum(1 for _ in maps)


def where(rank, peer, offset=0):
    found = rank.ok(f"where {peer} {offset}")
    return found.value("gva"), found.value("va")


def two_of(cluster, store, world, options, env=None, numbers=(0, 1)):
    """Two ranks of a large world, which have created pool 0 and joined."""
    ranks = [cluster.rank(f"rank{n}", env) for n in numbers]
    for n, rank in zip(numbers, ranks):
        rank.ok(f"init {store.url} rank={n} world={world}")
        rank.ok(f"create 0 dram={BYTES} {options}", 60)
    cluster.join(ranks)
    return ranks


def exchange(ranks, numbers=(0, 1)):
    """Copies both ways, by global addresses, by pointers, by loads and stores."""
    for i, rank in enumerate(ranks):
        peer, other = numbers[1 - i], ranks[1 - i]
        gva, va = where(rank, peer, 4096)
        rank.ok(f"put {peer} 4096 65536 {i + 1} writer=7")
        other.right(f"sget {peer} 4096 65536 7 {i + 1}")
        rank.right(f"get {peer} 4096 65536 7 {i + 1}")
        rank.right(f"sget {peer} 4096 65536 7 {i + 1}")
        rank.right(f"vget {va} 65536 {i + 1} 7 4096")
        rank.ok(f"vput {va + MIB} 4992 {i + 3} 9 {4096 + MIB}")
        rank.right(f"vget {gva + MIB} 4992 {i + 3} 9 {4096 + MIB}")
        other.right(f"get {peer} {4096 + MIB} 4992 9 {i + 3}")
        rank.ok(f"g2g {peer} 4096 {numbers[i]} {2 * MIB} 65536")


@pytest.mark.parametrize("top", [64 * GIB, 512 * GIB])
def test_pool_larger_than_a_process__two_of_1024_ranks(cluster, store, top):
    numbers = (3, 1023)
    ranks = two_of(cluster, store, 1024, f"max={top}", numbers=numbers)
    for rank in ranks:
        gva, va = where(rank, 1023, 5)
        assert gva == WIDE_FREE + 1023 * top + 5
        assert va < 1 << 47
        if not SANITIZE:
            assert vm_size(rank) < 4 * GIB
    exchange(ranks, numbers)
    ranks[0].call("put 5 0 64 1").fails(NOT_CONNECTED, "rank 5 is not in pool 0: it has not joined")
    ranks[0].call(f"put 3 {BYTES} 64 1").fails(INVALID_PARAM, "rank 3 has 4194304 bytes")
    ranks[0].ok("destroy 0")
    ranks[0].ok(f"create 0 dram={BYTES} max={top}")
    ranks[0].ok("join 0")
    exchange(ranks, numbers)


def test_pool_larger_than_there_is__is_refused(cluster, store):
    rank = cluster.rank()
    rank.ok(f"init {store.url} rank=0 world=1024")
    for options in ("", "wide=1"):
        rank.call(f"create 0 dram={BYTES} max={64 * TIB} {options}").fails(
            NO_RESOURCES, "create pool 0 on rank 0", "no 72057594037927936 bytes of translated")
    never = cluster.rank("never", {"MF_GVA_TRANSLATE": "never"})
    never.ok(f"init {store.url} rank=1 world=1024")
    never.call(f"create 0 dram={BYTES} max={64 * GIB}").fails(
        NO_RESOURCES, "70368744177664 bytes", "MF_GVA_TRANSLATE", "never", "MF_GVA_SPAN")
    never.call(f"create 0 dram={BYTES} wide=1").fails(INVALID_PARAM, "enable56BitsGva asks")
    odd = cluster.rank("odd", {"MF_GVA_TRANSLATE": "maybe"})
    odd.ok(f"init {store.url} rank=2 world=1024")
    odd.call(f"create 0 dram={BYTES}").fails(INVALID_PARAM, '"maybe": auto, always and never')


def test_asked_for__by_flag_or_option_and_by_all(cluster, store):
    ranks = two_of(cluster, store, 4, "wide=1")
    gva, va = where(ranks[0], 1)
    assert gva == WIDE + BYTES and va != gva
    assert ranks[0].ok("where 1 0").value("owner") == 1
    exchange(ranks)
    third = cluster.rank("third", ALWAYS)
    third.ok(f"init {store.url} rank=2 world=4")
    third.ok(f"create 0 dram={BYTES}")
    third.ok("join 0")
    third.right("get 0 4096 65536 7 2")
    fourth = cluster.rank("fourth")
    fourth.ok(f"init {store.url} rank=3 world=4")
    fourth.call(f"create 0 dram={BYTES}").fails(
        INVALID_PARAM, "pool 0 exists with enable56BitsGva on",
        "asks for it with enable56BitsGva off", "MF_GVA_TRANSLATE")
    fourth.ok(f"create 1 dram={BYTES}")  # another pool is another matter
    ranks[0].call(f"create 1 dram={BYTES} wide=1").fails(
        INVALID_PARAM, "pool 1 exists with enable56BitsGva off", "rank 3 has it open")


def test_dead_rank__its_place_reads_zero_and_is_taken_again(cluster, store):
    ranks = cluster.ranks(2, store.url, world=3, dram=BYTES, env=ALWAYS)
    sizes, counts = [], []
    before = None
    for life in range(12):
        victim = cluster.comes(2, store.url, 3, dram=BYTES, env=ALWAYS)
        victim.ok(f"sput 2 0 {BYTES} {life}")
        gva, va = where(ranks[0], 2)
        assert before in (None, va)  # a pointer is good again when the rank is back
        before = va
        ranks[0].right(f"vget {va} {BYTES} {life} 2 0")
        ranks[1].right(f"get 2 0 {BYTES} 2 {life}")
        victim.kill()
        for rank in ranks:
            rank.call("until 2 5000").fails(NOT_CONNECTED, "rank 2")
        for how in (f"vput {va} 64 1 0 0", f"vget {va + 99} 128000 1 0 0", f"vput {gva} 64 1 0 0"):
            ranks[0].call(how).fails(NOT_CONNECTED, "rank 2")
        assert ranks[0].ok(f"at {va} {BYTES}").value("other") == 0
        sizes.append(vm_size(ranks[0]))
        counts.append(mappings(ranks[0]))
        victim.stop()
        cluster.processes.remove(victim)
    exchange(ranks)
    report(case="deaths in a translated pool", vm_kib=[size >> 10 for size in sizes], mappings=counts)
    if not SANITIZE:
        assert max(sizes[4:]) <= max(sizes[:4]) + 12 * MIB
    assert max(counts[4:]) <= max(counts[:4]) + 8


def test_copies_under_deaths__no_wrong_byte(cluster, store):
    ranks = cluster.ranks(3, store.url, world=4, dram=BYTES, env=ALWAYS)
    for i, rank in enumerate(ranks):
        rank.ok(f"loop all both ranks=3,{(i + 1) % 3} off={MIB + i * 65536} len=65536 keep=1 peek=1 "
                f"pause=200")
    for _ in range(6):
        victim = cluster.comes(3, store.url, 4, dram=BYTES, env=ALWAYS)
        ranks[0].call("reach 3 5000").ok()
        victim.kill()
        victim.stop()
        cluster.processes.remove(victim)
    for rank in ranks:
        stats = rank.ok("end all", 30)
        assert stats.value("wrong") == 0, stats
        assert stats.value("odd") == OK, stats
        assert stats.value("rounds") > 10, stats


def test_grown_memory__is_reached_piece_by_piece(cluster, store):
    ranks = cluster.ranks(2, store.url, dram=BYTES, top=4 * BYTES, env=ALWAYS)
    _, first = where(ranks[1], 0)
    ranks[0].ok(f"extend 0 {BYTES}")
    ranks[1].ok(f"put 0 {BYTES - 4992} 9984 3")  # over the seam
    ranks[0].right(f"get 0 {BYTES - 4992} 9984 1 3")
    _, second = where(ranks[1], 0, BYTES)
    ranks[1].right(f"vget {second} 4096 3 1 {BYTES}")
    ranks[1].call(f"vget {first + BYTES - 4992} 9984 3 1 {BYTES - 4992}").fails(
        INVALID_PARAM, "leaves the memory of rank 0 in pool 0")


@pytest.mark.skipif(bool(SANITIZE), reason="a sanitizer needs the address space itself")
def test_address_space__is_limited(cluster, store):
    ranks = cluster.ranks(1, store.url, world=3, dram=64 * MIB, env=ALWAYS)
    poor = cluster.rank("poor", ALWAYS)
    poor.ok(f"init {store.url} rank=1 world=3")
    limit = vm_size(poor) + 48 * MIB
    resource.prlimit(poor.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    poor.call(f"create 0 dram={64 * MIB}").fails((NO_RESOURCES, MALLOC_FAILED), "create pool 0 on rank 1",
                                                 "67108864 bytes", "Cannot allocate memory")
    poor.ok(f"create 0 dram=0 max={64 * MIB}")
    poor.call("join 0", 30).fails(NOT_CONNECTED, "reach rank 0", "ulimit -v")
    resource.prlimit(poor.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    poor.ok("join 0")
    poor.ok("put 0 0 65536 5")
    ranks[0].right("get 0 0 65536 1 5")
    # A pool that is not translated is reserved as a whole: said, with the way out.
    whole = cluster.rank("whole")
    whole.ok(f"init {store.url} rank=2 world=3")
    resource.prlimit(whole.pid, resource.RLIMIT_AS, (vm_size(whole) + GIB, resource.RLIM_INFINITY))
    whole.call(f"create 1 dram={BYTES} max={GIB}").fails(NO_RESOURCES, "3221225472 bytes", "ulimit -v",
                                                        "MF_GVA_TRANSLATE=always")
    whole.ok(f"create 2 dram={BYTES} max={GIB} wide=1")
    whole.ok("join 2")


@pytest.mark.skipif("thread" in SANITIZE, reason="the thread sanitizer has no such addresses")
def test_taken_addresses__do_not_matter(cluster, store):
    rank = cluster.rank()
    rank.ok(f"init {store.url} rank=0 world=2")
    rank.ok(f"block {0x280000000000} {64 * MIB} mine")
    rank.ok(f"block {0x180000000000} {64 * MIB} mine")
    rank.call(f"create 0 dram={BYTES}").fails(RES_IN_USE, "0x280000000000", "taken by", "mine")
    rank.ok(f"create 0 dram={BYTES} wide=1")
    rank.ok("join 0")
    rank.ok("put 0 0 65536 1")
    rank.right("sget 0 0 65536 0 1")


@pytest.mark.parametrize("options", ["", "wide=1"])
def test_device_memory__wherever_the_device_has_it(cluster, store, options):
    envs = [{"MF_DEVICE": "sim", "MF_SIM_GRANT": grant} for grant in ("exact", "shift")]
    ranks = [cluster.rank(f"rank{i}", env) for i, env in enumerate(envs)]
    for i, rank in enumerate(ranks):
        rank.ok(f"init {store.url} rank={i} world=2")
        rank.ok(f"create 0 dram={BYTES} hbm={BYTES} {options}", 60)
    cluster.join(ranks)
    exact, shifted = (rank.ok("hbm 1 4096") for rank in ranks)
    gva = exact.value("gva")
    assert gva == shifted.value("gva")
    assert shifted.value("va") != gva
    assert (exact.value("va") == gva) == (options == "")
    ranks[0].ok(f"vput {gva} 65536 4 0 0")
    for rank, at in zip(ranks, (exact, shifted)):
        rank.right(f"vget {gva} 65536 4 0 0")
        rank.right(f"vget {at.value('va')} 65536 4 0 0")
    ranks[1].ok(f"vput {shifted.value('va') + 65536} 65536 5 0 0")
    ranks[0].right(f"vget {gva + 65536} 65536 5 0 0")
    ranks[1].kill()
    ranks[0].call("until 1 5000").fails(NOT_CONNECTED, "rank 1")
    ranks[0].call(f"vget {exact.value('va')} 64 4 0 0").fails(NOT_CONNECTED, "rank 1")
