#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""report.py --text|--markdown|--json BEFORE.json <NOW.json: a table of what a chunk costs on the fake GPU, before and now."""
import json
import sys

COLUMNS = {"launches": "launches", "forward": "of a forward", "syncs": "host syncs", "copies": "copies",
           "mallocs": "cudaMalloc", "peak_mb": "peak MB"}


def cell(before, now):
    if before is None:
        return f"{now:,}"
    return f"{before:,} → {now:,}" if before != now else f"{now:,}"


def main():
    form, file = sys.argv[1:]
    with open(file, encoding="utf-8") as opened:
        before = {row["model"]: row for row in json.load(opened)["rows"]}
    now = json.load(sys.stdin)
    if form == "--json":
        print(json.dumps([{"now": row, "before": before.get(row["model"], {})} for row in now], indent=1))
        return
    table = [["model"] + list(COLUMNS.values())]
    for row in now:
        old = before.get(row["model"], {})
        table.append([row["model"]] + [cell(old.get(name), row[name]) for name in COLUMNS])
    if form == "--markdown":
        table.insert(1, ["---"] * len(table[0]))
        for row in table:
            print("| " + " | ".join(row) + " |")
        return
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(text.ljust(width) if i == 0 else text.rjust(width)
                        for i, (text, width) in enumerate(zip(row, widths))))


main()
