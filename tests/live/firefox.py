# SPDX-License-Identifier: LGPL-2.1-or-later
"""Headless Firefox by WebDriver BiDi, which it speaks itself, with nothing but the standard library."""

import json
import os
import shutil
import subprocess
import tempfile
import threading

from browser import Browser
from program import need
from websocket import WebSocket

# No first run, nothing from the network, video that plays by itself, and a camera that is none.
SETTINGS = """
user_pref("app.normandy.enabled", false);
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("media.autoplay.default", 0);
user_pref("media.gmp-manager.url", "");
user_pref("media.navigator.permission.disabled", true);
user_pref("media.navigator.streams.fake", true);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "http://127.0.0.1:9/");
user_pref("toolkit.telemetry.enabled", false);
"""


class Firefox(Browser):
    """One window, with what Browser can do for the test of a page."""

    def __init__(self):  # pylint: disable=super-init-not-called
        program = need("firefox-esr", "firefox-esr")
        self.folder = tempfile.mkdtemp(prefix="flowcache-firefox-")
        with open(os.path.join(self.folder, "user.js"), "w", encoding="ascii") as file:
            file.write(SETTINGS)
        self.process = subprocess.Popen([program, "--headless", "--no-remote", "--profile", self.folder, "--remote-debugging-port=0",
                                         "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                        env=dict(os.environ, HOME=self.folder, MOZ_CRASHREPORTER_DISABLE="1"))
        self.socket, self.number = None, 0
        for line in self.process.stderr:
            if "listening on ws://" in line:
                self.socket = WebSocket(int(line.rsplit(":", 1)[1].strip().strip("/")), "/session")
                break
        assert self.socket and self.socket.status == 101, "Firefox has not begun"
        self.rest = threading.Thread(target=self.process.stderr.read, daemon=True)  # or it would stop when the pipe is full
        self.rest.start()
        self.socket.socket.settimeout(60)
        self.ask("session.new", capabilities={})
        self.context = self.ask("browsingContext.getTree")["contexts"][0]["context"]

    def __exit__(self, *unused):
        self.socket.socket.close()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.rest.join()
        self.process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, method, **parameters):
        self.number += 1
        self.socket.send({"id": self.number, "method": method, "params": parameters})
        while (message := self.socket.receive()).get("id") != self.number:
            pass
        assert message["type"] == "success", message
        return message["result"]

    def open(self, url):
        self.ask("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def reload(self):
        self.ask("browsingContext.reload", context=self.context, wait="complete")

    def evaluate(self, text):
        """What the promise of an expression gives, as JSON."""
        done = self.ask("script.evaluate", expression=f"Promise.resolve({text}).then(JSON.stringify)", awaitPromise=True,
                        target={"context": self.context}, userActivation=True)
        assert done["type"] == "success", done
        return json.loads(done["result"].get("value", "null") or "null")

    def script(self, text, *arguments):
        return self.evaluate(f"(function () {{ {text} }}).apply(null, {json.dumps(arguments)})")

    def later(self, text, *arguments):
        given = json.dumps(arguments)
        return self.evaluate(f"new Promise((done) => (function () {{ {text} }}).apply(null, [...{given}, done]))")
