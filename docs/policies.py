#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes docs/policies.md from the engine's registry of policies, the notes below and the table in docs/benchmarks.md.

    docs/policies.py [--library build/engine/libflowcache.so] [--check]

--check writes nothing: it fails if the page is not what would be written. A policy without a note here is an error, and so is
a note without a policy.
"""
import argparse
import ctypes
import difflib
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "policies.md"
KINDS = ["cache", "kv-cache", "guidance", "storage"]
# What every policy that reuses a velocity takes; explained once.
COMMON = ("order", "along", "gain", "correct")

# When to use it: what follows from how it works, and what was measured. Keys are those of the registry.
NOTES = {
    ("cache", "flowcache"): """Several chunks in flight, tens of steps, and chunks that differ in how much happens in them: each decides by its
own features, so a calm chunk computes less. It is the default of the templates for MAGI-1 (`residual=velocity`, embedded latents, ε 0.015) and
SkyReels-V2 (`feature=modulation`, ε 0.1), the models of its paper. Its quality on their published weights was not measured here. On the
model that ships, `order=1,correct=1` (ours) makes it 10 dB better at the same speed, and `ramp` is still ahead of it.""",
    ("cache", "none"): """To see what the model really draws, and as what all others are compared with. The templates of few-step models
have it.""",
    ("cache", "teacache"): """A model with a published polynomial (`polynomial=wan_1.3b`, …) and many steps. Its measure is the timestep's
embedding, so for one schedule every chunk computes the same steps, whatever is in the picture.""",
    ("cache", "teacache_joint"): """For comparisons: it is the baseline that FlowCache's paper measures itself against. It decides for all
chunks in flight at once, so it needs `lag` to mean anything.""",
    ("cache", "easycache"): """A model for which nobody has fitted anything: it measures what it needs at the start of every chunk.""",
    ("cache", "magcache"): """Where quality counts more than speed: of what was measured with four chunks in flight it is nearest to the
uncached video. It wants a curve of the model: its own first chunk's, or one of `flowcache calibrate` (`curve_file`).""",
    ("cache", "scm"): """A pattern that others have tuned, at 4 to 50 steps; for comparisons with cache-dit.""",
    ("cache", "interval"): """The plainest of all. Take `ramp`, which places the same number of steps better.""",
    ("cache", "taylorseer"): """For comparisons with its paper. Steps are taken evenly, and what lies between is extrapolated.""",
    ("cache", "forecast"): """One chunk in flight, and an error that shall be held without tuning: it measures what its last extrapolation
got wrong. Its worst chunk is worse than `ramp`'s.""",
    ("cache", "ramp"): """The default of the model that ships (`computed=5` of 24 steps), when it is not played live: with one chunk in flight
it is faster at five steps than every other policy, and nearer to the uncached video at ten. It costs nothing to decide, and every chunk
takes the same time. Choose `computed` with `flowcache bench --cache "ramp:computed=4;ramp:computed=8;…"`. It does not look at the
picture: where chunks differ much, a rule that measures may be better.""",
    ("cache", "auto"): """The default of live streams: as many steps as there is time for, so that quality gives way before frames are
repeated. `by=flowcache` and the others let the deadline move that policy's ε instead. Figures: [more for less](benchmarks.md#4-more-for-less).""",
    ("cache", "dbcache"): """Deep networks, in which the first block is a small part of a step: it always runs, so the measure is of the very
step that is decided.""",
    ("cache", "xchunk"): """Few-step models. Their neighbouring steps are too far apart for everything else here, and the sampler's fresh noise forbids
extrapolation; the same step of the chunk before is nearer. One chunk in flight. Its gain on a published few-step model was not measured.""",
    ("cache", "mixcache"): """For comparisons with its paper; impacts and limits are reconstructed.""",
    ("cache", "attention"): """Where nothing may be seen: it saves least and changes least. With `+cfg_cache`, for guided models, it is FasterCache.""",
    ("guidance", "cfg_cache"): """Behind any policy of velocities, `cache=ramp+cfg_cache`, on models with guidance (SkyReels-V2, MAGI-1 base): the
second branch of most steps is rebuilt, so most computed steps run one branch instead of two. Without guidance it is refused.""",
    ("storage", "offload"): """On a GPU whose memory is short, behind a policy that keeps whole tokens (`residual=token_residual`, `dbcache`,
`attention`): what is kept waits in host memory. Not run on a GPU yet.""",
    ("kv-cache", "flowcache"): """A long memory in a small budget: tokens that are attended stay, wherever they are. It costs a pass over the scores when
a chunk ends.""",
    ("kv-cache", "window"): """The default, and what Self-Forcing, CausVid and Causal-Forcing were trained with. `sink_frames=3` keeps the first
frames (LongLive); `positions=relative` closes the gap behind them, for streams that go on for hours.""",
    ("kv-cache", "full"): """Short clips, and comparisons. The stream ends when the budget is full, and every chunk is slower than the one before.""",
    ("kv-cache", "packcache"): """A view far back, coarser the older: for slow scenes.""",
    ("kv-cache", "ca2"): """Models whose history is whole chunks. As `window`, without sinks.""",
    ("kv-cache", "decoprune"): """A budget that is short for still scenes: what the network knew early on is dropped first. It needs no attention
scores.""",
    ("kv-cache", "tokentrim"): """Streams that drift: tokens that jumped from one chunk to the next are not attended again. Its effect on
published models was not measured.""",
}


