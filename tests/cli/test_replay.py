# SPDX-License-Identifier: Apache-2.0
"""mfcli replay from end to end: ranks are processes, the pool is real."""
import json
import os
import random
import signal
import time
import unittest

import tool
from tool import ToolCase, processes_with


def make_trace(seed, requests):
    """Conversations that share beginnings, as lines of a trace."""
    draw = random.Random(seed)
    prefixes, lines, fresh = [[0]], [], 1
    for time_ms in range(requests):
        prefix = draw.choice(prefixes)
        ids = prefix + list(range(fresh, fresh + draw.randint(0, 20)))
        fresh += len(ids) - len(prefix)
        prefixes.append(ids[:60])
        lines.append({"timestamp": time_ms, "input_length": 512 * len(ids), "output_length": 7,
                      "hash_ids": ids})
    return lines


def count(lines):
    """References and hits, counted in the plainest way."""
    seen, references, hits = set(), 0, 0
    for line in lines:
        for block in line["hash_ids"]:
            references += 1
            hits += block in seen
            seen.add(block)
    return references, hits


class Replay(ToolCase):
    def replay(self, *args, code=0):
        done = self.call("replay", "--json", *args)
        self.assert_exit(done, code)
        (line,) = done.stdout.splitlines()
        return json.loads(line)

    def trace_file(self, lines):
        return self.temporary_file("".join(json.dumps(line) + "\n" for line in lines))

    def test_hits_are_those_of_a_count(self):
        for ranks in (1, 2, 3, 4):
            lines = make_trace(ranks, 150)
            references, hits = count(lines)
            result = self.replay("--trace", self.trace_file(lines), "--ranks", str(ranks),
                                 "--block", "4K")
            self.assertEqual(result["requests"], len(lines))
            self.assertEqual(result["blocks"], references)
            self.assertEqual(result["hits"], hits)
            self.assertAlmostEqual(result["hit_ratio"], hits / references, places=5)
            self.assertEqual(result["puts"], references - hits)
            self.assertEqual(result["wrong_bytes"], 0)

    def test_blocks_are_spread_over_the_ranks(self):
        # The block with which every request begins is one of 24, and has one owner.
        for ranks, delta in ((1, 0), (2, 0.03), (4, 0.02)):
            result = self.replay("--ranks", str(ranks), "--requests", "800", "--block", "1K")
            self.assertAlmostEqual(result["remote_fraction"], (ranks - 1) / ranks, delta=delta)

    def test_several_clients_and_operators(self):
        lines = make_trace(7, 200)
        references, hits = count(lines)
        for op in ("sdma", "host_shm"):
            result = self.replay("--trace", self.trace_file(lines), "--ranks", "3", "--clients", "7",
                                 "--op", op)
            self.assertEqual(result["blocks"], references)
            self.assertEqual(result["wrong_bytes"], 0)
            self.assertEqual(result["hits"] + result["puts"] + result["not_put"], references)
            self.assertLessEqual(abs(hits - result["hits"]), result["not_put"])

    def test_bounded_pool(self):
        result = self.replay("--requests", "400", "--capacity", "4M", "--ranks", "2",
                             "--clients", "3")
        self.assertGreater(result["evictions"], 0)
        self.assertEqual(result["wrong_bytes"], 0)
        self.assertEqual(result["capacity"], 4 << 20)

    def test_same_seed_same_workload(self):
        first, again, other = (self.replay("--requests", "60", "--seed", seed, "--ranks", "2")
                               for seed in ("5", "5", "6"))
        self.assertEqual((first["blocks"], first["hits"]), (again["blocks"], again["hits"]))
        self.assertNotEqual((first["blocks"], first["hits"]), (other["blocks"], other["hits"]))

    def test_fault_is_seen(self):
        result = self.replay("--requests", "60", "--fault", "flip", code=1)
        self.assertEqual(result["wrong_bytes"], result["hits"])
        self.assertGreater(result["wrong_bytes"], 0)

    def test_table(self):
        done = self.call("replay", "--requests", "60", "--ranks", "2")
        self.assert_exit(done, 0)
        self.assertRegex(done.stdout, r"(?m)^wrong bytes +0$")
        self.assertRegex(done.stdout, r"hit ratio 0\.\d{5}")
        self.assertNotIn("mfcli", done.stderr)

    def test_bad_traces_are_told_once_with_line_and_column(self):
        for text, said in (('{"hash_ids": [1]}\n{"hash_ids": [1, }\n', "line 2, column 18"),
                           ('{"hash_ids": [1]}\n{"hash_ids": [1', "line 2, column 16"),
                           ("", "holds no request")):
            done = self.call("replay", "--trace", self.temporary_file(text))
            self.assert_exit(done, 1)
            self.assertIn(said, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1)
        done = self.call("replay", "--trace", "/nonexistent.jsonl")
        self.assert_exit(done, 1)
        self.assertIn("cannot open trace /nonexistent.jsonl: No such file", done.stderr)

    def test_under_run(self):
        done = self.call("run", "-n", "3", "--", tool.MFCLI, "replay", "--requests", "50",
                         "--json")
        self.assert_exit(done, 0)
        (line,) = done.stdout.splitlines()
        result = json.loads(line.removeprefix("[0] "))
        self.assertEqual((result["ranks"], result["wrong_bytes"]), (3, 0))

    def test_ranks_with_other_arguments_are_refused(self):
        script = f'exec "{tool.MFCLI}" replay --requests 5$MF_RANK'
        done = self.call("run", "-n", "2", "--", "sh", "-c", script)
        self.assert_exit(done, 1)
        self.assertIn("replays something else", done.stderr)

    def test_too_much_memory_is_an_error(self):
        done = self.call("replay", "--capacity", "64T", "--ranks", "2", "--block", "64M")
        self.assert_exit(done, 1)
        self.assertIn("create the pool", done.stderr)
        self.assert_nothing_left()


