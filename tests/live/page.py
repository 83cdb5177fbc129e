# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page in headless Chromium: the picture moves and follows the prompt, viewers come and go."""

import os
import signal
import socket

from browser import Browser
from program import FAKE, Live, Skip, eventually, run
from websocket import WebSocket

live = browser = None


def prompt_hash(prompt):
    """What the fake engine paints into its second band (tests/fake/fake_options.cpp)."""
    value = 2166136261
    for byte in prompt.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return (value ^ (value >> 16)) & 0xFFFF


def shown(window):
    """The sixteen blocks of the second band, as they are on the screen."""
    bits = 0
    for i in range(16):
        colour = window.colour((i + 0.3) / 16, 0.45, (i + 0.7) / 16, 0.55)
        if colour is None:
            return None
        bits = bits << 1 | (colour[1] > 127)
    return bits


def submit(window, words, delay=0):
    window.script("""
        const [words, delay] = arguments;
        document.getElementById('prompt').value = words;
        document.getElementById('delay').value = delay;
        document.getElementById('prompt-form').requestSubmit();
    """, words, delay)


def text(window, name):
    return window.script("return document.getElementById(arguments[0]).textContent", name)


def has_shape(window, width, height):
    """The picture takes a place of its own shape on the page: no bars beside it."""
    wide, high = window.script("const v = document.querySelector('video'); return [v.clientWidth, v.clientHeight]")
    return abs(wide / high - width / height) < 0.01


def moves():
    """the picture moves in Chromium, VP8"""
    global live, browser
    live = Live().ready()
    browser = Browser()
    browser.open(live.url)
    browser.watches()
    assert browser.facts()["codec"] == "video/VP8"
    assert (browser.facts()["width"], browser.facts()["height"]) == (320, 192)
    assert has_shape(browser, 320, 192)


def follows():
    """the picture follows the prompt that is typed into the page, within the chunks that wait and two more"""
    first = live.stats()["stream"]["chunks"]
    submit(browser, "fire")
    eventually(lambda: shown(browser) == prompt_hash("fire"), "the picture shows the new prompt", 20)
    with WebSocket(live.port) as client:
        record = [p for p in client.receive()["prompts"] if p["prompt"] == "fire"][-1]
    assert record["state"] == "applied" and record["chunk"] <= first + 2 + 2, (first, record)
    eventually(lambda: text(browser, "now-showing") == "fire", "the page says so")


def queued():
    """a queued prompt is listed, and shows later"""
    submit(browser, "golden ocean", 1.5)
    eventually(lambda: "queued for" in text(browser, "prompts"), "it is listed")
    assert shown(browser) == prompt_hash("fire")
    eventually(lambda: shown(browser) == prompt_hash("golden ocean"), "it shows", 20)


def keyboard():
    """keys: / goes to the prompt, [ and ] change the threshold, r starts over"""
    def press(key):
        browser.script("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], bubbles: true}))", key)
    press("/")
    assert browser.script("return document.activeElement.id") == "prompt"
    browser.script("document.activeElement.blur()")
    before = live.stats()["stream"]["cache_threshold"]
    press("]")
    eventually(lambda: live.stats()["stream"]["cache_threshold"] > before, "the threshold rises")
    seeds = browser.colour(0, 0.75, 1, 0.95)
    browser.script("document.getElementById('seed').value = '77'")  # a random one may have nearly the same colour
    press("r")
    eventually(lambda: max(abs(a - b) for a, b in zip(browser.colour(0, 0.75, 1, 0.95), seeds)) > 8, "another seed")


def h264():
    """the same in H.264, chosen on the page"""
    browser.script("const s = document.getElementById('codec'); s.value = 'h264'; s.dispatchEvent(new Event('change'))")
    eventually(lambda: browser.facts().get("codec") == "video/H264", "H.264")
    browser.watches()


def refused():
    """words that are refused are explained on the page; an unreachable policy leaves the old"""
    submit(browser, "x" * 2001)
    eventually(lambda: "longer than 2000" in text(browser, "notice"), "the sentence is on the page")
    browser.script("""document.getElementById('policy').value = 'dance';
                      document.getElementById('policy-set').click()""")
    eventually(lambda: "dance" in text(browser, "notice") and "stays" in text(browser, "notice"), "so is this one", 40)
    browser.watches()


def plots():
    """the plots have something in them"""
    for name in ("timeline", "chunk-time", "decisions", "kv"):
        colours = browser.script("""
            const c = document.getElementById(arguments[0]), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
            const seen = new Set();
            for (let i = 0; i < d.length; i += 4) if (d[i + 3]) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]);
            return seen.size;""", name)
        assert colours > 2, (name, colours)


