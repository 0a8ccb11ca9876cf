# SPDX-License-Identifier: Apache-2.0
"""mfcli top: worlds that run, a process that ends, descriptors that are none of ours; the table in a
file."""
import fcntl
import glob
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import tool
from tool import ToolCase, json_lines, processes_with

RANKS = 2
WORLD = ("bench", "-t", "h2rh", "-s", "64K", "--working-set", "32M", "--verify", "16M", "--pairs",
         "1000", "--device", "none")
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class Top(ToolCase):
    def start_world(self):
        """A world that copies for half a minute or more; the ids of the ranks that have begun to copy."""
        self.world = self.start(*WORLD)
        self.addCleanup(self.world.communicate)
        self.addCleanup(self.world.kill)

        def ranks():
            mine = set(processes_with(self.mark))
            done = self.call("top", "--json")
            found = {o["pid"] for o in json_lines(done.stdout)
                     if o.get("point") == "BM_COPY_PUT"}
            return sorted(found & mine) if len(found & mine) == RANKS else None
        return self.wait_for(ranks, "two ranks that copy", 60)

    def test_live_world_as_json(self):
        pids = self.start_world()
        done = self.call("top", "--json", "--count", "3", "--interval", "100")
        self.assert_exit(done, 0)
        objects = [o for o in json_lines(done.stdout) if o["pid"] in pids]
        for pid in pids:
            about = [o for o in objects if o["pid"] == pid and o["event"] == "process"]
            self.assertEqual(len(about), 3)
            self.assertEqual({o["world"] for o in about}, {RANKS})
            self.assertAlmostEqual(about[0]["seconds"], about[0]["total_seconds"], places=2)
            self.assertGreater(about[1]["seconds"], 0.05)
            self.assertLess(about[1]["seconds"], about[1]["total_seconds"])
            self.assertLessEqual(about[1]["time"] - about[0]["time"], 10)
        self.assertEqual({o["rank"] for o in objects}, set(range(RANKS)))
        points = [o for o in objects if o["event"] == "point"]
        self.assertTrue({"BM_INIT", "BM_CREATE", "BM_JOIN"} <= {o["point"] for o in points})
        for o in points:
            self.assertLessEqual(o["p50_ns"], o["p99_ns"], o)
            self.assertLessEqual(o["p99_ns"], o["p999_ns"], o)
            self.assertLessEqual(o["failed"], o["calls"] + o["on_fly"], o)
            self.assertGreaterEqual(o["total_calls"], o["calls"])
            self.assertEqual(o["id"] >> 16 > 0, True)
        joins = [o for o in points if o["point"] == "BM_JOIN"]
        self.assertEqual([o["total_calls"] for o in joins], [1] * len(joins))
        self.assertEqual({o["calls"] for o in joins[-RANKS:]}, {0})  # none in the last interval
        moved = [o["total_bytes"] for o in points
                 if o["pid"] == pids[0] and o["point"].startswith("BM_COPY_")]
        self.assertGreater(sum(moved), 0)

    def test_live_world_as_text(self):
        pids = self.start_world()
        done = self.call("top", "--pid", str(pids[0]))
        self.assert_exit(done, 0)
        lines = done.stdout.splitlines()
        self.assertRegex(lines[0], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d, 1 process with trace points$")
        self.assertRegex(lines[2], rf"^process {pids[0]}, rank \d of {RANKS}, since it began")
        self.assertRegex(lines[3], r"^point +calls/s +failed +GB/s +p50 +p99 +p99\.9 +on fly +calls$")
        self.assertTrue(any(re.match(r"BM_JOIN +\S+( [kM])? +0 +- +.* 0 +1$", line)
                            for line in lines), done.stdout)
        self.assertNotIn("\033", done.stdout)
        done = self.call("top", "--pid", str(pids[0]), "--count", "2", "--interval", "50")
        self.assertEqual(done.stdout.count(f"process {pids[0]},"), 2)
        self.assertIn(", the last 0.", done.stdout)

    def watch_until_killed(self, pid, *args):
        """What top prints after `pid` was killed, which it had begun to watch."""
        top = self.start("top", *args)
        self.assertNotEqual(top.stdout.readline(), "")
        os.kill(pid, signal.SIGKILL)
        out, err = self.finish(top)
        self.assertEqual((top.returncode, err), (0, ""))
        return out

    def test_process_that_ends_is_said_to_have_ended(self):
        pids = self.start_world()
        out = self.watch_until_killed(pids[0], "--pid", str(pids[0]), "--count", "1000",
                                      "--interval", "50")
        self.assertEqual(len(re.findall(rf"^process {pids[0]}, .*has ended; its last", out, re.M)), 1)

    def test_process_that_ends_is_told_once_in_json(self):
        pids = self.start_world()
        out = self.watch_until_killed(pids[1], "--all", "--json", "--count", "40", "--interval",
                                      "50")
        ended = [o["pid"] for o in json_lines(out[out.index("\n{") + 1:]) if o["event"] == "ended"]
        self.assertEqual(ended.count(pids[1]), 1)  # the other rank fails for it, perhaps in time

    def test_on_a_terminal_it_is_refreshed_in_place(self):
        pids = self.start_world()
        master, slave = os.openpty()
        top = subprocess.Popen([tool.MFCLI, "top", "--pid", str(pids[0]), "--count", "3",
                                "--interval", "20"], env=self.env, stdout=slave,
                               stdin=subprocess.DEVNULL)
        os.close(slave)
        out = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            out += piece
        os.close(master)
        self.assertEqual(top.wait(timeout=20), 0)
        self.assertEqual(out.count(b"\033[H\033[J"), 3)

    def holder(self, body):
        """A process that runs `body` of Python, then waits."""
        code = ("import os, fcntl, struct, sys, time\n" + body +
                "\nprint('ready', flush=True)\ntime.sleep(60)\n")
        process = subprocess.Popen([sys.executable, "-c", code], env=self.env,
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process.pid

    def test_foreign_descriptors_are_refused_with_a_sentence(self):
        make = "fd = os.memfd_create('memfabric-trace', os.MFD_ALLOW_SEALING)\n"
        seal = f"fcntl.fcntl(fd, {fcntl.F_ADD_SEALS}, {SEALS})\n"
        fill = "os.write(fd, b'%s' * 8192)\n"
        for body, said in (
                (make + seal, "0 bytes"),
                (make + fill % "x" + seal, "does not begin as trace memory"),
                (make + fill % "x", "not sealed"),
                (make + "os.write(fd, struct.pack('<QI', 0x4543415254464d00, 77) + bytes(9000))\n" +
                 seal, "format 77"),
                ("pass\n", "has not called smem_bm_init")):
            pid = self.holder(body)
            done = self.call("top", "--pid", str(pid))
            self.assert_exit(done, 1)
            self.assertEqual(done.stdout, "")
            self.assertIn(f"process {pid}", done.stderr)
            self.assertIn(said, done.stderr)
            # Beside good ones it is passed over.
            done = self.call("top", "--json")
            self.assertNotIn(pid, [o["pid"] for o in json_lines(done.stdout)])

    def test_what_counting_costs_is_measured(self):
        done = self.call("bench", "--json", "--case", "trace", "--working-set", "32M", "--verify",
                         "16M", "--pairs", "1", "--device", "none")
        self.assert_exit(done, 0)
        lines = json_lines(done.stdout)
        self.assertEqual([line["block"] for line in lines], [8, 4096, 65536])
        for line in lines:
            self.assertEqual((line["case"], line["wrong_bytes"]), ("trace", 0))
            self.assertGreater(line["counted_ns"], 0)
            self.assertGreater(line["uncounted_ns"], 0)
            self.assertTrue(line["more_ns_q1"] <= line["measured"] <= line["more_ns_q3"], line)

    def test_mistakes(self):
        done = self.call("top", "--help")
        self.assert_exit(done, 0)
        for option in ("--pid", "--all", "--interval", "--count", "--json"):
            self.assertIn(option, done.stdout)
        for args, code, said in ((["--pid", "0"], 2, "1 to 2147483647"),
                                 (["--pid", "x"], 2, "'x' is not a number"),
                                 (["--interval", "5"], 2, "10 to 3600000"),
                                 (["--count", "0"], 2, "1 to "),
                                 (["--pid", "1", "--all"], 2, "exclude each other"),
                                 (["--al"], 2, "--all"),
                                 (["more"], 2, "'more' is no option"),
                                 (["--pid", "2147483646"], 1, "there is no process 2147483646")):
            done = self.call("top", *args)
            self.assert_exit(done, code)
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stdout, "")

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_another_user_is_refused(self):
        pids = self.start_world()
        done = subprocess.run([tool.MFCLI, "top", "--pid", str(pids[0])], env=self.env, text=True,
                              capture_output=True, timeout=20, check=False, user=65534, group=65534)
        self.assert_exit(done, 1)
        self.assertIn("for its own user (and root) only", done.stderr)

    def test_file_has_the_table_of_every_period(self):
        with tempfile.TemporaryDirectory() as folder:
            self.env["MF_TRACE_DIR"] = os.path.join(folder, "tables")
            self.env["MF_TRACE_PERIOD_MS"] = "100"
            done = self.call("replay", "--ranks", str(RANKS), "--requests", "300")
            self.assert_exit(done, 0)
            files = glob.glob(os.path.join(folder, "tables", "ptracer_*.dat"))
            self.assertGreaterEqual(len(files), RANKS)
            for name in files:
                with open(name, encoding="ascii") as file:
                    lines = file.read().splitlines()
                self.assertEqual({len(line) for line in lines}, {183})
                self.assertEqual(lines[0].split(), ["TIME", "NAME", "BEGIN", "GOOD_END", "BAD_END",
                                                    "ON_FLY", "MIN(us)", "MAX(us)", "AVG(us)",
                                                    "TOTAL(us)"])
                rows = [line for line in lines if not line.startswith("TIME")]
                joins = [row for row in rows if row[23:63].strip() == "BM_JOIN"]
                self.assertEqual(sum(int(row[63:78]) for row in joins), 1)
                for row in rows:
                    time.strptime(row[:23].strip(), "%Y-%m-%d %H:%M:%S")
                    begin, good, bad, fly = (int(row[63 + 15 * i:78 + 15 * i]) for i in range(4))
                    least, most, mean, total = (float(row[123 + 15 * i:138 + 15 * i])
                                                for i in range(4))
                    self.assertGreater(begin, 0)
                    self.assertTrue(0 <= bad and 0 <= good and 0 <= fly, row)
                    self.assertTrue(least <= mean + 0.001 and mean <= most + 0.001, row)
                    self.assertGreaterEqual(total + 0.001, mean)


if __name__ == "__main__":
    tool.main()
