# SPDX-License-Identifier: Apache-2.0
"""examples/kv_cache_pool: blocks are found, and every one that is found is right."""
import re

import example


class KvCachePool(example.ExampleCase):
    program = "kv"

    def test_decode_ranks_hit_and_check_every_block(self):
        for ranks in (2, 4, 7):
            lines = self.good_lines(ranks)
            self.assertRegex(lines[0][0], r"^prefill: 4000 blocks of 16 KiB put in [\d.]+ s$")
            for rank in range(1, ranks):
                counts = re.fullmatch(r"decode: (\d+) hits, (\d+) misses, (\d+) replaced while "
                                      r"read, 0 wrong blocks", lines[rank][0])
                self.assertIsNotNone(counts, lines[rank])
                self.assertGreater(int(counts[1]), 0)

    def test_mistakes(self):
        self.check_mistakes()


if __name__ == "__main__":
    example.main()
