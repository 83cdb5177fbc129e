#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""flowcache-live for minutes on the real engine, with two viewers in Chromium (VP8, H.264) and RTMP with sound to nginx at
once: does memory, a queue or the delay grow, do picture and sound drift apart? Prints a table and a verdict.

    tests/live/longrun.py [--minutes 30] [--arguments "--cache none"] [--json FILE]

Exit status 0 if every line of the verdict is good. Needs what test.sh installs; no other test may run beside it.
"""

import argparse
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("SOURCE_DIR", str(SOURCE))
os.environ.setdefault("BUILD_DIR", str(SOURCE / "build"))

from browser import Browser  # noqa: E402
from peers import Nginx, free_port, output  # noqa: E402
from program import Live, eventually, need  # noqa: E402

EVERY = 5.0  # seconds between samples
FRAME = 1000 / 16  # milliseconds
# What the browser shows: how long after its time stamp each frame is on the screen, but for a constant.
WATCH = """
    const video = document.querySelector('video');
    window.lags = [];
    const note = (now, frame) => {
      if (frame.rtpTimestamp !== undefined) window.lags.push(frame.presentationTime - frame.rtpTimestamp / 90);
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);"""
VIEWER = """
    const done = arguments[0], lags = window.lags.sort((a, b) => a - b), lag = lags[lags.length >> 1] ?? null;
    window.lags = [];
    window.picture.connection.getStats().then((all) => {
      for (const s of all.values()) if (s.type === 'inbound-rtp' && s.kind === 'video') return done(JSON.stringify({...s, lag}));
      done(null);
    }, () => done(null));"""


class Receiver:
    """ffprobe at the RTMP server: when each packet arrives, and its time stamp; in milliseconds."""

    def __init__(self, url):
        command = ["stdbuf", "-oL", need("ffprobe", "ffmpeg"), "-v", "error", "-show_entries", "packet=codec_type,pts_time",
                   "-of", "csv=p=0", url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.packets = {"audio": [], "video": []}
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            fields = line.strip().split(",")
            if len(fields) >= 2 and fields[0] in self.packets and fields[1] != "N/A":
                self.packets[fields[0]].append((time.monotonic() * 1e3, float(fields[1]) * 1e3))

    def stop(self):
        self.process.kill()
        self.process.wait()

    def lag(self, kind, start, end):
        """Median of arrival minus time stamp of what arrived within; None if nothing did."""
        lags = [arrival - pts for arrival, pts in list(self.packets[kind]) if start <= arrival < end]
        return statistics.median(lags) if lags else None

    def samples_against_stamps(self):
        """How far sound that is played sample by sample would be ahead of its time stamps at the end (AAC, 48 kHz)."""
        stamps = [pts for _, pts in self.packets["audio"]]
        return (len(stamps) - 1) * 1024 / 48 - (stamps[-1] - stamps[0])

    def uneven(self):
        """Time stamps of the sound that are not one AAC frame after the one before."""
        stamps = [pts for _, pts in self.packets["audio"]]
        return sum(not 19 < b - a < 24 for a, b in zip(stamps, stamps[1:]))


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watched(browser):
    """What Chromium's WebRTC says, and `lag`."""
    return json.loads(browser.later(VIEWER) or "{}")


def take(live, receiver, browsers, begin):
    stats, now = live.stats(), time.monotonic() * 1e3
    stream, rtmp = stats["stream"], [o for o in stats["outputs"] if o["name"] == "rtmp"][0]
    facts = [watched(browser) for browser in browsers]
    lags = {kind: receiver.lag(kind, now - EVERY * 1e3, now) for kind in ("video", "audio")}
    return {"time": now / 1e3 - begin, "memory": live.memory() / 1e6, "processor": processor_seconds(live.process.pid),
            "fps": stream["fps"], "frames": stream["frames"], "repeated": stream["repeated"], "skipped": stream["skipped"],
            "underruns": stream["underruns"], "p50": stream["chunk_ms_p50"], "p99": stream["chunk_ms_p99"],
            "ring": stream["ring_level"], "kv": stream["kv_bytes"], "rtmp_waiting": rtmp["waiting_ms"],
            "rtmp_lost": rtmp["lost"], "rtmp_attempts": rtmp["attempts"], "viewers": stats["viewers"]["connected"],
            "viewers_waiting": stats["viewers"]["waiting_ms"], "viewers_lost": stats["viewers"]["lost"],
            "video_lag": lags["video"], "audio_lag": lags["audio"],
            "decoded": [f.get("framesDecoded", 0) for f in facts], "dropped": [f.get("framesDropped", 0) for f in facts],
            "freezes": [f.get("freezeCount", 0) for f in facts], "packets_lost": [f.get("packetsLost", 0) for f in facts],
            "lag": [f.get("lag") for f in facts]}


