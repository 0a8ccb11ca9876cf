# SPDX-License-Identifier: Apache-2.0
"""mfcli run: what ranks see, how lines come out, how all ends; mfcli store."""
import json
import os
import re
import signal
import socket
import time
import unittest

import tool
from tool import ToolCase, json_lines, processes_with


class Run(ToolCase):
    def test_ranks_get_their_environment_and_lines_a_prefix(self):
        script = 'echo "$MF_RANK/$MF_WORLD_SIZE/$MF_LOCAL_RANK $MF_CONFIG_STORE_URL"; echo bad >&2'
        done = self.call("run", "-n", "3", "--", "sh", "-c", script)
        self.assert_exit(done, 0)
        lines = sorted(done.stdout.splitlines())
        self.assertEqual(len(lines), 3)
        for rank, line in enumerate(lines):
            self.assertRegex(line, rf"^\[{rank}\] {rank}/3/{rank} tcp://127\.0\.0\.1:[1-9]\d*$")
        self.assertEqual(sorted(done.stderr.splitlines()), ["[0] bad", "[1] bad", "[2] bad"])

    def test_part_of_a_world(self):
        done = self.call("run", "-n", "2", "--world-size", "5", "--rank-start", "3", "--store",
                         "tcp://127.0.0.1:4444", "--", "sh", "-c",
                         'echo "$MF_RANK $MF_WORLD_SIZE $MF_LOCAL_RANK $MF_CONFIG_STORE_URL"')
        self.assert_exit(done, 0)
        self.assertEqual(sorted(done.stdout.splitlines()),
                         ["[3] 3 5 0 tcp://127.0.0.1:4444", "[4] 4 5 1 tcp://127.0.0.1:4444"])

    def test_lines_are_whole_however_they_are_written(self):
        script = ("import sys, os\n"
                  "for i in range(300):\n"
                  "    for piece in ('line ', str(i), ' ', 'x' * (i % 7), '\\n'):\n"
                  "        os.write(1, piece.encode())\n"
                  "os.write(1, b'y' * 20000 + b'\\nno end')")
        done = self.call("run", "-n", "2", "--", "python3", "-c", script)
        self.assert_exit(done, 0)
        for rank in (0, 1):
            own = [line[4:] for line in done.stdout.splitlines() if line.startswith(f"[{rank}] ")]
            self.assertEqual(own[:300], [f"line {i} {'x' * (i % 7)}" for i in range(300)])
            self.assertEqual(sum(line.count("y") for line in own[300:-1]), 20000)
            self.assertEqual(own[-1], "no end")
        self.assertEqual(len([1 for line in done.stdout.splitlines() if line[0] != "["]), 0)

    def test_json_has_lines_and_results(self):
        done = self.call("run", "-n", "2", "--json", "--", "sh", "-c",
                         r"""printf 'say "hi"\t\377\n'; echo e >&2; exit $MF_RANK""")
        self.assert_exit(done, 1)
        objects = json_lines(done.stdout)
        self.assertEqual([o["line"] for o in objects if "line" in o], ['say "hi"\t\ufffd'] * 2)
        results = {o["rank"]: o for o in objects if "code" in o}
        self.assertEqual((results[0]["code"], results[1]["code"]), (0, 1))
        errors = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        self.assertEqual({o["stream"] for o in errors}, {"stderr"})

    def test_failing_rank_stops_all_and_is_named(self):
        start = time.monotonic()
        done = self.call("run", "-n", "3", "--grace", "0", "--", "sh", "-c",
                         'if [ $MF_RANK = 1 ]; then exit 7; fi; sleep 600')
        self.assert_exit(done, 1)
        self.assertLess(time.monotonic() - start, 20)
        self.assertRegex(done.stderr, r"rank 1 \(pid \d+\) ended with code 7; stopping the others")
        self.assertEqual(done.stderr.count("rank"), 1)
        self.assert_nothing_left()

    def test_killed_rank_is_named_with_its_signal(self):
        done = self.call("run", "-n", "2", "--grace", "0", "--", "sh", "-c",
                         'if [ $MF_RANK = 0 ]; then kill -9 $$; fi; sleep 600')
        self.assert_exit(done, 1)
        self.assertRegex(done.stderr, r"rank 0 \(pid \d+\) was killed by signal 9 \(Killed\)")

    def test_grace_lets_the_others_speak(self):
        done = self.call("run", "-n", "2", "--grace", "20", "--", "sh", "-c",
                         'if [ $MF_RANK = 0 ]; then exit 3; fi; sleep 0.5; echo I saw it; exit 4')
        self.assert_exit(done, 1)
        self.assertIn("[1] I saw it", done.stdout)
        self.assertIn("rank 1", done.stderr)

    def test_rank_that_ignores_sigterm_is_killed(self):
        start = time.monotonic()
        done = self.call("run", "-n", "2", "--grace", "0", "--", "sh", "-c",
                         'if [ $MF_RANK = 0 ]; then sleep 0.3; exit 1; fi; trap "" TERM; '
                         'while :; do sleep 0.1; done')
        self.assert_exit(done, 1)
        self.assertGreater(time.monotonic() - start, 3)
        self.assert_nothing_left()

    def test_timeout_stops_all(self):
        start = time.monotonic()
        done = self.call("run", "-n", "2", "--timeout", "0.5", "--", "sleep", "600")
        self.assert_exit(done, 1)
        self.assertLess(time.monotonic() - start, 20)
        self.assertIn("not done after 0.5 s", done.stderr)
        self.assert_nothing_left()

    def test_program_that_is_not_there(self):
        done = self.call("run", "-n", "2", "--", "/nonexistent/program")
        self.assert_exit(done, 1)
        self.assertIn("cannot start '/nonexistent/program': No such file or directory", done.stderr)

    def start_sleepers(self):
        """Ranks that have children of their own; returns when all are there."""
        process = self.start("run", "-n", "2", "--", "sh", "-c",
                             'sleep 600 & setsid sleep 0.01; echo ready; wait')
        self.wait_for(lambda: len(self.sleepers()) == 2, "the ranks' children")
        return process

    def sleepers(self):
        found = []
        for pid in processes_with(self.mark):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                    if cmdline.read().startswith(b"sleep\x00600"):
                        found.append(pid)
            except OSError:
                pass
        return found

    def test_kill_9_of_the_launcher_leaves_nothing(self):
        for _ in range(3):
            process = self.start_sleepers()
            process.kill()
            process.wait(timeout=10)
            self.assert_nothing_left()
            self.finish(process)

    def test_signals_are_forwarded(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = self.start_sleepers()
            process.send_signal(number)
            _, err = self.finish(process)
            self.assertEqual(process.returncode, 1)
            self.assertIn("stopping all ranks", err)
            self.assert_nothing_left()

    def test_children_that_outlive_their_rank_are_ended(self):
        done = self.call("run", "-n", "2", "--", "sh", "-c", "sleep 600 & exit 0")
        self.assert_exit(done, 0)
        self.assert_nothing_left()

    def test_many_ranks(self):
        done = self.call("run", "-n", "64", "--", "sh", "-c", "echo $MF_RANK")
        self.assert_exit(done, 0)
        self.assertEqual(sorted(done.stdout.splitlines()),
                         sorted(f"[{rank}] {rank}" for rank in range(64)))


class Store(ToolCase):
    def stop(self, process, number=signal.SIGTERM):
        process.send_signal(number)
        _, err = self.finish(process)
        self.assertEqual(process.returncode, 0, err)

    def test_serves_until_a_signal(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            process = self.start("store")
            url = process.stdout.readline().strip()
            match = re.match(r"^tcp://127\.0\.0\.1:([1-9]\d*)$", url)
            self.assertTrue(match, url)
            socket.create_connection(("127.0.0.1", int(match.group(1))), timeout=10).close()
            self.stop(process, number)

    def test_json_tells_the_state_again_and_again(self):
        process = self.start("store", "--json", "--every", "0.1")
        first = json.loads(process.stdout.readline())
        self.assertEqual(first["event"], "listening")
        for _ in range(3):
            status = json.loads(process.stdout.readline())
            self.assertEqual(status["event"], "status")
            self.assertEqual(len(status["stores"]), 1)
            self.assertEqual(status["stores"][0]["type"], "tcp")
        self.stop(process)

    def test_occupied_port_and_bad_url_are_told(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            done = self.call("store", "--url", f"tcp://127.0.0.1:{taken.getsockname()[1]}")
            self.assert_exit(done, 1)
            self.assertIn("Address already in use", done.stderr)
        done = self.call("store", "--url", "tcp://nowhere")
        self.assert_exit(done, 1)
        self.assertIn("tcp://nowhere", done.stderr)

    def test_run_uses_it(self):
        process = self.start("store")
        url = process.stdout.readline().strip()
        done = self.call("run", "-n", "2", "--store", url, "--", tool.MFCLI, "replay", "--requests",
                         "20", "--json")
        self.assert_exit(done, 0)
        (line,) = done.stdout.splitlines()
        self.assertEqual(json.loads(line.removeprefix("[0] "))["wrong_bytes"], 0)
        self.stop(process)


if __name__ == "__main__":
    tool.main()
