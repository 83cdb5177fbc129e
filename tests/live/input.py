# SPDX-License-Identifier: LGPL-2.1-or-later
"""--input: a test picture, files, addresses and the camera of a browser are repainted; what they do disturbs no viewer."""

import functools
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from browser import Browser
from firefox import Firefox
from peers import answers, free_port
from program import BUILD, PATIENCE, PROGRAM, Live, Skip, eventually, need, run
from websocket import WebSocket

FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
folder = tempfile.mkdtemp(prefix="flowcache-input-")
live = viewer = sharer = None
shared = 0.0  # when the sharer began


def video(name, pattern, frames=24, size="320x240", rate="24/1"):
    """A WebM file of one colour."""
    path = os.path.join(folder, name)
    width, height = size.split("x")
    subprocess.run([need("gst-launch-1.0", "gstreamer1.0-tools"), "-q", "videotestsrc", f"num-buffers={frames}", f"pattern={pattern}", "!",
                    f"video/x-raw,width={width},height={height},framerate={rate}", "!", "vp8enc", "deadline=1", "!", "webmmux", "!", "filesink",
                    f"location={path}"], check=True, timeout=PATIENCE)
    return path


def status(server=None):
    return (server or live).stats()["input"]


DEFAULT = 0.87  # strength


def shown(server, strength):
    """Waits for the receipt of this strength."""
    eventually(lambda: (status(server)["strength_shown"] or {}).get("strength") == strength, f"a receipt for strength {strength}")


def said(text, server=None):
    return (server or live).said().count(text)


def told(text, times, server=None):
    """A message is told, as often and no more often."""
    eventually(lambda: said(text, server) >= times, f"it says {text!r}")
    assert said(text, server) == times, (server or live).said()


def fed(window):
    """How blue the third band is, which has the colour of the first pixel of the frame that the fake engine was fed; -1: no picture."""
    return (window.colour(0.1, 0.75, 0.9, 0.95) or [-1] * 3)[2]


def keeps_its_rate(act, server=None):
    """Runs act(); the stream has a frame for nearly each of its times meanwhile."""
    server = server or live
    before = server.stats()
    act()
    after = server.stats()
    frames = after["stream"]["frames"] - before["stream"]["frames"]
    times = (after["running_time"] - before["running_time"]) * before["stream"]["native_fps"]
    assert frames >= 0.8 * times - 16, f"{frames} frames in {times:.0f} times"


def wrong():
    """what is no input is one sentence, and the program ends"""
    text = os.path.join(folder, "text.mp4")
    with open(text, "w", encoding="ascii") as file:
        file.write("no video\n" * 100)
    for arguments, says in ((["--input", "ftp://a/b"], "--input ftp://a/b"), (["--input", "/none.mp4"], "/none.mp4"), (["--input", folder], "no file"),
                            (["--input", "file:///none.mp4"], "no file"), (["--input", "test", "--strength", "1.5"], "0 … 1"),
                            (["--strength", "0.5"], "--input"), (["--input", "test", "--strength", "nan"], "0 … 1")):
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1, (arguments, done.stderr)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for address in (text, f"http://127.0.0.1:{nobody.getsockname()[1]}/a.webm", f"rtsp://user:secret@127.0.0.1:{nobody.getsockname()[1]}/a"):
            failing = Live("--input", address)
            assert failing.process.wait(PATIENCE) == 1, address
            error = failing.said()
            assert error.count("error: --input") == 1 and error.count("\n") == 1 and "secret" not in error, error
            failing.stop()


def without():
    """without --input nothing is there of it, and a strength is refused"""
    with Live() as plain:
        plain.ready()
        assert "input" not in plain.stats() and "flowcache_live_input" not in plain.ask("/metrics")[1]
        code, answer = plain.ask("/api/settings", {"strength": 0.5})
        assert code == 409 and "--input" in answer, answer
        assert plain.ask("/api/input.jpg")[0] == 404
        with WebSocket(plain.port) as client:
            client.receive()
            client.send({"type": "share"})
            reply = client.reply("share")
            assert reply["status"] == 409 and "--input camera" in reply["error"], reply


def test_picture():
    """--input test: it is repainted; a strength from REST has a receipt, with its chunk"""
    with Live("--input", "test", "--strength", "0.6") as server:
        server.ready()
        with WebSocket(server.port) as client:
            assert client.receive()["stats"]["input"]["from"] == "test"
            shown(server, 0.6)
            chunk = server.stats()["stream"]["chunks"]
            assert server.ask("/api/settings", {"strength": 0.25})[0] == 202
            receipt = client.until("strength", lambda m: m["strength"] == 0.25)
            assert receipt["chunk"] >= chunk - 1 and receipt["applied"] > 0, (receipt, chunk)
            client.send({"type": "share"})
            assert client.reply("share")["status"] == 409
        for bad in (-0.1, 1.1, "1", None):
            assert server.ask("/api/settings", {"strength": bad})[0] == 400, bad
        code, text = server.ask("/metrics")
        assert code == 200 and "flowcache_live_input_flowing 1" in text and "flowcache_live_input_strength 0.25" in text, text
        # Whatever the policy, the input goes on to be fed.
        assert server.ask("/api/settings", {"cache": "none"})[0] == 202
        eventually(lambda: not server.stats()["changing_policy"], "the policy has changed")
        server.flows()
        shown(server, 0.25)
        told("the input is repainted", 1, server)


