#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""ranks.py FLOWCACHE [--rounds N] [OPTION ...]: the time of a chunk on two processes with a thread each, against one process with two
threads, taking turns, and what the two send each other. OPTIONs go to `flowcache generate`."""

import argparse
import re
import statistics
import subprocess


def chunk_times(program, options):
    """Milliseconds of each chunk but the first."""
    ran = subprocess.run([program, "generate", "slow green aurora", "--cache", "none", "-s", "3.7", "-o", "-", *options],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    return [float(ms) for ms in re.findall(r"chunk \d+/\d+ +(\d+) ms", ran.stderr)][1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("flowcache")
    parser.add_argument("--rounds", type=int, default=5)
    arguments, more = parser.parse_known_args()
    ways = {"one process, two threads": ["--threads", "2"],
            "two processes, a thread each": ["--devices", "cpu,cpu", "--threads", "1"]}
    times = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, options in ways.items():
            times[name] += chunk_times(arguments.flowcache, options + more)
    medians = {name: statistics.median(one) for name, one in times.items()}
    print("| | ms a chunk, median | least | most |\n| --- | --- | --- | --- |")
    for name, one in times.items():
        print(f"| {name} | {medians[name]:.0f} | {min(one):.0f} | {max(one):.0f} |")
    print(f"\nratio {medians['two processes, a thread each'] / medians['one process, two threads']:.2f}")
    subprocess.run([arguments.flowcache, "inspect", "--devices", "2", "--precision", "fp32"], check=True)


main()
