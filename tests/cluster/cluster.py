# SPDX-License-Identifier: Apache-2.0
"""Real processes for tests: ranks that do what they are told, stores, and what they leave behind.

Every wait has a deadline. Times that ranks report are of CLOCK_MONOTONIC, which all processes of a
host share, so that "killed at" and "seen at" can be compared.
"""
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import time
import uuid

RANK = os.environ.get("CLUSTER_RANK", "mf_rank")
MFCLI = os.environ.get("CLUSTER_MFCLI", "mfcli")
SANITIZE = os.environ.get("CLUSTER_SANITIZE", "")

MIB = 1 << 20
SLOT = 2 * MIB

OK = 0
ERROR = -1
INVALID_PARAM = -2000
MALLOC_FAILED = -2001
NO_RESOURCES = -2002
NOT_STARTED = -2003
TIMEOUT = -2004
DUPLICATED = -2006
NOT_EXIST = -2007
NOT_INIT = -2008
RES_IN_USE = -2009
NOT_CONNECTED = -2014


def now():
    """Seconds of the clock that ranks report."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def report(**figures):
    """A figure for the log of the test, one JSON object a line."""
    print("\n" + json.dumps(figures), flush=True)


class Reply:
    """The answer to one command."""

    def __init__(self, line):
        code, us, self.text = line.split(" ", 2)
        self.code = int(code)
        self.ms = int(us) / 1000

    def __repr__(self):
        return f"<{self.code} after {self.ms:.1f} ms: {self.text}>"

    def value(self, name):
        """The number behind `name=` in the text."""
        found = re.search(rf"(?:^|\s){name}=(\S+)", self.text)
        assert found, f"no {name}= in {self!r}"
        return int(found.group(1), 0)

    @property
    def at(self):
        """Seconds, when what was waited for came."""
        return self.value("at") / 1e9

    def ok(self):
        assert self.code == OK, repr(self)
        return self

    def fails(self, code, *words):
        """It failed with that code (or one of those) and a sentence that has all the words."""
        codes = code if isinstance(code, tuple) else (code,)
        assert self.code in codes, f"wanted {codes}, got {self!r}"
        for word in words:
            assert re.search(word, self.text), f"wanted /{word}/ in {self!r}"
        return self


def free_port():
    """A port of 127.0.0.1 outside of the range from which the kernel gives ports to clients."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
        lowest = int(limits.read().split()[0])
    for _ in range(200):
        port = random.randrange(2048, max(lowest, 4096))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def proc_status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        return dict(line.rstrip("\n").split(":", 1) for line in status if ":" in line)


def is_alive(pid):
    try:
        return not proc_status(pid)["State"].strip().startswith(("Z", "X"))
    except (FileNotFoundError, ProcessLookupError):
        return False


def socket_names(pid):
    """Abstract sockets of the library that the process listens at."""
    inodes = set()
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return set()
    names = set()
    with open("/proc/net/unix", encoding="ascii", errors="replace") as table:
        for line in table:
            fields = line.split()
            if len(fields) >= 8 and fields[6] in inodes and "@memfabric" in fields[7]:
                names.add(fields[7])
    return names


class Process:
    """A process that is spoken to by lines. Ends with the test."""

    def __init__(self, cluster, name, argv, env=None):
        self.cluster = cluster
        self.name = name
        self.buffer = b""
        self.sockets = set()
        # In memory: threads that log to a disk would now and then wait for it.
        self.log = open(os.memfd_create(f"{name} errors"), "rb", buffering=0)
        full = dict(os.environ, TMPDIR=cluster.scratch, CLUSTER_RUN=cluster.mark)
        full.update(cluster.env)
        full.update(env or {})
        self.popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=self.log, cwd=cluster.scratch, env=full,
                                      start_new_session=True)
        self.pid = self.popen.pid
        cluster.processes.append(self)

    def errors(self):
        size = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), size, 0).decode(errors="replace")

    def line(self, seconds=20):
        deadline = now() + seconds
        while b"\n" not in self.buffer:
            left = deadline - now()
            ready = left > 0 and select.select([self.popen.stdout], [], [], left)[0]
            assert ready, f"{self.name} (pid {self.pid}) is silent for {seconds} s\n{self.errors()}"
            more = os.read(self.popen.stdout.fileno(), 65536)
            assert more, f"{self.name} (pid {self.pid}) has ended: {self.popen.poll()}\n" \
                         f"{self.errors()}"
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace")

    def has_answer(self, seconds):
        """Is there something to read, or will there be soon?"""
        return b"\n" in self.buffer or \
            bool(select.select([self.popen.stdout], [], [], seconds)[0])

    def note_sockets(self):
        self.sockets |= socket_names(self.pid)

    def signal(self, number):
        """Returns when it was sent."""
        at = now()
        os.kill(self.pid, number)
        return at

    def kill(self):
        """kill -9, and wait for the end of the process; returns when it was sent."""
        self.note_sockets()
        at = self.signal(signal.SIGKILL)
        self.popen.wait(20)
        return at

    def stop(self):
        if self.popen.poll() is None:
            self.note_sockets()
            self.popen.kill()
            self.popen.wait(20)
        self.popen.stdin.close()
        self.popen.stdout.close()


