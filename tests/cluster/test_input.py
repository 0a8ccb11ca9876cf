# SPDX-License-Identifier: Apache-2.0
"""What a user or a machine can get wrong: each gives its code and a sentence, in time."""
import os
import resource
import socket
import subprocess
import sys
import threading
import time

import pytest

from cluster import (INVALID_PARAM, MALLOC_FAILED, MIB, NO_RESOURCES, NOT_CONNECTED, DUPLICATED,
                     RES_IN_USE, SANITIZE, SLOT, TIMEOUT, free_port, now, socket_names)

TIB = 1 << 40


# ---- the port and the store -----------------------------------------------------------------


class Listener:
    """Something else that listens where a store should."""

    def __init__(self, kind):
        self.kind = kind
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(16)
        self.url = f"tcp://127.0.0.1:{self.socket.getsockname()[1]}"
        self.open = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.open.append(connection)
            try:
                if self.kind == "rubbish":
                    connection.sendall(os.urandom(4096))
                elif self.kind == "http":
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                elif self.kind == "closing":
                    connection.close()
            except OSError:
                pass

    def close(self):
        self.socket.close()
        for connection in self.open:
            connection.close()


@pytest.mark.parametrize("kind", ["silent", "rubbish", "http", "closing"])
@pytest.mark.parametrize("serve", [0, 1])
def test_port_of_something_else__init_says_so_in_time(cluster, kind, serve):
    listener = Listener(kind)
    rank = cluster.rank()
    answer = rank.call(f"init {listener.url} world=2 rank=0 init=1 serve={serve}")
    answer.fails((TIMEOUT, NOT_CONNECTED, RES_IN_USE), listener.url, "store")
    assert answer.ms < 3500, answer
    listener.close()
    # Nothing is left: the same process can start elsewhere.
    store = cluster.store()
    rank.ok(f"init {store.url} world=2 rank=0")


def test_store_on_an_occupied_port__is_refused(cluster):
    listener = Listener("silent")
    rank = cluster.rank()
    rank.call(f"serve {listener.url}").fails(RES_IN_USE, listener.url[6:], "[Aa]ddress already")
    listener.close()


def test_store_that_is_not_there__init_ends_by_its_timeout(cluster):
    rank = cluster.rank()
    url = f"tcp://127.0.0.1:{free_port()}"
    answer = rank.call(f"init {url} world=2 rank=1 init=1").fails(TIMEOUT, url, "refused")
    assert 900 < answer.ms < 2500, answer


def test_store_that_comes_late__is_found(cluster):
    rank = cluster.rank()
    url = f"tcp://127.0.0.1:{free_port()}"
    rank.send(f"init {url} world=2 rank=1 init=10")
    time.sleep(0.5)
    cluster.store(url)
    rank.reply().ok()


# ---- ranks and pools that do not agree -------------------------------------------------------


def test_same_rank_twice__the_second_learns_who_has_it(cluster, store):
    ranks = cluster.ranks(2, store.url)
    second = cluster.rank()
    answer = second.call(f"init {store.url} rank=1 world=2 init=1")
    answer.fails(DUPLICATED, "rank 1", f"process {ranks[1].pid}")
    assert answer.ms < 3000, answer
    ranks[0].ok("put 1 0 4096 1")
    ranks[1].right("sget 1 0 4096 0 1")


def test_world_is_full__the_next_one_is_told(cluster, store):
    cluster.ranks(2, store.url)
    third = cluster.rank()
    third.call(f"init {store.url} world=2 init=1").fails((NO_RESOURCES, TIMEOUT), "2")


def test_worlds_of_two_sizes__are_refused(cluster, store):
    cluster.ranks(2, store.url)
    other = cluster.rank()
    other.call(f"init {store.url} rank=3 world=5").fails(INVALID_PARAM, "worldSize 5", "2")


def test_pools_of_two_sizes__are_refused_with_both(cluster, store):
    ranks = cluster.ranks(2, store.url, world=4)
    other = cluster.rank()
    other.ok(f"init {store.url} rank=3 world=4")
    other.call(f"create 0 dram={SLOT * 3}").fails(INVALID_PARAM, "pool 0", str(SLOT),
                                                  str(SLOT * 3), "rank [01]")
    other.ok(f"create 0 dram={SLOT}")
    other.ok("join 0")
    ranks[0].ok("reach 3 2000")


def test_copy_into_the_tail_of_a_slot__is_refused(cluster, store):
    """Ranks give less than the maximum: the rest of the slot is no memory."""
    ranks = cluster.ranks(3, store.url, dram=SLOT, top=SLOT * 4)
    for offset, size in ((SLOT, 64), (SLOT - 64, 128), (SLOT * 4 - 64, 64), (0, SLOT + 64)):
        for command in (f"put 1 {offset} {size} 1", f"get 1 {offset} {size} 1 1",
                        f"g2g 2 0 1 {offset} {size}", f"g2g 1 {offset} 2 0 {size}"):
            ranks[0].call(command).fails(INVALID_PARAM, "rank [12]", str(SLOT))
    assert ranks[1].ok(f"zeros 1 0 {SLOT}").value("other") == 0
    ranks[0].ok(f"put 1 {SLOT - 64} 64 1")
    ranks[1].right(f"sget 1 {SLOT - 64} 64 0 1")