def file_loops():
    """a file begins anew at its end; a picture of another shape covers the model's"""
    bars = os.path.join(folder, "cross.mp4")
    # Black above and below, white between: of the model's shape, 5 to 3, only the middle is left.
    subprocess.run(["gst-launch-1.0", "-q", "videotestsrc", "num-buffers=36", "pattern=white", "!", "video/x-raw,width=320,height=192,framerate=12/1",
                    "!", "videobox", "top=-100", "bottom=-100", "!", "x264enc", "!", "mp4mux", "name=mux", "!", "filesink", f"location={bars}",
                    "audiotestsrc", "num-buffers=130", "!", "avenc_aac", "aac-coder=fast", "!", "mux."], check=True, timeout=PATIENCE)
    with Live("--input", bars) as server, Browser() as window:
        server.ready()
        window.open(server.url)
        window.watches()
        eventually(lambda: fed(window) > 200, "the white of the file's middle is fed")
        before = server.stats()
        eventually(lambda: status(server)["frames"] > 3 * 36, "it plays for the fourth time")
        after = server.stats()
        frames, seconds = after["input"]["frames"] - before["input"]["frames"], after["running_time"] - before["running_time"]
        assert frames > 6 * seconds - 6, f"{frames} of its frames in {seconds:.1f} s, of twelve a second"
        assert status(server)["width"] == 320 and status(server)["height"] == 392, status(server)
        assert said("error:", server) == 0, server.said()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *unused):
        pass


class Web:
    """A file on a web server."""

    def __init__(self, port):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Quiet, directory=folder))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Program:
    """A stream of another program."""

    def __init__(self, *words):
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.kill()
        self.process.wait()


WHITE = "videotestsrc is-live=true pattern=white ! video/x-raw,width=320,height=240,framerate=25/1 ! x264enc tune=zerolatency key-int-max=25 bframes=0"


def srt(port):
    words = f"gst-launch-1.0 -q {WHITE} ! mpegtsmux alignment=7 ! srtsink wait-for-connection=false uri=srt://127.0.0.1:{port}?mode=listener"
    return Program(*words.split())


def rtsp(port):
    program = os.path.join(BUILD, "apps/rtsp/flowcache-rtsp")
    if not os.path.exists(program):
        raise Skip("libgstrtspserver-1.0-dev is not installed")
    source = Program(program, "127.0.0.1", str(port), "/live", f"( {WHITE} ! rtph264pay name=pay0 pt=96 )")
    eventually(lambda: answers(port), "the RTSP server listens")
    return source


def comes_and_goes(start, address, kind=socket.SOCK_STREAM):
    port = free_port(kind)
    source = start(port)
    try:
        with Live("--input", address.format(port)) as server, Browser() as window:
            server.ready()
            window.open(server.url)
            window.watches()
            eventually(lambda: fed(window) > 200, "it is fed")
            shown(server, DEFAULT)

            def away():
                source.stop()
                eventually(lambda: status(server)["state"] == "frozen", "it is missed")
                shown(server, 1)
                eventually(lambda: 100 < fed(window) < 160, "the still is fed")
            keeps_its_rate(away, server)
            window.watches()
            source = start(port)
            eventually(lambda: fed(window) > 200, "it is fed again")
            shown(server, DEFAULT)
            eventually(lambda: said("the input goes on", server) == said("has given no picture", server) > 0, "that it goes on is told")
            assert said("opened again until it comes", server) <= 1 and said("error:", server) == 0, server.said()
    finally:
        source.stop()


def web_source():
    """a file on a web server that goes and comes back: the stream goes on, and so does the input, with one message for each"""
    video("white.webm", "white")
    comes_and_goes(Web, "http://127.0.0.1:{}/white.webm")


def srt_source():
    """an SRT sender that goes and comes back"""
    comes_and_goes(srt, "srt://127.0.0.1:{}", socket.SOCK_DGRAM)


def rtsp_source():
    """an RTSP server that goes and comes back"""
    comes_and_goes(rtsp, "rtsp://127.0.0.1:{}/live")


def click(window, name):
    window.script("document.getElementById(arguments[0]).click()", name)


