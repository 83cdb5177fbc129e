# SPDX-License-Identifier: LGPL-2.1-or-later
"""Looks at pictures: picture.py moving FILE.ppm… | alive FILE.rgb WIDTH HEIGHT | hue FILE.rgb WIDTH HEIGHT red|green|blue

moving  binary PPM files in order: none is flat, and each but the first differs from the one before it
alive   raw packed RGB frames in one file: none is flat and at least eight differ from the one before; a live source on a
        busy machine repeats frames, so not all need to
hue     the named channel is the strongest on average over all frames
Exits with 1 and a sentence if that is not so.
"""
import re
import sys
from pathlib import Path


def spread(pixels):
    """Standard deviation of the samples, 0..127."""
    mean = sum(pixels) / len(pixels)
    return (sum((p - mean) ** 2 for p in pixels) / len(pixels)) ** 0.5


def difference(a, b):
    return sum(abs(x - y) for x, y in zip(a, b)) / len(a)


def judge(frames, repeats_allowed=False):
    """A sentence about the first thing wrong with the frames, or None. Every 7th sample is looked at."""
    previous, changes = None, 0
    for number, frame in enumerate(frames):
        frame = frame[::7]
        if spread(frame) < 3:
            return f"frame {number} is flat: standard deviation {spread(frame):.2f}"
        if previous is not None:
            if len(previous) != len(frame):
                return f"frame {number} has another size"
            changed = difference(previous, frame) != 0
            if not changed and not repeats_allowed:
                return f"frame {number} equals the one before it"
            changes += changed
        previous = frame
    if previous is None:
        return "there is no frame"
    return f"only {changes} frames differ from the one before" if repeats_allowed and changes < 8 else None


def read_ppm(path):
    data = Path(path).read_bytes()
    header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
    if not header:
        sys.exit(f"{path} is no binary PPM")
    width, height = int(header[1]), int(header[2])
    pixels = data[header.end():]
    if len(pixels) != width * height * 3:
        sys.exit(f"{path} has {len(pixels)} bytes of pixels, {width}x{height} needs {width * height * 3}")
    return pixels


def read_raw(path, width, height):
    data, size = Path(path).read_bytes(), int(width) * int(height) * 3
    return [data[i:i + size] for i in range(0, len(data) - size + 1, size)]


def main():
    kind, *arguments = sys.argv[1:]
    if kind == "moving":
        problem = judge(read_ppm(path) for path in arguments)
    elif kind == "alive":
        problem = judge(read_raw(*arguments), repeats_allowed=True)
    else:
        frames = read_raw(*arguments[:3])
        means = {name: sum(sum(f[i::3]) for f in frames) for i, name in enumerate(("red", "green", "blue"))}
        problem = None if max(means, key=means.get) == arguments[3] else f"sums of the channels: {means}"
    if problem:
        sys.exit(problem)


if __name__ == "__main__":
    main()
