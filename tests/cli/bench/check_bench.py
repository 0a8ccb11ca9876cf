#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Short runs of mfcli bench: all paths with right bytes, each fault seen, the cases, usage errors.

    check_bench.py MFCLI usage|paths|faults|cases|rank
"""
import json
import os
import subprocess
import sys

PATHS = ["H2D", "D2H", "H2RD", "H2RH", "D2RH", "D2RD", "RH2D", "RH2H", "RD2D", "RD2H"]
TINY = ["--working-set", "4M", "--verify", "1M", "--pairs", "2", "--count", "3"]
MEMBERS = ["path", "transport", "block", "batch", "gb_per_s", "p50_us", "p99_us", "ratio_memcpy",
           "q1", "q3", "wrong_bytes", "working_set", "version", "cpu", "cores", "date", "device"]


def run(words, env=None, limit=100):
    clean = {k: v for k, v in os.environ.items()
             if k not in ("MF_RANK", "MF_WORLD_SIZE", "MF_CONFIG_STORE_URL", "MF_DEVICE")}
    clean.update(env or {})
    return subprocess.run(words, capture_output=True, text=True, env=clean, timeout=limit,
                          check=False)


def bench(*words, env=None):
    return run([MFCLI, "bench", *words], env)


def expect(condition, what, done):
    if not condition:
        sys.exit(f"FAILED: {what}\ncode {done.returncode}\n{done.stdout}\n{done.stderr}")


def lines_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_usage():
    for words, said in [
        (["-t", "h2x"], "h2x"),
        (["-s", "4Q"], "4Q"),
        (["-s", "8M", "--working-set", "4M"], "larger than the working set"),
        (["--case", "none"], "none"),
        (["-bs", "0"], "--batch"),
        (["--transport", "pigeon"], "pigeon"),
        (["--fault", "flop"], "flip"),
        (["--pears", "3"], "--pairs"),
        (["word"], "word"),
    ]:
        done = bench(*words)
        expect(done.returncode == 2 and said in done.stderr, f"bench {words} says '{said}'", done)
        expect(done.stdout == "", f"bench {words} prints nothing else", done)
    done = bench("--help")
    expect(done.returncode == 0 and "--figures" in done.stdout, "--help", done)
    expect("--fault" not in done.stdout, "--fault is hidden", done)
    done = bench("-t", "h2rd", *TINY, env={"MF_DEVICE": "none"})
    expect(done.returncode == 1 and "--device sim" in done.stderr, "no device, said how to get one",
           done)


def check_paths():
    for words, batch in ([], 1), (["-bs", "4"], 4):
        done = bench("--json", "-t", "all", "-s", "4096,100000", *words, *TINY)
        expect(done.returncode == 0, "all paths", done)
        lines = lines_of(done)
        expect([line["path"] for line in lines] == PATHS * 2, "a line a path and size", done)
        for line in lines:
            expect(line["wrong_bytes"] == 0, f"right bytes: {line}", done)
            expect(all(name in line for name in MEMBERS), f"all members: {line}", done)
            expect(line["gb_per_s"] > 0 and line["p50_us"] > 0, f"a rate: {line}", done)
            expect(line["batch"] == batch and line["count"] == 3, f"as asked: {line}", done)
            expect(line["device"].startswith("sim"), f"the device: {line}", done)
    expect("emulated" in done.stderr, "the emulated device is announced", done)
    done = bench("--json", "-t", "all", "-s", "100000", *TINY, env={"MF_COPY_CHECKSUM": "on"})
    expect(done.returncode == 0 and len(lines_of(done)) == len(PATHS), "with checksums", done)
    expect(all(line["wrong_bytes"] == 0 for line in lines_of(done)), "and right bytes", done)
    done = bench("-s", "64K", *TINY, "--device", "none")
    expect(done.returncode == 0 and "device paths are left out" in done.stderr, "host only", done)
    for word in "Type", "NPU", "Rank", "TotalSize(KB)", "BW(GB/s)", "WrongBytes(B)", "H2RH", "RH2H":
        expect(word in done.stdout, f"the table has {word}", done)
    expect("H2D" not in done.stdout, "device paths are left out", done)


def check_faults():
    for kind in "flip", "skip", "misroute":
        done = bench("--json", "--fault", kind, "-s", "4K,3M", *TINY)
        expect(done.returncode == 1 and "wrong bytes" in done.stderr, f"fault {kind} is seen", done)
        lines = lines_of(done)
        expect(len(lines) == 2 * len(PATHS), "all lines are printed", done)
        expect(all(line["wrong_bytes"] > 0 for line in lines), f"fault {kind} in each line", done)
        least = 1 if kind == "flip" else 1000
        expect(all(line["wrong_bytes"] >= least for line in lines), f"{kind}: how many", done)


def check_cases():
    done = bench("--json", "--case", "122,small,lat8,plan", "--working-set", "32M", "--verify",
                 "16M", "--pairs", "1", "--count", "2")
    expect(done.returncode == 0, "cases of two ranks", done)
    lines = lines_of(done)
    found = [line["case"] for line in lines]
    expect(found == ["122"] * 2 + ["small"] * 2 + ["lat8"] * 2 + ["plan"] * 4, "all lines", done)
    expect(all(line.get("wrong_bytes", 0) == 0 for line in lines), "right bytes", done)
    expect(all("target" in line and "measured" in line for line in lines), "figures", done)
    done = bench("--json", "--case", "122,small", "--fault", "skip", "--working-set", "32M",
                 "--verify", "16M", "--pairs", "1", "--count", "1")
    expect(done.returncode == 1 and all(line["wrong_bytes"] > 0 for line in lines_of(done)),
           "a fault in the cases is seen", done)
    done = bench("--json", "-t", "h2rh", "-s", "64K", "--case", "checksum", *TINY)
    expect(done.returncode == 0, "checksums in a world of their own", done)
    expect([line.get("case") for line in lines_of(done)] == [None, "checksum", "checksum"],
           "the path, then the case", done)
    expect(all(line["wrong_bytes"] == 0 for line in lines_of(done)), "checksums: right bytes", done)
    done = bench("--json", "--case", "create", "--create", "16M", "--pairs", "2")
    expect(done.returncode == 0 and lines_of(done)[0]["bytes"] == 16 << 20, "create", done)
    done = bench("--json", "--case", "join", "--join-ranks", "4", "--idle", "0.2")
    expect(done.returncode == 0 and len(lines_of(done)) == 5, "join", done)
    expect(all(line["ranks"] == 4 for line in lines_of(done)), "join: ranks", done)


def check_rank():
    done = run([MFCLI, "run", "-n", "3", "--timeout", "90", "--", MFCLI, "bench", "--json", "-t",
                "h2rh,rd2h", "-s", "64K", "--device", "sim", *TINY])
    expect(done.returncode == 0, "three ranks of mfcli run", done)
    lines = [line.split("{", 1)[1] for line in done.stdout.splitlines() if "{" in line]
    lines = [json.loads("{" + line) for line in lines]
    expect([line["path"] for line in lines] == ["H2RH", "RD2H"], "rank 0 measures", done)
    expect(all(line["wrong_bytes"] == 0 for line in lines), "right bytes", done)
    done = bench("-t", "h2rh", env={"MF_RANK": "0"})
    expect(done.returncode == 1 and "MF_WORLD_SIZE" in done.stderr, "half an environment", done)


if __name__ == "__main__":
    MFCLI = sys.argv[1]
    {"usage": check_usage, "paths": check_paths, "faults": check_faults, "cases": check_cases,
     "rank": check_rank}[sys.argv[2]]()