# ---- addresses and memory --------------------------------------------------------------------


def test_address_range_taken__the_error_names_the_mapping(cluster, store):
    probe = cluster.rank()
    probe.ok(f"init {store.url} rank=0 world=4")
    base = probe.ok(f"create 0 dram={SLOT}").value("base")
    probe.ok("destroy 0")
    at = base + 3 * SLOT
    rank = cluster.rank()
    rank.ok(f"init {store.url} rank=1 world=4")
    rank.ok(f"block {at:#x} 4096 in-the-way")
    rank.call(f"create 0 dram={SLOT}").fails(RES_IN_USE, f"{base:x}", f"{at:x}-", "in-the-way",
                                             "MF_GVA_BASE")
    rank.ok(f"unblock {at:#x} 4096")
    rank.ok(f"create 0 dram={SLOT}")
    rank.ok("join 0")


def test_too_little_memory__is_an_error_of_create(cluster, store):
    rank = cluster.rank()
    rank.ok(f"init {store.url} rank=0 world=2")
    rank.call(f"create 0 dram={TIB}").fails(MALLOC_FAILED, str(TIB), "MemAvailable|memory")
    rank.ok(f"create 0 dram={SLOT}")


def make_group(limit):
    """A control group with that limit; None and why not."""
    name = f"memfabric-test-{os.getpid()}"
    for folder, file in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                         ("/sys/fs/cgroup", "memory.max")):
        path = os.path.join(folder, name)
        try:
            os.mkdir(path)
        except OSError as error:
            reason = f"{path}: {error}"
            continue
        try:
            with open(os.path.join(path, file), "w", encoding="ascii") as out:
                out.write(str(limit))
            return path, file
        except OSError as error:
            os.rmdir(path)
            reason = f"{path}/{file}: {error}"
    return None, reason


@pytest.mark.skipif(bool(SANITIZE), reason="a sanitizer's own memory does not fit the limit")
def test_limit_of_a_control_group__is_an_error_of_create(cluster, store):
    group, file = make_group(96 * MIB)
    if group is None:
        pytest.skip(f"no control group can be made here: {file}")
    try:
        rank = cluster.rank()
        with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as out:
            out.write(str(rank.pid))
        rank.ok(f"init {store.url} rank=0 world=2")
        rank.call(f"create 0 dram={256 * MIB}").fails(MALLOC_FAILED, str(256 * MIB), file)
        rank.ok(f"create 0 dram={32 * MIB}")
        rank.ok("join 0")
        rank.call(f"create 1 dram={80 * MIB}").fails(MALLOC_FAILED, file)
        rank.ok(f"sput 0 0 {32 * MIB} 1")
        rank.stop()
    finally:
        deadline = now() + 5
        while now() < deadline:
            try:
                os.rmdir(group)
                break
            except OSError:
                time.sleep(0.05)


def test_no_huge_pages__is_an_error_when_they_are_required(cluster, store):
    with open("/proc/sys/vm/nr_hugepages", encoding="ascii") as pages:
        too_many = (int(pages.read()) + 1) * SLOT
    rank = cluster.rank(env={"MF_SEGMENT_HUGE": "require"})
    rank.ok(f"init {store.url} rank=0 world=2")
    rank.call(f"create 0 dram={too_many}").fails(MALLOC_FAILED, "segment.huge",
                                                 "nr_hugepages", "MF_SEGMENT_HUGE=auto")


# ---- descriptors -----------------------------------------------------------------------------


def test_no_descriptor_left__at_any_point_is_a_clean_error(cluster, store):
    """With 0, 1, 2 ... free descriptors: init, create and join work or say so, and leak nothing."""
    cluster.env["MF_STORE_SESSION_MS"] = "2000"
    peer = cluster.comes(0, store.url, 2)
    rank = cluster.rank()
    rank.ok(f"init {store.url} rank=1 world=2")
    rank.ok("uninit")
    used = set(os.listdir(f"/proc/{rank.pid}/fd"))
    top = max(int(fd) for fd in used) + 1
    worked = 0
    for free in range(24):
        rank.ok(f"descriptors {top + free}")
        answer = rank.call(f"init {store.url} rank=1 world=2 init=1")
        for step in ("create 0", "join 0", "reach 0 100"):
            if answer.code == 0:
                answer = rank.call(step)
        if answer.code == 0:
            worked += 1
        else:
            answer.fails((NO_RESOURCES, NOT_CONNECTED, TIMEOUT), "descriptor|open files|ulimit")
        rank.call("uninit")
        rank.ok("descriptors 1024")
        left = set(os.listdir(f"/proc/{rank.pid}/fd"))
        assert left == used, (free, answer, left ^ used)
        if worked == 3:
            break
    assert worked == 3, answer
    rank.ok(f"init {store.url} rank=1 world=2")
    rank.ok("create 0")
    rank.ok("join 0")
    peer.ok("put 1 0 4096 1")
    rank.right("sget 1 0 4096 0 1")


