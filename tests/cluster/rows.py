# SPDX-License-Identifier: Apache-2.0
"""What the tests of faults under a mixed load share: the board on which ranks tell what they do, a
world whose ranks all copy to each other and check every byte, and what is promised to survivors."""
import inspect
import mmap
import os
import random
import signal
import struct
import threading
import time

from cluster import MIB, OK, SANITIZE, now, report

DRAM = 8 * MIB
TOP = 16 * MIB
CELL = 8192
CELLS = 256
SEEN_S = 2.0  # a dead process of this host
GOOD_S = 0.1  # the same, on a machine that is not overloaded
QUIET_CORES = 0.2  # of others: a machine that is not
STALL_S = 0.4  # a machine on which a thread that sleeps for 10 ms is so late ends sessions by itself
CALL_S = 2.5  # any call of the load: 2 s after a death, and what a busy machine takes
PATIENCE_S = 8 if SANITIZE else 1  # with a machine that runs other tests as well

# Points in the bytes of a copy, and what the thread was doing there.
COPIES = {"in_put": "put", "in_get": "get", "in_batch": "batch", "in_batch_get": "bget",
          "in_request": "request", "in_request_get": "rget", "in_prepared": "prepare",
          "in_prepared_get": "pget", "in_async": "async", "in_async_get": "aget"}
# Calls inside of which the bytes are moved by another thread.
HANDED_OVER = ("in_request", "in_request_get", "in_prepared", "in_prepared_get", "in_async",
               "in_async_get")
# Points of the control plane, and the command in which they are.
CONTROLS = {"before_claim": "init", "after_claim": "init", "in_create": "create",
            "in_populate": "create", "before_announce": "join", "after_announce": "join",
            "in_attach": "join", "in_extend": "extend", "extend_announced": "extend",
            "extend_told": "extend", "in_leave": "leave", "before_retract": "leave",
            "in_leave_memory": "leave", "in_destroy": "destroy", "in_destroy_memory": "destroy"}
DOING = set(COPIES.values()) | {"tail", "tget", "life"}


def seed_of(name):
    """A run's choices; CLUSTER_SEED repeats them."""
    seed = int(os.environ.get("CLUSTER_SEED", random.randrange(1 << 30)))
    report(case=name, seed=seed)
    return random.Random(seed)


def word_text(word):
    """What a thread does: its name for it, and '+' inside of a call."""
    return word[:7].rstrip(b"\0").decode() + ("+" if word[7] == 1 else "")


class Peer:
    """What one rank has seen of another one."""

    def __init__(self, raw):
        (self.ok, self.errors, self.ok_ns, self.error_ns, self.code, doing, self.rounds,
         self.slowest_ns) = struct.unpack_from("<4Qq3Q", raw)
        self.doing = word_text(struct.pack("<Q", doing))
        self.text = raw[64:256].split(b"\0")[0].decode(errors="replace")

    def __repr__(self):
        return f"<ok {self.ok} errors {self.errors} code {self.code} doing {self.doing} " \
               f"slowest {self.slowest_ns / 1e6:.0f} ms: {self.text}>"


class Cell:
    """The part of the board that one process writes; it outlives the process."""

    def __init__(self, board, number):
        self.board, self.number = board, number
        self.board[number * CELL:(number + 1) * CELL] = bytes(CELL)

    def raw(self, at, size):
        at += self.number * CELL
        return bytes(self.board[at:at + size])

    def word(self, at):
        return struct.unpack("<Q", self.raw(at, 8))[0]

    def text(self, at, size):
        return self.raw(at, size).split(b"\0")[0].decode(errors="replace")

    control = property(lambda self: self.text(0, 8))
    wrong = property(lambda self: self.word(8))
    odd = property(lambda self: self.word(16))
    own = property(lambda self: self.word(24))
    strikes = property(lambda self: self.word(32))
    struck_at = property(lambda self: self.word(40) / 1e9)
    struck_doing = property(lambda self: word_text(self.raw(48, 8)))
    struck_control = property(lambda self: self.text(56, 8))
    struck_point = property(lambda self: self.text(64, 32))
    child = property(lambda self: self.word(104))
    odd_text = property(lambda self: self.text(128, 512))

    def put(self, at, value):
        at += self.number * CELL
        self.board[at:at + 8] = struct.pack("<Q", value)

    def release(self):
        self.put(96, 1)

    def peer(self, number):
        return Peer(self.raw(1024 + 256 * number, 256))

    def doing(self, peers):
        """What the threads of the load are doing: a name for each, '+' inside of a call."""
        return [word_text(self.raw(1024 + 256 * p + 40, 8)) for p in peers]

    def struck_doing_all(self, peers):
        """The same at the strike."""
        return [word_text(self.raw(640 + 8 * p, 8)) for p in peers]


