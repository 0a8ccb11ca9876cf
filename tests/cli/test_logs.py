# SPDX-License-Identifier: Apache-2.0
"""mfcli logs: what is in the archive, what is not (secrets, links), and what happens when it cannot
be written."""
import os
import resource
import shutil
import signal
import subprocess
import tarfile
import tempfile
import unittest

import tool
from tool import ToolCase, json_lines

KERNEL_MESSAGES = ("only lines about memory", "not readable by this user", "Function not")


def small_files():
    """Runs in the child: no file may become larger than 4 KiB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


class Logs(ToolCase):
    def setUp(self):
        super().setUp()
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        for name in ("MF_TRACE_DIR", "MF_TRACE_FILE_DIR"):
            self.env.pop(name, None)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, text, *names):
        os.makedirs(os.path.dirname(self.path(*names)), exist_ok=True)
        with open(self.path(*names), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(*names)

    def collect(self, *args, name="out.tar.gz"):
        """The archive as {name: text}, and the entries that the command listed."""
        out = self.path(name)
        done = self.call("logs", "--json", "--out", out, *args)
        self.assert_exit(done, 0)
        *entries, last = json_lines(done.stdout)
        self.assertEqual((last["archive"], last["entries"]), (out, len(entries)))
        with tarfile.open(out) as archive:
            members = archive.getmembers()
            self.assertTrue(all(member.isreg() for member in members))
            self.assertTrue(all(member.name.startswith("mfcli-logs/") for member in members))
            texts = {member.name[len("mfcli-logs/"):]:
                     archive.extractfile(member).read().decode(errors="replace")
                     for member in members}
        self.assertEqual(sorted(texts), sorted(entry["entry"] for entry in entries
                                               if entry["entry"] in texts))
        return texts, {entry["entry"]: entry for entry in entries}

    def files_of(self, texts):
        top = "files" + self.dir + "/"
        return {name[len(top):]: text for name, text in texts.items() if name.startswith("files/")}

    def test_facts_are_there(self):
        self.env["MF_FENCE_WAIT_MS"] = "1234"
        texts, entries = self.collect()
        self.assertIn('"abi": "1.3"', texts["version.json"])
        self.assertIn('"section": "transport"', texts["info.json"])
        self.assertIn('"can_give"', texts["mem.json"])
        self.assertIn("* MF_FENCE_WAIT_MS=1234", texts["options.txt"])
        self.assertIn("MF_FENCE_WAIT_MS=1234", texts["environment.txt"])
        self.assertIn("Max open files", texts["system/proc/self/limits"])
        self.assertIn("MemTotal", texts["system/proc/meminfo"])
        self.assertTrue(entries["dmesg.txt"]["note"].startswith(KERNEL_MESSAGES),
                        entries["dmesg.txt"])
        for name in texts:
            self.assertIn(name, texts["MANIFEST.txt"] + "MANIFEST.txt")
        self.assertEqual(os.stat(self.path("out.tar.gz")).st_mode & 0o777, 0o600)

    def test_every_form_of_the_archive_and_a_directory(self):
        for name, kind in (("a.tar", "r:"), ("b.tgz", "r:gz"), ("c.tar.gz", "r:gz")):
            self.collect(name=name)
            with tarfile.open(self.path(name), kind) as archive:
                self.assertGreater(len(archive.getnames()), 5)
        into = self.path("reports")
        os.mkdir(into)
        done = self.call("logs", "--out", into)
        self.assert_exit(done, 0)
        (made,) = os.listdir(into)
        self.assertRegex(made, r"^mfcli-logs-\d{8}T\d{6}Z\.tar\.gz$")
        self.assertIn(f"wrote {into}/{made}", done.stdout)
        self.assertRegex(done.stdout, r"\d  version\.json")

    def test_bad_variable_is_part_of_the_report(self):
        self.env["MF_FENCE_WAIT_MS"] = "soon"
        texts, entries = self.collect()
        self.assertIn("MF_FENCE_WAIT_MS", texts["info.json"])
        self.assertIn("failed", entries["info.json"]["note"])
        self.assertIn("MF_FENCE_WAIT_MS", texts["options.txt"])

    def test_secrets_are_taken_out(self):
        secret = "S3cr3t-0815"
        self.env.update({"MF_STORE_PASSWORD": secret, "MF_TLS_KEY_PATH": f"/x/{secret}",
                         "MF_ANYTHING": f"/x/{secret}.pem",
                         "MF_PROXY": f"http://me:{secret}@host/", "MF_OTHER": f"token={secret}",
                         "MF_PLAIN": "visible", "SOMEBODYS_PASSWORD": secret,
                         "MF_DEVICE": f"/x/{secret}.key"})
        texts, _ = self.collect()
        for name, text in texts.items():
            if name != "info.json":  # it says why this plug-in, a path, cannot be loaded
                self.assertNotIn(secret, text, name)
        lines = texts["environment.txt"].splitlines()
        for name in ("MF_STORE_PASSWORD", "MF_TLS_KEY_PATH", "MF_ANYTHING", "MF_PROXY", "MF_OTHER"):
            self.assertIn(f"{name}=<redacted>", lines)
        self.assertIn("MF_PLAIN=visible", lines)
        self.assertNotIn("SOMEBODYS", texts["environment.txt"])
        self.assertIn("* MF_DEVICE=<redacted>", texts["options.txt"])

    def test_directories_without_links_keys_and_pipes(self):
        outside = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, outside)
        with open(os.path.join(outside, "private.txt"), "w", encoding="utf-8") as file:
            file.write("outside")
        self.write("one", "logs", "a.log")
        self.write("two", "logs", "deep", "er", "b.log")
        self.write("key", "logs", "server.pem")
        self.write("key", "logs", "deep", "id_rsa")
        self.write("", "logs", "empty")
        os.symlink(os.path.join(outside, "private.txt"), self.path("logs", "link.log"))
        os.symlink(outside, self.path("logs", "way-out"))
        os.mkfifo(self.path("logs", "pipe"))
        single = self.write("three", "single.log")
        texts, entries = self.collect("--dir", self.path("logs"), "--dir", single)
        self.assertEqual(self.files_of(texts), {"logs/a.log": "one", "logs/deep/er/b.log": "two",
                                                "logs/empty": "", "single.log": "three"})
        top = "files" + self.dir + "/logs/"
        for name, said in (("link.log", "a link"), ("way-out", "a link"), ("pipe", "no regular"),
                           ("server.pem", "may be a key"), ("deep/id_rsa", "may be a key")):
            self.assertIn(said, entries[top + name]["note"])
        self.assertFalse(any("outside" in text for text in texts.values()))

    def test_names_stay_within_the_archive(self):
        self.write("x", "a", "b.log")
        os.mkdir(self.path("c"))
        out = self.path("dots.tar")
        done = self.call("logs", "--out", out, "--dir", "../a/./b.log", cwd=self.path("c"))
        self.assert_exit(done, 0)
        with tarfile.open(out) as archive:
            self.assertIn("mfcli-logs/files/a/b.log", archive.getnames())

    def test_long_names_and_large_files(self):
        long = "n" * 120
        self.write("long", "logs", long, long + ".log")
        with open(self.path("logs", "big.log"), "wb") as file:
            file.truncate(65 << 20)
            file.seek(-3, os.SEEK_END)
            file.write(b"end")
        texts, entries = self.collect("--dir", self.path("logs"))
        files = self.files_of(texts)
        self.assertEqual(files[f"logs/{long}/{long}.log"], "long")
        self.assertEqual(len(files["logs/big.log"]), 64 << 20)
        self.assertTrue(files["logs/big.log"].endswith("end"))
        self.assertIn(f"the last {64 << 20} of {65 << 20} bytes",
                      entries[f"files{self.dir}/logs/big.log"]["note"])

    def test_trace_files_and_nothing_else_of_their_directory(self):
        self.write("counts", "traces", "ptracer_42.dat")
        self.write("other", "traces", "letter.txt")
        self.env["MF_TRACE_DIR"] = self.path("traces")
        texts, _ = self.collect()
        self.assertEqual(self.files_of(texts), {"traces/ptracer_42.dat": "counts"})

    def test_file_that_cannot_be_read_is_noted(self):
        if os.geteuid() == 0:
            self.skipTest("root reads everything")
        path = self.write("x", "shut.log")
        os.chmod(path, 0)
        _, entries = self.collect("--dir", path)
        self.assertEqual(entries[f"files{path}"]["note"], "Permission denied")

    def test_nothing_is_overwritten(self):
        path = self.write("precious", "have.tar.gz")
        os.symlink("nowhere", self.path("link.tar"))
        for name in (path, self.path("link.tar")):
            done = self.call("logs", "--out", name)
            self.assert_exit(done, 1)
            self.assertIn("not overwritten: File exists", done.stderr)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "precious")
        self.assertFalse(os.path.exists(self.path("nowhere")))

    def test_usage(self):
        for args, said in ((["--out", self.path("x.zip")], "does not end in .tar.gz"),
                           (["--out", self.path("x")], "is no directory"),
                           (["--dir", self.path("none")], "No such file or directory"),
                           (["all"], "'all' is no option"),
                           (["--dir"], "--dir needs a value"),
                           (["--dir", "/tmp"] * 33, "at most 32 times")):
            done = self.call("logs", *args)
            self.assert_exit(done, 2)
            self.assertIn(said, done.stderr)
        done = self.call("logs", "--out", self.path("none", "x.tar"))
        self.assert_exit(done, 1)
        self.assertIn("No such file or directory", done.stderr)
        self.assertEqual(os.listdir(self.dir), [])

    def test_failed_write_is_told_and_leaves_nothing(self):
        for name, said in (("x.tar", "File too large"), ("x.tar.gz", "gzip could not write it")):
            done = subprocess.run([tool.MFCLI, "logs", "--out", self.path(name)], env=self.env,
                                  text=True, capture_output=True, timeout=60, check=False,
                                  preexec_fn=small_files)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stdout, "")
            self.assertEqual(os.listdir(self.dir), [])

    def test_full_disk_is_told_and_leaves_nothing(self):
        script = (f"mount -t tmpfs -o size=16k none '{self.dir}' && "
                  f"'{tool.MFCLI}' logs --out '{self.dir}/x.tar'; code=$?; ls '{self.dir}'; "
                  "exit $code")
        if subprocess.run(["unshare", "-rm", "sh", "-c", f"mount -t tmpfs none '{self.dir}'"],
                          capture_output=True, check=False).returncode:
            self.skipTest("a file system of its own cannot be mounted here")
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script], env=self.env, text=True,
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("No space left on device", done.stderr)
        self.assertEqual(done.stdout, "")

    def test_without_gzip_the_other_form_is_named(self):
        self.env["PATH"] = self.dir
        done = self.call("logs", "--out", self.path("x.tar.gz"))
        self.assert_exit(done, 1)
        self.assertIn("there is no program gzip here: name a file that ends in .tar", done.stderr)
        self.assertEqual(os.listdir(self.dir), [])
        self.assert_exit(self.call("logs", "--out", self.path("x.tar")), 0)


if __name__ == "__main__":
    tool.main()