def text(window, name):
    return window.script("return document.getElementById(arguments[0]).textContent", name)


def camera():
    """a page shares its camera: all viewers see it repainted, and a small picture of it"""
    global live, viewer, sharer, shared
    live = Live("--input", "camera")
    live.ready()
    viewer, sharer = Browser(), Browser(arguments=FAKE_CAMERA)
    for window in (viewer, sharer):
        window.open(live.url)
        window.watches()
    assert status()["state"] == "waiting" and status()["strength_shown"]["strength"] == 1
    assert 100 < fed(viewer) < 160, "nothing but the still is fed"

    def share():
        click(sharer, "share")
        eventually(lambda: status()["state"] == "flowing", "it flows")
        shown(live, DEFAULT)
    shared = time.monotonic()
    keeps_its_rate(share)
    eventually(lambda: fed(viewer) >= 0 and not 100 < fed(viewer) < 160, "the camera is fed")
    for window in (viewer, sharer):
        eventually(lambda: window.script("return document.getElementById('input-picture').naturalWidth") == 160, "the small picture is on the page")
    assert text(sharer, "share") == "stop sharing" and viewer.script("return document.getElementById('share').disabled")
    told("a camera is shared", 1)


def second_camera():
    """a second page that wants to share is told why it cannot, and disturbs nobody"""
    def want():
        with WebSocket(live.port) as client:
            client.receive()
            client.send({"type": "share"})
            reply = client.reply("share")
            assert reply["status"] == 409 and "another page" in reply["error"], reply
        with Browser(arguments=FAKE_CAMERA) as other:
            other.open(live.url)
            other.watches()
            # In one go, as the server's next figures disable it again.
            other.script("const share = document.getElementById('share'); share.disabled = false; share.click()")
            eventually(lambda: "another page" in text(other, "notice"), "the page says so")
            assert other.script("return document.getElementById('share').textContent") == "share my camera"
    keeps_its_rate(want)
    assert status()["state"] == "flowing" and status()["camera"], status()


def freezes():
    """a camera that freezes: viewers get frames of the prompt until it goes on, with one message each"""
    sharer.script("const s = window.input.camera.connection.getSenders()[0]; window.kept = s.track; s.replaceTrack(null)")

    def frozen():
        eventually(lambda: status()["state"] == "frozen", "it is missed")
        shown(live, 1)
        viewer.watches()
    keeps_its_rate(frozen)
    sharer.script("window.input.camera.connection.getSenders()[0].replaceTrack(window.kept)")
    eventually(lambda: status()["state"] == "flowing", "it goes on")
    shown(live, DEFAULT)
    # On a busy machine it may have frozen by itself, and only one freeze in a minute is told.
    eventually(lambda: said("the camera goes on") == said("the camera has given no picture"), "that it goes on is told")
    told_of = [line for line in live.said().splitlines() if "the camera goes on" in line or "the camera has given no picture" in line]
    assert told_of and all(("no picture" in line) == (i % 2 == 0) for i, line in enumerate(told_of)), live.said()
    assert len(told_of) <= 2 * (1 + (time.monotonic() - shared) / 60), live.said()


def changes_size():
    """a camera that changes its size in mid-stream goes on, and the change is told once"""
    before = status()
    wanted = (320, 180) if before["width"] != 320 else (640, 360)

    def change():
        sharer.later("""const [width, height, done] = arguments;
                        window.input.camera.stream.getVideoTracks()[0].applyConstraints({width, height}).then(() => done(), done)""", *wanted)
        eventually(lambda: (status()["width"], status()["height"]) == wanted, "the other size")
        frames = status()["frames"]
        eventually(lambda: status()["frames"] > frames + 16, "its frames come")
        viewer.watches()
    keeps_its_rate(change)
    eventually(lambda: said(f"has {wanted[0]}x{wanted[1]} pixels now"), "the size is told")
    # A browser goes there by steps, as it finds out what the way takes. No size is told twice in a row.
    sizes = re.findall(r"has (\d+x\d+) pixels now", live.said())
    assert all(a != b for a, b in zip(sizes, sizes[1:])), sizes


def slider():
    """the slider of any page sets the strength, and its receipt is on all pages"""
    viewer.script("const s = document.getElementById('strength'); s.value = 0.35; s.dispatchEvent(new Event('input'))")
    shown(live, 0.35)
    for window in (viewer, sharer):
        eventually(lambda: text(window, "strength-shown").startswith("0.35 since chunk"), "the receipt is on the page")
    eventually(lambda: sharer.script("return document.getElementById('strength').value") == "0.35", "the other slider follows")


