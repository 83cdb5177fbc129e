# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the tests of a Meson build folder and counts their cases: run_tests.py BUILD [FILTER] [--sanitizer KIND [--targets]].

The suites unit and golden, but for tests that are in `once`, too, run again for each kind of processor that this one can
stand for (the set-ups of tests/meson.build); the names of their cases then say which.

A GoogleTest case, a TAP line and a golden case count as one each; any other test counts as one. FILTER is a part of a
suite's or a test's name; if no name has it, it is looked for in the names of the GoogleTest cases. The last line is
`N passed, N failed[, N skipped]`; the exit status is 0 only if something passed and nothing failed.

With --sanitizer the build is one with that sanitizer, and the tests, their cases and their environment are those of
tools/sanitizers.py; --targets only prints what has to be built for them, a line each.
"""
import argparse
import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import sanitizers

GTEST = re.compile(r"\[ (RUN     |      OK| FAILED | SKIPPED) \] ([\w/.<>:, ]+?)(?: \(\d+ ms\))?\s*$", re.M)
TAP = re.compile(r"^(ok|not ok)\b *\d* *-? *(.*)$", re.M)
GOLDEN = re.compile(r"^(passed|FAILED|unsupported) +(\S+)", re.M)


def gtest_cases(text):
    """Case name -> passed, failed or skipped. A case that began and did not end has crashed the program."""
    verdicts = {"      OK": "passed", " FAILED ": "failed", " SKIPPED": "skipped"}
    cases = {}
    for mark, name in GTEST.findall(text):
        if mark == "RUN     ":
            cases[name] = "failed"
        elif name in cases:
            cases[name] = verdicts[mark]
    return cases


def tap_cases(text):
    cases = {}
    for verdict, name in TAP.findall(text):
        skipped = "# SKIP" in name.upper()
        cases[name] = "skipped" if skipped else "passed" if verdict == "ok" else "failed"
    return cases


def tap_remarks(text):
    """The lines of failed TAP cases and the remarks after each, as text. Meson does not print them."""
    said, failed = [], False
    for line in text.splitlines():
        failed = line.startswith("not ok") or (failed and line.startswith("#"))
        said += [line] if failed else []
    return "".join(f"{line}\n" for line in said)


def golden_cases(text):
    verdicts = {"passed": "passed", "FAILED": "failed", "unsupported": "skipped"}
    return {name: verdicts[verdict] for verdict, name in GOLDEN.findall(text)}


def count(record, test):
    """The cases of one finished test."""
    text = record.get("stdout") or ""
    if test["protocol"] == "gtest":
        cases = gtest_cases(text)
    elif test["protocol"] == "tap":
        cases = tap_cases(text)
    elif "golden-runner" in test["cmd"][0]:
        cases = golden_cases(text)
    else:
        cases = {}
    result = record["result"]
    bad = result not in ("OK", "SKIP", "EXPECTEDFAIL")
    if bad and "failed" not in cases.values():
        cases[f"({test['name']}: {result.lower()})"] = "failed"
    elif result == "SKIP" and not cases:
        cases[test["name"]] = "skipped"
    elif not cases and test["protocol"] == "exitcode":
        cases[test["name"]] = "passed"
    return cases


def select(tests, pattern):
    """The tests that a filter means, and the GoogleTest filter to run them with."""
    if not pattern:
        return tests, None
    word = pattern.lower()
    chosen = [t for t in tests if word in t["name"].lower() or any(word in s.lower() for s in t["suite"])]
    if chosen:
        return chosen, None
    return [t for t in tests if t["protocol"] == "gtest"], pattern if "*" in pattern else f"*{pattern}*"


def listed(program, gtest_filter, env):
    """The names of the GoogleTest cases of a program that a filter means."""
    text = subprocess.run([program, "--gtest_list_tests", f"--gtest_filter={gtest_filter}"], capture_output=True, text=True, env=env).stdout
    suite, names = "", []
    for line in text.splitlines():
        word = line.split("#")[0].strip()
        if line.startswith("  "):
            names.append(suite + word)
        elif word.endswith("."):
            suite = word
    return names


def lower_levels(build):
    """The set-ups for processors with fewer instructions than this one. `native` is the same as no set-up."""
    program = build / "tests/cpu-levels"
    if not program.exists():
        return []
    levels = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    return [setup for setup, level in (("avx2", "avx2"), ("baseline", levels[0])) if level in levels[:-1]]


def targets(build, tests):
    """What the tests depend on, as ninja names it."""
    files = {t["id"]: t["filename"][0] for t in json.loads((build / "meson-info/intro-targets.json").read_text())}
    return sorted({os.path.relpath(files[d], build) for t in tests for d in t["depends"]})


def sanitizer_findings(text):
    """The reports of UndefinedBehaviorSanitizer, which goes on after them, and of ThreadSanitizer: place -> what it said first."""
    found = {}
    for match in re.finditer(r"^(\S+?:\d+:\d+): runtime error: (.*)$", text, re.M):
        found.setdefault(match[1], match[2])
    for match in re.finditer(r"^SUMMARY: \w+Sanitizer: (.+?) (\S+:\d+)(?::\d+)?(?: in (.*))?$", text, re.M):
        found.setdefault(match[2], f"{match[1]} in {match[3]}")
    return found


def run(build, tests, names, setup, env, sanitizer=None):
    """Runs `tests` in a set-up, "" for none, all of the build if `names` is empty; case -> verdict."""
    log = build / "meson-logs" / (f"testlog-{setup}.json" if setup else "testlog.json")
    log.unlink(missing_ok=True)
    print(f"== {sanitizer or setup or 'native'}", flush=True)
    patience = ["--timeout-multiplier", str(sanitizers.SANITIZERS[sanitizer].patience)] if sanitizer else []
    subprocess.run(["meson", "test", "-C", str(build), "--no-rebuild", "--print-errorlogs", *patience,
                    *(["--setup", setup] if setup else []), *names], env=env)
    by_name = {t["name"]: t for t in tests}
    where = f" [{sanitizer or setup}]" if sanitizer or setup else ""
    cases = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        record = json.loads(line)
        name = record["name"].split(" / ")[-1]
        if by_name[name]["protocol"] == "tap":
            print(tap_remarks(record.get("stdout") or ""), end="")
        found = count(record, by_name.pop(name))
        if sanitizer:
            said = (record.get("stdout") or "") + (record.get("stderr") or "")
            found.update({f"{place}: {what}": "failed" for place, what in sanitizer_findings(said).items()})
        if not found and "GTEST_FILTER" not in env:
            found = {"nothing in it ran": "failed"}
        cases.update({f"{name}{where}: {case}": verdict for case, verdict in found.items()})
    # A test without a record did not run.
    cases.update({f"{name}{where}: did not run": "failed" for name in by_name})
    return cases


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("pattern", nargs="?", default="")
    parser.add_argument("--sanitizer", choices=sanitizers.SANITIZERS)
    parser.add_argument("--targets", action="store_true")
    return parser.parse_args()


def main():
    given = arguments()
    build, pattern, sanitizer = given.build, given.pattern, given.sanitizer
    tests = json.loads((build / "meson-info/intro-tests.json").read_text())
    if sanitizer:
        tests = sanitizers.tests_of(sanitizer, tests)
    chosen, gtest_filter = select(tests, pattern)
    if given.targets:
        print("\n".join(targets(build, chosen)))
        return 0
    env = dict(os.environ)
    # LibTorch's threads spin while they wait. With several tests at the same time on few cores that takes
    # many times as long.
    env.setdefault("GOMP_SPINCOUNT", "1000")
    if sanitizer:
        env.update(sanitizers.SANITIZERS[sanitizer].env)
        if gtest_filter and sanitizers.SANITIZERS[sanitizer].cases:
            # Of the cases that have a meaning there those that the filter means.
            able = sanitizers.gtest_filter(sanitizer, None)
            wanted = [n for t in chosen for n in listed(t["cmd"][0], able, env) if fnmatch.fnmatchcase(n, gtest_filter)]
            gtest_filter, chosen = ":".join(wanted), chosen if wanted else []
        else:
            gtest_filter = sanitizers.gtest_filter(sanitizer, gtest_filter)
        for line in sanitizers.remarks(sanitizer):
            print(line)
    if gtest_filter:
        env["GTEST_FILTER"] = gtest_filter
    cases = {}
    if chosen:
        cases = run(build, chosen, [t["name"] for t in chosen] if pattern or sanitizer else [], "", env, sanitizer)
    repeated = [t for t in chosen if sanitizers.suites(t) & {"unit", "golden"} and "once" not in sanitizers.suites(t)]
    for setup in lower_levels(build) if repeated and not sanitizer else []:
        cases.update(run(build, repeated, [t["name"] for t in repeated], setup, env))
    verdicts = list(cases.values())
    passed, failed, skipped = (verdicts.count(v) for v in ("passed", "failed", "skipped"))
    for mark in ("skipped", "failed"):
        for case in (c for c, v in cases.items() if v == mark):
            print(f"{mark}: {case}")
    if not cases:
        print(f"no test's name has '{pattern}' in it; suites: {', '.join(sorted(set().union(*map(sanitizers.suites, tests))))}")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
