#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How mf-sim is called: wrong arguments are refused with a sentence, and each form of result can be
read. The program's name is in the environment, MF_SIM.
"""
import json
import os
import re
import signal
import subprocess
import time
import unittest

MF_SIM = os.environ.get("MF_SIM", "mf-sim")
SMALL = ["--ranks", "2..3", "--steps", "300..400", "--faults", "1"]


def run(*args):
    return subprocess.run([MF_SIM, *args], capture_output=True, text=True, timeout=120)


class Refused(unittest.TestCase):
    def refused(self, args, sentence):
        done = run(*args.split())
        self.assertEqual(done.returncode, 2, done)
        self.assertIn(sentence, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertEqual(done.stdout, "")

    def test_numbers(self):
        self.refused("--seed -1", "--seed -1: a number from 0 to")
        self.refused("--seed 5x", "--seed 5x: a number from 0 to")
        self.refused("--seed 5 --ranks 1", "--ranks 1: a number from 2 to 1024")
        self.refused("--seed 5 --ranks 9..8", "--ranks 9..8: a number from 2 to 1024, or a range")
        self.refused("--seed 5 --ranks 1025", "--ranks 1025: a number")
        self.refused("--seed 5 --steps 0", "--steps 0: a number from 1 to")
        self.refused("--seed 5 --ranks-per-host 0", "--ranks-per-host 0: a number from 1 to")
        self.refused("--seed 5 --limit 0", "--limit 0: a number from 1 to")
        self.refused("--batch 9..3", "--batch 9..3: a number")
        self.refused("--batch x..", "--batch x..: a number")
        self.refused("--batch 1..3 --jobs 0", "--jobs 0: a number from 1 to 256")
        self.refused("--batch 1..3 --minutes 0", "--minutes 0: a number above 0")
        self.refused("--batch 1..3 --minutes nan", "--minutes nan: a number above 0")
        self.refused("--batch 1..3 --minutes 1 --at-least x", "--at-least x: a number")

    def test_faults(self):
        self.refused("--seed 5 --faults 257", "--faults 257: a number from 0 to 256")
        self.refused("--seed 5 --faults boom", 'there is no fault "boom"; the kinds are kill')
        self.refused("--seed 5 --faults kill@1", '"kill@1" is no fault: KIND@STEP')
        self.refused("--seed 5 --ranks 4 --faults kill@1:r4/any/1s", "rank 4 of a world of 4 ranks")
        self.refused("--batch 5..9 --ranks 4 --faults kill@1:r4/any/1s", "of a world of 4 ranks")

    def test_together(self):
        self.refused("", "give either --seed S or --batch A..B")
        self.refused("--seed 1 --batch 1..2", "give either --seed S or --batch A..B")
        self.refused("--batch 1..2 --shrink", "--shrink takes one schedule")
        self.refused("--batch 1..2 --digest-twice", "--digest-twice takes one schedule")
        self.refused("--seed 1 --minutes 1", "--minutes is for many schedules")
        self.refused("--seed 1 --stop", "--stop is for many schedules")
        self.refused("--seed 1 --stop-at leak", "--stop-at is for many schedules")
        self.refused("--batch 1..2 --stop --stop-at leak", "--stop and --stop-at: one of them")
        self.refused("--batch 1..2 --stop-at=", "--stop-at: the name of a promise")
        self.refused("--seed 1 --table", "--table is for many schedules")
        self.refused("--seed 1 --jobs 2", "--jobs is for many schedules")
        self.refused("--batch 1..2 --at-least 1", "--at-least needs --minutes")
        self.refused("--seed 1 --shrink --digest-twice", "one at a time")
        self.refused("--seed 1 --json --verbose", "--json goes with neither")

    def test_options(self):
        self.refused("--frob", "there is no option --frob")
        self.refused("seed", "there is no option seed")
        self.refused("--seed", "--seed needs a value")
        self.refused("--json=1 --seed 1", "this option takes no value")
        self.refused("--seed 1 --mutant epoch", "this program has no mutants: use mf-sim-mutants")
        self.refused("--list-mutants", "this program has none: use mf-sim-mutants")


class Results(unittest.TestCase):
    def test_help(self):
        done = run("--help")
        self.assertEqual(done.returncode, 0)
        for option in ("--seed", "--batch", "--shrink", "--digest-twice", "--faults"):
            self.assertIn(option, done.stdout)

    def test_one(self):
        done = run("--seed=3", *SMALL)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("every promise was kept", done.stdout)
        self.assertRegex(done.stdout, r"digest [0-9a-f]{16}")
        story = run("--seed", "3", "-v", *SMALL)
        self.assertGreater(story.stdout.count("\n"), 20)
        digest = re.compile("digest [0-9a-f]{16}")
        self.assertEqual(digest.search(done.stdout).group(), digest.search(story.stdout).group())

    def test_exact_faults_replay(self):
        first = json.loads(run("--seed", "7", "--json", *SMALL).stdout)
        again = json.loads(run(*first["command"].split()[1:], "--json").stdout)
        self.assertEqual(first["digest"], again["digest"])
        self.assertEqual(first["steps"], again["steps"])

    def test_nothing_to_shrink(self):
        done = run("--seed", "3", "--shrink", *SMALL)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("there is nothing to shrink", done.stdout)

    def test_twice(self):
        done = run("--seed", "3", "--digest-twice", *SMALL)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("the second run is the same", done.stdout)

    def test_batch(self):
        done = run("--batch", "1..12", "--jobs", "2", "--table", *SMALL)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("12 schedules (seeds 1..12)", done.stdout)
        self.assertIn("| kill |", done.stdout)
        result = json.loads(run("--batch", "1..12", "--jobs", "3", "--json", *SMALL).stdout)
        self.assertEqual((result["schedules"], result["faults"], result["failures"]), (12, 12, 0))
        self.assertEqual(result["broken"], [])
        self.assertGreater(result["steps"], 12 * 300)

    def test_time(self):
        done = run("--batch", "1..", "--minutes", "0.0001", "--at-least", "4", *SMALL)
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, r"(?m)^[4-9] schedules")

    def test_asked_to_stop(self):
        sim = subprocess.Popen([MF_SIM, "--batch", "1..", "--jobs", "1", *SMALL],
                               stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        sim.send_signal(signal.SIGTERM)
        text = sim.communicate(timeout=60)[0]
        self.assertEqual(sim.returncode, 0, text)
        self.assertRegex(text, r"(?m)^[0-9]+ schedules \(seeds 1\.\.")


if __name__ == "__main__":
    unittest.main(verbosity=2)
