# SPDX-License-Identifier: Apache-2.0
"""What the tests of the examples share: a program is run by mfcli run and its lines are read."""
import os
import re
import subprocess
import sys
import unittest

MFCLI = "mfcli"
PROGRAMS = "."
OURS = ("MF_RANK", "MF_WORLD_SIZE", "MF_LOCAL_RANK", "MF_CONFIG_STORE_URL", "MF_DEVICE")


class ExampleCase(unittest.TestCase):
    program = None  # the name of the file
    ranks = 4

    def environment(self, more):
        env = {name: value for name, value in os.environ.items() if name not in OURS}
        env.update(more)
        return env

    def call(self, words, **more):
        return subprocess.run(words, env=self.environment(more), text=True, capture_output=True,
                              timeout=60, stdin=subprocess.DEVNULL, check=False)

    def path(self):
        return os.path.join(PROGRAMS, self.program)

    def run_ranks(self, ranks, **more):
        return self.call([MFCLI, "run", "-n", str(ranks), "--timeout", "50", "--", self.path()],
                         **more)

    def good_lines(self, ranks, **more):
        """The lines of each rank, after a run that succeeded."""
        done = self.run_ranks(ranks, **more)
        self.assertEqual(done.returncode, 0, f"stdout: {done.stdout}\nstderr: {done.stderr}")
        self.assertEqual(done.stderr, "")
        lines = {rank: [] for rank in range(ranks)}
        for line in done.stdout.splitlines():
            rank, text = re.fullmatch(r"\[(\d+)\] (.*)", line).groups()
            lines[int(rank)].append(text)
        return lines

    def check_mistakes(self):
        done = self.call([self.path()])
        self.assertEqual(done.returncode, 2)
        self.assertIn("MF_RANK is not set: start it with mfcli run", done.stderr)
        done = self.run_ranks(1)
        self.assertEqual(done.returncode, 1)
        self.assertIn("this example needs 2 to 64 ranks", done.stderr)
        done = self.run_ranks(2, MF_FENCE_WAIT_MS="soon")
        self.assertEqual(done.returncode, 1)
        self.assertIn("MF_FENCE_WAIT_MS", done.stderr)


def main():
    global MFCLI, PROGRAMS
    MFCLI, PROGRAMS = sys.argv[1:3]
    del sys.argv[1:3]
    unittest.main(module="__main__")
