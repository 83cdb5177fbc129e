# SPDX-License-Identifier: LGPL-2.1-or-later
"""Picture against sound of a recording in which both begin something once a second.

drift.py FILE WIDTH HEIGHT FPS
The lower third of the picture flashes when the sound ticks. Prints how much later than its tick each flash is shown, in
milliseconds. Exits with 1 and a sentence if there are fewer than four pairs, or if one of them is a frame or more apart from
its tick, or from the first pair.
"""
import array
import re
import subprocess
import sys


def decoded(path, kind, show, *rest):
    """The bytes of a track, and the times and lines of what the filter says about each of its frames."""
    command = ["ffmpeg", "-nostdin", "-v", "info", "-copyts", "-i", path, "-map", f"0:{kind}", f"-filter:{kind}", show, *rest, "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if "pts_time:" in line]
    return done.stdout, [float(re.search(r"pts_time:\s*([-0-9.]+)", line)[1]) for line in lines], lines


def onsets(values, high, apart):
    """The times at which values rise above `high`, at least `apart` seconds after the last that was above it."""
    found, last = [], -apart
    for time, value in values:
        if value > high:
            if time - last > apart:
                found.append(time)
            last = time
    return found


def flashes(path, width, height):
    data, times, _ = decoded(path, "v", "showinfo", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo")
    size, middle = width * height, height * 5 // 6 * width + width // 2
    return onsets(((time, data[i * size + middle]) for i, time in enumerate(times)), 128, 0.4)


def ticks(path):
    data, times, lines = decoded(path, "a", "ashowinfo", "-ac", "1", "-ar", "48000", "-f", "s16le")
    samples, values, at = array.array("h", data), [], 0
    for time, line in zip(times, lines):
        count = int(re.search(r"nb_samples:\s*(\d+)", line)[1])
        rate = int(re.search(r"rate:\s*(\d+)", line)[1])
        if rate != 48000:
            sys.exit(f"the sound has {rate} samples a second, not 48000")
        values += [(time + i / rate, abs(samples[at + i])) for i in range(0, count, 24)]
        at += count
    return onsets(values, 4000, 0.4)


def main():
    path, width, height, fps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    seen, heard = flashes(path, width, height), ticks(path)
    pairs = [(min(seen, key=lambda flash: abs(flash - tick)) - tick) for tick in heard if seen and seen[0] - 0.4 < tick < seen[-1] + 0.4]
    print("flashes after their ticks, ms:", *(round(1000 * one) for one in pairs))
    if len(pairs) < 4:
        sys.exit(f"only {len(pairs)} pairs: {len(seen)} flashes at {seen}, {len(heard)} ticks at {heard}")
    print(f"{len(pairs)} pairs, the last {1000 * (pairs[-1] - pairs[0]):.0f} ms from the first; a frame is {1000 / fps:.1f} ms")
    for one in pairs:
        if abs(one) >= 1 / fps or abs(one - pairs[0]) >= 1 / fps:
            sys.exit(f"a flash is {1000 * one:.0f} ms after its tick, the first was {1000 * pairs[0]:.0f} ms")


if __name__ == "__main__":
    main()
