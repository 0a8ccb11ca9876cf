# SPDX-License-Identifier: Apache-2.0
"""examples/embedding_cache: every rank gathers, and every value is right."""
import re

import example


class EmbeddingCache(example.ExampleCase):
    program = "embedding"

    def test_every_rank_gathers_right_values(self):
        for ranks in (2, 4):
            lines = self.good_lines(ranks)
            for rank in range(ranks):
                said = " ".join(lines[rank])
                words = re.fullmatch(
                    rf"{8192 * ranks} rows of 256 bytes in 4 tables at {ranks} ranks; M rows/s: "
                    r"one by one ([\d.]+), in batches of 512 ([\d.]+), prepared once for all "
                    r"tables ([\d.]+) \(([\d.]+) GB/s\); 0 wrong values", said)
                self.assertIsNotNone(words, said)
                self.assertTrue(all(float(rate) > 0 for rate in words.groups()), said)

    def test_mistakes(self):
        self.check_mistakes()


if __name__ == "__main__":
    example.main()
