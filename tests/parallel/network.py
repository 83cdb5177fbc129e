#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""network.py FLOWCACHE: streams over two hosts (network namespaces with a cable between them). A worker joins by the token; its
cable is cut in mid-stream. The stream then ends with one sentence, or goes on alone, within the timeout and some seconds, and
the worker does not stay."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("BUILD_DIR", "")  # of programs that are not run here
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "live"))

from hosts import Host, cable, command, enter  # noqa: E402

enter()

HERE, THERE, PORT, TIMEOUT = "10.78.0.1", "10.78.0.2", "7000", 3
TOKEN = "0123456789abcdef0123456789abcdef"
FRAME = 256 * 160  # bytes at least
program = os.path.abspath(sys.argv[1])
environment = dict(os.environ, FLOWCACHE_TOKEN=TOKEN)


def listeners():
    """Addresses on which something of this namespace listens."""
    lines = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[3].rsplit(":", 1)[0] for line in lines}


class Show:
    """A stream whose second rank is a worker on `far`, until it is closed."""

    def __init__(self, far, folder, *options):
        self.frames, self.said = folder + "/frames", folder + "/said"
        with open(self.frames, "wb") as out, open(self.said, "wb") as said:
            self.stream = subprocess.Popen(
                [program, "generate", "orange fire", "--size", "256x160", "-s", "100000", "-o", "-", "--threads", "1",
                 "--devices", "cpu,join", "--listen", f"{HERE}:{PORT}", "--rank-timeout", str(TIMEOUT * 1000),
                 *options], env=environment, stdout=out, stderr=said)
        self.worker = None
        until = time.monotonic() + 90
        while self.made() < 20:
            assert self.stream.poll() is None, self.text()
            assert time.monotonic() < until, "no frames come"
            if self.worker is None or self.worker.poll() is not None:  # the stream may not have listened yet
                self.worker = subprocess.Popen([*far.within, program, "worker", "--join", f"{HERE}:{PORT}", "--device",
                                                "cpu", "--threads", "1"], env=environment, stderr=subprocess.PIPE,
                                               text=True)
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.stream, self.worker):
            if process and process.poll() is None:
                process.kill()
                process.wait()

    def made(self):
        return os.path.getsize(self.frames) // FRAME

    def text(self):
        return pathlib.Path(self.said).read_text(errors="replace")

    def wait_for(self, what, seconds):
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, self.text()[-500:]
            time.sleep(0.1)


def main():
    far = Host()
    cable(Host(own=True), HERE + "/24", far, THERE + "/24")
    try:
        with tempfile.TemporaryDirectory() as folder, Show(far, folder, "--on-lost-rank", "end") as show:
            assert listeners() <= {HERE}, listeners()
            print("ok 1 - a worker joins from another host, and nothing listens but where it was told to")
            command("ip", "link", "set", "left0", "down")
            cut = time.monotonic()
            show.stream.wait(timeout=TIMEOUT + 20)
            took = time.monotonic() - cut
            assert show.stream.returncode != 0, show.stream.returncode
            assert "the stream over 2 devices has ended" in show.text(), show.text()[-500:]
            print(f"ok 2 - the stream says that it has ended, {took:.1f} s after the cable was cut")
            left = show.worker.communicate(timeout=60)[1]
            assert show.worker.returncode != 0 and "the other ranks are lost" in left, left[-500:]
            print("ok 3 - the worker does not stay")
        command("ip", "link", "set", "left0", "up")
        with tempfile.TemporaryDirectory() as folder, Show(far, folder) as show:
            command("ip", "link", "set", "left0", "down")
            show.wait_for(lambda: "goes on with 1 of 2 devices" in show.text(), 2 * TIMEOUT + 20)
            assert "rank 1 (join) does not answer within 3000 ms" in show.text(), show.text()[-500:]
            assert show.text().count("goes on") == 1, show.text()
            before = show.made()
            show.wait_for(lambda: show.made() > before + 50, 60)
            print("ok 4 - a stream that may go on does so alone")
            left = show.worker.communicate(timeout=60)[1]
            assert show.worker.returncode != 0 and "rank 0 is gone" in left, left[-500:]
            print("ok 5 - the worker does not stay either")
    finally:
        far.stop()
    print("1..5")


main()
