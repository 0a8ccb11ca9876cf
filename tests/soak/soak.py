#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A world of ranks that join, leave, extend, copy and die at random, for minutes.

    soak.py --mfcli PATH --rank PATH [--minutes M] [--ranks N] [--seed S]

Fails on the first wrong byte, unexpected error, rank that stands still or dies by itself, and at the
end when descriptors, mappings, threads or memory of the processes that were never killed have grown,
or something is left behind. The seed decides who is struck and when, not how the processes interleave.
"""
import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

LIVE = 3            # ranks that are never killed: their growth is what is measured
SILENT_S = 60       # a rank that says nothing for so long hangs
GROWTH = {"fds": 40, "maps": 64, "threads": 2, "anon": 8192}


MODES = ({}, {"MF_COPY_CHECKSUM": "on"}, {"MF_PEER_MAP": "never"}, {"MF_SIM_GRANT": "shift"})


class Failed(Exception):
    pass


class Rank:
    def __init__(self, soak, number):
        self.soak, self.number, self.lives = soak, number, 0
        self.samples, self.sums = [], {}
        self.start()

    def start(self):
        soak = self.soak
        env = dict(os.environ, MF_CONFIG_STORE_URL=soak.url, MF_WORLD_SIZE=str(soak.ranks),
                   MF_RANK=str(self.number), MF_LOCAL_RANK=str(self.number), MF_LOG_LEVEL="4",
                   MF_DEVICE="sim", MF_SIM_MEMORY="64M",
                   MF_GVA_TRANSLATE="always" if soak.seed % 2 else "auto")
        self.log = open(os.path.join(soak.folder, f"rank{self.number}.log"), "a+b")
        self.seen = self.log.seek(0, os.SEEK_END)
        seed = soak.seed * 1000 + self.number + 100000 * self.lives
        # Each life has its own way to reach the others.
        env.update(random.Random(seed).choice(MODES))
        self.popen = subprocess.Popen([soak.program, str(soak.seconds + 120), str(seed)],
                                      stdout=self.log, stderr=self.log, env=env,
                                      start_new_session=True)
        self.lives += 1
        self.heard = time.monotonic()
        self.samples = []

    def text(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            return log.read()[-4000:]

    def poll(self):
        """Read what it has said since; complain when it must not be so."""
        with open(self.log.name, "rb") as log:
            log.seek(self.seen)
            new = log.read()
        whole = new[:new.rfind(b"\n") + 1]
        self.seen += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self.heard = time.monotonic()
            if line.startswith(("WRONG", "FAILED")) or "Sanitizer" in line:
                raise Failed(f"rank {self.number}: {line}\n{self.text()}")
            if line.startswith("STAT"):
                sample = {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", line)}
                self.samples.append(sample)
        if time.monotonic() - self.heard > SILENT_S:
            raise Failed(f"rank {self.number} (pid {self.popen.pid}) is silent for {SILENT_S} s\n"
                         f"{self.text()}")

    def count(self):
        """What this life has counted goes into the sums."""
        for name in ("copies", "refused", "joins", "extends"):
            self.sums[name] = self.sums.get(name, 0) + (self.samples[-1][name] if self.samples else 0)

    def kill(self):
        self.popen.kill()
        self.popen.wait(20)
        self.poll()
        self.count()
        self.start()


class Soak:
    def __init__(self, args, folder):
        self.ranks, self.seconds, self.seed = args.ranks, args.minutes * 60, args.seed
        self.program, self.folder = args.rank, folder
        self.dice = random.Random(args.seed)
        self.kills = self.stops = 0
        self.store = subprocess.Popen([args.mfcli, "store", "--url", "tcp://127.0.0.1:0"],
                                      stdout=subprocess.PIPE, start_new_session=True)
        self.url = self.store.stdout.readline().decode().strip()
        if not self.url:
            raise Failed("mfcli store did not start")
        self.store_before = None
        self.all = []

    def store_holds(self):
        pid = self.store.pid
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            anon = int(re.search(r"RssAnon:\s+(\d+)", status.read()).group(1))
        return {"fds": len(os.listdir(f"/proc/{pid}/fd")), "anon": anon}

    def strike(self):
        rank = self.all[self.dice.randrange(min(LIVE, self.ranks - 1), self.ranks)]
        if self.dice.random() < 0.8:
            rank.kill()
            self.kills += 1
        else:
            # Shorter than the store's patience: nobody may be declared dead for it.
            rank.popen.send_signal(signal.SIGSTOP)
            time.sleep(self.dice.uniform(0.05, 0.7))
            rank.popen.send_signal(signal.SIGCONT)
            self.stops += 1

    def run(self):
        self.all = [Rank(self, number) for number in range(self.ranks)]
        begin = time.monotonic()
        next_strike = begin + 5
        while time.monotonic() < begin + self.seconds:
            time.sleep(0.2)
            for rank in self.all:
                code = rank.popen.poll()
                rank.poll()
                if code is not None:
                    raise Failed(f"rank {rank.number} ended by itself: {code}\n{rank.text()}")
            if self.store.poll() is not None:
                raise Failed(f"the store ended by itself: {self.store.poll()}")
            if self.store_before is None and time.monotonic() > begin + self.seconds / 3:
                self.store_before = self.store_holds()
            if time.monotonic() >= next_strike:
                self.strike()
                next_strike = time.monotonic() + self.dice.expovariate(1 / 1.5)
        self.end()

    def end(self):
        store_after = self.store_holds()
        for rank in self.all:
            rank.popen.send_signal(signal.SIGTERM)
        for rank in self.all:
            try:
                code = rank.popen.wait(60)
            except subprocess.TimeoutExpired:
                raise Failed(f"rank {rank.number} does not stop\n{rank.text()}") from None
            rank.poll()
            rank.count()
            if code != 0:
                raise Failed(f"rank {rank.number} ended with {code}\n{rank.text()}")
        if self.store_before is not None:
            self.check_growth("the store", self.store_before, store_after)
        for rank in self.all[:LIVE]:
            third = len(rank.samples) // 3
            if third < 5:
                continue
            before = {k: sorted(s[k] for s in rank.samples[third:2 * third])[third // 2]
                      for k in GROWTH}
            after = {k: sorted(s[k] for s in rank.samples[-third:])[third // 2] for k in GROWTH}
            self.check_growth(f"rank {rank.number}", before, after)

    @staticmethod
    def check_growth(who, before, after):
        print(f"{who}: second third {before}, last third {after}")
        for name, value in after.items():
            if value > before[name] + GROWTH[name]:
                raise Failed(f"{who} grows: {name} from {before[name]} to {value}")

    def close(self):
        for rank in self.all:
            if rank.popen.poll() is None:
                rank.popen.kill()
                rank.popen.wait(20)
        self.store.terminate()
        self.store.wait(20)

    def summary(self):
        sums = {}
        for rank in self.all:
            for name, value in rank.sums.items():
                sums[name] = sums.get(name, 0) + value
        return (f"{self.ranks} ranks, {self.seconds:.0f} s, seed {self.seed}: {self.kills} kills, "
                f"{self.stops} stops, " + ", ".join(f"{v} {k}" for k, v in sorted(sums.items())))


def left_behind(before):
    names = set(os.listdir("/dev/shm")) - before
    return [name for name in names if re.search("memfabric|smem|^mf[-_]", name)]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mfcli", required=True)
    parser.add_argument("--rank", required=True, help="the program soak_rank")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--ranks", type=int, default=24)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    before = set(os.listdir("/dev/shm"))
    with tempfile.TemporaryDirectory(prefix="mf-soak-") as folder:
        soak = None
        try:
            soak = Soak(args, folder)
            soak.run()
        except Failed as failure:
            print(f"soak: seed {args.seed}: {failure}", file=sys.stderr)
            return 1
        finally:
            if soak is not None:
                soak.close()
    left = left_behind(before)
    if left:
        print(f"soak: left in /dev/shm: {left}", file=sys.stderr)
        return 1
    print(f"soak: {soak.summary()}: no wrong byte, no leak, no hang")
    return 0


if __name__ == "__main__":
    sys.exit(main())
