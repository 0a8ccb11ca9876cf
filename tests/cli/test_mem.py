# SPDX-License-Identifier: Apache-2.0
"""mfcli mem scan: machines of one node, of two, with and without huge pages, under a limit."""
import os
import shutil
import tempfile
import unittest

import tool
from tool import ToolCase, json_lines

MIB = 1 << 20
GIB = 1 << 30
MEMINFO = "MemTotal: {total} kB\nMemFree: {free} kB\nMemAvailable: {available} kB\n"
NODE = ("Node {n} MemTotal: {total} kB\nNode {n} MemFree: {free} kB\n"
        "Node {n} Active(file): {file} kB\nNode {n} SReclaimable: 0 kB\n")


class Mem(ToolCase):
    def setUp(self):
        super().setUp()
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)

    def put(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def pages(self, base, kib, total, free):
        self.put(f"{base}/hugepages-{kib}kB/nr_hugepages", total)
        self.put(f"{base}/hugepages-{kib}kB/free_hugepages", free)

    def machine(self, available=12 * GIB):
        self.put("proc/meminfo", MEMINFO.format(total=16 << 20, free=8 << 20,
                                                available=available >> 10))
        self.put("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never")
        self.put("sys/kernel/mm/transparent_hugepage/shmem_enabled", "[never]")

    def two_nodes(self):
        self.machine()
        self.pages("sys/kernel/mm/hugepages", 2048, 1100, 1000)
        self.put("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", 0)
        self.pages("sys/kernel/mm/hugepages", 1048576, 2, 1)
        for n, free in ((0, 900), (1, 100)):
            base = f"sys/devices/system/node/node{n}"
            self.put(f"{base}/meminfo", NODE.format(n=n, total=8 << 20, free=512 << 10,
                                                    file=256 << 10))
            self.pages(f"{base}/hugepages", 2048, 550, free)
            self.pages(f"{base}/hugepages", 1048576, 1, n)

    def scan(self, *args):
        done = self.call("mem", "scan", "--root", self.root, "--json", *args)
        self.assert_exit(done, 0)
        return json_lines(done.stdout)

    def test_this_machine(self):
        done = self.call("mem", "scan", "--json")
        self.assert_exit(done, 0)
        *nodes, host = json_lines(done.stdout)
        self.assertEqual(len(nodes), host["nodes"])
        for node in nodes:
            self.assertGreater(node["total"], node["free"])
            self.assertGreater(node["can_give"], 0)
        text = self.call("mem", "scan")
        self.assertIn("a rank could give", text.stdout)
        self.assertIn("may be allocated:", text.stdout)

    def test_two_nodes_with_huge_pages(self):
        self.two_nodes()
        first, second, host = self.scan("-m", "1500")
        self.assertEqual(first["huge_pages"],
                         [{"size": 2 * MIB, "total": 550, "free": 900},
                          {"size": GIB, "total": 1, "free": 0}])
        self.assertEqual(second["huge_pages"][1], {"size": GIB, "total": 1, "free": 1})
        self.assertEqual(first["available"], 768 * MIB)
        # The larger of huge and ordinary memory, not their sum; 1 GiB pages are no help to a pool.
        self.assertEqual((first["can_give"], second["can_give"]), (1800 * MIB, 768 * MIB))
        self.assertEqual((first["enough"], second["enough"]), (True, False))
        self.assertEqual((host["transparent"], host["transparent_shared"]),
                         ("always [madvise] never", "[never]"))
        self.assertEqual(host["may_allocate"], 12 * GIB)

    def test_reserved_pages_are_not_free(self):
        self.two_nodes()
        self.put("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", 950)
        first, second, _ = self.scan()
        self.assertEqual((first["huge_pages"][0]["free"], second["huge_pages"][0]["free"]),
                         (50, 50))

    def test_one_node_is_chosen_and_a_wrong_one_refused(self):
        self.two_nodes()
        nodes = [item["node"] for item in self.scan("-n", "1") if "node" in item]
        self.assertEqual(nodes, [1])
        done = self.call("mem", "scan", "--root", self.root, "--node", "2")
        self.assert_exit(done, 2)
        self.assertIn("there is no NUMA node 2 with memory here; there is 0, 1", done.stderr)
        text = self.call("mem", "scan", "--root", self.root, "-n", "0").stdout
        self.assertIn("900 of 550", text)
        self.assertNotIn("100 of 550", text)

    def test_no_nodes_and_no_huge_pages(self):
        self.machine(available=6 * GIB)
        node, host = self.scan()
        self.assertEqual((node["node"], node["huge_pages"], host["numa"]), (0, [], False))
        self.assertEqual(node["can_give"], 6 * GIB)
        text = self.call("mem", "scan", "--root", self.root).stdout
        self.assertIn("tells of no NUMA nodes", text)
        self.assertIn("This kernel has no 2 MiB pages", text)
        self.pages("sys/kernel/mm/hugepages", 2048, 0, 0)
        text = self.call("mem", "scan", "--root", self.root, "-m", "3").stdout
        self.assertIn("No 2 MiB pages are set up", text)
        self.assertIn("echo 2 > /proc/sys/vm/nr_hugepages", text)

    def test_limit_is_the_one_of_the_library(self):
        host = json_lines(self.call("mem", "scan", "--json").stdout)[-1]
        (item,) = [item for item in json_lines(self.call("info", "--json").stdout)
                   if item["name"] == "may be allocated"]
        self.assertEqual(host["limited_by"].split(" (")[0], item["note"].split(" (")[0])
        self.assertGreater(host["may_allocate"], 0)
        self.env["MF_FENCE_WAIT_MS"] = "soon"
        done = self.call("mem", "scan")
        self.assert_exit(done, 1)
        self.assertIn("MF_FENCE_WAIT_MS", done.stderr)

    def test_unreadable_machine_is_a_failure(self):
        done = self.call("mem", "scan", "--root", self.root)
        self.assert_exit(done, 1)
        self.assertIn("/proc/meminfo: No such file or directory", done.stderr)
        self.put("proc/meminfo", "Nonsense: 3 kB")
        done = self.call("mem", "scan", "--root", self.root)
        self.assert_exit(done, 1)
        self.assertIn("no MemTotal", done.stderr)

    def test_usage(self):
        for args, said in (([], "the word after mem is missing: scan"),
                           (["scam"], "there is no 'scam' here"),
                           (["scan", "-m", "0"], "not in the range 1 to"),
                           (["scan", "-w", "0"], "not in the range 1 to 256"),
                           (["scan", "-w", "many"], "'many' is not a number"),
                           (["scan", "--probe", "--root", "/x"], "not of --root"),
                           (["scan", "more"], "'more' is no option")):
            done = self.call("mem", *args)
            self.assert_exit(done, 2)
            self.assertIn(said, done.stderr)

    def test_probe_without_free_huge_pages_touches_nothing(self):
        done = self.call("mem", "scan", "--json")
        free = [kind["free"] for node in json_lines(done.stdout)[:-1]
                for kind in node["huge_pages"] if kind["size"] == 2 * MIB]
        if any(free):
            self.skipTest("2 MiB pages are free here and may be somebody's")
        done = self.call("mem", "scan", "--probe", "-w", "2")
        self.assert_exit(done, 0)
        self.assertIn("no 2 MiB page is free, nothing was touched", done.stdout)


if __name__ == "__main__":
    tool.main()
