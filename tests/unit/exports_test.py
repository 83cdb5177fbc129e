# SPDX-License-Identifier: LGPL-2.1-or-later
"""exports_test.py LIBRARY HEADER…: LIBRARY exports the functions that the headers declare, and nothing else.

Other symbols of a C++ library (templates of LibTorch's headers above all) would take the place of those of a program that loads it,
or be replaced by them.
"""
import re
import subprocess
import sys


def exported(library):
    listing = subprocess.run(["nm", "--dynamic", "--defined-only", "--format=posix", library], capture_output=True, text=True, check=True).stdout
    return {line.split()[0].split("@")[0] for line in listing.splitlines()}


def declared(header):
    with open(header, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    return set(re.findall(r"^FC_API\b[^;(]*?\b(fc_\w+)\(", text, flags=re.MULTILINE))


def main():
    library, *headers = sys.argv[1:]
    out, wanted = exported(library), set()
    for header in headers:
        found = declared(header)
        if not found:
            sys.exit(f"{header}: no function found in it")
        wanted |= found
    problems = [f"declared, but not exported: {name}" for name in sorted(wanted - out)]
    problems += [f"exported, but not declared: {name}" for name in sorted(out - wanted)]
    if problems:
        sys.exit("\n".join(problems[:40]))


if __name__ == "__main__":
    main()
