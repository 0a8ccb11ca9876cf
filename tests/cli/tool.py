# SPDX-License-Identifier: Apache-2.0
"""What the tests of the tool share: how mfcli is called, and how its processes are found."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

MFCLI = os.environ.get("MFCLI", "mfcli")
DEADLINE_S = 60


def processes_with(mark):
    """The ids of living processes whose environment holds the mark."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as environ:
                if mark.encode() in environ.read():
                    found.append(int(name))
        except OSError:
            pass
    return found


class ToolCase(unittest.TestCase):
    """Calls the tool with a mark in the environment, by which all it starts is found again."""

    def setUp(self):
        self.mark = f"MFCLI_TEST={os.getpid()}-{time.monotonic_ns()}"
        key, value = self.mark.split("=")
        self.env = dict(os.environ, **{key: value})
        for name in ("MF_RANK", "MF_WORLD_SIZE", "MF_LOCAL_RANK", "MF_CONFIG_STORE_URL"):
            self.env.pop(name, None)

    def tearDown(self):
        for pid in processes_with(self.mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def call(self, *args, **more):
        return subprocess.run([MFCLI, *args], env=self.env, text=True, capture_output=True,
                              timeout=DEADLINE_S, stdin=subprocess.DEVNULL, check=False, **more)

    def start(self, *args, **more):
        return subprocess.Popen([MFCLI, *args], env=self.env, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **more)

    def finish(self, process):
        out, err = process.communicate(timeout=DEADLINE_S)
        return out, err

    def assert_exit(self, done, code):
        self.assertEqual(done.returncode, code, f"stdout: {done.stdout}\nstderr: {done.stderr}")

    def assert_nothing_left(self, seconds=5):
        until = time.monotonic() + seconds
        while processes_with(self.mark):
            left = processes_with(self.mark)
            self.assertLess(time.monotonic(), until, f"processes are left: {left}")
            time.sleep(0.02)

    def wait_for(self, question, what, seconds=20):
        until = time.monotonic() + seconds
        while True:
            answer = question()
            if answer:
                return answer
            self.assertLess(time.monotonic(), until, f"waited {seconds} s in vain for {what}")
            time.sleep(0.01)

    def temporary_file(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl", delete=False) as file:
            file.write(text)
        self.addCleanup(os.unlink, file.name)
        return file.name


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def main():
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        global MFCLI
        MFCLI = sys.argv.pop(1)
    unittest.main(module="__main__")
