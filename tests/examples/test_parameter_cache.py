# SPDX-License-Identifier: Apache-2.0
"""examples/parameter_cache: versions switch under the readers, with and without devices."""
import re

import example

USED = r"used the parameters (\d+) times in (\d+) versions, ([a-z ]+), 0 wrong words"


class ParameterCache(example.ExampleCase):
    program = "parameters"

    def check_lines(self, lines, how):
        self.assertEqual(lines[0], ["loaded 6 versions of 2 MiB, once for all"])
        for rank in range(1, len(lines)):
            times, versions, said = re.fullmatch(USED, lines[rank][-1]).groups()
            self.assertGreaterEqual(int(times), 6 * 8)
            self.assertEqual(int(versions), 6)
            self.assertEqual(said, how)

    def test_shards_go_to_devices(self):
        for ranks in (2, 4):
            self.check_lines(self.good_lines(ranks, MF_DEVICE="sim"), "shards on the device")

    def test_without_a_device_it_says_so(self):
        lines = self.good_lines(3, MF_DEVICE="none")
        self.check_lines(lines, "in place")
        for rank in (1, 2):
            self.assertIn("no device here", lines[rank][0])

    def test_mistakes(self):
        self.check_mistakes()


if __name__ == "__main__":
    example.main()
