# SPDX-License-Identifier: Apache-2.0
"""docs/man: the pages are current, say what the headers and the tool say, and render cleanly."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import tool
from tool import ToolCase, json_lines

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
MAN = os.path.join(ROOT, "docs/man")
MAKE = os.path.join(ROOT, "scripts/make-man")


def read(*names):
    with open(os.path.join(*names), encoding="utf-8") as file:
        return file.read()


def write(text, *names):
    with open(os.path.join(*names), "w", encoding="utf-8") as file:
        file.write(text)


def plain(roff):
    """The words of a page."""
    text = re.sub(r"\\f[BIP]|\\&", "", roff)
    return text.replace("\\-", "-").replace("\\e", "\\")


def pages(section):
    folder = os.path.join(MAN, f"man{section}")
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))


class Man(ToolCase):
    def make(self, *args):
        return subprocess.run([sys.executable, MAKE, *args, tool.MFCLI], env=self.env, text=True,
                              capture_output=True, timeout=60, check=False)

    def copy_of_tree(self):
        root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, root)
        shutil.copytree(MAN, os.path.join(root, "docs/man"))
        shutil.copytree(os.path.join(ROOT, "include"), os.path.join(root, "include"))
        return root

    def test_pages_are_current(self):
        done = self.make("--check")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_what_is_not_current_is_named(self):
        for planted, page in ((("include/smem_bm.h", "void *stream", "void *stream"), None),
                              (("include/smem_bm.h", "smem_copy_params *params,",
                                "smem_copy_params *copies,"), "man3/smem_bm_copy.3"),
                              (("include/memfabric/mf_device.h", "Open a device.", "Open it."),
                               "man3/mf_device.3"),
                              (("docs/man/prose/mfcli-demo.txt", "The steps", "Steps"),
                               "man1/mfcli-demo.1"),
                              (("docs/man/man1/mfcli-run.1", "SEE ALSO", "SEE"),
                               "man1/mfcli-run.1")):
            root = self.copy_of_tree()
            path, old, new = planted
            text = read(root, path)
            write(text.replace(old, new), root, path)
            done = self.make("--check", "--root", root)
            self.assertEqual(done.returncode, 1 if page else 0, done.stdout)
            if page:
                self.assertIn(old, text)
                self.assertIn(f"docs/man/{page} is not current", done.stdout)

    def test_missing_and_surplus_pages_are_mended(self):
        root = self.copy_of_tree()
        os.unlink(os.path.join(root, "docs/man/man1/mfcli-run.1"))
        write(".TH OLD 1\n", root, "docs/man/man1/mfcli-old.1")
        done = self.make("--check", "--root", root)
        self.assertEqual(done.returncode, 1)
        for page in ("mfcli-run.1", "mfcli-old.1"):
            self.assertIn(page, done.stdout)
        self.assertEqual(self.make("--root", root).returncode, 0)
        self.assertEqual(self.make("--check", "--root", root).returncode, 0)
        self.assertEqual(sorted(os.listdir(os.path.join(root, "docs/man/man1"))),
                         sorted(os.path.basename(path) for path in pages(1)))

    def test_every_command_has_a_page_with_every_option(self):
        overview = plain(read(MAN, "man1/mfcli.1"))
        for item in json_lines(self.call("completion", "--json").stdout):
            name = "mfcli-" + item["command"].split()[1]
            page = plain(read(MAN, "man1", name + ".1"))
            self.assertIn(name, overview)
            if "option" in item:
                self.assertIn(f"--{item['option']}", page)
            else:
                self.assertIn(item["help"].replace("`", ""), page)

    def test_names_and_parameters_are_those_of_the_headers(self):
        headers = {}
        for folder, _, names in os.walk(os.path.join(ROOT, "include")):
            for name in names:
                headers[name] = " ".join(read(folder, name).split())
        seen = 0
        for path in pages(3):
            page = plain(read(path))
            synopsis = re.search(r'\.SH "SYNOPSIS"\n(.*?)\n\.PP\nLink', page, re.DOTALL)[1]
            include = os.path.basename(re.search(r"#include <(.*)>", synopsis)[1])
            text = " ".join(re.sub(r"^\..*", "", synopsis, flags=re.MULTILINE).split())
            for prototype in re.findall(r"[\w*]+ [^;]*?\([^;]*\);", text.split(">", 1)[1]):
                self.assertIn(prototype.strip(), headers[include], path)
                seen += 1
        self.assertGreater(seen, 30)

    def test_pages_render_without_warnings(self):
        if not shutil.which("groff"):
            self.skipTest("there is no groff here")
        for path in pages(1) + pages(3):
            done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", path], text=True,
                                  capture_output=True, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), path)
            self.assertIn("MemFabric Manual", done.stdout)


if __name__ == "__main__":
    tool.main()
