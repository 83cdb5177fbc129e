# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a viewer of flowcache-live gets, pixel by pixel: by WebRTC, WHIP, RTMP and SRT each picture arrives once and whole."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile

from browser import Browser
from firefox import Firefox
from janus import Janus
from peers import SOURCE, Nginx, free_port, output
from program import Live, Skip, eventually, need, run

sys.path.insert(0, os.path.join(SOURCE, "tests/pipeline"))
from whole import problem_of  # noqa: E402

WIDTH, HEIGHT = 512, 288  # large enough for an encoder with two threads to make two slices of a picture
PAINTED = f"width={WIDTH},height={HEIGHT},frames=8,steps=4,chunk_ms=20,twice=1"
folder = tempfile.mkdtemp(prefix="flowcache-pictures-")

# Looks at each picture that is shown, `count` of them: the bits at the top and at the bottom are the same frame's number, and all is
# as tests/fake/fake_paint.cpp paints it. Gives the numbers, and the lowest PSNR.
LOOK = """
    const [count, done] = arguments, video = document.querySelector('video'), canvas = document.createElement('canvas');
    const numbers = [];
    let worst = 99;
    const look = () => {
      const w = canvas.width = video.videoWidth, h = canvas.height = video.videoHeight;
      const context = canvas.getContext('2d', {willReadFrequently: true});
      context.drawImage(video, 0, 0);
      const pixels = context.getImageData(0, 0, w, h).data, green = (x, y) => pixels[4 * (y * w + x) + 1];
      const bits = (band) => Array.from({length: 16}, (_, i) => green(Math.floor((i + 0.5) * w / 16), Math.floor((band + 0.5) * h / 3)) > 127);
      const bands = [bits(0), bits(1)];
      let error = 0, looked = 0;
      for (let y = 0; y < h; ++y) for (let x = y % 5; x < w; x += 5) {
        const band = Math.min(2, Math.floor(y * 3 / h)), wanted = bands[band % 2][Math.min(15, Math.floor(x * 16 / w))] ? 255 : 0;
        error += (green(x, y) - wanted) ** 2;
        ++looked;
      }
      worst = Math.min(worst, error ? 10 * Math.log10(255 * 255 * looked / error) : 99);
      numbers.push(bands[0].reduce((number, bit) => number * 2 + bit, 0));
      if (numbers.length < count) video.requestVideoFrameCallback(look);
      else done([numbers, worst]);
    };
    video.requestVideoFrameCallback(look);
"""


def looks(browser, codec, least):
    """32 pictures of the page's video, looked at."""
    browser.script("document.getElementById('codec').value = arguments[0];"
                   "document.getElementById('codec').dispatchEvent(new Event('change'))", codec)
    eventually(lambda: browser.facts().get("codec") == "video/" + codec.upper(), f"it is {codec}", 40)
    browser.watches()
    before = browser.facts()
    numbers, worst = browser.later(LOOK, 32)
    after = browser.facts()
    print(f"# {codec}: {len(set(numbers))} frames in 32 pictures, the worst {worst:.1f} dB")
    assert worst >= least, (worst, numbers)
    assert numbers == sorted(numbers) and len(set(numbers)) >= 16, numbers
    # What could not be decoded would be asked for anew.
    assert after["pliCount"] == before["pliCount"], (before, after)


def webrtc(browser, codecs, also=lambda: None):
    with browser, Live(fake=PAINTED) as live:
        live.ready()
        browser.open(live.url)
        browser.watches()
        for codec, least in codecs:
            looks(browser, codec, least)
        # Whoever asks for a picture's figures hears that it was closed, or would wait for ever.
        facts = browser.later("""
            const [done] = arguments;
            setTimeout(done, 20000, "no answer");
            picture.facts().then(done);
            picture.stop();
        """)
        assert facts is None, facts
        also()


def chromium():
    """Chromium: VP8 and H.264"""
    webrtc(Browser(), (("vp8", 22), ("h264", 26)))


def firefox():
    """Firefox: VP8; of H.264, which it has only after a download, the page says that it cannot be"""
    browser = Firefox()

    def h264():
        if "video/H264" not in browser.script("return RTCRtpReceiver.getCapabilities('video').codecs.map((c) => c.mimeType)"):
            browser.script("document.getElementById('codec').value = 'h264';"
                           "document.getElementById('codec').dispatchEvent(new Event('change'))")
            assert "cannot decode H.264" in browser.script("return document.getElementById('curtain').textContent")

    webrtc(browser, (("vp8", 22),), h264)


def whole(path, least):
    problem, seen = problem_of(path, WIDTH, HEIGHT, least)
    assert problem is None, problem
    print(f"# {seen}")


def whip():
    """WHIP: what Janus records"""
    room = os.path.join(folder, "janus")
    os.makedirs(room)
    janus = Janus(room)
    try:
        with Live("--whip", janus.address, fake=PAINTED) as live:
            live.ready()
            eventually(lambda: output(live, "whip")["frames"] >= 64, "it sends")
            assert live.stop() == 0
        whole(janus.recorded(), 40)
    finally:
        janus.stop()


def rtmp():
    """RTMP: what nginx records"""
    port = free_port()
    server = Nginx(folder, port, f"record video; record_path {folder};")
    try:
        with Live("--rtmp", f"rtmp://127.0.0.1:{port}/live/film", fake=PAINTED) as live:
            live.ready()
            eventually(lambda: output(live, "rtmp")["frames"] >= 64, "it sends")
            assert live.stop() == 0
        film = os.path.join(folder, "film.flv")
        eventually(lambda: os.path.exists(film) and os.path.getsize(film), "a recording")
    finally:
        server.stop()
    whole(film, 40)


def srt():
    """SRT: four seconds as ffmpeg gets them"""
    known = subprocess.run([need("ffmpeg", "ffmpeg"), "-v", "error", "-protocols"], capture_output=True, text=True, check=True)
    if "srt" not in known.stdout.split():
        raise Skip("this ffmpeg knows no SRT")
    address, path = f"srt://127.0.0.1:{free_port(socket.SOCK_DGRAM)}", os.path.join(folder, "srt.h264")
    receiver = subprocess.Popen(["ffmpeg", "-nostdin", "-v", "error", "-f", "mpegts", "-i", address + "?mode=listener", "-map", "0:v",
                                 "-c", "copy", "-t", "4", "-f", "h264", path])
    try:
        with Live("--srt", address + "?mode=caller", fake=PAINTED) as live:
            live.ready()
            receiver.wait(90)
    finally:
        receiver.kill()
        receiver.wait()
    whole(path, 40)


try:
    run([chromium, firefox, whip, rtmp, srt])
finally:
    shutil.rmtree(folder, ignore_errors=True)