COLUMNS = [("time", "min"), ("rss", "RSS MB"), ("cpu", "CPU %"), ("fps", "fps"), ("rep", "repeated"), ("p50", "p50 ms"),
           ("p99", "p99 ms"), ("ring", "ring"), ("kv", "KV MB"), ("wait", "wait ms"), ("lost", "lost"),
           ("delay", "RTMP delay"), ("skew", "A-V ms"), ("age", "viewer delay"), ("drop", "viewer drops")]


def row(sample, before, base):
    """A line of the table; RTMP delay and A-V are against the first minute."""
    seconds = sample["time"] - before["time"]
    number = lambda value, digits=0: "-" if value is None else f"{value:.{digits}f}"
    delay = None if sample["video_lag"] is None or base["video"] is None else sample["video_lag"] - base["video"]
    cells = {"time": f"{sample['time'] / 60:.1f}", "rss": number(sample["memory"]),
             "cpu": number(100 * (sample["processor"] - before["processor"]) / seconds),
             "fps": number((sample["frames"] - before["frames"]) / seconds, 2), "rep": sample["repeated"],
             "p50": number(sample["p50"]), "p99": number(sample["p99"]), "ring": sample["ring"],
             "kv": number(sample["kv"] / 1e6, 1), "wait": f"{sample['rtmp_waiting']}/{sample['viewers_waiting']}",
             "lost": f"{sample['rtmp_lost']}/{sample['viewers_lost']}", "delay": number(delay),
             "skew": number(skew(sample, base), 1), "age": "/".join("-" if None in pair else number(pair[0] - pair[1]) for pair in zip(sample["lag"], base["lag"])),
             "drop": "/".join(str(d) for d in sample["dropped"])}
    return "  ".join(f"{cells[key]:>{max(len(title), 9)}}" for key, title in COLUMNS)


def skew(sample, base):
    """How much later the sound comes, against its picture, than in the first minute."""
    if None in (sample["video_lag"], sample["audio_lag"], base["video"], base["audio"]):
        return None
    return (sample["audio_lag"] - sample["video_lag"]) - (base["audio"] - base["video"])


def slope(samples, value):
    """Growth an hour, by least squares over the samples that have it."""
    points = [(s["time"] / 3600, value(s)) for s in samples if value(s) is not None]
    if len(points) < 3:
        return 0.0
    middle_x, middle_y = (statistics.fmean(axis) for axis in zip(*points))
    return (sum((x - middle_x) * (y - middle_y) for x, y in points) / sum((x - middle_x) ** 2 for x, _ in points))


