# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds what bench-gate recorded against LiveFrame's frozen gate; gate.sh has the options and starts this."""
import argparse
import json
import math
import os
import pathlib
import sys


class Sheet:
    """The lines of the gate, each with its figure."""

    def __init__(self):
        self.lines = []

    def line(self, what, figure, limit, good):
        """good: True, False, or None for what is told and not judged."""
        self.lines.append(dict(line=what, figure=figure, limit=limit, passed=good))
        print(f"{ {True: 'pass', False: 'FAIL', None: '--'}[good]:5} {what:42} {figure}{f'  ({limit})' if limit else ''}")

    def passed(self):
        return all(line["passed"] is not False for line in self.lines)


def percentile(values, share):
    """The least value that `share` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.inf


def judge(record, asked, contract, sheet):
    """asked: seconds that were asked for."""
    run = record["run"]
    time, latency, proof = contract["temporal"], contract["latency"], contract["primary_proof"]
    fps, seconds, window = time["playback_pixel_fps"], proof["duration_seconds"], proof["aligned_window_seconds"]
    frame, start = 1 / fps, run["first_shown"]
    stats, chunk = run["stats"], run["frames_per_chunk"]
    sheet.line("native rate, frames a second", f"{stats['native-fps']:g}", f"{time['native_pixel_fps']}",
               stats["native-fps"] == time["native_pixel_fps"])
    sheet.line("duration, s", f"{asked:g}", f"at least {seconds}", asked >= seconds)
    sheet.line("first frame after a cold start, s", f"{record['cold']:.2f}", "", None)
    most = latency["warm_ttff_max_ms"] / 1e3
    sheet.line("first frame after a warm start, s", f"{start:.2f}", f"at most {most:g}", start <= most)

    # A frame counts once, where it belongs: new, and shown no later than one frame after its time.
    first = next(f["pts"] for f in run["frames"] if f["shown"] >= 0)
    due = [f for f in run["frames"] if first - 1e-6 <= f["pts"] < first + asked - 1e-6]
    good = [f for f in due if f["shown"] >= 0 and f["late"] < frame and not f["repeated"]]
    # The contract counts frames as they are generated, a chunk at a time, from playback on.
    finished = lambda at: max((s["chunks"] for s in run["samples"] if s["at"] <= start + at), default=run["samples"][0]["chunks"])
    made = lambda a, b: chunk * (finished(b) - finished(a))
    least = proof["min_generated_frames"] * asked / seconds
    whole = least // chunk * chunk
    sheet.line("frames generated", f"{made(0, asked)}", f"at least {whole:g}", made(0, asked) >= whole)
    sheet.line("frames shown, each new and in time", f"{len(good)}", f"at least {least:g}", len(good) >= least)
    windows = range(int(asked // window))
    each = [made(i * window, (i + 1) * window) for i in windows]
    sheet.line(f"generated in each {window} s", " ".join(map(str, each)), f"at least {fps * window - chunk}: whole chunks",
               min(each, default=0) >= fps * window - chunk)
    each = [sum(i * window <= f["pts"] - first + 1e-6 < (i + 1) * window for f in good) for i in windows]
    sheet.line(f"shown in each {window} s, new and in time", " ".join(map(str, each)), f"at least {fps * window}",
               min(each, default=0) >= fps * window)

    ms = [c["ms"] for c in run["chunks"] if c["at"] > start]
    plays = 1e3 * chunk / fps
    sheet.line("chunk time, p95, ms", f"{percentile(ms, .95):.0f} (p50 {percentile(ms, .5):.0f}, most {max(ms):.0f})",
               f"below {plays:g}, what a chunk plays", percentile(ms, .95) < plays)

    late = sum(f["shown"] >= 0 and f["late"] >= frame for f in due)
    sheet.line("underruns: of the element, at the sink", f"{stats['underruns']}, {late}", f"{proof['max_display_underruns']}",
               stats["underruns"] + late <= proof["max_display_underruns"])
    # A live picture does not wait while the model loads; the minute begins with the first frame.
    before = run["samples"][0]["skipped"]
    sheet.line("frames that went by while the model loaded", f"{before}", "", None)
    repeated, skipped = sum(f["repeated"] for f in due), stats["skipped"] - before
    sheet.line("frames repeated, skipped, dropped", f"{repeated}, {skipped}, {stats['dropped']}", "0",
               repeated + skipped + stats["dropped"] == 0)
    steps = [b["pts"] - a["pts"] for a, b in zip(due, due[1:])]
    uneven = sum(abs(step - frame) > 1e-6 for step in steps)
    sheet.line("timestamps that are not one frame apart", f"{uneven} of {len(steps)}", "0", uneven == 0)

    rings = [s["ring"] for s in run["samples"] if s["at"] <= start + asked]
    room = max(s["capacity"] for s in run["samples"])
    sheet.line("finished frames that wait, least and most", f"{min(rings)}, {max(rings)}",
               f"{proof['queue_lower_bound']} to {room}", proof["queue_lower_bound"] <= min(rings) and max(rings) <= room)
    sheet.line("the same, at the start and at the end", f"{rings[0]}, {rings[-1]}", f"end at least {max(0, rings[0] - chunk)}",
               rings[-1] >= rings[0] - chunk)
    queued = max(s["queued"] for s in run["samples"])
    sheet.line("frames in the queue before the encoder", f"{queued}", f"at most {run['most_queued']}",
               queued <= run["most_queued"])
    sheet.line("steps computed of all", f"{stats['steps-computed'] / max(1, stats['steps-computed'] + stats['steps-reused']):.2f}", "", None)


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "CPU part"))]
    return names[0] if names else os.uname().machine


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("record")
    parser.add_argument("--seconds", type=int)
    for told in ("--element", "--size", "--isa", "--properties", "--load", "--json"):
        parser.add_argument(told, default="")
    o = parser.parse_args()
    from liveframe.gates import GateError, load_bundled_gate  # which checks the digest
    try:
        gate = load_bundled_gate()
    except (GateError, OSError) as error:
        sys.exit(f"error: {error}\n       run: tests/bench/gate.sh --install")
    record = json.loads(pathlib.Path(o.record).read_text(encoding="utf-8"))
    about = dict(processor=processor(), processors=len(os.sched_getaffinity(0)), isa=o.isa, load_before=o.load,
                 element=o.element, size=o.size, properties=o.properties, precision=record["run"]["stats"]["precision"])
    print(f"{gate.gate_id}, {gate.digest}")
    print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in about.items() if value))
    sheet = Sheet()
    judge(record, o.seconds, gate.contract, sheet)
    verdict = "pass" if sheet.passed() else "FAIL"
    if o.json:
        figures = about | dict(gate=gate.gate_id, digest=gate.digest, verdict=verdict, lines=sheet.lines)
        pathlib.Path(o.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"gate: {verdict}")
    return 0 if sheet.passed() else 1


if __name__ == "__main__":
    sys.exit(main())