class Info(ctypes.Structure):
    """fc_policy_info of engine/flowcache.h."""

    _fields_ = [("size", ctypes.c_size_t), ("kind", ctypes.c_int)] + [(n, ctypes.c_char_p) for n in
                                                                      ("name", "summary", "paper", "options")]


def registry(library):
    """The policies in their order: kind, name, summary, paper, options as lines."""
    engine, info, found = ctypes.CDLL(str(library)), Info(), []
    info.size = ctypes.sizeof(info)
    while engine.fc_policy_describe(ctypes.c_uint32(len(found)), ctypes.byref(info)) == 0:
        found.append((KINDS[info.kind], info.name.decode(), info.summary.decode(), info.paper.decode(),
                      info.options.decode().splitlines()))
    return found


def figures():
    """Name -> rows of table 3 of the benchmarks, and that table's head."""
    rows, head = {}, None
    section = (ROOT / "docs" / "benchmarks.md").read_text().split("\n## 3. ")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| policy "):
            head = line
        name = re.match(r"\| `(\w+)", line)
        if name:
            rows.setdefault(name.group(1), []).append(line)
    return head, rows


def linked(paper):
    """The paper with its arXiv number as a link."""
    return re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", paper)


def source(kind, name):
    """A link to the policy's file, where it has one of its name."""
    folder = {"cache": "reuse", "kv-cache": "kv", "guidance": "guidance"}.get(kind)
    file = f"engine/cache/{folder}/{name}.cpp"
    return f"[{name}.cpp](../{file})" if folder and (ROOT / file).is_file() else ""


def option(line):
    """A line of a policy's options as a row: name, default, values, meaning."""
    name, default, values, meaning = re.match(r"(\w+)=(\S+) \(([^)]*)\): (.*)", line).groups()
    return f"| `{name}` | {default} | {values.replace('..', ' to ').replace('|', ', ')} | {meaning[0].upper()}{meaning[1:]} |"


def section(policy, head, rows):
    kind, name, summary, paper, options = policy
    setting = {"cache": f"cache={name}", "kv-cache": f"kv-cache={name}"}.get(kind, f"cache=…+{name}")
    yield f"### `{setting}`"
    yield ""
    yield summary[0].upper() + summary[1:] + "."
    yield ""
    said = [f"*From:* {linked(paper)}."] if paper else [] if name in ("none", "full") else ["*From:* this project."]
    if source(kind, name):
        said.append(f"*Code:* {source(kind, name)}.")
    said.append("*When:* " + " ".join(NOTES[kind, name].split()))
    yield from ("- " + line for line in said)
    own = [line for line in options if line.split("=")[0] not in COMMON]
    if len(own) < len(options):
        changed = [f"`{a}={b}`" for a, b in (re.match(r"(\w+)=(\S+)", line).groups() for line in options if line not in own)]
        yield f"- Takes the [common options](#common-options), by default {', '.join(changed)}."
    if own:
        yield from ["", "| option | default | values | meaning |", "| --- | --- | --- | --- |", *map(option, own)]
    if kind == "cache" and name in rows:
        yield from ["", head, "|" + " --- |" * (head.count("|") - 1), *rows[name]]
    yield ""


