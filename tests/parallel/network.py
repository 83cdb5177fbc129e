#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""network.py FLOWCACHE: a stream over two hosts (network namespaces with a cable between them). A worker joins by the token; its
cable is cut in mid-stream, and both sides end with one sentence, within the timeout and some seconds."""

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
program = os.path.abspath(sys.argv[1])


def listeners():
    """Addresses on which something of this namespace listens."""
    lines = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[3].rsplit(":", 1)[0] for line in lines}


def main():
    far = Host()
    cable(Host(own=True), HERE + "/24", far, THERE + "/24")
    environment = dict(os.environ, FLOWCACHE_TOKEN=TOKEN)
    with tempfile.TemporaryDirectory() as folder:
        out = open(folder + "/frames", "wb")
        stream = subprocess.Popen(
            [program, "generate", "orange fire", "--size", "256x160", "-s", "100000", "-o", "-", "--threads", "1",
             "--devices", "cpu,join", "--listen", f"{HERE}:{PORT}", "--rank-timeout", str(TIMEOUT * 1000)],
            env=environment, stdout=out, stderr=subprocess.PIPE, text=True)
        worker = None
        try:
            until = time.monotonic() + 90
            while os.path.getsize(folder + "/frames") < 20 * 256 * 160:
                assert stream.poll() is None, stream.stderr.read()
                assert time.monotonic() < until, "no frames come"
                if worker is None or worker.poll() is not None:  # the stream may not have listened yet
                    worker = subprocess.Popen([*far.within, program, "worker", "--join", f"{HERE}:{PORT}", "--device",
                                               "cpu", "--threads", "1"], env=environment, stderr=subprocess.PIPE, text=True)
                time.sleep(0.1)
            assert listeners() <= {HERE}, listeners()
            print("ok 1 - a worker joins from another host, and nothing listens but where it was told to")
            command("ip", "link", "set", "left0", "down")
            cut = time.monotonic()
            said = stream.communicate(timeout=TIMEOUT + 20)[1]
            took = time.monotonic() - cut
            assert stream.returncode != 0 and "the stream over 2 devices has ended" in said, said[-500:]
            print(f"ok 2 - the stream says that it has ended, {took:.1f} s after the cable was cut")
            left = worker.communicate(timeout=60)[1]
            assert worker.returncode != 0 and "the other ranks are lost" in left, left[-500:]
            print("ok 3 - the worker does not stay")
        finally:
            for process in (stream, worker):
                if process and process.poll() is None:
                    process.kill()
                    process.wait()
            far.stop()
            out.close()
    print("1..3")


main()
