# SPDX-License-Identifier: LGPL-2.1-or-later
"""links.py PAGE…: relative links and anchors of Markdown pages lead somewhere. No network: addresses are not looked at."""
import re
import sys
from pathlib import Path
from urllib.parse import unquote

INLINE = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)>?", re.M)
HTML = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=\"([^\"]+)\"")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$", re.M)
NAMED = re.compile(r"<[^>]+\b(?:id|name)=\"([^\"]+)\"")


def blanked(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def without_code(text):
    """The page with its code blocks and code spans made blank; lines keep their numbers."""
    text = re.sub(r"^( *)(```+|~~~+).*?^ *\2[`~]*\s*?$", blanked, text, flags=re.M | re.S)
    return re.sub(r"(`+)(?!`)(?:[^`\n]|\n(?!\n))*?\1(?!`)", blanked, text)


def anchors(text):
    """What `#name` may say, as GitHub and GitLab derive it from headings, and names given in HTML."""
    fenced = re.sub(r"^( *)(```+|~~~+).*?^ *\2[`~]*\s*?$", blanked, text, flags=re.M | re.S)
    seen, names = {}, set(NAMED.findall(fenced))
    for heading in HEADING.findall(fenced):
        heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.add(f"{slug}-{seen[slug]}" if slug in seen else slug)
        seen[slug] = seen.get(slug, 0) + 1
    return names


def problem(page, link):
    """Why `link` on `page` leads nowhere, or None."""
    if re.match(r"[a-z][a-z0-9+.-]*:|//", link, re.I):
        return None
    path, _, anchor = unquote(link).partition("#")
    target = page.parent / path if path else page
    if path.startswith("/"):
        return "begins with /: links are relative to the page"
    if not target.exists():
        return "there is no such file"
    if anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
        return f"{path or page.name} has no heading of that name"
    return None


def main():
    found = 0
    for page in map(Path, sys.argv[1:]):
        text = without_code(page.read_text(encoding="utf-8"))
        for match in sorted((m for pattern in (INLINE, REFERENCE, HTML) for m in pattern.finditer(text)), key=lambda m: m.start()):
            why = problem(page, match.group(1))
            if why:
                found += 1
                print(f"{page}:{text.count(chr(10), 0, match.start()) + 1}: {match.group(1)}: {why}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