def test_peer_without_descriptors__is_named_and_reached_later(cluster, store):
    ranks = cluster.ranks(2, store.url, world=3)
    used = {int(fd) for fd in os.listdir(f"/proc/{ranks[1].pid}/fd")}
    ranks[1].ok(f"descriptors {min(set(range(len(used) + 1)) - used)}")
    new = cluster.rank("new", env={"MF_STORE_SESSION_MS": "2000"})
    new.ok(f"init {store.url} rank=2 world=3")
    new.ok("create 0")
    answer = new.call("join 0").fails(NOT_CONNECTED, "rank 1")
    assert answer.ms < 6000, answer
    assert "ulimit -n" in ranks[1].errors()  # it cannot tell anybody, but its own log
    ranks[1].ok("reach 0 100")
    ranks[1].ok("descriptors 1024")
    new.ok("join 0")
    new.ok("put 1 0 4096 1")
    ranks[1].right("sget 1 0 4096 2 1")


# ---- the unix socket -------------------------------------------------------------------------


def address(rank):
    for _ in range(50):  # the kernel's list is not read at one moment: it may miss one
        names = socket_names(rank.pid)
        if names:
            break
        time.sleep(0.02)
    assert len(names) == 1, names
    return "\0" + names.pop()[1:]


def descriptors(rank):
    """What each descriptor of the process is."""
    folder = f"/proc/{rank.pid}/fd"
    return {fd: os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)}


STRANGER = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(5)
s.connect("\\0" + sys.argv[1])
try:
    s.send(b"x" * 64)
    data = s.recv(4096)
    print("text" if b"user" in data else "nothing", flush=True)
    print("closed" if not s.recv(4096) else "open")
except OSError as error:
    print("closed", error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user__is_not_served(cluster, store):
    ranks = cluster.ranks(2, store.url)
    done = subprocess.run([sys.executable, "-c", STRANGER, address(ranks[1])[1:]], user=65534,
                          group=65534, extra_groups=[], cwd="/", capture_output=True, text=True,
                          timeout=20, check=False)
    assert "closed" in done.stdout, done
    assert "open" not in done.stdout, done
    deadline = now() + 2
    while "user 65534" not in ranks[1].errors() and now() < deadline:
        time.sleep(0.05)
    assert "user 65534" in ranks[1].errors(), ranks[1].errors()
    ranks[0].ok("put 1 0 4096 1")


def test_rubbish_on_the_socket__harms_nobody(cluster, store):
    ranks = cluster.ranks(2, store.url, world=4)
    before = descriptors(ranks[1])
    where = address(ranks[1])
    for size in (0, 1, 7, 55, 56, 57, 200, 2400, 4096, 60000):
        for fill in (b"\0" * size, os.urandom(size), b"\xff" * size):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rude:
                rude.settimeout(5)
                rude.connect(where)
                try:
                    rude.send(fill)
                    rude.recv(4096)
                except OSError:
                    pass
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rude:
        rude.connect(where)
        pipes = os.pipe()
        socket.send_fds(rude, [os.urandom(64)], list(pipes) * 20)
        time.sleep(0.1)
        for fd in pipes:
            os.close(fd)
    new = cluster.comes(2, store.url, 4)
    new.ok("put 1 0 4096 1")
    ranks[1].right("sget 1 0 4096 2 1")
    new.stop()  # its process descriptor is kept as long as it lives
    deadline = now() + 3
    while len(descriptors(ranks[1])) > len(before) and now() < deadline:
        time.sleep(0.05)
    after = descriptors(ranks[1])
    assert len(after) <= len(before), set(after.items()) - set(before.items())
    assert len(ranks[1].errors()) < 100000


def test_flood_of_connections__a_rank_can_still_join(cluster, store):
    """400 connections that say nothing; who is silent is cut off after a while."""
    ranks = cluster.ranks(2, store.url, world=4)
    where = address(ranks[1])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2048)), hard))
    rude = []
    try:
        for _ in range(400):
            one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            one.setblocking(False)
            rude.append(one)
            try:
                one.connect(where)
            except OSError:
                pass
        ranks[0].ok("put 1 0 4096 1")
        begin = now()
        new = cluster.comes(2, store.url, 4)
        assert now() - begin < 8
        new.ok("reach 1 8000")
        new.ok("put 1 0 4096 2")
        ranks[1].right("sget 1 0 4096 2 2")
    finally:
        for one in rude:
            one.close()
