#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Draws docs/grid.jpg (scene x colour), docs/strip.jpg (live changes of prompt in time) and docs/sizes.jpg (the same prompts
at three sizes) with the GStreamer plugin.

    models/ambient/pictures.py --out docs
"""
import argparse
import os
import pathlib
import subprocess
import tempfile

import numpy as np
from PIL import Image, ImageDraw

import export
import sample
from render import HEIGHT, WIDTH

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHANGES = [("slow green aurora", "orange fire"), ("orange fire", "white stars"), ("calm blue snow", "purple neon tunnel"),
           ("golden ocean", "pink clouds moving left"), ("red lava lamp", "dense green lava lamp")]


SIZES = [(WIDTH, HEIGHT), (384, 224), (320, 192)]


def frames(buffers, plugin, model, size=(WIDTH, HEIGHT), **properties):
    """The pictures of gst-launch-1.0 with flowcachesrc and these properties: [buffers,H,W,3] uint8."""
    if model:
        properties["model"] = model
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "frames.rgb"
        script = properties.pop("script", None)
        if script:
            (pathlib.Path(folder) / "prompts.srt").write_text(script)
            properties["script-location"] = pathlib.Path(folder) / "prompts.srt"
        source = ["flowcachesrc", "is-live=false", f"num-buffers={buffers}"] + [f"{k}={v}" for k, v in properties.items()]
        source += ["!", f"video/x-raw,width={size[0]},height={size[1]}"]
        subprocess.run(["gst-launch-1.0", "-q", *source, "!", "videoconvert", "!", "video/x-raw,format=RGB", "!", "filesink",
                        f"location={out}"], check=True,
                       env=dict(os.environ, GST_PLUGIN_PATH=str(plugin), GOMP_SPINCOUNT="1000"))
        return np.fromfile(out, np.uint8).reshape(-1, size[1], size[0], 3)


def clock(seconds):
    return f"00:00:{int(seconds):02d},{round(seconds % 1 * 1000):03d}"


def cue(number, start, end, text):
    return f"{number}\n{clock(start)} --> {clock(end)}\n{text}\n\n"


def montage(rows, labels, path, width):
    """Rows of pictures, with a line of text above each row."""
    height, line = width * HEIGHT // WIDTH, 14
    sheet = Image.new("RGB", (width * max(map(len, rows)), (height + line) * len(rows)), "black")
    draw = ImageDraw.Draw(sheet)
    for i, (row, label) in enumerate(zip(rows, labels)):
        draw.text((3, i * (height + line) + 1), label, fill="white")
        for j, picture in enumerate(row):
            sheet.paste(Image.fromarray(picture).resize((width, height), Image.LANCZOS), (j * width, i * (height + line) + line))
    save(sheet, path)


def size_sheet(plugin, model, prompts, path, shown=47, columns=6):
    """The same prompts at every size, all at one scale, `columns` in a row."""
    share, line = .36, 14
    scaled = lambda size: tuple(int(n * share) for n in size)
    rows = [(size, prompts[i:i + columns]) for i in range(0, len(prompts), columns) for size in SIZES]
    sheet = Image.new("RGB", (scaled(SIZES[0])[0] * columns, sum(scaled(size)[1] + line for size, _ in rows)), "black")
    draw, top = ImageDraw.Draw(sheet), 0
    for size, part in rows:
        draw.text((3, top + 1), f"{size[0]} x {size[1]}: " + ", ".join(part), fill="white")
        for i, prompt in enumerate(part):
            picture = Image.fromarray(frames(shown + 1, plugin, model, size, prompt=prompt, seed=3)[shown])
            sheet.paste(picture.resize(scaled(size), Image.LANCZOS), (i * scaled(SIZES[0])[0], top + line))
        top += scaled(size)[1] + line
    save(sheet, path)


def save(sheet, path):
    """Saves with the best quality that fits into 300 kB."""
    quality = 88
    while True:
        sheet.save(path, quality=quality, optimize=True)
        if path.stat().st_size < 300_000 or quality < 40:
            return print(f"{path}: {path.stat().st_size // 1000} kB")
        quality -= 6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--plugin", default=ROOT / "build" / "gst-plugin", help="folder of the plugin")
    parser.add_argument("--model", help="folder with model.json (default: the one that ships)")
    parser.add_argument("--only", choices=["sizes"], help="draw this one alone")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    known, grid, labels = export.scenes(args.model or pathlib.Path(__file__).parent), [], []
    size_sheet(args.plugin, args.model, [p for p in sample.SHEET if p.split()[1] in known], args.out / "sizes.jpg")
    if args.only:
        return
    for names, colors in known.values():
        grid.append([frames(25, args.plugin, args.model, prompt=f"{c} {names[0]}", seed=1)[24] for c in colors])
        labels.append(f"{names[0]}: " + ", ".join(colors))
    montage(grid, labels, args.out / "grid.jpg", 190)
    strip, labels = [], []
    for first, second in CHANGES:  # three chunks of the first, four of the second; from 1.5 s on two pictures a chunk
        shown = frames(84, args.plugin, args.model, prompt=first, seed=2, script=cue(1, 0, 2.25, first) + cue(2, 2.25, 9, second))
        strip.append([shown[i] for i in range(29, 84, 6)][:9])
        labels.append(f"{first}  ->  {second}")
    montage(strip, labels, args.out / "strip.jpg", 150)


if __name__ == "__main__":
    main()
