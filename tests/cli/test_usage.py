# SPDX-License-Identifier: Apache-2.0
"""The tool's face: commands, options and their mistakes, exit codes, info and version."""
import os
import subprocess
import unittest

import tool
from tool import ToolCase, json_lines

COMMANDS = ["demo", "replay", "run", "store", "info", "top", "mem", "logs", "completion",
            "version"]


class Usage(ToolCase):
    def test_without_command_prints_the_commands(self):
        done = self.call()
        self.assert_exit(done, 2)
        for name in COMMANDS:
            self.assertIn(f"  {name} ", done.stderr)
        self.assertEqual(self.call("--help").returncode, 0)

    def test_every_command_has_help_and_json(self):
        for name in COMMANDS:
            done = self.call(name, "--help")
            self.assert_exit(done, 0)
            self.assertIn(f"usage: mfcli {name}", done.stdout)
            self.assertIn("--json", done.stdout)
            self.assertIn("--help", done.stdout)

    def test_unknown_words_are_named_with_the_nearest(self):
        for args, said in ((["relpay"], "did you mean 'replay'?"),
                           (["frobnicate"], "there is no command 'frobnicate'"),
                           (["replay", "--rank", "3"], "did you mean --ranks?"),
                           (["info", "--markdwon"], "did you mean --markdown?"),
                           (["store", "--json", "more"], "'more' is no option"),
                           (["replay", "--block", "100"], "not a multiple of 64"),
                           (["replay", "--block", "16Q"], "'16Q' is not a size"),
                           (["replay", "--ranks", "2000"], "not in the range 1 to 1024"),
                           (["replay", "--op", "sdam"], "did you mean 'sdma'?"),
                           (["replay", "--capacity", "16K"], "less than one block"),
                           (["info", "--json", "--markdown"], "exclude each other"),
                           (["run", "--", "true"], "-n N"),
                           (["run", "-n", "2"], "the program to run is missing"),
                           (["run", "-n", "2", "--world-size", "4", "--", "true"], "--store URL"),
                           (["run", "-n", "2", "--world-size", "1", "--", "true"], "ranks 0 to 1")):
            done = self.call(*args)
            self.assert_exit(done, 2)
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stdout, "")

    def test_hidden_option_is_not_shown(self):
        self.assertNotIn("--fault", self.call("replay", "--help").stdout)

    def test_rank_without_world_is_a_usage_error(self):
        for more, said in (({"MF_RANK": "0"}, "not MF_WORLD_SIZE"),
                           ({"MF_RANK": "x", "MF_WORLD_SIZE": "2"}, "MF_RANK: 'x' is not a number"),
                           ({"MF_RANK": "2", "MF_WORLD_SIZE": "2"}, "up to 1"),
                           ({"MF_RANK": "0", "MF_WORLD_SIZE": "2"}, "not MF_CONFIG_STORE_URL"),
                           ({"MF_RANK": "0", "MF_WORLD_SIZE": "2",
                             "MF_CONFIG_STORE_URL": "tcp://127.0.0.1:9"}, "--ranks 3 in a world")):
            self.env.update(more)
            done = self.call("replay", "--ranks", "3")
            self.assert_exit(done, 2)
            self.assertIn(said, done.stderr)

    def test_version(self):
        self.assertRegex(self.call("version").stdout, r"^memfabric \d+\.\d+\.\d+, binary interface 1\.3$")
        self.assertEqual(self.call("--version").stdout, self.call("version").stdout)
        (version,) = json_lines(self.call("version", "--json").stdout)
        self.assertEqual(version["abi"], "1.3")

    def test_info_names_devices_and_transports(self):
        done = self.call("info", "--json")
        self.assert_exit(done, 0)
        items = json_lines(done.stdout)
        names = {(item["section"], item["name"]) for item in items}
        self.assertIn(("transport", "direct"), names)
        self.assertTrue({"library", "device", "memory", "limit"} <= {name[0] for name in names})
        for item in items:
            if item["available"] is False:
                self.assertNotEqual(item["note"], "", f"{item}: why?")
        text = self.call("info").stdout
        self.assertIn("direct", text)
        self.assertTrue(all(line == line.rstrip() for line in text.splitlines()))

    def test_info_options_has_every_option_in_every_form(self):
        options = json_lines(self.call("info", "--options", "--json").stdout)
        text = self.call("info", "--options").stdout
        page = self.call("info", "--options", "--markdown").stdout
        self.assertGreater(len(options), 10)
        for option in options:
            self.assertRegex(option["env"], "^MF_")
            self.assertIn(option["env"], text)
            self.assertIn(f"| {option['env']} |", page)
        self.env["MF_FENCE_WAIT_MS"] = "1234"
        (changed,) = [o for o in json_lines(self.call("info", "--options", "--json").stdout)
                      if not o["is_default"]]
        self.assertEqual((changed["env"], changed["value"]), ("MF_FENCE_WAIT_MS", "1234"))

    def test_page_of_the_options_is_current(self):
        page = os.path.join(os.path.dirname(__file__), "../../docs/options.md")
        with open(page, encoding="utf-8") as file:
            self.assertEqual(file.read(), self.call("info", "--options", "--markdown").stdout,
                             "mfcli info --options --markdown > docs/options.md")

    def test_bad_variable_is_named(self):
        self.env["MF_FENCE_WAIT_MS"] = "soon"
        done = self.call("info")
        self.assert_exit(done, 1)
        self.assertIn("MF_FENCE_WAIT_MS", done.stderr)

    @unittest.skipUnless(os.path.exists("/dev/full"), "there is no /dev/full")
    def test_full_disk_under_the_output_is_a_failure(self):
        for args in (["version"], ["info", "--json"], ["replay", "--ranks", "1", "--requests", "5"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run([tool.MFCLI, *args], env=self.env, stdout=full, text=True,
                                      stderr=subprocess.PIPE, timeout=60, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("No space left on device", done.stderr)


if __name__ == "__main__":
    tool.main()
