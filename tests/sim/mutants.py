#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Demands of the simulation that it finds each mutant of src/base/mutant.h: within 500 seeds, by the
promise that the mutant breaks, while the program without a mutant keeps every promise with these
seeds.

    mutants.py MF-SIM-MUTANTS [--jobs J] [NAME ...]
"""
import argparse
import json
import os
import subprocess
import sys
import time

SEEDS = 500

# For each mutant: the promise that has to be seen broken, and a world in which that is soon.
MUTANTS = {
    "fence-check": ("late-landing", "--ranks 2..4 --steps 1000..3000 --faults 0"),
    "fence-recheck": ("wrong-byte", "--ranks 3..6 --steps 1000..3000 --faults slow:2"),
    "gate": ("dead-source", "--ranks 3 --steps 1500..3000 --faults stop:2,cut:2"),
    "epoch": ("late-landing", "--ranks 2..4 --steps 1000..3000 --faults 0"),
    "quiesce": ("late-landing", "--ranks 3..6 --steps 2000..4000 --faults slow:2,link-slow:2"),
    "deadline": ("deadline", "--ranks 2..4 --steps 1000..2000 --faults store-kill:2,store-stop:2"),
    "late-announce": ("late-announcement",
                      "--ranks 4 --steps 6000 --faults stop@590:r1/any/9s,stop@595:r2/any/9s,"
                      "store-kill@600:r1/any/100ms"),
    "early-newcomer": ("newcomer-in-recovery", "--ranks 3..4 --steps 1000..2000 --faults store-kill:3"),
    "double-completion": ("double-completion", "--ranks 2..4 --steps 1000..2000 --faults slow:2"),
    "lost-completion": ("lost-completion", "--ranks 2..4 --steps 1000..2000 --faults 0"),
    "cut-leak": ("leak", "--ranks 2..4 --steps 1000..2000 --faults reset:2"),
    "stale-handle": ("stale-handle", "--ranks 2..4 --steps 1000..2000 --faults 0"),
}


def batch(program, jobs, last, *words):
    command = [program, "--batch", f"1..{last}", "--json", "--jobs", str(jobs), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        sys.exit(f"{' '.join(command)}: {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def find(program, jobs, name):
    """The sentence on what is wrong with a mutant, or None."""
    promise, world = MUTANTS[name]
    begin = time.monotonic()
    result = batch(program, jobs, SEEDS, *world.split(), "--mutant", name, "--stop-at", promise)
    own = [broken for broken in result["broken"] if broken["oracle"] == promise]
    if not own:
        return f"{name}: with {SEEDS} seeds, {promise} was not seen broken; {world}"
    first = min(own, key=lambda broken: broken["seed"])
    print(f"{name}: {promise} with seed {first['seed']}, {time.monotonic() - begin:.1f} s: "
          f"{first['text']}", flush=True)
    for broken in batch(program, jobs, first["seed"], *world.split())["broken"]:
        return f"without a mutant: {broken['oracle']}: {broken['text']}: {broken['command']}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    listed = subprocess.run([args.program, "--list-mutants"], check=True, capture_output=True,
                            text=True).stdout
    there = [line.split()[0] for line in listed.splitlines()]
    if sorted(there) != sorted(MUTANTS):
        sys.exit(f"the program has the mutants {' '.join(there)}, the table here {' '.join(MUTANTS)}")
    unknown = set(args.names) - set(MUTANTS)
    if unknown:
        parser.error(f"there is no mutant {' '.join(sorted(unknown))}: {' '.join(there)}")
    faults = [find(args.program, args.jobs, name) for name in args.names or there]
    faults = [fault for fault in faults if fault]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
