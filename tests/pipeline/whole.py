# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares what a viewer gets with what was painted: whole.py FILE WIDTH HEIGHT LEAST [EXACT]

FILE is anything with H.264 in it, of the fake engine with twice=1: each picture says its frame's number at the top and at
the bottom, so what it should look like is known. Every coded picture has to come out of the decoder once, whole (32 dB or
more), without complaint, and none before its predecessor; a live source on a busy machine repeats frames, so a number may
come again. Of a viewer that came in the middle of a picture, what precedes the first parameter sets does not count. LEAST
pictures or more; with EXACT so many. Exits with 1 and a sentence if that is not so.
"""
import math
import re
import subprocess
import sys

BLOCKS, WHOLE = 16, 32.0


def ffmpeg(*arguments, given=None):
    """(what it writes to stdout, what it complains of)"""
    done = subprocess.run(["ffmpeg", "-v", "warning", *arguments, "-"], input=given or b"", capture_output=True, timeout=120, check=False)
    return done.stdout, done.stderr.decode(errors="replace")


def from_parameters_on(stream):
    """The H.264 byte stream from its first sequence parameter set on: nothing before it can be decoded."""
    found = re.search(b"\0\0\1[\x07\x27\x47\x67]", stream)
    return stream[found.start():] if found else b""


def coded_pictures(stream):
    """How many pictures begin in an H.264 byte stream: slices whose first macroblock is number 0."""
    units = (stream[found.end():found.end() + 2] for found in re.finditer(b"\0\0\1", stream))
    return sum(1 for unit in units if len(unit) == 2 and unit[0] & 31 in (1, 5) and unit[1] & 0x80)


def band(frame, width, height, third):
    """The 16 bits that a third of the picture shows."""
    bits = 0
    for block in range(BLOCKS):
        x, y = int((block + 0.5) * width / BLOCKS), int((third + 0.5) * height / 3)
        bits = bits << 1 | (frame[y * width + x] > 126)
    return bits


def painted(width, height, number, prompt):
    """The luma of the fake engine's picture (tests/fake/fake_paint.cpp)."""
    rows = []
    for bits in (number, prompt, number):
        rows.append(bytes(235 if bits >> (BLOCKS - 1 - min(BLOCKS - 1, x * BLOCKS // width)) & 1 else 16 for x in range(width)))
    return b"".join(rows[min(2, y * 3 // height)] for y in range(height))


def psnr(a, b):
    error = sum((x - y) ** 2 for x, y in zip(a[::5], b[::5])) / len(a[::5])
    return 99.0 if error == 0 else 10 * math.log10(255 * 255 / error)


def problem_of(path, width, height, least, exact=None):
    """A sentence about the first thing wrong, or None; and what was seen."""
    stream, said = ffmpeg("-i", path, "-map", "0:v", "-c", "copy", "-f", "h264")
    stream = from_parameters_on(stream)
    # Of the byte stream, since what holds pictures together in a file would hide what divides them.
    raw, complaints = ffmpeg("-f", "h264", "-i", "-", "-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo", given=stream)
    size, luma = width * height * 3 // 2, width * height
    frames = [raw[i:i + luma] for i in range(0, len(raw) - size + 1, size)]
    coded, numbers, worst = coded_pictures(stream), [], 99.0
    if len(frames) != coded:
        return f"{coded} pictures were coded, {len(frames)} come out of the decoder: {said}{complaints}", ""
    for index, frame in enumerate(frames):
        number = band(frame, width, height, 0)
        quality = psnr(frame, painted(width, height, number, band(frame, width, height, 1)))
        worst = min(worst, quality)
        if quality < WHOLE:
            return f"picture {index} of {coded} is torn: {quality:.1f} dB from frame {number}", ""
        if numbers and number < numbers[-1]:
            return f"picture {index} is frame {number}, after frame {numbers[-1]}", ""
        numbers.append(number)
    if "corrupt" in complaints or "error" in complaints.lower():
        return complaints, ""
    if coded < least or exact is not None and coded != exact:
        return f"{coded} pictures, wanted {exact if exact is not None else f'{least} or more'}", ""
    if len(set(numbers)) < least / 2:
        return f"{coded} pictures show {len(set(numbers))} frames only", ""
    return None, f"{coded} pictures, the worst {worst:.1f} dB"


if __name__ == "__main__":
    problem, seen = problem_of(sys.argv[1], *map(int, sys.argv[2:]))
    if problem:
        sys.exit(problem)
    print(seen)
