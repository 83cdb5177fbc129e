# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test Anything Protocol, and flowcache-live as a process of the test's own, on a free port."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

BUILD = os.environ["BUILD_DIR"]
PROGRAM = os.path.join(BUILD, "apps/live/flowcache-live")
FAKE = "width=320,height=192,frames=8,steps=8,chunk_ms=50"
PATIENCE = 60  # seconds, which only a defect takes, however busy the machine is


class Skip(Exception):
    """Raised by a test that lacks something; says what."""


def need(command, package):
    """The path of a command, or the test is skipped with the package's name."""
    path = shutil.which(command)
    if path is None:
        raise Skip(f"{package} is not installed")
    return path


def run(tests):
    """Runs functions in their order, as TAP; the exit status says whether all were right."""
    failed = 0
    for number, test in enumerate(tests, 1):
        name, start = (test.__doc__ or test.__name__).strip(), time.monotonic()
        try:
            test()
            print(f"ok {number} - {name}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}", flush=True)
        except Exception:  # whatever went wrong is a failed test
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
        print(f"# {time.monotonic() - start:.1f} s", flush=True)
    print(f"1..{len(tests)}", flush=True)
    sys.exit(1 if failed else 0)


def eventually(condition, what, seconds=PATIENCE):
    """Waits until condition() is true and returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.05)


class Live:
    """flowcache-live on the fake engine, or with fake=None on the one of this build."""

    token = ""  # of every request, where one is wanted
    context = None  # of TLS

    def __init__(self, *arguments, fake=FAKE, port="0", within=()):
        """`within`: the command that runs another on another host of the test's."""
        self.folder = tempfile.mkdtemp(prefix="flowcache-live-")
        environment = dict(os.environ, GOMP_SPINCOUNT="1000",
                           GST_PLUGIN_PATH_1_0=os.path.join(BUILD, "gst-plugin"),
                           GST_REGISTRY_1_0=os.path.join(BUILD, "tests/live/registry.bin"))
        if fake is not None:
            environment["FLOWCACHE_ENGINE"] = os.path.join(BUILD, "tests/fake/libflowcache-fake.so")
            environment["FLOWCACHE_FAKE"] = fake
        self.log = open(os.path.join(self.folder, "log"), "w+")
        self.process = subprocess.Popen([*within, PROGRAM, "--port", port, *arguments], env=environment,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline().strip()
        self.url = line.split("#")[0]
        self.port = int(self.url.rsplit(":", 1)[1].strip("/")) if line else 0

    def __enter__(self):
        if not self.port:
            raise AssertionError("it did not start: " + self.said())
        return self

    def __exit__(self, *unused):
        self.stop()

    def said(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def stop(self):
        """Ends it, if it has not ended; its status."""
        if self.log.closed:
            return self.process.returncode
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = f"killed after {PATIENCE} s"
        self.process.stdout.close()
        text = self.said()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if "CRITICAL" in text:
            raise AssertionError(text[-2000:])
        return status

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def ask(self, path, body=None, headers=None, method=None):
        """(status, body) of a request; a dict as body goes as JSON."""
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.url + path.lstrip("/"), data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE, context=self.context) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stats(self):
        status, body = self.ask("/api/stats")
        assert status == 200, body
        return json.loads(body)

    def ready(self):
        eventually(lambda: self.ask("/healthz")[0] == 200, "it is ready", 60)
        return self

    def flows(self):
        """Frames go on to come."""
        frames = self.stats()["stream"]["frames"]
        eventually(lambda: self.stats()["stream"]["frames"] > frames + 4, "frames go on")