def command_line(command):
    return f"extend 0 {2 * MIB}" if command == "extend" else f"{command} 0"


class Member:
    """A rank of the world under load, its process and its cell."""

    def __init__(self, world, number):
        self.world, self.number = world, number
        self.rank, self.cell, self.loaded = None, None, []

    def start(self, init=""):
        """The process, with a cell of its own and nothing else."""
        self.rank = self.world.cluster.rank(f"rank{self.number}")
        self.cell = self.world.new_cell()
        self.loaded = []
        self.rank.ok(f"board {self.world.path} {self.cell.number}")
        self.init = f"init {self.world.url} rank={self.number} world={self.world.size} {init}"
        return self

    def send_begin(self, before=""):
        """init, create and join, without waiting: answers() takes the replies. All at once, since
        it may be struck by the first of them."""
        self.rank.send(f"{before}{self.init}\ncreate 0 dram={DRAM} max={TOP}\njoin 0")
        return self

    def answers(self, count=3, seconds=30):
        for _ in range(count):
            self.rank.reply(seconds).ok()
        return self

    def name_life(self):
        """Written before others trust what they put here."""
        self.world.lives += 1
        self.rank.ok(f"store {self.number} 0 {self.world.lives * 1000 + self.number + 1}")
        self.note_size()

    def note_size(self):
        size = self.rank.ok("size 0").value("size")
        self.rank.ok(f"store {self.number} 8 {size}")

    def load(self, peers, pause_us=0):
        self.loaded = [p for p in peers if p != self.number]
        self.rank.ok(f"mixed {','.join(map(str, self.loaded))} pause={pause_us}")
        self.world.wait(f"the load of rank {self.number} does not begin",
                        lambda: all(self.cell.doing(self.loaded)), 5 + PATIENCE_S)

    def begin(self, peers, pause_us=0, init=""):
        self.start(init).send_begin().answers()
        self.name_life()
        self.load(peers, pause_us)
        return self

    def arming(self, point, extra=""):
        self.cell.put(32, 0)
        return f"arm {point} rank={self.number} {extra}\n"

    def arm(self, point, extra="", command=""):
        """The answers are not waited for: the strike may come first."""
        self.rank.send((self.arming(point, extra) + command).rstrip("\n"))

    def drive(self, command):
        """What leads to a point of the control plane; the answer is not waited for."""
        self.rank.send(command_line(command))

    def approach(self, point, extra="", peers=(0, 1), pause_us=0, init=""):
        """Brings it, or a process that it starts, to the point, armed; returns the commands whose
        answers have not been taken."""
        command = CONTROLS.get(point)
        if command in ("init", "create", "join"):
            self.start(init)
            self.send_begin(self.arming(point, extra))
            return ["arm", "init", "create", "join"]
        if self.rank is None or not self.loaded:
            self.begin(peers, pause_us, init)
        self.world.until_reached(self.number)
        self.arm(point, extra, command_line(command) if command else "")
        return ["arm"] + ([command] if command else [])

    def hurry(self, on=True):
        """The load makes no pauses, so that a strike is as good as always in the middle of it."""
        self.cell.put(112, int(on))
        if on:
            self.world.wait(f"the load of rank {self.number} pauses",
                            lambda: "pause" not in self.cell.doing(self.loaded), 5 + PATIENCE_S)

    def rounds(self):
        return sum(self.cell.peer(p).rounds for p in self.loaded)

    def kill(self):
        at = self.rank.kill()
        self.forget()
        return at

    def forget(self):
        """The process has ended; its cell stays."""
        self.rank.stop()
        if self.rank in self.world.cluster.processes:
            self.world.cluster.processes.remove(self.rank)
        self.rank = None


