# SPDX-License-Identifier: LGPL-2.1-or-later
"""tidy.py ROOT BUILD JOBS SECONDS [BASE] < FILES: clang-tidy with the repository's .clang-tidy.

With BASE only findings on lines that differ from that commit are printed, else all of them. After SECONDS no further file
is begun, and half a minute later none goes on; what was left out is named. Exit status 1 if anything was found. The last line says how many files were checked.
"""
import concurrent.futures
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import flags

HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", re.M)
FINDING = re.compile(r"^(/\S+?):\d+:\d+: (?:warning|error): ")


def written_lines(root, base, path):
    """Ranges of lines of a file that differ from a commit; a file that it has not is new from end to end."""
    diff = subprocess.run(["git", "diff", "-U0", "--no-color", base, "--", path], cwd=root, capture_output=True, text=True, check=True).stdout
    if not diff:
        return [[1, 1000000]]
    return [[int(first), int(first) + int(count or 1) - 1] for first, count in HUNK.findall(diff) if count != "0"]


def database(root, build, known, folder):
    """clang's list of how to compile what. Without OpenMP and precompiled headers, which are GCC's here."""
    entries = []
    for source, given in known.items():
        arguments = [f for f in flags.without_pch(given) if f not in ("-fopenmp", "-Wno-subobject-linkage")]
        if str(build / flags.ATEN) in given:
            arguments += ["-include", str(root / flags.ATEN)]
        compiler = "cc" if source.endswith(".c") else "c++"
        entries.append({"directory": str(build), "file": str(root / source),
                        "arguments": [compiler, *arguments, "-c", str(root / source)]})
    (folder / "compile_commands.json").write_text(json.dumps(entries), encoding="utf-8")


def tidy(root, folder, line_filter, until, source):
    """(source, findings), None where time was up."""
    if time.monotonic() > until:
        return source, None
    command = ["clang-tidy", "--quiet", "-p", str(folder)]
    if line_filter:
        command.append("--line-filter=" + json.dumps(line_filter))
    try:
        done = subprocess.run([*command, str(root / source)], cwd=root, capture_output=True, text=True,
                              timeout=until - time.monotonic() + 30)
    except subprocess.TimeoutExpired:
        return source, None
    said = done.stdout
    if done.returncode and not FINDING.search(said):
        said += done.stderr
    return source, said.replace(f"{root}/", "")


def main():
    root, build, jobs, seconds, *base = sys.argv[1:]
    root, build = Path(root), Path(build)
    files = sys.stdin.read().split("\n")
    known = flags.sources(root, build)
    # A header is looked at through the source of its name.
    chosen = dict.fromkeys(f for f in files if f in known)
    chosen.update(dict.fromkeys(s for s in (str(Path(f).with_suffix(".cpp")) for f in files if f.endswith(".h")) if s in known))
    line_filter = [{"name": str(root / f), "lines": written_lines(root, base[0], f)} for f in files if f] if base else None
    if base:
        line_filter = [f for f in line_filter if f["lines"]]
        chosen = chosen if line_filter else {}
    until = time.monotonic() + float(seconds)
    findings, left = {}, []
    with tempfile.TemporaryDirectory() as place, concurrent.futures.ThreadPoolExecutor(int(jobs)) as pool:
        database(root, build, known, Path(place))
        for source, said in pool.map(lambda s: tidy(root, Path(place), line_filter, until, s), chosen):
            if said is None:
                left.append(source)
            # A finding in a header is one, however many files include it.
            for finding in re.split(r"(?m)^(?=\S+:\d+:\d+: (?:warning|error): )", said or ""):
                if finding.strip():
                    findings.setdefault(finding.split("\n")[0], finding.rstrip())
    for finding in findings.values():
        print(finding)
    if left:
        print(f"not reached in {seconds} s: {' '.join(left)}")
    print(f"{len(chosen) - len(left)} of {len(chosen)} files")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
