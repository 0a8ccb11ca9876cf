# SPDX-License-Identifier: Apache-2.0
"""mfcli run -H: ranks of other hosts through an agent, and that nothing of them is left behind."""
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import unittest
import uuid

import tool
from tool import ToolCase, json_lines, processes_with

STORE = "tcp://127.0.0.1:4444"
# An agent that gives its words to a program, as `ip netns exec` does.
EXEC = "env AT=%h"
SHOW = 'echo "$AT $MF_RANK/$MF_WORLD_SIZE/$MF_LOCAL_RANK $MF_CONFIG_STORE_URL"'


class RunHosts(ToolCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def hosts(self, hosts, *program, agent=EXEC, more=()):
        return self.call("run", "-H", hosts, "--agent", agent, "--store", STORE, *more, "--",
                         *program)

    def ssh(self):
        """Something that is called ssh: gives its words, joined by spaces, to a shell."""
        path = os.path.join(self.folder, "ssh")
        with open(path, "w", encoding="ascii") as script:
            script.write('#!/bin/sh\nexport AT="$1"; shift\nunset MF_LOG_LEVEL MF_OTHER\nexec sh -c "$*"\n')
        os.chmod(path, stat.S_IRWXU)
        return path

    def test_ranks_are_spread_and_numbered(self):
        done = self.hosts("a:2,b,[fe80::1]:1", "sh", "-c", SHOW)
        self.assert_exit(done, 0)
        self.assertEqual(sorted(done.stdout.splitlines()),
                         [f"[0] a 0/4/0 {STORE}", f"[1] a 1/4/1 {STORE}", f"[2] b 2/4/0 {STORE}",
                          f"[3] fe80::1 3/4/0 {STORE}"])

    def test_part_of_a_world(self):
        done = self.hosts("a,b", "sh", "-c", SHOW, more=("--rank-start", "3", "--world-size", "9"))
        self.assert_exit(done, 0)
        self.assertEqual(sorted(line.split()[2] for line in done.stdout.splitlines()),
                         ["3/9/0", "4/9/0"])

    def test_words_arrive_as_they_were_given(self):
        words = ["a b", "it's", '"x"', "$HOME", "*", "", "back\\slash", "new\nline"]
        show = 'import sys; print(repr(sys.argv[1:]))'
        for agent in (EXEC, f"{self.ssh()} %h", "sh -c %c --marked-%h"):
            done = self.hosts("h:1", "python3", "-c", show, *words, agent=agent)
            self.assert_exit(done, 0)
            self.assertEqual(done.stdout.strip(), "[0] " + repr(words), agent)

    def test_options_of_the_library_go_along(self):
        self.env["MF_LOG_LEVEL"] = "3"
        self.env["MF_OTHER"] = "two words"
        done = self.hosts("h:1", "sh", "-c", 'echo "$MF_LOG_LEVEL,$MF_OTHER,$MF_RANK"',
                          agent=f"{self.ssh()} %h")
        self.assert_exit(done, 0)
        self.assertEqual(done.stdout, "[0] 3,two words,0\n")

    def test_json_of_all_hosts(self):
        done = self.hosts("a:1,b:1", "sh", "-c", "echo hello", more=("--json",))
        self.assert_exit(done, 0)
        objects = json_lines(done.stdout)
        self.assertEqual(sorted(o["rank"] for o in objects if o.get("line") == "hello"), [0, 1])
        self.assertEqual(sorted((o["rank"], o["code"]) for o in objects if "code" in o),
                         [(0, 0), (1, 0)])

    def test_failing_rank_stops_all_hosts_and_is_named(self):
        begin = time.monotonic()
        done = self.hosts("a:1,b:2", "sh", "-c", "[ $MF_RANK = 2 ] && exit 7; sleep 60",
                          more=("--grace", "0.1"))
        self.assert_exit(done, 1)
        self.assertRegex(done.stderr, r"rank 2 \(pid \d+\) ended with code 7")
        self.assertRegex(done.stderr, r"the agent of host b \(pid \d+\) ended with code 1; stopping")
        self.assertLess(time.monotonic() - begin, 20)
        self.assert_nothing_left()

    def test_agent_that_is_not_there_is_named(self):
        done = self.hosts("a:1", "true", agent="no-such-agent %h")
        self.assert_exit(done, 1)
        self.assertIn("the agent of host a: cannot start 'no-such-agent'", done.stderr)

    def test_killed_launcher_leaves_nothing_on_any_host(self):
        # What setsid starts is in no group of the launcher: only its standard input tells it.
        run = self.start("run", "-H", "a:2,b:1", "--agent", "setsid -w env AT=%h", "--store", STORE,
                         "--", "sleep", "61")
        self.wait_for(lambda: len(self.sleepers()) == 3, "three ranks")
        run.send_signal(signal.SIGKILL)
        run.wait(10)
        run.stdout.close()
        run.stderr.close()
        self.assert_nothing_left(10)

    def test_interrupted_launcher_stops_all(self):
        run = self.start("run", "-H", "a:2,b:1", "--agent", "setsid -w env AT=%h", "--store", STORE,
                         "--", "sleep", "61")
        self.wait_for(lambda: len(self.sleepers()) == 3, "three ranks")
        run.send_signal(signal.SIGINT)
        _, err = self.finish(run)
        self.assertEqual(run.returncode, 1)
        self.assertIn("Interrupt: stopping all ranks", err)
        self.assert_nothing_left(10)

    def sleepers(self):
        found = []
        for pid in processes_with(self.mark):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as words:
                    if words.read() == b"sleep\x0061\x00":
                        found.append(pid)
            except OSError:
                pass
        return found

    def test_timeout_holds_for_all(self):
        done = self.hosts("a:1,b:1", "sleep", "60", more=("--timeout", "0.5"))
        self.assert_exit(done, 1)
        self.assertIn("not done after 0.5 s", done.stderr)
        self.assert_nothing_left()

    def test_mistakes_are_explained(self):
        for hosts, sentence in (("", "names no host"), ("a,,b", "names no host"),
                                ("a:0", "is not HOST:N"), ("a:x", "is not HOST:N"),
                                ("a:2x", "is not HOST:N"), ("a:1025", "is not HOST:N"),
                                ("-oProxyCommand=x:1", "names no host"),
                                ("a:1000,b:1000", "at most 1024"),
                                (",".join(["h"] * 257), "more than 256 hosts")):
            done = self.hosts(hosts, "true")
            self.assert_exit(done, 2)
            self.assertIn(sentence, done.stderr, hosts)
        for words, sentence in ((("-H", "a", "--", "true"), "-H needs --store"),
                                (("-H", "a", "-n", "2", "--store", STORE, "--", "true"),
                                 "leave out -n"),
                                (("-H", "a", "--store", STORE), "program to run is missing"),
                                (("-n", "1", "--agent", "x %h", "--", "true"), "goes with -H"),
                                (("-H", "a", "--store", STORE, "--agent", "ssh", "--", "true"),
                                 "has no %h")):
            done = self.call("run", *words)
            self.assert_exit(done, 2)
            self.assertIn(sentence, done.stderr, words)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("ip"), "needs root and ip")
    def test_network_namespaces(self):
        names = [f"mfcli-{uuid.uuid4().hex[:8]}" for _ in range(2)]
        for name in names:
            if subprocess.run(["ip", "netns", "add", name], check=False).returncode:
                self.skipTest("network namespaces cannot be made here")
            self.addCleanup(subprocess.run, ["ip", "netns", "del", name], check=False)
        done = self.hosts(",".join(names), "readlink", "/proc/self/ns/net",
                          agent="ip netns exec %h")
        self.assert_exit(done, 0)
        seen = sorted(done.stdout.splitlines())
        self.assertEqual(len(seen), 2)
        self.assertNotEqual(seen[0][4:], seen[1][4:])
        self.assertNotIn(os.readlink("/proc/self/ns/net"), [line[4:] for line in seen])


if __name__ == "__main__":
    tool.main()