class World:
    """Ranks that copy to each other all the time. The first ones are observers: they stay."""

    def __init__(self, cluster, url, size, observers=(), pause_us=5000, others=()):
        self.cluster, self.url, self.size = cluster, url, size
        cluster.at_end.append(self.close)
        # In memory: a board on a disk would now and then make its writers wait for it.
        self.board_fd = os.memfd_create("board")
        os.ftruncate(self.board_fd, CELL * CELLS)
        self.path = f"/proc/{os.getpid()}/fd/{self.board_fd}"
        self.board = mmap.mmap(self.board_fd, CELL * CELLS)
        self.cells, self.lives = 0, 0
        self.members = {}
        self.pause_us, self.before = pause_us, {}
        self.observers = []
        self.observe(observers, others)

    def observe(self, numbers, others=()):
        """These stay, and copy to each other and to the others."""
        self.observers = [self.member(i) for i in numbers]
        for member in self.observers:
            member.start().send_begin()
        for member in self.observers:
            member.answers()
            member.name_life()
        for member in self.observers:
            member.load(list(numbers) + list(others), self.pause_us)

    def member(self, number):
        return self.members.setdefault(number, Member(self, number))

    def new_cell(self):
        self.cells += 1
        assert self.cells <= CELLS
        return Cell(self.board, self.cells - 1)

    def wait(self, what, condition, seconds):
        deadline = now() + seconds
        while not condition():
            assert now() < deadline, f"{what} after {seconds} s: {self.state()}"
            time.sleep(0.001)

    def state(self):
        return {m.number: (m.cell.control, m.cell.odd_text,
                           {p: m.cell.peer(p) for p in m.loaded}) for m in self.members.values()
                if m.cell is not None}

    def until_reached(self, number, seconds=5):
        """Every observer's load has copied to that rank, in the life that it has now."""
        since = now() * 1e9
        for m in self.observers:
            if m.number != number:
                self.wait(f"rank {m.number} does not reach rank {number}",
                          lambda m=m: m.cell.peer(number).ok_ns > since, seconds + PATIENCE_S)

    def until_rounds(self, member, seconds=5):
        """The member has done all kinds of copies with all its peers."""
        was = {p: member.cell.peer(p).rounds for p in member.loaded}
        self.wait(f"rank {member.number} makes no round",
                  lambda: all(member.cell.peer(p).rounds > n for p, n in was.items()),
                  seconds + PATIENCE_S)

    def seen(self, number, struck_at, limit_s, observers=None):
        """When each observer's load got its first error of that rank, seconds after the strike; 0:
        before it, since the rank was about to leave."""
        def fails(m):
            seen = m.cell.peer(number)
            return seen.error_ns > min(seen.ok_ns, struck_at * 1e9)
        took = []
        for m in observers or self.observers:
            self.wait(f"rank {m.number} does not see the end of rank {number}",
                      lambda m=m: fails(m), limit_s + PATIENCE_S)
            took.append(max(m.cell.peer(number).error_ns / 1e9 - struck_at, 0))
        assert max(took) < limit_s, (number, took, self.state())
        return took

    def close(self):
        self.board.close()
        os.close(self.board_fd)

    def mark(self):
        """From here on those that check() is told to be quiet are."""
        self.before = {(m.number, p): m.cell.peer(p).errors
                       for m in self.members.values() if m.cell for p in m.loaded}

    def check(self, members=None, quiet=()):
        """What is promised to all at any time: no wrong byte, no failure but of the rank that it
        names, no call that lasts, no failure at all between observers and those named quiet."""
        quiet = [m.number for m in self.observers] + list(quiet)
        for m in members or self.observers:
            assert m.cell.wrong == 0, (m.number, m.cell.odd_text)
            assert m.cell.odd == 0, (m.number, m.cell.odd_text)
            assert m not in self.observers or m.cell.own == 0, m.number
            for p in m.loaded:
                seen = m.cell.peer(p)
                assert seen.slowest_ns < (CALL_S + PATIENCE_S) * 1e9, (m.number, p, self.state())
                if m.number in quiet and p in quiet:
                    assert seen.errors == self.before.get((m.number, p), 0), (m.number, p, seen)


