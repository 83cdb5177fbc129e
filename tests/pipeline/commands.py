# SPDX-License-Identifier: LGPL-2.1-or-later
"""commands.py SOURCE BUILD: subcommands, options and properties in the pages' code are those of the programs and of the element.

Looked at are code blocks and code spans of every page: `flowcache SUBCOMMAND --option`, `flowcache-live --option` and
`flowcachesrc property=`. Says each that is not there, with its page and line.
"""
import re
import subprocess
import sys
from pathlib import Path

FENCED = re.compile(r"^ *(```+).*?^ *\1", re.M | re.S)
DRAWING = re.compile(r"^```mermaid.*?^```", re.M | re.S)
INDENTED = re.compile(r"^    \S.*$", re.M)
SPAN = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
# Of GstBaseSrc and GstObject.
INHERITED = {"name", "num-buffers", "do-timestamp", "blocksize", "typefind"}
# Pages about other versions than this.
PAST = {"CHANGELOG.md"}


def code(text):
    """(line, one command) of all code on a page; lines that end in a backslash or a pipe are joined."""
    text = DRAWING.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)
    pieces = [(m.start(), m.group(0)) for pattern in (FENCED, INDENTED) for m in pattern.finditer(text)]
    pieces += [(m.start(), m.group(1)) for m in SPAN.finditer(FENCED.sub(lambda m: " " * len(m.group(0)), text))]
    for start, piece in pieces:
        line = text.count("\n", 0, start) + 1
        for number, command in enumerate(re.sub(r"(\\|!)\n", r"\1 ", piece).split("\n")):
            yield line + number, command


def wrong(command, subcommands, live, properties):
    """What of a command is not there."""
    for sub, rest in re.findall(r"(?<![\w./=-])(?:build/engine/cli/)?flowcache ([a-z]+)\b([^|;&#]*)", command):
        if sub not in subcommands:
            yield f"flowcache has no {sub}"
        else:
            yield from (f"flowcache {sub} has no {o}" for o in re.findall(r"(?<=\s)--[a-z][a-z-]*", rest) if o not in subcommands[sub])
    for rest in re.findall(r"flowcache-live((?: +[^|;&#\s]+)+)", command):
        yield from (f"flowcache-live has no {o}" for o in re.findall(r"(?<=\s)--[a-z][a-z-]*", rest) if o not in live)
    for rest in re.findall(r"\bflowcachesrc ([^!|]*)", command):
        rest = re.sub(r"\"[^\"]*\"|'[^']*'", "x", rest)
        yield from (f"flowcachesrc has no {p}" for p in re.findall(r"(?:^|\s)([a-z][a-z-]*)=", rest) if p not in properties)


def options(*command):
    said = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    return set(re.findall(r"--[a-z][a-z-]*", said)) | {"--version", "--verbose"}, said


def main():
    source, build = map(Path, sys.argv[1:])
    flowcache = build / "engine/cli/flowcache"
    names = re.findall(r"^  ([a-z]+)  ", options(flowcache)[1].split("Subcommands:")[1], re.M)
    subcommands = {name: options(flowcache, name)[0] for name in names}
    program = build / "apps/live/flowcache-live"
    live = options(program)[0] if program.exists() else None
    reference = (source / "gst-plugin/REFERENCE.md").read_text(encoding="utf-8").split("## Action signals")[0]
    properties = set(re.findall(r"^\| `([a-z-]+)` \|", reference, re.M)) | INHERITED
    pages = [p for p in sorted(source.rglob("*.md")) if not {"deps", ".git"} & set(p.relative_to(source).parts) and
             not p.relative_to(source).parts[0].startswith("build") and p.name not in PAST]
    found = looked = 0
    for page in pages:
        for line, command in code(page.read_text(encoding="utf-8")):
            looked += "flowcache" in command
            for what in wrong(command, subcommands, live if live is not None else set(re.findall(r"--[a-z-]+", command)), properties):
                print(f"{page.relative_to(source)}:{line}: {what}: {command.strip()[:120]}")
                found += 1
    print(f"{looked} commands on {len(pages)} pages, {found} with something that is not there")
    return 1 if found or not looked else 0


if __name__ == "__main__":
    sys.exit(main())