def change(samples, value):
    """Median of the last fifth minus that of the first."""
    fifth = max(1, len(samples) // 5)
    first, last = ([value(s) for s in part if value(s) is not None] for part in (samples[:fifth], samples[-fifth:]))
    return statistics.median(last) - statistics.median(first) if first and last else float("nan")


def verdict(samples, receiver, base):
    """(name, good, figure) of each line. The first quarter of the run is left to settle where growth is looked at."""
    first, last = samples[0], samples[-1]
    settled = samples[len(samples) // 4:]
    seconds = last["time"] - first["time"]
    fps = (last["frames"] - first["frames"]) / seconds
    repeated = last["repeated"] - first["repeated"]
    grown = change(settled, lambda s: s["memory"])
    decoded = [(b - a) / seconds for a, b in zip(first["decoded"], last["decoded"])]
    stamps = receiver.samples_against_stamps()
    drift = change(samples, lambda s: skew(s, base))
    delay = change(samples, lambda s: s["video_lag"])
    lags = [change(samples, lambda s, i=i: s["lag"][i]) for i in range(len(last["lag"]))]
    waiting = [max(s[key] for s in samples) for key in ("rtmp_waiting", "viewers_waiting")]
    return [
        ("frames a second", abs(fps - 16) < 0.1, f"{fps:.3f} of 16; {repeated} repeated, "
         f"{last['skipped'] - first['skipped']} skipped of {last['frames'] - first['frames']}"),
        ("memory", grown < 10, f"{first['memory']:.0f} MB at first, {last['memory']:.0f} MB at last, {grown:+.1f} MB after the "
         f"first quarter ({slope(settled, lambda s: s['memory']):+.1f} MB an hour); KV {last['kv'] - first['kv']:+d} bytes"),
        ("queues", max(waiting) < 2000 and last["rtmp_lost"] == first["rtmp_lost"] and last["viewers_lost"] == first["viewers_lost"],
         f"at most {waiting[0]} ms waited for RTMP, {waiting[1]} ms for a viewer; frames lost there: "
         f"{last['rtmp_lost'] - first['rtmp_lost']}, {last['viewers_lost'] - first['viewers_lost']}"),
        ("delay at the RTMP end", delay < FRAME, f"{delay:+.1f} ms from the first fifth of the run to the last"),
        ("delay on the viewers' screens", all(lag < FRAME for lag in lags),
         ", ".join(f"{lag:+.1f} ms" for lag in lags) + " from the first fifth to the last"),
        ("drift of sound against picture", abs(drift) < FRAME and abs(stamps) < FRAME,
         f"{drift:+.1f} ms by arrival, {stamps:+.1f} ms by samples against time stamps (a frame is {FRAME} ms); "
         f"{receiver.uneven()} of {len(receiver.packets['audio'])} time stamps of the sound are uneven"),
        ("connections", last["rtmp_attempts"] == 1 and all(s["viewers"] == 2 for s in samples),
         f"RTMP {last['rtmp_attempts']} attempt, viewers {min(s['viewers'] for s in samples)} at least"),
        ("viewers", all(d > 0.97 * 16 for d in decoded),
         "decoded " + ", ".join(f"{d:.2f}" for d in decoded) + " frames a second; dropped "
         + ", ".join(str(b - a) for a, b in zip(first["dropped"], last["dropped"])) + "; freezes "
         + ", ".join(str(b - a) for a, b in zip(first["freezes"], last["freezes"])) + "; packets lost "
         + ", ".join(str(b - a) for a, b in zip(first["packets_lost"], last["packets_lost"])))]


def measure(live, receiver, browsers, minutes):
    """Samples over the time, and the lags of the first minute (or fifth, if it is short)."""
    samples, base, begin = [], {"video": None, "audio": None, "lag": [None, None]}, time.monotonic()
    settle = min(60, minutes * 12)
    row_every, shown = max(EVERY, minutes * 60 / 15), None
    print("  ".join(f"{title:>{max(len(title), 9)}}" for _, title in COLUMNS), flush=True)
    while time.monotonic() - begin < minutes * 60:
        time.sleep(max(0, EVERY * (len(samples) + 1) - (time.monotonic() - begin)))
        sample = take(live, receiver, browsers, begin)
        samples.append(sample)
        if base["video"] is None and sample["time"] >= settle:
            base = {kind: receiver.lag(kind, begin * 1e3, time.monotonic() * 1e3) for kind in ("video", "audio")}
            base["lag"] = sample["lag"]
        if shown is None or sample["time"] - shown["time"] >= row_every - 1:
            if shown is not None:
                print(row(sample, shown, base), flush=True)
            shown = sample
    return samples, base


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--arguments", default="", help="more for flowcache-live")
    parser.add_argument("--json", help="all samples into this file")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="flowcache-longrun-")
    port = free_port()
    url = f"rtmp://127.0.0.1:{port}/live/stream"
    server = Nginx(folder, port)
    receiver = None
    try:
        with Live("--rtmp", url, *shlex.split(options.arguments), fake=None) as live, Browser() as one, Browser() as two:
            live.ready()
            for browser, codec in ((one, "vp8"), (two, "h264")):
                browser.open(live.url)
                browser.script("const s = document.getElementById('codec'); s.value = arguments[0];"
                               "s.dispatchEvent(new Event('change'))", codec)
                browser.watches()
                browser.script(WATCH)
            eventually(lambda: output(live, "rtmp")["state"] == "sending", "RTMP is on air")
            receiver = Receiver(url)
            eventually(lambda: all(receiver.packets.values()), "packets arrive at the RTMP end")
            time.sleep(5)
            samples, base = measure(live, receiver, (one, two), options.minutes)
            lines = verdict(samples, receiver, base)
            said = live.said().strip()
    finally:
        if receiver:
            receiver.stop()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print()
    for name, good, figure in lines:
        print(f"{'good' if good else 'NOT GOOD'}: {name}: {figure}")
    print(f"flowcache-live said: {said or 'nothing'}")
    if options.json:
        with open(options.json, "w", encoding="ascii") as file:
            json.dump({"samples": samples, "verdict": lines}, file)
    sys.exit(0 if all(good for _, good, _ in lines) else 1)


if __name__ == "__main__":
    main()
