# SPDX-License-Identifier: Apache-2.0
"""mfcli demo: the tour is complete and quick, notices a spoilt byte, and leaves nothing behind."""
import os
import pty
import select
import signal
import time
import unittest

import tool
from tool import ToolCase, json_lines, processes_with

STEPS = ["meet", "pool", "put", "cost", "batch", "partial", "refused", "async", "grow", "death", "return",
         "device", "leave"]
CHECKED = ["put", "cost", "batch", "partial", "async", "grow", "death", "return", "device"]


class Demo(ToolCase):
    def setUp(self):
        super().setUp()
        for name in ("MF_DEVICE", "MF_LOG_LEVEL"):
            self.env.pop(name, None)

    def test_tour_as_text(self):
        start = time.monotonic()
        done = self.call("demo")
        self.assert_exit(done, 0)
        self.assertLess(time.monotonic() - start, 15)
        self.assertNotIn("\033", done.stdout)
        self.assertNotIn("WRONG", done.stdout)
        self.assertIn("No process is left", done.stdout)
        self.assertEqual([line for line in done.stdout.splitlines()
                          if len(line) > 80 or line != line.rstrip()], [])
        self.assertRegex(done.stdout, r"rank 0: after \d+ good copies one failed, [\d.]+ ms after")
        self.assertRegex(done.stdout, r"it\s+is\s+dead")
        self.assertEqual(done.stderr, "")
        self.assert_nothing_left()

    def test_tour_as_json(self):
        done = self.call("demo", "--json")
        self.assert_exit(done, 0)
        *steps, end = json_lines(done.stdout)
        self.assertEqual([step["name"] for step in steps], STEPS)
        self.assertTrue(all(step["wrong"] == 0 for step in steps))
        self.assertTrue(all(step["checks"] > 0 for step in steps))
        self.assertEqual((end["steps"], end["wrong"], end["complete"]), (len(STEPS), 0, True))
        self.assertGreaterEqual(end["checks"], len(STEPS))

    def test_spoilt_byte_is_noticed_in_every_step_that_checks_bytes(self):
        for name in CHECKED:
            done = self.call("demo", "--json", "--fault", str(STEPS.index(name) + 1))
            self.assert_exit(done, 1)
            *steps, end = json_lines(done.stdout)
            wrong = [step["name"] for step in steps if step["wrong"]]
            self.assertEqual(wrong[0], name, done.stdout)
            self.assertGreater(end["wrong"], 0)
        text = self.call("demo", "--fault", str(STEPS.index("batch") + 1))
        self.assert_exit(text, 1)
        self.assertIn("[WRONG] 60 rows", text.stdout)

    def test_without_a_device_the_step_says_so(self):
        self.env["MF_DEVICE"] = "none"
        done = self.call("demo")
        self.assert_exit(done, 0)
        self.assertIn("MF_DEVICE is none, so this step is left out", done.stdout)

    def test_failure_of_the_library_is_shown_and_ends_the_tour(self):
        self.env["MF_DEVICE"] = "/nowhere/plugin.so"
        done = self.call("demo")
        self.assert_exit(done, 1)
        self.assertIn("/nowhere/plugin.so", done.stdout)
        self.assertIn("the tour ended early", done.stdout)
        self.env["MF_DEVICE"] = "sim"
        self.env["MF_GVA_BASE"] = "here"
        done = self.call("demo")
        self.assert_exit(done, 1)
        self.assertIn("MF_GVA_BASE", done.stderr)

    def test_usage(self):
        for args, env, said in ((["--pause"], {}, "has to be a terminal"),
                                (["--pause", "--json"], {}, "exclude each other"),
                                (["now"], {}, "'now' is no option"),
                                ([], {"MF_RANK": "0"}, "starts its ranks itself")):
            self.env.update(env)
            done = self.call("demo", *args)
            self.assert_exit(done, 2)
            self.assertIn(said, done.stderr)

    def test_killed_guide_leaves_no_rank(self):
        process = self.start("demo", "--json")
        self.wait_for(lambda: len(processes_with(self.mark)) >= 6, "four ranks and the guardian")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.assert_nothing_left()

    def test_pause_waits_for_a_key_and_a_terminal_gets_colour(self):
        self.env["TERM"] = "xterm"
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(tool.MFCLI, [tool.MFCLI, "demo", "--pause"], self.env)
        text, pauses, until = b"", 0, time.monotonic() + 60
        while time.monotonic() < until:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                text += os.read(terminal, 65536)
            except OSError:
                break
            if text.count(b"-- Enter goes on --") > pauses:
                pauses += 1
                os.write(terminal, b"\n")
        self.assertEqual(os.waitpid(pid, 0)[1], 0, text.decode())
        self.assertEqual(pauses, len(STEPS))
        self.assertIn(b"\033[32m", text)


if __name__ == "__main__":
    tool.main()