class Rank(Process):
    """A scripted rank: see `help` of mf_rank."""

    def __init__(self, cluster, name="rank", env=None):
        super().__init__(cluster, name, [RANK], env)

    def send(self, command):
        try:
            os.write(self.popen.stdin.fileno(), command.encode() + b"\n")
        except BrokenPipeError:
            raise AssertionError(f"{self.name} (pid {self.pid}) has ended: {self.popen.wait(5)}\n"
                                 f"{self.errors()}") from None
        return self

    def reply(self, seconds=20):
        return Reply(self.line(seconds))

    def call(self, command, seconds=20):
        return self.send(command).reply(seconds)

    def ok(self, command, seconds=20):
        answer = self.call(command, seconds)
        assert answer.code == OK, f"{self.name}: {command}: {answer!r}\n{self.errors()}"
        return answer

    def right(self, command):
        """A comparison that finds no wrong byte."""
        answer = self.ok(command)
        assert answer.value("wrong") == 0, f"{self.name}: {command}: {answer!r}"

    def wrong(self, command):
        """How many bytes differ."""
        return self.ok(command).value("wrong")


class Store(Process):
    """A config store in a process of its own."""

    def __init__(self, cluster, url="tcp://127.0.0.1:0"):
        super().__init__(cluster, "store", [MFCLI, "store", "--url", url])
        self.url = self.line()


class Cluster:
    """The processes of one test, and what they must not leave behind."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.scratch = os.path.join(self.folder, "tmp")
        self.mark = uuid.uuid4().hex
        self.env = {"MF_LOG_LEVEL": "1", "MF_DEVICE": "none", "MF_STORE_SETTLE_MS": "0"}
        self.processes = []
        self.at_end = []  # what else there is to give back
        os.mkdir(self.scratch)

    def store(self, url="tcp://127.0.0.1:0"):
        return Store(self, url)

    def rank(self, name="rank", env=None):
        return Rank(self, name, env)

    def ranks(self, count, url, world=None, dram=SLOT, top=None, env=None, init="", join=True):
        """Ranks 0, 1, ... of a world that have joined pool 0, and named their life."""
        ranks = [self.rank(f"rank{i}", env) for i in range(count)]
        for i, rank in enumerate(ranks):
            rank.send(f"init {url} rank={i} world={world or count} {init}")
        for rank in ranks:
            rank.reply().ok()
        for rank in ranks:
            rank.send(f"create 0 dram={dram} max={top or dram}")
        for rank in ranks:
            rank.reply(60).ok()
        if join:
            self.join(ranks)
        return ranks

    @staticmethod
    def join(ranks):
        for rank in ranks:
            rank.send("join 0")
        for rank in ranks:
            rank.reply(60).ok()

    def comes(self, number, url, world, dram=SLOT, top=None, env=None, init=""):
        """One more rank, from its start to its join."""
        rank = self.rank(f"rank{number}", env)
        rank.ok(f"init {url} rank={number} world={world} {init}")
        rank.ok(f"create 0 dram={dram} max={top or dram}", 60)
        rank.ok("join 0", 60)
        return rank

    # ---- the end ------------------------------------------------------------------------------

    def marked(self):
        """Processes that were started by this test, children of ranks too."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as environ:
                    if f"CLUSTER_RUN={self.mark}".encode() in environ.read() and is_alive(pid):
                        found.append(int(pid))
            except OSError:
                continue
        return found

    def stop_all(self):
        for process in self.processes:
            if process.popen.poll() is None:
                process.note_sockets()
        for process in self.processes:
            process.stop()

    def close(self):
        """Ends all and returns what is left of them."""
        self.stop_all()
        for give_back in self.at_end:
            give_back()
        left = []
        deadline = now() + 5
        while self.marked() and now() < deadline:
            for pid in self.marked():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        left += [f"process {pid}" for pid in self.marked()]
        names = set().union(*(process.sockets for process in self.processes)) \
            if self.processes else set()
        with open("/proc/net/unix", encoding="ascii", errors="replace") as table:
            here = table.read()
        left += [f"socket {name}" for name in names if name in here]
        left += [f"file {name}" for name in os.listdir(self.scratch)]
        left += [f"/dev/shm/{name}" for name in os.listdir("/dev/shm")
                 if re.search("memfabric|smem|^mf[-_]", name)]
        return left
