# SPDX-License-Identifier: LGPL-2.1-or-later
"""Viewers beyond the local network: server and viewer each behind a router that translates addresses (NAT), a STUN and TURN server
between. With STUN they find each other; where nothing but TCP is let through, TURN relays; where neither helps, the page says why.

    viewer 10.2.0.2 — 10.2.0.1 router 203.0.113.5 — 203.0.113.6 internet 203.0.113.2 — 203.0.113.1 router 10.1.0.1 — 10.1.0.2 server
"""

import base64
import hmac
import re
import shutil
import tempfile
import time

from hosts import Host, cable, enter

enter()

from browser import Browser  # noqa: E402
from certificate import make_certificate  # noqa: E402
from peers import Turn  # noqa: E402
from program import Live, eventually, need, run  # noqa: E402
from whip_server import Server, taken  # noqa: E402

TOKEN, SECRET, PUBLIC, INTERNET = "open sesame", "shared by both", "203.0.113.1", "203.0.113.2"
PAGE = f"http://{PUBLIC}:8080/#token=open%20sesame"
folder = tempfile.mkdtemp(prefix="flowcache-beyond-")
browser = turn = None
hosts = {}

# What comes unasked is dropped, but for the server's page; what browsers ask of the world is refused, so that they need not wait. Input as well: what a router takes for itself it would not hand on later.
NAT = """table ip nat {
 chain out {
  type nat hook postrouting priority 100
  oifname "OUTSIDE" masquerade
 }
 chain in {
  type nat hook prerouting priority -100
  iifname "OUTSIDE" tcp dport 8080 dnat to 10.1.0.2
 }
}
table ip guard {
 chain input {
  type filter hook input priority 0
  iifname "OUTSIDE" drop
 }
 chain forward {
  type filter hook forward priority 0
  EXTRA
  ip daddr != { 10.1.0.0/24, 10.2.0.0/24, 203.0.113.0/24 } reject
  ct state established,related accept
  ct status dnat accept
  iifname "OUTSIDE" drop
 }
}
"""


def no_udp(blocked):
    hosts["their router"].rules(NAT.replace("OUTSIDE", "left1").replace("EXTRA", "meta l4proto udp drop" if blocked else ""))


def network():
    """two networks behind routers, and the internet between"""
    global turn, browser
    need("nft", "nftables")
    viewer = Host(own=True)
    for name in ("their router", "internet", "our router", "server", "elsewhere"):
        hosts[name] = Host()
    cable(viewer, "10.2.0.2/24", hosts["their router"], "10.2.0.1/24")
    cable(hosts["their router"], "203.0.113.5/30", hosts["internet"], "203.0.113.6/30")
    cable(hosts["internet"], f"{INTERNET}/30", hosts["our router"], f"{PUBLIC}/30")
    cable(hosts["our router"], "10.1.0.1/24", hosts["server"], "10.1.0.2/24")
    cable(hosts["internet"], "198.51.100.1/30", hosts["elsewhere"], "198.51.100.2/30")  # where what is for nobody gets lost
    for host, gateway in ((viewer, "10.2.0.1"), (hosts["their router"], "203.0.113.6"), (hosts["our router"], INTERNET),
                          (hosts["server"], "10.1.0.1"), (hosts["internet"], "198.51.100.2")):
        host.command("ip", "route", "add", "default", "via", gateway)
    for name in ("their router", "internet", "our router"):
        hosts[name].routes()
    hosts["our router"].rules(NAT.replace("OUTSIDE", "right2").replace("EXTRA", ""))
    no_udp(False)
    certificate, key, _ = make_certificate(folder, f"IP:{INTERNET}")
    turn = Turn(folder, hosts["internet"].within, INTERNET, SECRET, certificate, key)
    browser = Browser(arguments=["--ignore-certificate-errors"])


class Beyond(Live):
    """flowcache-live behind its router."""

    def __init__(self, *arguments):
        super().__init__("--bind", "10.1.0.2", "--token", TOKEN, *arguments, port="8080", within=hosts["server"].within)
        self.token, self.url = TOKEN, f"http://{PUBLIC}:8080/"


def curtain():
    return browser.script("return document.getElementById('curtain').hidden ? '' : document.getElementById('curtain').textContent")


