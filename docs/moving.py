#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes docs/moving.webp: one stream of the model that ships, whose prompt changes while it plays.

    docs/moving.py [--out docs/moving.webp]

It runs `flowcachesrc` with a script of prompts, the way that a user would, and ffmpeg makes the file. Nothing is
chosen, sorted or repaired between the element and the file; each picture is held for as long as the stream shows it.
"""
import argparse
import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROMPTS = ["green aurora", "orange fire", "teal underwater light", "white stars", "purple galaxy", "golden ocean", "orange rain on glass"]
SECONDS = 3  # each: four chunks
RATE, WIDTH, HEIGHT = 16, 512, 288
LIMIT = 3_000_000


def clock(seconds):
    return f"00:00:{int(seconds):02d},{round(seconds % 1 * 1000):03d}"


def script():
    return "".join(f"{i + 1}\n{clock(i * SECONDS)} --> {clock((i + 1) * SECONDS)}\n{text}\n\n" for i, text in enumerate(PROMPTS))


def render(folder, plugin, seed):
    cues, frames = folder / "prompts.srt", folder / "frames.yuv"
    cues.write_text(script())
    count = round(SECONDS * RATE * len(PROMPTS))
    source = ["flowcachesrc", "is-live=false", f"num-buffers={count}", f"seed={seed}", f"script-location={cues}",
              f"prompt={PROMPTS[0]}"]
    subprocess.run(["gst-launch-1.0", "-q", *source, "!", f"video/x-raw,width={WIDTH},height={HEIGHT}", "!", "videoconvert", "!",
                    "video/x-raw,format=I420", "!", "filesink", f"location={frames}"], check=True,
                   env=dict(os.environ, GST_PLUGIN_PATH=str(plugin), GST_REGISTRY=str(folder / "registry.bin"),
                            GOMP_SPINCOUNT="1000"))
    return frames


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "moving.webp")
    parser.add_argument("--plugin", default=ROOT / "build" / "gst-plugin", help="folder of the plugin")
    parser.add_argument("--seed", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        frames = render(pathlib.Path(name), args.plugin, args.seed)
        for quality in range(86, 30, -8):
            subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p",
                            "-video_size", f"{WIDTH}x{HEIGHT}", "-framerate", str(RATE), "-i", frames, "-c:v", "libwebp_anim",
                            "-quality", str(quality), "-compression_level", "5", "-loop", "0", args.out], check=True)
            size = args.out.stat().st_size
            print(f"{args.out}: {size // 1000} kB at quality {quality}")
            if size <= LIMIT:
                return
    raise SystemExit(f"{args.out}: more than {LIMIT} bytes at every quality: fewer or shorter scenes")


if __name__ == "__main__":
    main()
