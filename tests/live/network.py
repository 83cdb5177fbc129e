# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad networks: two hosts (network namespaces with a cable between them), a viewer on each; the far one's packets are
lost, its cable is cut, its browser is stopped; an RTMP server takes nothing. Nobody else notices, and who comes back
sees the picture."""

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
import time

from hosts import Host, cable, enter

enter()

from browser import Browser  # noqa: E402
from peers import Nginx, free_port, output  # noqa: E402
from program import Live, Skip, eventually, need, run  # noqa: E402

NEAR, FAR, TOKEN = "10.77.0.1", "10.77.0.2", "open sesame"
MUCH = "width=640,height=384,fps_n=32,frames=8,steps=8,chunk_ms=50"  # more bytes than the others' fake engine
live = near = far = host = None


class Far(Host):
    """Another host, at the far end of a cable."""

    def __init__(self):
        super().__init__()
        cable(Host(own=True), NEAR + "/24", self, FAR + "/24")

    def filter(self, rules):
        """What nft drops there, in both directions; empty: nothing."""
        chains = "".join(f"chain {name} {{\n type filter hook {name} priority 0\n {rules}\n}}\n" for name in ("input", "output"))
        self.rules(f"table inet bad {{\n{chains}}}\n" if rules else "")


def starts():
    """a viewer on each of two hosts"""
    global live, near, far, host
    need("nft", "nftables")
    host = Far()
    live = Live("--bind", NEAR, "--token", TOKEN, fake=MUCH)
    live.token = TOKEN
    live.ready()
    page = live.url + "#token=open%20sesame"
    near, far = Browser(), Browser(within=host.within, host=FAR, us=NEAR)
    for browser in (near, far):
        browser.open(page)
        browser.watches()


@contextlib.contextmanager
def undisturbed():
    """What happens within: the near viewer and the generation do not notice."""
    before = near.facts()
    yield
    live.flows()
    near.watches()
    after = near.facts()
    assert after["packetsLost"] == before["packetsLost"], (before, after)
    assert after["ssrc"] == before["ssrc"], "it is the same connection"


def loss():
    """one packet in five of the far viewer is lost, both ways: its picture goes on, and the near one loses nothing"""
    with undisturbed():
        host.filter("meta l4proto udp numgen random mod 100 < 20 drop")
        eventually(lambda: far.facts()["nackCount"] >= 5, "packets are lost and asked for again")
        far.watches(24)
        host.filter("")
    print("#", far.facts())


def wanted():
    return live.stats()["viewers"]["wanted"]


def cut():
    """the far viewer's cable is cut: its place is free within half a minute; mended, its picture comes back by itself"""
    with undisturbed():
        host.filter(f"tcp dport != {far.port} tcp sport != {far.port} drop\n meta l4proto udp drop")
        eventually(lambda: wanted() == 1, "its place is free", 40)
        eventually(lambda: live.stats()["connections"]["open"] <= 2, "its connection is gone", 40)
    host.filter("")
    far.watches()
    eventually(lambda: wanted() == 2, "both watch")


def no_udp():
    """only its UDP is cut, for twenty seconds; mended, its picture goes on"""
    with undisturbed():
        host.filter("meta l4proto udp drop")
        time.sleep(20)
    host.filter("")
    far.watches()


def stopped():
    """the far viewer's browser is stopped (SIGSTOP): its place is free; going on, its picture comes back"""
    with undisturbed():
        processes = far.processes()
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        eventually(lambda: wanted() == 1, "its place is free", 60)
    for process in processes:
        os.kill(process, signal.SIGCONT)
    far.watches()


class Narrow:
    """A relay in front of a server, with small buffers, that stops taking data when it is told to."""

    def __init__(self, port):
        self.target = port
        self.open = threading.Event()
        self.open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            inside, outside = self.listener.accept()[0], socket.create_connection(("127.0.0.1", self.target))
            for source, to, narrow in ((inside, outside, True), (outside, inside, False)):
                threading.Thread(target=self.copy, args=(source, to, narrow), daemon=True).start()

    def copy(self, source, to, narrow):
        with contextlib.suppress(OSError):
            while data := source.recv(2048):
                to.sendall(data)
                if narrow:
                    self.open.wait()
        for side in (source, to):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


def takes_nothing():
    """an RTMP server that takes nothing is given up after ten seconds and tried again; memory is bounded, nobody waits"""
    with open("/proc/sys/net/ipv4/tcp_wmem", "w", encoding="ascii") as file:
        file.write("4096 4096 8192")  # of this namespace: else the kernel takes megabytes
    folder = tempfile.mkdtemp(prefix="flowcache-network-")
    port = free_port()
    server = Nginx(folder, port)
    narrow = Narrow(port)
    try:
        with Live("--rtmp", f"rtmp://127.0.0.1:{narrow.port}/live/stream", fake=MUCH) as sender:
            sender.ready()
            eventually(lambda: output(sender, "rtmp")["state"] == "sending", "it sends")
            narrow.open.clear()
            memory = sender.memory()
            eventually(lambda: output(sender, "rtmp")["lost"] > 0, "frames are dropped, not kept", 60)
            eventually(lambda: "taken nothing" in output(sender, "rtmp").get("reason", ""), "it is given up", 40)
            assert sender.memory() - memory < 20e6, sender.memory() - memory
            sender.flows()
            narrow.open.set()
            eventually(lambda: output(sender, "rtmp")["state"] == "sending", "it sends again", 40)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


try:
    tests = [starts, loss, cut, no_udp, stopped, takes_nothing]
    if not shutil.which("nft"):
        def starts():
            raise Skip("nftables is not installed")
        tests = [starts, takes_nothing]
    run(tests)
finally:
    for browser in filter(None, (near, far)):
        browser.__exit__()
    if live and live.process.poll() is None:
        live.process.kill()
    if host:
        host.stop()