class Death(ToolCase):
    def start_long(self, *args):
        process = self.start("replay", "--json", "--ranks", "4", "--clients", "2", "--capacity",
                             "64M", "--requests", "3000000", "--peer-timeout", "2", *args)
        self.wait_for(self.works, "the clients to work")
        time.sleep(0.5)
        return process

    def rank_pid(self, rank):
        for pid in processes_with(self.mark):
            try:
                with open(f"/proc/{pid}/environ", "rb") as environ:
                    if f"MF_RANK={rank}".encode() in environ.read().split(b"\0"):
                        return pid
            except OSError:
                pass
        return None

    def works(self):
        """Rank 0 has started its client, so all ranks are there."""
        pid = self.rank_pid(0)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as comm:
                    if comm.read().strip() == "mf-client":
                        return True
        except OSError:
            pass
        return False

    def strike(self, rank, number):
        process = self.start_long()
        start = time.monotonic()
        os.kill(self.rank_pid(rank), number)
        out, err = self.finish(process)
        self.assertEqual(process.returncode, 1, err)
        self.assertLess(time.monotonic() - start, 25)
        self.assert_nothing_left()
        return out, err

    def test_killed_rank_is_named_by_the_survivors(self):
        out, err = self.strike(2, signal.SIGKILL)
        for survivor in (0, 1, 3):
            self.assertRegex(err, rf"mfcli replay: rank {survivor}: .*rank 2")
        self.assertEqual(err.count(", 0 wrong bytes)"), 3)
        result = json.loads(out)
        self.assertIn("rank 2", result["error"])
        self.assertEqual(result["wrong_bytes"], 0)

    def test_killed_rank_0_is_named_by_the_survivors(self):
        out, err = self.strike(0, signal.SIGKILL)
        for survivor in (1, 2, 3):
            self.assertRegex(err, rf"mfcli replay: rank {survivor}: .*rank 0")
        self.assertEqual(err.count(", 0 wrong bytes)"), 3)
        self.assertEqual(out, "")

    def test_stopped_rank_is_named(self):
        _, err = self.strike(3, signal.SIGSTOP)
        self.assertRegex(err, r"mfcli replay: rank 0: .*rank 3")

    def test_kill_9_of_the_launcher_leaves_nothing(self):
        process = self.start_long()
        process.kill()
        self.finish(process)
        self.assert_nothing_left()


if __name__ == "__main__":
    tool.main()