def leaves():
    """a camera that leaves, by its button or with its browser, leaves the prompt's picture and its place"""
    def stop():
        click(sharer, "share")
        eventually(lambda: status()["state"] == "waiting" and not status()["camera"], "it has left")
        shown(live, 1)
        eventually(lambda: 100 < fed(viewer) < 160, "the still is fed")
    keeps_its_rate(stop)
    eventually(lambda: not viewer.script("return document.getElementById('share').disabled"), "others may share")
    eventually(lambda: live.ask("/api/input.jpg")[0] == 404, "there is no picture of it any more")
    told("the camera has left", 1)
    click(sharer, "share")
    eventually(lambda: status()["state"] == "flowing", "it is back")

    def kill():
        sharer.driver.send_signal(signal.SIGKILL)
        sharer.session = None
        for process in sharer.processes():
            os.kill(process, signal.SIGKILL)
        eventually(lambda: not status()["camera"] and status()["state"] == "waiting", "it is missed", 40)
        viewer.watches()
    keeps_its_rate(kill)
    told("the camera has left", 2)


def too_large():
    """a picture that is too large is not decoded, and its page is told so"""
    with Browser(arguments=FAKE_CAMERA) as large:
        large.open(live.url)
        large.watches()
        large.script("""
            const canvas = document.createElement('canvas');
            canvas.width = 2400; canvas.height = 200;
            const context = canvas.getContext('2d');
            setInterval(() => { context.fillStyle = `hsl(${performance.now() / 10}, 100%, 50%)`; context.fillRect(0, 0, 2400, 200); }, 40);
            const stream = canvas.captureStream(25);
            stream.getVideoTracks()[0].contentHint = 'detail'; // else the browser makes it smaller at first
            navigator.mediaDevices.getUserMedia = async () => stream;
        """)
        click(large, "share")
        eventually(lambda: "1920" in text(large, "notice") and "2400x200" in text(large, "notice"), "the page says so")
        eventually(lambda: not status()["camera"], "the place is free")
        told("the camera has left (the camera's picture has 2400x200 pixels", 1)
        assert "2400x200" in text(large, "notice"), text(large, "notice")
    viewer.watches()


def never_comes():
    """who takes the place and sends nothing loses it; wrong answers are refused"""
    with WebSocket(live.port) as client:
        client.receive()
        client.send({"type": "share"})
        offer = client.until("offer")
        assert offer["of"] == "camera" and "a=recvonly" in offer["sdp"] and "VP8" in offer["sdp"], offer
        client.send({"type": "answer", "of": "camera", "sdp": "v=0"})
        assert client.reply("answer")["status"] == 400
        client.send({"type": "answer", "sdp": "v=0"})
        assert "no offer" in client.reply("answer")["error"]
        assert client.until("camera", lambda m: m["state"] == "failed", 60)["reason"] == "no picture came for 20 s"
        eventually(lambda: not status()["camera"], "the place is free")
        client.send({"type": "share", "beyond_loopback": 1})
        assert client.reply("share")["status"] == 400
        client.send({"type": "share"})
        assert client.until("offer")["of"] == "camera"
        client.send({"type": "unshare"})
        eventually(lambda: not status()["camera"], "the place is free again")


def firefox():
    """Firefox shares its camera, too"""
    with Firefox() as fox:
        fox.open(live.url)
        fox.watches()
        click(fox, "share")
        eventually(lambda: status()["state"] == "flowing", "it flows", 40)
        frames = status()["frames"]
        eventually(lambda: status()["frames"] > frames + 30, "frames come")
        viewer.watches()
    eventually(lambda: not status()["camera"], "it has left")


def strengths():
    """with the model that ships: at strength 0 viewers see the camera's green, at 1 what the prompt says"""
    with Live("--input", "camera", "--prompt", "red lava lamp", "--size", "320x192", fake=None) as real, Browser(arguments=FAKE_CAMERA) as window:
        real.ready()
        window.open(real.url)
        window.watches()

        def colour(what, good):
            eventually(lambda: (lambda c: c and good(c))(window.colour(0.6, 0.1, 0.95, 0.5)), what, 60)
        colour("red, without a camera", lambda c: c[0] > c[1] + 20)
        click(window, "share")
        eventually(lambda: status(real)["state"] == "flowing", "it flows")
        for strength, what, good in ((0, "green", lambda c: c[1] > c[0] + 40 and c[1] > c[2] + 40), (1, "red", lambda c: c[0] > c[1] + 20)):
            window.script("const s = document.getElementById('strength'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))", strength)
            shown(real, strength)
            colour(f"{what} at strength {strength}", good)


try:
    run([wrong, without, test_picture, file_loops, web_source, srt_source, rtsp_source, camera, second_camera, freezes, changes_size, slider, leaves, too_large,
         never_comes, firefox, strengths])
finally:
    for browser in (viewer, sharer):
        if browser:
            browser.__exit__()
    if live and live.process.poll() is None:
        live.process.kill()
    shutil.rmtree(folder, ignore_errors=True)
