# SPDX-License-Identifier: Apache-2.0
"""Eight ranks join, leave, die and come back at random while all copy and check every byte. Lasts
CLUSTER_CHURN_S seconds; CLUSTER_SEED repeats a run's choices."""
import os
import random
import time

from cluster import MIB, NOT_CONNECTED, NOT_STARTED, OK, SLOT, now, proc_status, report

RANKS = 8
STEADY = (0, 1)  # these stay, and are measured
AREA = 256 * 1024
BYTES = 4 * MIB
SECONDS = float(os.environ.get("CLUSTER_CHURN_S", "20"))


class Member:
    """One rank number and the process that has it at present."""

    def __init__(self, cluster, url, number):
        self.cluster, self.url, self.number = cluster, url, number
        self.rank = None
        self.looping = False
        self.lives = 0

    def name_life(self):
        """The first word of the own slot tells lives apart; written before others trust it."""
        self.lives += 1
        self.rank.ok(f"store {self.number} 0 {self.lives * 1000 + self.number + 1}")

    def begin(self):
        if self.rank is None:
            self.rank = self.cluster.rank(f"churn{self.number}", {"MF_LOG_LEVEL": "1"})
        self.rank.ok(f"init {self.url} rank={self.number} world={RANKS}")
        self.rank.ok(f"create 0 dram={BYTES}")
        self.join()

    def join(self):
        self.rank.ok("join 0")
        self.name_life()
        peers = ",".join(str(i) for i in range(RANKS) if i != self.number)
        self.rank.ok(f"loop all both ranks={peers} off={MIB + self.number * AREA} len={AREA} "
                     f"keep=1 peek=1 pause=500 word=64")
        self.looping = True

    def end_loop(self):
        stats = self.rank.ok("end all", 30)
        self.looping = False
        assert stats.value("wrong") == 0, (self.number, stats)
        assert stats.value("odd") in (OK, NOT_STARTED), (self.number, stats)
        assert stats.value("slowest_us") < 5e6, (self.number, stats)
        return stats.value("rounds")

    def kill(self):
        self.rank.kill()
        self.rank.stop()
        self.cluster.processes.remove(self.rank)
        self.rank = None
        self.looping = False


def footprint(pid):
    status = proc_status(pid)
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps:
        mappings = len(maps.readlines())
    return {"descriptors": len(os.listdir(f"/proc/{pid}/fd")), "mappings": mappings,
            "private_kib": int(status["VmRSS"].split()[0]) - int(status["RssShmem"].split()[0]),
            "threads": int(status["Threads"])}


def settle(members):
    """All are there and reach each other."""
    for member in members:
        for other in range(RANKS):
            if other != member.number:
                member.rank.ok(f"reach {other} 5000")
    time.sleep(0.5)


def act(member, dice, done):
    action = dice.choice(("kill", "kill", "leave", "destroy", "uninit"))
    done[action] = done.get(action, 0) + 1
    if action == "kill":
        member.kill()
        time.sleep(dice.random() * 0.05)
        member.begin()
        return
    rounds = member.end_loop()
    done["rounds"] = done.get("rounds", 0) + rounds
    if action == "leave":
        member.rank.ok("leave 0")
        time.sleep(dice.random() * 0.05)
        member.join()
        return
    member.rank.ok("destroy 0")
    if action == "uninit":
        member.rank.ok("uninit")
        member.begin()
        return
    member.rank.ok(f"create 0 dram={BYTES}")
    member.join()


def test_churn__no_wrong_byte_and_nothing_grows(cluster, store):
    seed = int(os.environ.get("CLUSTER_SEED", random.randrange(1 << 30)))
    report(case="churn", seed=seed)
    dice = random.Random(seed)
    members = [Member(cluster, store.url, i) for i in range(RANKS)]
    for member in members:
        member.begin()
    done = {}
    for _ in range(12):  # warm up: threads and buffers are there afterwards
        act(dice.choice(members[len(STEADY):]), dice, done)
    settle(members)
    before = [footprint(members[i].rank.pid) for i in STEADY]
    end = now() + SECONDS
    while now() < end:
        act(dice.choice(members[len(STEADY):]), dice, done)
        time.sleep(dice.random() * 0.05)
    settle(members)
    after = [footprint(members[i].rank.pid) for i in STEADY]
    for member in members:
        done["rounds"] = done.get("rounds", 0) + member.end_loop()
    report(case="churn", seconds=SECONDS, done=done, before=before, after=after)
    assert done["rounds"] > 100
    for was, is_now in zip(before, after):
        assert is_now["descriptors"] <= was["descriptors"] + 4, (was, is_now)
        assert is_now["mappings"] <= was["mappings"] + 16, (was, is_now)
        assert is_now["threads"] <= was["threads"] + 1, (was, is_now)
        assert is_now["private_kib"] <= was["private_kib"] + 2048, (was, is_now)


def test_uninit__lives_of_one_process_cost_the_others_nothing(cluster, store):
    stays, comes = cluster.ranks(2, store.url)
    before = None
    for life in range(60):
        if life == 20:  # what is made once is there by now
            before = footprint(stays.pid)
        comes.ok("destroy 0")
        comes.ok("uninit")
        comes.ok(f"init {store.url} rank=1 world=2")
        comes.ok(f"create 0 dram={SLOT}")
        comes.ok("join 0")
    stays.ok("reach 1 5000")
    after = footprint(stays.pid)
    # A few of the last lives are kept until there are enough of them to be worth a thread.
    assert after["descriptors"] <= before["descriptors"] + 20, (before, after)
    assert after["mappings"] <= before["mappings"] + 20, (before, after)
