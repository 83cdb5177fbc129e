#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Draws train.log as a picture: loss (line) and held-out loss (dots) over minutes.

    models/ambient/curve.py train.log curve.png
"""
import argparse
import json
import pathlib

from PIL import Image, ImageDraw

W, H, LEFT, BOTTOM = 720, 360, 48, 28


def read(path):
    """(points of the training loss, points of the held-out loss), each (minutes, loss). A run that started from an
    export counts its minutes from zero; here they are added to those of the runs before it."""
    train, held, before, last = [], [], 0.0, 0.0
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            if row["minutes"] < last:
                before += last
            last = row["minutes"]
            train.append((before + last, row["loss"]))
        elif line.startswith("held-out loss ("):
            held.append((before + last, float(line.split("(")[1].split(",")[0])))
    return train, held


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log")
    parser.add_argument("png")
    args = parser.parse_args()
    train, held = read(args.log)
    if not train:
        raise SystemExit(f"curve.py: {args.log} has no line of the training yet")
    last = max(m for m, _ in train + held) or 1
    low, high = min(v for _, v in train + held) * .95, max(v for _, v in train + held) * 1.02
    place = lambda p: (LEFT + p[0] / last * (W - LEFT - 12), 10 + (high - p[1]) / (high - low) * (H - BOTTOM - 20))
    image = Image.new("RGB", (W, H), "white")
    draw = ImageDraw.Draw(image)
    for i in range(6):
        value, minute = low + (high - low) * i / 5, last * i / 5
        y, x = place((0, value))[1], place((minute, low))[0]
        draw.line([(LEFT, y), (W - 12, y)], fill="#dddddd")
        draw.text((6, y - 6), f"{value:.3f}", fill="#555555")
        draw.text((x - 10, H - BOTTOM + 6), f"{minute:.0f} min", fill="#555555")
    draw.line([place(p) for p in train], fill="#1f6fb4", width=2)
    for p in held:
        x, y = place(p)
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill="#d04a1a")
    draw.text((W - 230, 14), "line: training loss, dots: held-out", fill="#333333")
    image.save(args.png)


if __name__ == "__main__":
    main()
