# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hosts of the test's own: network namespaces with cables between them, routers that translate addresses among them. The test runs
in one itself (enter()), so whatever it calls and breaks is its own."""

import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import sys

from program import eventually

INSIDE = "FLOWCACHE_TEST_NETWORK"
UNSHARE = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
numbers = itertools.count()


def enter():
    """Runs this program again in a network namespace of its own, unless it does, or skips all."""
    if INSIDE in os.environ:
        return
    possible = shutil.which("unshare") and shutil.which("ip") and subprocess.run(
        [*UNSHARE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode == 0
    if not possible:
        print("ok 1 - networks # SKIP no network namespace can be made here (or iproute2 is not installed)\n1..1")
        sys.exit(0)
    os.execvpe("unshare", [*UNSHARE, "sh", "-c", 'ip link set lo up && exec "$@"', "-", sys.executable, *sys.argv],
               dict(os.environ, **{INSIDE: "1"}))


def command(*words, text=None):
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, text, done.stderr)


class Host:
    """A network namespace; `own`: the test's."""

    def __init__(self, own=False):
        self.process, self.within = None, []
        if own:
            return
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.within = ["nsenter", "--net", "--target", str(self.process.pid)]
        ours = os.readlink("/proc/self/ns/net")
        eventually(lambda: os.readlink(f"/proc/{self.process.pid}/ns/net") != ours, "the other host is there")
        self.command("ip", "link", "set", "lo", "up")

    def command(self, *words, text=None):
        command(*self.within, *words, text=text)

    def rules(self, text):
        """What nft does there, instead of before."""
        self.command("nft", "-f", "-", text="flush ruleset\n" + text)

    def routes(self):
        """It hands on what is not for itself."""
        self.command("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")

    def listener(self, address):
        """A listening socket there, for us."""
        enter_namespace = ctypes.CDLL(None, use_errno=True).setns  # of this thread; a socket stays where it was made
        with open("/proc/thread-self/ns/net", "rb") as here, open(f"/proc/{self.process.pid}/ns/net", "rb") as there:
            assert enter_namespace(there.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
            try:
                return socket.create_server((address, 0))
            finally:
                enter_namespace(here.fileno(), 0)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def cable(left, left_address, right, right_address):
    """Between two hosts; addresses as ADDRESS/BITS. (Names of interfaces are LEFT and RIGHT of a number.)"""
    number = next(numbers)
    ends = ((left, f"left{number}", left_address), (right, f"right{number}", right_address))
    command("ip", "link", "add", ends[0][1], "type", "veth", "peer", "name", ends[1][1])
    for host, name, address in ends:
        if host.process:
            command("ip", "link", "set", name, "netns", str(host.process.pid))
        host.command("ip", "address", "add", address, "dev", name)
        host.command("ip", "link", "set", name, "up")
