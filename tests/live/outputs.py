# SPDX-License-Identifier: LGPL-2.1-or-later
"""RTMP, SRT and WHIP out of one running stream, to real peers that go away and come back."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

from browser import Browser
from janus import Janus, frames_of
from peers import Nginx, WhipEndpoint, free_port, output
from program import PATIENCE, Live, eventually, need, run

folder = tempfile.mkdtemp(prefix="flowcache-outputs-")

def streams_of(source, seconds=4):
    """Codec names that ffprobe finds."""
    done = subprocess.run([need("ffprobe", "ffmpeg"), "-v", "error", "-of", "json", "-show_streams", source],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    return sorted(s["codec_name"] for s in json.loads(done.stdout or "{}").get("streams", []))


def rtmp():
    """RTMP: nginx gets H.264 and AAC; killed and started again in mid-stream it gets them again"""
    port = free_port()
    server = Nginx(folder, port)
    url = f"rtmp://127.0.0.1:{port}/live/secret"
    try:
        with Live("--rtmp", url) as live:
            live.ready()
            eventually(lambda: output(live, "rtmp")["state"] == "sending", "it sends")
            assert streams_of(url) == ["aac", "h264"]
            assert output(live, "rtmp")["attempts"] == 1, live.said()
            assert "secret" not in json.dumps(live.stats()) + live.said()
            server.stop()
            eventually(lambda: output(live, "rtmp")["state"] == "waiting", "the loss is noticed")
            assert output(live, "rtmp")["reason"]
            live.flows()
            server = Nginx(folder, port)
            eventually(lambda: output(live, "rtmp")["state"] == "sending", "it sends again", 40)
            assert streams_of(url) == ["aac", "h264"]
    finally:
        server.stop()


def receive_srt(port, name):
    path = os.path.join(folder, name)
    process = subprocess.Popen(
        [need("gst-launch-1.0", "gstreamer1.0-tools"), "-q", "srtsrc", f"uri=srt://127.0.0.1:{port}?mode=listener", "!",
         "filesink", f"location={path}", "buffer-mode=unbuffered"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return process, path


def size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def srt():
    """SRT: a receiver gets MPEG-TS with H.264 and AAC, and so does the next one after it was killed"""
    port = free_port(socket.SOCK_DGRAM)
    process, path = receive_srt(port, "first.ts")
    try:
        with Live("--srt", f"srt://127.0.0.1:{port}?mode=caller") as live:
            live.ready()
            eventually(lambda: size(path) > 20000, "data comes", 60)
            assert streams_of(path) == ["aac", "h264"]
            process.kill()
            process.wait()
            live.flows()
            process, path = receive_srt(port, "second.ts")
            eventually(lambda: size(path) > 20000, "data comes again", 60)
            assert streams_of(path) == ["aac", "h264"]
    finally:
        process.kill()
        process.wait()


class WhipServer(http.server.ThreadingHTTPServer):
    """Hands offers to a browser page and gives its answers back; `refuse` is a status to give instead."""

    def __init__(self, browser):
        super().__init__(("127.0.0.1", 0), WhipHandler)
        self.browser, self.refuse, self.deleted, self.offers = browser, 0, 0, 0
        self.address = f"http://127.0.0.1:{self.server_port}/whip/secret"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def publish(self, offer):
        assert "a=ssrc-group:FID " in offer, offer  # the stream and what is sent again have names
        return self.browser.later("""
            const [offer, done] = arguments;
            const pc = new RTCPeerConnection();
            window.picture = {async facts() {
              for (const s of (await pc.getStats()).values()) if (s.type === 'inbound-rtp') return s;
            }};
            pc.ontrack = (e) => document.querySelector('video').srcObject = new MediaStream([e.track]);
            (async () => {
              await pc.setRemoteDescription({type: 'offer', sdp: offer});
              await pc.setLocalDescription(await pc.createAnswer());
              while (pc.iceGatheringState !== 'complete') await new Promise((r) => setTimeout(r, 20));
              done(pc.localDescription.sdp);
            })().catch((e) => done('error: ' + e));""", offer), "/whip/resource/1"

    def leave(self, path):
        self.deleted += path == "/whip/resource/1"


class WhipHandler(WhipEndpoint):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<video autoplay muted></video>")

    def refusal(self):
        self.server.offers += 1
        if self.headers["Authorization"] != "Bearer let me in" or self.server.refuse:
            return self.server.refuse or 401
        assert self.headers["Content-Type"] == "application/sdp"
        return 0


def whip():
    """WHIP: refused at first, then answered by a browser, which sees the picture; DELETE at the end"""
    with Browser() as browser:
        server = WhipServer(browser)
        browser.open(server.address)
        server.refuse = 503
        with Live("--whip", server.address, "--whip-token", "let me in") as live:
            live.ready()
            eventually(lambda: "503" in output(live, "whip").get("reason", ""), "it says why")
            server.refuse = 0
            eventually(lambda: output(live, "whip")["state"] == "sending", "it sends", 40)
            browser.watches()
            assert "secret" not in json.dumps(live.stats())
            assert live.stop() == 0
        assert server.deleted == 1, server.deleted
        server.shutdown()


def media_server():
    """WHIP: Janus records what it gets, and all of it decodes"""
    room = os.path.join(folder, "janus")
    os.makedirs(room)
    janus = Janus(room)
    try:
        with Live("--whip", janus.address) as live:
            live.ready()
            eventually(lambda: output(live, "whip")["frames"] >= 40, "it sends")
            assert output(live, "whip")["attempts"] == 1, live.said()
            assert live.stop() == 0
        assert janus.deleted == 1, janus.deleted
        codec, width, height, frames = frames_of(janus.recorded())
        assert (codec, width, height) == ("h264", 320, 192) and frames >= 30, (codec, width, height, frames)
    finally:
        janus.stop()


def nowhere():
    """nobody there: all three say so and try again, the stream goes on, and it stops at once when told to"""
    tcp, udp = free_port(), free_port(socket.SOCK_DGRAM)
    with Live("--rtmp", f"rtmp://127.0.0.1:{tcp}/live/x", "--srt", f"srt://127.0.0.1:{udp}?mode=caller", "--whip",
              f"http://127.0.0.1:{tcp}/") as live:
        live.ready()
        eventually(lambda: all(o["attempts"] > 1 and o.get("reason") for o in live.stats()["outputs"]),
                   "they try again")
        live.flows()
        assert live.stop() == 0


def stalled():
    """a server that stops reading is given up, and the stream does not wait for it"""
    port = free_port()
    server = Nginx(folder, port)
    try:
        with Live("--rtmp", f"rtmp://127.0.0.1:{port}/live/x", "--bitrate", "8000") as live:
            live.ready()
            eventually(lambda: output(live, "rtmp")["state"] == "sending", "it sends")
            server.process.send_signal(signal.SIGSTOP)
            live.flows()
            memory = live.memory()
            live.flows()
            assert live.memory() - memory < 20e6
            server.process.send_signal(signal.SIGCONT)
            live.flows()
    finally:
        server.stop()


try:
    run([rtmp, srt, whip, media_server, nowhere, stalled])
finally:
    shutil.rmtree(folder, ignore_errors=True)