def loopback():
    """no socket of the program is bound to anything but 127.0.0.1"""
    folder = f"/proc/{live.process.pid}/fd"
    mine = {os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder) if os.path.islink(os.path.join(folder, fd))}
    bound = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with open(f"/proc/net/{table}", encoding="ascii") as lines:
            for fields in (line.split() for line in list(lines)[1:]):
                if f"socket:[{fields[9]}]" in mine:
                    bound.append((table, fields[1]))
    assert [b for b in bound if b[0] == "udp"], "the picture comes by UDP"
    assert not [b for b in bound if not b[1].startswith("0100007F:")], bound


def second():
    """a second viewer sees the same; one that is killed disturbs nobody, and its place becomes free"""
    with Browser() as other:
        other.open(live.url)
        other.watches()
        assert live.stats()["viewers"]["connected"] == 2
        assert shown(other) == shown(browser)
        before = browser.decoded()
        other.driver.send_signal(signal.SIGKILL)
        other.session = None
        for process in other.processes():
            os.kill(process, signal.SIGKILL)
        eventually(lambda: browser.decoded() > before + 8, "the first goes on")
        eventually(lambda: live.stats()["viewers"]["wanted"] == 1, "the place is free", 40)


def reload():
    """after a reload the picture comes back, and the places of before are free"""
    for _ in range(3):
        browser.reload()
    browser.watches()
    eventually(lambda: live.stats()["viewers"]["wanted"] == 1, "one viewer")


def cut():
    """when the server goes and comes back, so does the picture, without a hand on the page"""
    global live
    port = str(live.port)
    live.process.kill()
    live.process.wait()
    live.stop()
    eventually(lambda: text(browser, "link") != "live", "the page notices")
    live = Live(port=port).ready()
    browser.watches()


def awake():
    """who wakes up, or has a network again, does not wait for a timer"""
    global live
    port = str(live.port)
    browser.script("window.kept = window.setTimeout; window.setTimeout = () => 0;")
    live.process.kill()
    live.process.wait()
    live.stop()
    eventually(lambda: "trying again" in text(browser, "curtain"), "the page notices")
    live = Live(port=port).ready()
    browser.script("window.dispatchEvent(new Event('online'))")
    browser.watches()
    browser.script("window.setTimeout = window.kept;")


def named_locally():
    """the browser says its address as a name of the local network only (mDNS), and gets the picture all the same"""
    ours = browser.script("return [...window.picture.ways.ours.values()]")
    assert ours and all(address.endswith(".local") for address in ours), ours


def full():
    """who comes when all places are taken is told so"""
    with Live("--max-viewers", "1", fake=FAKE) as small:
        small.ready()
        with WebSocket(small.port) as first, WebSocket(small.port) as late:
            first.receive()
            first.send({"type": "watch", "codec": "vp8"})
            first.until("offer")
            late.receive()
            late.send({"type": "watch", "codec": "vp8"})
            reply = late.reply("watch")
            assert reply["status"] == 503 and "--max-viewers" in reply["error"], reply
            first.send({"type": "unwatch"})
            eventually(lambda: small.stats()["viewers"]["wanted"] == 0, "the place is free")
            late.send({"type": "watch", "codec": "h264"})
            late.until("offer")


def token():
    """with a token the page asks for it, and shows the picture once it has it"""
    with Live("--token", "open sesame") as guarded:
        guarded.ready()
        browser.open(guarded.url)
        eventually(lambda: browser.script("return document.getElementById('ask-token').open"), "it asks")
        browser.script("document.getElementById('token').value = 'open sesame'; document.querySelector('#ask-token button').click()")
        browser.watches()


def six():
    """by IPv6, page and picture"""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            raise Skip("no IPv6 here") from error
    with Live("--bind", "::1") as loop:
        assert loop.url.startswith("http://[::1]:"), loop.url
        loop.ready()
        browser.open(loop.url)
        browser.watches()
        assert list(browser.script("return [...window.picture.ways.theirs.values()]")) == ["::1"]


def colours():
    """with the model that ships the colours follow the prompt"""
    with Live("--prompt", "red lava lamp", fake=None) as real:
        real.ready()
        browser.open(real.url)
        browser.watches()
        assert has_shape(browser, 512, 288)
        red = browser.colour()
        assert red[0] > red[2], red
        submit(browser, "calm blue snowfall at night")
        eventually(lambda: (lambda c: c[2] > c[0])(browser.colour()), "blue", 30)


try:
    run([moves, follows, queued, keyboard, h264, refused, plots, loopback, second, named_locally, reload, cut, awake, full, token, six, colours])
finally:
    if browser:
        browser.__exit__()
    if live and live.process.poll() is None:
        live.process.kill()
