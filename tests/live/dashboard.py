# SPDX-License-Identifier: LGPL-2.1-or-later
"""The dashboard of apps/live/grafana.json and the table of docs/operate.md name what /metrics has."""

import json
import os
import re
import subprocess

from program import Live, Skip, eventually, need, run

SOURCE = os.environ["SOURCE_DIR"]
NAME = re.compile(r"\bflowcache_[a-z_]+\b")


def read(path):
    with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
        return file.read()


def metrics():
    """Name -> counter, gauge or histogram, of a server with an input, and with a way out that nobody answers."""
    with Live("--rtmp", "rtmp://127.0.0.1:1/live/nobody", "--input", "test") as live:
        live.ready()
        text = eventually(lambda: (lambda said: "flowcache_live_output_sending{" in said and said)(live.ask("/metrics")[1]),
                          "the way out is in /metrics")
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))


def queries():
    """Every expression of the dashboard, with its panel's title."""
    board = json.loads(read("apps/live/grafana.json"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


def names():
    """every metric of the dashboard is in /metrics, and every metric is on it"""
    shown = set()
    for title, expression in queries():
        found = NAME.findall(expression)
        assert found, f"{title}: {expression} asks for nothing"
        for name in found:
            plain = name.removesuffix("_bucket")
            assert known.get(plain) == "histogram" if plain != name else name in known, f"{title}: there is no {name}"
            shown.add(plain)
    assert shown == set(known), f"not on the dashboard: {sorted(set(known) - shown)}"


def rates():
    """rates are taken of what counts up, and of nothing else"""
    for title, expression in queries():
        for name in re.findall(r"\b(?:rate|increase)\((flowcache_[a-z_]+)", expression):
            assert known[name.removesuffix("_bucket")] in ("counter", "histogram"), f"{title}: {name} does not count"
        counted = re.sub(r"\b(?:rate|increase)\(flowcache_[a-z_]+", "", expression)
        for name in NAME.findall(counted):
            assert known[name] == "gauge", f"{title}: {name} only grows: take its rate"


def panels():
    """panels have numbers and places of their own"""
    board = json.loads(read("apps/live/grafana.json"))
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers)), numbers
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert max(x for x, _ in cells) < 24 and not cells & taken, f"{panel['title']} lies over another or over the edge"
        taken |= cells


def page():
    """docs/operate.md has each metric, with its kind, and no other"""
    rows = dict(re.findall(r"^\| `(flowcache_[a-z_]+)` \| (\w+) \|", read("docs/operate.md"), re.M))
    assert rows == known, (f"missing: {sorted(set(known) - set(rows))}, not there: {sorted(set(rows) - set(known))}, "
                           f"of another kind: {[n for n in rows if n in known and rows[n] != known[n]]}")
    for name in NAME.findall(read("docs/operate.md")):
        assert name.removesuffix("_bucket") in known, f"docs/operate.md: there is no {name}"


def unit():
    """systemd takes the unit"""
    analyze = need("systemd-analyze", "systemd")
    text = read("apps/live/flowcache-live@.service.in")
    with Live() as live:  # for a folder of the test's and the program's own path
        path = os.path.join(live.folder, "flowcache-live@.service")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("@bindir@/flowcache-live", "/bin/true"))
        done = subprocess.run([analyze, "verify", "--man=no", "--recursive-errors=no", path], capture_output=True, text=True, check=False,
                              timeout=60)
        if "Failed to initialize manager" in done.stderr or "Failed to connect" in done.stderr:
            raise Skip(f"systemd-analyze does not run here: {done.stderr.strip()}")
        assert done.returncode == 0 and not done.stderr.strip(), done.stderr


def options():
    """and its options are the program's"""
    help_text = subprocess.run([os.path.join(os.environ["BUILD_DIR"], "apps/live/flowcache-live"), "--help"], capture_output=True,
                               text=True, check=True, timeout=60).stdout
    asked = re.findall(r"--[a-z-]+", re.search(r"^ExecStart=.*$", read("apps/live/flowcache-live@.service.in"), re.M).group(0))
    asked += re.findall(r"--[a-z-]+", " ".join(re.findall(r"^ *flowcache-live .*$|OPTIONS=.*$", read("docs/operate.md"), re.M)))
    assert asked
    for option in asked:
        assert re.search(rf"{option}\b", help_text), f"flowcache-live has no {option}"


known = metrics()
run([names, rates, panels, page, unit, options])