def page(policies):
    head, rows = figures()
    policies = [p for p in policies if not p[2].startswith("another name of ")], [p for p in policies
                                                                                if p[2].startswith("another name of ")]
    titles = {"cache": "Reuse: which steps run", "guidance": "Guidance: which branches run", "storage": "Storage",
              "kv-cache": "History: what keys and values stay"}
    yield "<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->"
    yield "<!-- Written by docs/policies.py from the engine's registry: change that, or the notes in it. -->"
    yield "# Policies"
    yield ""
    yield """A policy of reuse decides for each step of each chunk whether the network runs; a policy of history decides which keys and
values stay. They are chosen by name, with options behind a colon: `flowcachesrc cache=flowcache:warmup=4 cache-threshold=0.2
kv-cache=window:sink_frames=3`, `flowcache generate --cache … --kv-cache …`, and in a model's `model.json`. ε is `cache-threshold`. `flowcache
policies` lists their names, `flowcache bench --cache "A;B;…"` compares them, [rules](rules.md) says what none may break,
[the paper map](paper-map.md) what is the papers' and what is ours."""
    yield ""
    yield """Which is the default: the model's own, else `window` for history; see [the README](../README.md#how-it-is-made). Figures are those of
[table 3](benchmarks.md#3-policies), of the model that ships, with its machine and date. A policy without a row was not measured in
that table."""
    yield ""
    for kind, title in titles.items():
        yield f"- {title}: " + ", ".join(f"[`{p[1]}`](#{anchor(p)})" for p in policies[0] if p[0] == kind)
    yield ""
    for kind, title in titles.items():
        yield f"## {title}"
        yield ""
        if kind == "cache":
            yield from common(policies[0])
        for policy in policies[0]:
            if policy[0] == kind:
                yield from section(policy, head, rows)
    yield "## Other names"
    yield ""
    yield "| name | means | from |"
    yield "| --- | --- | --- |"
    for kind, name, summary, paper, _options in policies[1]:
        yield f"| `{kind}={name}` | `{summary.removeprefix('another name of ')}` | {linked(paper)} |"


def anchor(policy):
    heading = next(iter(section(policy, "", {})))
    return re.sub(r"[^\w\- ]", "", heading.removeprefix("### ").lower()).replace(" ", "-")


def common(policies):
    yield "### Common options"
    yield ""
    yield "Policies that apply a velocity again take these; their defaults stand with each."
    yield ""
    yield "| option | values | meaning |"
    yield "| --- | --- | --- |"
    lines = {line.split("=")[0]: line for policy in policies if policy[0] == "cache" for line in policy[4]}
    for name in COMMON:
        _name, _default, values, meaning = option(lines[name])[2:-2].split(" | ")
        yield f"| `{name}` | {values} | {meaning} |"
    yield ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=pathlib.Path, default=ROOT / "build" / "engine" / "libflowcache.so")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    policies = registry(args.library)
    named = {p[:2] for p in policies if not p[2].startswith("another name of ")}
    for kind, name in sorted(named ^ set(NOTES)):
        sys.exit(f"docs/policies.py: {kind} \"{name}\" is in {'the registry and has no note' if (kind, name) in named else 'NOTES only'}")
    text = "\n".join(page(policies)) + "\n"
    if not args.check:
        PAGE.write_text(text)
        return
    now = PAGE.read_text() if PAGE.exists() else ""
    if now != text:
        sys.stdout.writelines(difflib.unified_diff(now.splitlines(True), text.splitlines(True), "policies.md", "what it should be", n=1))
        sys.exit("docs/policies.md is not what docs/policies.py writes: run it")


if __name__ == "__main__":
    main()
