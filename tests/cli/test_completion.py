# SPDX-License-Identifier: Apache-2.0
"""mfcli completion: the scripts, and what bash makes of them."""
import shutil
import subprocess
import tempfile
import unittest

import tool
from tool import ToolCase, json_lines

ASK = r"""
set -u
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_mfcli
printf '%s\n' "${COMPREPLY[@]}"
"""


class Completion(ToolCase):
    def script(self, shell):
        done = self.call("completion", shell)
        self.assert_exit(done, 0)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def bash(self, *words):
        """What bash offers when the last word is to be completed."""
        with tempfile.NamedTemporaryFile("w", suffix=".bash") as file:
            file.write(self.script("bash"))
            file.flush()
            done = subprocess.run(["bash", "-c", ASK, "bash", file.name, "mfcli", *words],
                                  text=True, capture_output=True, timeout=30, check=False,
                                  cwd=self.dir)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return [line for line in done.stdout.splitlines() if line]

    def setUp(self):
        super().setUp()
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def commands(self):
        return sorted({item["command"].split()[1]
                       for item in json_lines(self.call("completion", "--json").stdout)})

    def test_bash_completes_commands(self):
        self.assertEqual(sorted(self.bash("")), sorted(self.commands() + ["--help", "--version"]))
        self.assertEqual(self.bash("rep"), ["replay"])
        self.assertEqual(self.bash("nothing"), [])

    def test_bash_completes_every_option_of_every_command(self):
        tables = json_lines(self.call("completion", "--json").stdout)
        for name in self.commands():
            options = sorted("--" + item["option"] for item in tables if "option" in item
                             and item["command"].split()[1] == name)
            self.assertIn("--help", options)
            offered = sorted(set(self.bash(name, "x", "--")) - {"--"})
            self.assertEqual(offered, options, name)
            usage = self.call(name, "--help").stdout
            for option in options:
                self.assertIn(option, usage)

    def test_bash_completes_choices_files_and_operands(self):
        with open(f"{self.dir}/requests one.jsonl", "w", encoding="utf-8"):
            pass
        self.assertEqual(self.bash("replay", "--op", "host_t"), ["host_tcp"])
        self.assertEqual(self.bash("replay", "--op", "=", "device"), ["device_rdma"])
        self.assertEqual(len(self.bash("replay", "--op", "=")), 6)
        self.assertEqual(self.bash("replay", "--trace", "req"), ["requests one.jsonl"])
        self.assertEqual(self.bash("logs", "--dir", "req"), ["requests one.jsonl"])
        self.assertEqual(self.bash("replay", "--ranks", ""), [])
        self.assertEqual(self.bash("run", "-n", ""), [])
        self.assertEqual(self.bash("completion", "f"), ["fish"])
        self.assertEqual(self.bash("mem", ""), ["scan"])
        self.assertIn("bash", self.bash("run", "-n", "2", "--", "bas"))

    def test_hidden_options_are_not_completed(self):
        for text in [self.script(shell) for shell in ("bash", "zsh", "fish")]:
            for name in ("--fault", "-l fault", "--launched", "--channel", "-l channel"):
                self.assertNotIn(name, text)
        self.assertNotIn('"option": "fault"', self.call("completion", "--json").stdout)

    def test_scripts_name_every_option(self):
        tables = json_lines(self.call("completion", "--json").stdout)
        zsh, fish = self.script("zsh"), self.script("fish")
        for item in tables:
            if "option" in item:
                name = item["command"].split()[1]
                self.assertIn(f"--{item['option']}", zsh)
                self.assertIn(f"__fish_seen_subcommand_from {name}' -l {item['option']} ", fish)

    def test_scripts_are_valid(self):
        missing = []
        for shell in ("bash", "zsh", "fish"):
            if not shutil.which(shell):
                missing.append(shell)
                continue
            done = subprocess.run([shell, "-n"], input=self.script(shell), text=True,
                                  capture_output=True, timeout=30, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), shell)
        if missing:
            self.skipTest(f"not checked by their shells, which are not here: {missing}")

    def test_usage(self):
        for args, said in (([], "name one shell"), (["bash", "zsh"], "name one shell"),
                           (["bsh"], "did you mean 'bash'?"),
                           (["powershell"], "bash, zsh and fish are known"),
                           (["--json", "bash"], "goes with no shell")):
            done = self.call("completion", *args)
            self.assert_exit(done, 2)
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    tool.main()
