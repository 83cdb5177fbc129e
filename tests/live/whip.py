# SPDX-License-Identifier: LGPL-2.1-or-later
"""WHIP (RFC 9725) as servers and networks have it: split answers, redirections, sessions elsewhere, refusals. (STUN servers that
they name: beyond.py.) Nobody is behind the answers, so no connection comes of them: what counts is what is asked, and what is said of it."""

import time
from email.utils import formatdate

from peers import output
from program import Live, eventually, run
from whip_server import ANSWER, Server, taken


def reason(live):
    return output(live, "whip").get("reason", "")


def publishes(plan, last=None):
    """The requests of one attempt that stands, and of its end. `last`: another server that the offer comes to."""
    with Server(plan) as server, Live("--whip", server.url + "/whip", "--whip-token", "secret") as live:
        live.ready()
        for one in filter(None, (server, last)):
            eventually(lambda: one.requests("POST") and one.answered >= len(one.asked), "the offer is answered", 60)  # pylint: disable=cell-var-from-loop
        live.flows()  # meanwhile it has read the answer
        assert reason(live) == "", reason(live)
        assert live.stop() == 0
        return server.asked


def pieces():
    """an answer in many pieces, with its length or without, is read to its end"""
    parts = [ANSWER[i:i + 90] for i in range(0, len(ANSWER), 90)]
    for chunked in (False, True):
        asked = publishes({("POST", "/whip"): taken(pieces=parts, chunked=chunked), ("DELETE", "/session/1"): {}})
        assert asked[-1][:3] == ("DELETE", "/session/1", "Bearer secret"), asked


def endless():
    """an answer that does not end, one of another type, and one that is none are refused with a sentence"""
    for plan, says in ((taken(pieces=[b"x" * 70000]), "longer than 65536"),
                       (taken(pieces=[b""]), "no SDP"),
                       ({"status": 201, "headers": [("Content-Type", "text/html")], "pieces": [b"<html>"]}, "text/html")):
        with Server({("POST", "/whip"): plan}) as server, Live("--whip", server.url + "/whip") as live:
            live.ready()
            eventually(lambda: says in reason(live), says)  # pylint: disable=cell-var-from-loop
            live.flows()


def redirected():
    """307 and 308 are followed, with the token within an origin and without it beyond; the session is where it was made"""
    asked = publishes({("POST", "/whip"): {"status": 307, "headers": [("Location", "/one")]},
                       ("POST", "/one"): {"status": 308, "headers": [("Location", "deep/two")]},
                       ("POST", "/deep/two"): taken("session?id=1"), ("DELETE", "/deep/session?id=1"): {}})
    posts = [request[1:3] for request in asked if request[0] == "POST"]
    assert posts == [(path, "Bearer secret") for path in ("/whip", "/one", "/deep/two")], asked
    assert asked[-1][:3] == ("DELETE", "/deep/session?id=1", "Bearer secret"), asked
    with Server({("POST", "/there"): taken(), ("DELETE", "/session/1"): {}}) as there:
        publishes({("POST", "/whip"): {"status": 307, "headers": [("Location", there.url + "/there")]}}, there)
        eventually(lambda: there.requests("DELETE"), "the session elsewhere is ended")
        assert [request[2] for request in there.asked] == [None, None], there.asked  # of POST and DELETE


def session_elsewhere():
    """a session on another server than the offer's is ended there, with the token"""
    with Server({("DELETE", "/s"): {}}) as there:
        publishes({("POST", "/whip"): taken(there.url + "/s")})
        eventually(lambda: there.requests("DELETE"), "the session elsewhere is ended")
        assert there.asked[0][2] == "Bearer secret"


def no_session():
    """without Location nothing is deleted"""
    asked = publishes({("POST", "/whip"): taken(location=None)})
    assert not [request for request in asked if request[0] == "DELETE"], asked


def no_way():
    """redirections without end, to other schemes and of kinds that make a GET of a POST are refused with a sentence"""
    for status, location, says in ((307, "/whip", "more than 5 times"), (307, "ftp://127.0.0.1/", "which is no http or https address"),
                                   (307, "httpfoo://127.0.0.1/", "which is no http or https address"),
                                   (302, "/other", "302 Found, which is no way"), (307, None, "307")):
        plan = {"status": status, "headers": [("Location", location)] if location else []}
        with Server({("POST", "/whip"): plan}) as server, Live("--whip", server.url + "/whip") as live:
            live.ready()
            eventually(lambda: says in reason(live), says)  # pylint: disable=cell-var-from-loop
            assert not [request for request in server.asked if request[1] == "/other"], server.asked


def patience():
    """Retry-After, in seconds or as a date, is waited for; a refusal without it is tried again after a second"""
    with Server({("POST", "/whip"): {"status": 503, "headers": [("Retry-After", formatdate(time.time() + 600, usegmt=True))]}}) as server, \
            Live("--whip", server.url + "/whip") as live:
        live.ready()
        eventually(lambda: "trying again in" in live.said(), "it says when")
        assert int(live.said().split("trying again in ")[1].split()[0]) > 60, live.said()
    for headers, least in (([("Retry-After", "4")], 4), ([], 0)):
        with Server({("POST", "/whip"): {"status": 503, "headers": headers}}) as server, \
                Live("--whip", server.url + "/whip") as live:
            live.ready()
            eventually(lambda: "503" in reason(live), "it says why")
            posts = eventually(lambda: server.requests("POST")[1:] and server.requests("POST"), "it tries again")
            assert posts[1][3] - posts[0][3] >= least, posts


run([pieces, endless, redirected, session_elsewhere, no_session, no_way, patience])
