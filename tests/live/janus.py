# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Janus WebRTC server with a video room that records, and a WHIP endpoint (RFC 9725) in front of it, on 127.0.0.1."""

import glob
import http.server
import json
import os
import subprocess
import threading
import urllib.request

from peers import SOURCE, WhipEndpoint, answers, free_port
from program import PATIENCE, Skip, eventually, need

# test.sh unpacks it into deps/, with the libraries that it needs.
ROOT = os.path.join(SOURCE, "deps/janus")
LIBRARIES = os.path.join(ROOT, "usr/lib/x86_64-linux-gnu")
CONFIG = {
    "janus.jcfg": """general: { configs_folder = "FOLDER"  plugins_folder = "FOLDER/plugins"  transports_folder = "FOLDER/transports"
                                events_folder = "FOLDER"  loggers_folder = "FOLDER"  debug_level = 4 }
                     nat: { ice_enforce_list = "127.0.0.1"  ignore_mdns = true }""",
    "janus.transport.http.jcfg": 'general: { json = "plain"  http = true  port = PORT  ip = "127.0.0.1"  https = false }',
    "janus.plugin.videoroom.jcfg": 'room-1: { publishers = 1  videocodec = "h264"  record = true  rec_dir = "FOLDER" }',
}


class Janus:
    """`address` is where to send by WHIP; `deleted` counts the ends."""

    def __init__(self, folder):
        self.folder, self.port, self.deleted = folder, free_port(), 0
        program = os.path.join(ROOT, "usr/bin/janus")
        if not os.path.exists(program):
            raise Skip("janus is not unpacked")
        for kind, name in (("plugins", "libjanus_videoroom.so"), ("transports", "libjanus_http.so")):
            os.makedirs(os.path.join(folder, kind))
            os.symlink(os.path.join(LIBRARIES, "janus", kind, name), os.path.join(folder, kind, name))
        for name, text in CONFIG.items():
            with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                file.write(text.replace("FOLDER", folder).replace("PORT", str(self.port)))
        self.log = open(os.path.join(folder, "janus.log"), "w", encoding="utf-8")
        self.process = subprocess.Popen([program, "-F", folder, "-C", os.path.join(folder, "janus.jcfg")], env=self.environment(),
                                        stdout=self.log, stderr=self.log)
        eventually(lambda: answers(self.port), "Janus listens")
        self.endpoint = http.server.ThreadingHTTPServer(("127.0.0.1", 0), WhipEndpoint)
        self.endpoint.publish, self.endpoint.leave = self.publish, self.leave
        self.address = f"http://127.0.0.1:{self.endpoint.server_port}/whip/room"
        threading.Thread(target=self.endpoint.serve_forever, daemon=True).start()

    @staticmethod
    def environment():
        return dict(os.environ, LD_LIBRARY_PATH=LIBRARIES)

    def ask(self, path, **request):
        """One request of Janus' own interface; `path` is "", a session, or a session and a handle."""
        body = json.dumps(dict(request, transaction="t")).encode() if request else None
        url = f"http://127.0.0.1:{self.port}/janus{path}"
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=PATIENCE) as answer:
            return json.load(answer)

    def publish(self, offer):
        """SDP of a publisher → (SDP of the answer, path of what to delete)."""
        session = f"/{self.ask('', janus='create')['data']['id']}"
        handle = f"{session}/{self.ask(session, janus='attach', plugin='janus.plugin.videoroom')['data']['id']}"
        self.ask(handle, janus="message", body=dict(request="joinandconfigure", room=1, ptype="publisher"),
                 jsep=dict(type="offer", sdp=offer))
        while "jsep" not in (event := self.ask(session)):
            assert event["janus"] in ("keepalive", "event") and "error" not in str(event.get("plugindata")), event
        return event["jsep"]["sdp"], handle

    def leave(self, handle):
        self.ask(handle, janus="detach")
        self.deleted += 1

    def recorded(self):
        """What came in, as a film's path; only once the publisher has left."""
        found = eventually(lambda: glob.glob(os.path.join(self.folder, "*video*.mjr")), "a recording")
        film = os.path.join(self.folder, "film.mp4")
        done = subprocess.run([os.path.join(ROOT, "usr/bin/janus-pp-rec"), found[0], film], env=self.environment(),
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return film

    def stop(self):
        self.endpoint.shutdown()
        self.process.terminate()
        self.process.wait()
        self.log.close()


def frames_of(film):
    """(codec, width, height, frames that decode)."""
    fields = "stream=codec_name,width,height,nb_read_frames"
    done = subprocess.run([need("ffprobe", "ffmpeg"), "-v", "error", "-count_frames", "-show_entries", fields, "-of", "json", film],
                          capture_output=True, text=True, timeout=60, check=True)
    stream = json.loads(done.stdout)["streams"][0]
    return stream["codec_name"], stream["width"], stream["height"], int(stream["nb_read_frames"])
