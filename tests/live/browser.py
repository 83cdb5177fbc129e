# SPDX-License-Identifier: LGPL-2.1-or-later
"""Headless Chromium by W3C WebDriver, with nothing but the standard library."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

from program import eventually, need


class Browser:
    """One window. Use as a context: the browser and its driver end with it. On another host of the test (network.py):
    `within` is the command that runs another there, `host` its address, `us` ours."""

    def __init__(self, width=1280, height=900, dark=False, within=(), host="127.0.0.1", us="127.0.0.1", arguments=()):
        chromium, driver = need("chromium", "chromium"), need("chromedriver", "chromium-driver")
        self.folder = tempfile.mkdtemp(prefix="flowcache-browser-")
        remote = [] if host == us else [f"--allowed-ips={us}", "--allowed-origins=*"]
        self.driver = subprocess.Popen([*within, driver, "--port=0", *remote], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       text=True)
        self.base = None
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                self.port = int(line.split()[-1].strip("."))
                self.base = f"http://{host}:{self.port}"
                break
        arguments = [*arguments, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-extensions", "--disable-background-networking", "--mute-audio",
                     "--autoplay-policy=no-user-gesture-required", "--blink-settings=preferredColorScheme=%d" % (0 if dark else 1),
                     f"--window-size={width},{height}", f"--user-data-dir={self.folder}"]
        options = {"binary": chromium, "args": arguments}
        if width < 500:  # a window cannot be that narrow
            options["mobileEmulation"] = {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 2}}
        capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        self.session = None
        self.session = "/session/" + self.call("POST", "/session", {"capabilities": capabilities})["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.session:
            try:
                self.call("DELETE", "")
            except OSError:
                pass
        self.driver.terminate()
        self.driver.wait(20)
        self.driver.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self):
        """The ids of the browser itself, known by its own folder."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/cmdline", "rb") as line:
                    if f"--user-data-dir={self.folder}".encode() in line.read():
                        found.append(int(name))
            except OSError:
                pass
        return found

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + (self.session or "") + path, data=data, method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"].split("\n")[0]) from error

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def reload(self):
        self.call("POST", "/refresh", {})

    def script(self, text, *arguments):
        """What the script returns."""
        return self.call("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def later(self, text, *arguments):
        """What the script gives to its last argument, a function."""
        return self.call("POST", "/execute/async", {"script": text, "args": list(arguments)})

    def new_window(self):
        handle = self.call("POST", "/window/new", {"type": "window"})["handle"]
        self.switch(handle)
        return handle

    def window(self):
        return self.call("GET", "/window")

    def switch(self, handle):
        self.call("POST", "/window", {"handle": handle})

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("GET", "/screenshot")))

    def facts(self):
        """WebRTC's own figures of the picture, {} while there is none."""
        return self.later("const done = arguments[arguments.length - 1];"
                          "window.picture ? window.picture.facts().then(done, () => done(null)) : done(null)") or {}

    def decoded(self):
        return self.facts().get("framesDecoded") or 0

    def watches(self, more=8):
        """Waits until the picture moves."""
        start = self.decoded()
        eventually(lambda: self.decoded() >= start + more, "frames are decoded", 40)

    def colour(self, x0=0.0, y0=0.0, x1=1.0, y1=1.0):
        """Mean red, green and blue of a part of the picture as it shows now."""
        return self.script("""
            const video = document.querySelector('video'), [x0, y0, x1, y1] = arguments;
            const canvas = document.createElement('canvas');
            canvas.width = video.videoWidth; canvas.height = video.videoHeight;
            if (!canvas.width) return null;
            const context = canvas.getContext('2d');
            context.drawImage(video, 0, 0);
            const w = canvas.width, h = canvas.height;
            const data = context.getImageData(x0 * w, y0 * h, (x1 - x0) * w, (y1 - y0) * h).data;
            const sum = [0, 0, 0];
            for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; ++c) sum[c] += data[i + c];
            return sum.map((s) => s / (data.length / 4));
        """, x0, y0, x1, y1)
