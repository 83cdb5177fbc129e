# SPDX-License-Identifier: LGPL-2.1-or-later
"""headers.py ROOT BUILD JOBS [--cheap] HEADER…: each header compiles alone, with the flags of a source that lies by it.

LibTorch's headers take ten seconds to read. --cheap puts the precompiled header of the build before what includes any of them,
if there is one: a fifth of the time, but a missing include of ATen, or of what aten.h has besides, goes unnoticed.
"""
import concurrent.futures
import functools
import re
import subprocess
import sys
from pathlib import Path

import flags

TORCH = re.compile(r"^#include <(?:ATen|torch|c10)/", re.M)
OWN = re.compile(r'^#include "([^"]+)"', re.M)


@functools.cache
def reads_torch(path, folders):
    """Whether a header includes LibTorch, itself or through what it includes."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if TORCH.search(text):
        return True
    for name in OWN.findall(text):
        for folder in (path.parent, *folders):
            if (folder / name).is_file():
                if reads_torch((folder / name).resolve(), folders):
                    return True
                break
    return False


def compile_alone(root, build, known, cheap, header):
    """(header, what the compiler said, "" for nothing); None for a header of a program that this build leaves out."""
    beside = [str(s.relative_to(root)) for s in (root / header).parent.glob("*.c*")]
    sources = flags.candidates(header, known)
    if not sources or (beside and not any(s in known for s in beside)):
        return header, None
    precompiled = build / flags.ATEN
    before = []
    if reads_torch(root / header, (root / "engine", root / "kernels")):
        sources = [s for s in sources if str(precompiled) in known[s]] or sources
        if cheap and precompiled.with_name("aten.h.gch").exists():
            before = ["-include", str(precompiled)]
    said = ""
    # What includes one header differs in little else than these folders; a handful is tried, as the first mostly does.
    for source in sources[:4]:
        given = known[source]
        language = "c" if source.endswith(".c") else "c++"
        command = ["gcc" if language == "c" else "g++", *flags.without_pch(given), *before, "-fsyntax-only",
                   "-fdiagnostics-color=never", "-x", language, "-include", str(root / header), "/dev/null"]
        done = subprocess.run(command, cwd=build, capture_output=True, text=True)
        if done.returncode == 0:
            return header, ""
        said = said or done.stderr
    return header, said


def main():
    root, build, jobs, *headers = sys.argv[1:]
    cheap = "--cheap" in headers
    headers = [h for h in headers if h != "--cheap"]
    root, build = Path(root), Path(build)
    known = flags.sources(root, build)
    bad, left_out = 0, []
    with concurrent.futures.ThreadPoolExecutor(int(jobs)) as pool:
        for header, said in pool.map(lambda h: compile_alone(root, build, known, cheap, h), headers):
            if said is None:
                left_out.append(header)
            elif said:
                bad += 1
                print("\n".join([f"{header} does not compile alone:", *said.splitlines()[:12]]))
    if left_out:
        print(f"not in this build: {' '.join(left_out)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