def way():
    """(kind of our candidate, its protocol, kind of theirs) of the pair that carries the picture; as the viewer sees them."""
    return browser.later("""
        const done = arguments[arguments.length - 1];
        window.picture.connection.getStats().then((report) => {
          for (const transport of report.values()) {
            if (transport.type !== 'transport' || !transport.selectedCandidatePairId) continue;
            const pair = report.get(transport.selectedCandidatePairId);
            const ours = report.get(pair.localCandidateId), theirs = report.get(pair.remoteCandidateId);
            return done([ours.candidateType, ours.relayProtocol || ours.protocol, theirs.candidateType]);
          }
          done(null);
        }, () => done(null));""")


def no_help():
    """without STUN and TURN the page is there and the picture is not: it says so, what was tried, and what would help"""
    with Beyond() as live:
        live.ready()
        browser.open(PAGE)
        said = eventually(lambda: "no way to the picture" in curtain() and curtain(), "it says why", 60)
        assert "--turn" in said and "10.1.0.2" in said, said
        live.flows()


def stun():
    """with a STUN server they find each other through both routers"""
    with Beyond("--stun", f"stun:{INTERNET}") as live:
        live.ready()
        browser.open(PAGE)
        browser.watches()
        assert way()[0] in ("srflx", "prflx") and way()[2] in ("srflx", "prflx"), way()
        assert curtain() == ""


def relayed():
    """where the viewer's router lets nothing but TCP through, TURN relays, with a password that passes"""
    no_udp(True)
    with Beyond("--stun", f"stun:{INTERNET}", "--turn", f"turn:{INTERNET}?transport=tcp", "--turn", f"turn:{INTERNET}", "--turn-secret",
                SECRET) as live:
        live.ready()
        browser.open(PAGE)
        browser.watches()
        assert way()[:2] == ["relay", "tcp"], way()
    no_udp(False)


def relayed_in_tls():
    """the same with TLS to the TURN server, which is the viewer's alone"""
    no_udp(True)
    with Beyond("--stun", f"stun:{INTERNET}", "--turn", f"turns:{INTERNET}?transport=tcp", "--turn-secret", SECRET) as live:
        live.ready()
        browser.open(PAGE)
        browser.watches()
        assert way()[:2] == ["relay", "tls"], way()
    no_udp(False)


def wrong_secret():
    """a TURN server that refuses us: the page says so"""
    no_udp(True)
    with Beyond("--turn", f"turn:{INTERNET}?transport=tcp", "--turn-secret", "of another") as live:
        live.ready()
        browser.open(PAGE)
        said = eventually(lambda: "TURN server" in curtain() and curtain(), "it says why", 60)
        assert INTERNET in said and "401" in said, said
    no_udp(False)


def named():
    """WHIP: servers that the endpoint names are used: STUN, named before the offer, for it; TURN, with its answer, from the next on"""
    user = f'{int(time.time()) + 600}:a,b'
    password = base64.b64encode(hmac.new(SECRET.encode(), user.encode(), "sha1").digest()).decode()
    turn_link = f'<turn:{INTERNET}?transport=udp>; rel="ice-server"; username="{user}"; credential="{password}"; credential-type="password"'
    for plan, wanted in (({("OPTIONS", "/whip"): {"headers": [("Link", f'<stun:{INTERNET}>; rel="ice-server"')]},
                           ("POST", "/whip"): taken()}, [b"srflx"]),
                         ({("POST", "/whip"): taken(headers=[("Link", '<https://help.example/>; rel="help"'), ("Link", turn_link)],
                                                    pieces=[b"no SDP"])}, [b"host", b"relay"])):
        with Server(plan, hosts["internet"].listener(INTERNET)) as server, Beyond("--whip", server.url + "/whip") as live:
            live.ready()
            offers = eventually(lambda: server.requests("POST")[len(wanted) - 1:] and server.requests("POST"), "offers come", 60)  # pylint: disable=cell-var-from-loop
            for offer, kind in zip(offers, wanted):
                found = set(re.findall(rb"typ (\w+)", offer[4]))
                assert kind in found and (kind != b"host" or len(found) == 1), (found, offer)


try:
    run([network, no_help, stun, relayed, relayed_in_tls, wrong_secret, named])
finally:
    if browser:
        browser.__exit__()
    if turn:
        turn.stop()
    for host in hosts.values():
        host.stop()
    shutil.rmtree(folder, ignore_errors=True)