def assert_struck(member, point):
    """The strike was at that point and nowhere else: the words were written before it."""
    cell = member.cell
    assert cell.strikes == 1, (point, cell.strikes)
    assert cell.struck_point == point, (point, cell.struck_point)
    if point in CONTROLS:
        assert cell.struck_control == CONTROLS[point], (point, cell.struck_control)
    elif point == "in_answer":
        assert cell.struck_control == "", (point, cell.struck_control)
    elif point in HANDED_OVER:  # by a thread of the library, or the one that waits
        doing = cell.struck_doing_all(member.loaded)
        assert COPIES[point] + "+" in doing, (point, doing)
    elif point in COPIES:
        assert cell.struck_doing == COPIES[point] + "+", (point, cell.struck_doing)


def until_struck(world, member, point, seconds=10):
    world.wait(f"the point {point} is not hit", lambda: member.cell.strikes > 0,
               seconds + PATIENCE_S)
    assert_struck(member, point)
    return member.cell.struck_at


def until_ended(member, seconds=10):
    """It has struck itself with kill -9."""
    member.rank.note_sockets()
    code = member.rank.popen.wait(seconds + PATIENCE_S)
    assert code == -signal.SIGKILL, code
    member.forget()


class Middle:
    """What struck ranks were doing, over all strikes of a test."""

    def __init__(self):
        self.strikes, self.inside, self.words = 0, 0, {}

    def note(self, member):
        """Of one that stands still, or has ended. The load was running; at least half of all
        strikes hit a thread inside of a call."""
        doing = member.cell.doing(member.loaded)
        assert member.cell.own > 0 or all(d.rstrip("+") in DOING for d in doing), doing
        self.strikes += 1
        self.inside += any(d.endswith("+") for d in doing) or member.cell.control != ""
        for word in doing + ([member.cell.control] if member.cell.control else []):
            self.words[word] = self.words.get(word, 0) + 1
        return doing

    def report(self, case, **figures):
        report(case=case, strikes=self.strikes, inside_a_call=self.inside, doing=self.words,
               **figures)
        assert self.inside >= self.strikes / 2, self.words


class Stalls:
    """By how much a thread that only sleeps was late at worst."""

    def __enter__(self):
        self.worst, self.ending = 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def run(self):
        while not self.ending:
            before = now()
            time.sleep(0.01)
            self.worst = max(self.worst, now() - before - 0.01)

    def __exit__(self, *failure):
        self.ending = True
        self.thread.join()


def in_world(make):
    """For a test with an argument `world`, which make(cluster) makes. Sessions are short here, so
    that a machine that stood still for a good part of one has ended it, not the library: a failure
    is then no answer, and the test is made again. Without such a stall a failure is one."""
    def decorate(test):
        def run(cluster, **given):
            for attempt in range(3):
                with Stalls() as stalls:
                    try:
                        test(make(cluster), **given)
                        return
                    except Exception:
                        if attempt == 2 or stalls.worst < STALL_S:
                            raise
                report(case=test.__name__, made_again_after_stall_s=round(stalls.worst, 2))
                cluster.stop_all()
                cluster.processes.clear()
        names = ["cluster"] + [n for n in inspect.signature(test).parameters if n != "world"]
        run.__name__, run.__doc__ = test.__name__, test.__doc__
        run.__signature__ = inspect.Signature(
            [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names])
        return run
    return decorate


class Others:
    """How busy other processes keep the machine: what is measured beside them is no figure."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.before = self.sample()

    def sample(self):
        with open("/proc/stat", encoding="ascii") as stat:
            fields = [int(f) for f in stat.readline().split()[1:9]]
        busy = sum(fields) - fields[3] - fields[4]
        ours = sum(os.times()[:4]) * os.sysconf("SC_CLK_TCK")
        for process in self.cluster.processes:
            try:
                with open(f"/proc/{process.pid}/stat", encoding="ascii") as stat:
                    ours += sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13]))
            except OSError:
                pass
        return now(), busy, ours

    def cores(self):
        """Processors that others used since the beginning, on average."""
        at, busy, ours = self.sample()
        ticks = (busy - self.before[1]) - (ours - self.before[2])
        return ticks / os.sysconf("SC_CLK_TCK") / max(at - self.before[0], 0.1)


