# SPDX-License-Identifier: LGPL-2.1-or-later
"""The server on the fake engine: its command line, and what it answers. hostile.py has the visitors who mean no good."""

import base64
import contextlib
import hmac
import http.client
import re
import socket
import subprocess
import tempfile
import time

from certificate import make_certificate
from program import FAKE, PATIENCE, PROGRAM, Live, eventually, run
from websocket import WebSocket, connect_tcp

live = None


def starts():
    """it starts on a free port, and becomes ready"""
    global live
    live = Live()
    with_error = live.said() if not live.port else ""
    assert live.port, with_error
    live.ready()


def files():
    """the page and all that it names are there, with their types and a policy for what may run"""
    for path, kind in {"/": "text/html", "/live.css": "text/css", "/live.js": "text/javascript", "/plots.js":
                       "text/javascript", "/picture.js": "text/javascript", "/input.js": "text/javascript",
                       "/openapi.json": "application/json"}.items():
        connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=PATIENCE)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.headers["Content-Type"].startswith(kind), path
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.read()
        connection.close()
    assert live.ask("/nothing")[0] == 404 and live.ask("/../../etc/passwd")[0] in (400, 404)


def stats():
    """/api/stats has the stream's figures, its deadline and the viewers"""
    found = live.stats()
    assert found["ready"] is True and found["deadline_ms"] == 500 and found["viewers"]["connected"] == 0
    assert found["stream"]["native_fps"] == 16 and found["stream"]["kv_budget"] > 0


def metrics():
    """/metrics is in Prometheus' form and counts"""
    def count():
        status, text = live.ask("/metrics")
        assert status == 200
        for line in text.splitlines():
            assert re.fullmatch(r'#.*|[a-z_]+(\{[a-z]+="[^"]*"\})? [0-9.e+-]+', line), line
        return float(re.search(r"^flowcache_frames_total (\S+)", text, re.M).group(1))
    before = count()
    eventually(lambda: count() > before, "frames are counted")
    assert "flowcache_chunk_seconds_bucket" in live.ask("/metrics")[1]


def prompts():
    """a prompt over REST is received, applied and reported on the WebSocket"""
    with WebSocket(live.port) as client:
        assert client.receive()["type"] == "hello"
        status, body = live.ask("/api/prompt", {"prompt": "fire", "blend_chunks": 2})
        assert status == 202, body
        assert client.until("prompt", lambda m: m["state"] == "received")["prompt"] == "fire"
        applied = client.until("prompt", lambda m: m["state"] == "applied")
        assert applied["prompt"] == "fire" and applied["chunk"] > 0 and applied["blend_chunks"] == 2
        assert applied["transition"] == "blend" and "recached_chunks" not in applied


def recache():
    """a prompt that keeps the scene says what running the history once more has cost"""
    with WebSocket(live.port) as client:
        client.receive()
        status, body = live.ask("/api/prompt", {"prompt": "red lava", "transition": "recache"})
        assert status == 202, body
        applied = client.until("prompt", lambda m: m["state"] == "applied" and m["prompt"] == "red lava")
        assert applied["transition"] == "recache", applied
        assert applied["recached_chunks"] == 3 and applied["recache_ms"] == 12.5, applied


def timed_prompts():
    """prompts queued for later show in their order, near their time"""
    with WebSocket(live.port) as client:
        client.receive()
        for seconds, words in ((1.5, "late ocean"), (0.5, "early fire")):
            client.send({"type": "prompt", "prompt": words, "in": seconds})
            reply = client.reply("prompt")
            assert reply["status"] == 202 and reply["at"] > reply["now"], reply
        early = client.until("prompt", lambda m: m["state"] == "applied")
        late = client.until("prompt", lambda m: m["state"] == "applied")
        assert (early["prompt"], late["prompt"]) == ("early fire", "late ocean")
        for record in (early, late):
            assert 0 <= record["applied"] - record["wanted"] <= 2 * 0.5 + 0.6, record


def settings():
    """threshold, reset and chunk reports: the figures react"""
    with WebSocket(live.port) as client:
        client.receive()
        client.send({"type": "settings", "cache_threshold": 0.75})
        assert client.reply("settings")["status"] == 202
        chunk = client.until("chunk", lambda m: m["cache_threshold"] == 0.75)
        assert set(chunk["decisions"]) <= {"C", "R"} and len(chunk["decisions"]) == 8
        client.send({"type": "reset", "seed": 77})
        assert client.reply("reset")["seed"] == 77
        assert client.until("chunk", lambda m: m["seed"] == 77)["chunk"] == 0


def policies():
    """a change of policy starts the source anew; a wrong one leaves the old"""
    with WebSocket(live.port) as client:
        client.receive()
        # Some wrong ones, since what an old run still has to say must never count against the new one.
        for policy, stays in (("flowcache", "flowcache"), *4 * (("dance", "flowcache"),), ("none", "none")):
            client.send({"type": "settings", "cache": policy})
            assert client.reply("settings")["changing_policy"] is True
            assert policy in client.until("notice")["text"]
            assert live.stats()["policy"] == stays
            live.flows()


def heads():
    """what answers GET answers HEAD, with the same headers and no body; nothing else does"""
    for path in ("/", "/live.js", "/openapi.json", "/healthz", "/metrics", "/api/stats", "/nothing"):
        seen = []
        for method in ("GET", "HEAD"):
            connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=PATIENCE)
            connection.request(method, path)
            answer = connection.getresponse()
            seen.append((answer.status, answer.headers["Content-Type"], answer.headers["Content-Length"] is not None))
            assert bool(answer.read()) == (method == "GET"), path
            connection.close()
        assert seen[0] == seen[1], (path, seen)
    for path in ("/api/prompt", "/api/settings", "/api/reset"):
        assert live.ask(path, method="HEAD")[0] == 405, path


def letter_case():
    """names of hosts, media types and authentication schemes have no case"""
    for headers, wanted in (({"Host": f"LocalHost:{live.port}"}, 202), ({"Content-Type": "Application/JSON; charset=UTF-8"}, 202),
                            ({"Host": f"LOCALHOST:{live.port}", "Origin": f"HTTP://localhost:{live.port}"}, 202),
                            ({"Content-Type": "application/jsonp"}, 415)):
        headers = {"Content-Type": "application/json", **headers}
        assert live.ask("/api/settings", b'{"cache_threshold": 0.5}', headers)[0] == wanted, headers
    with Live("--token", "open sesame") as guarded:
        guarded.ready()
        for header, wanted in (("bearer open sesame", 200), ("BEARER open sesame", 200), ("Bearer Open sesame", 401), ("bear", 401)):
            assert guarded.ask("/api/stats", headers={"Authorization": header})[0] == wanted, header


def port_in_use():
    """a port that is taken is named, and so is the remedy"""
    second = Live(port=str(live.port))
    assert not second.port and second.stop() == 1
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run([PROGRAM, "--port", str(taken.getsockname()[1])], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
        assert done.returncode == 1 and "--port 0" in done.stderr, done.stderr


def bad_arguments():
    """wrong arguments end with a sentence; beyond this machine only with a token"""
    for arguments, says in ((["--port", "70000"], "65535"), (["--bind", "0.0.0.0"], "--token"), (["--bind", "x"], "IP"),
                            (["--rtmp", "http://a/b"], "rtmp"), (["--whip", "x"], "--whip"), (["--seconds", "x"], "x"),
                            (["--size", "384"], "384x224"), (["--size", "0x224"], "0x224"),
                            (["--dance"], "dance"), (["extra"], "extra"), (["--token", "a", "--bind", "::"], "8 characters"),
                            (["--stun", "turn:a:b@c"], "other kind"), (["--turn", "turn:h:1"], "--turn-secret"),
                            (["--turn", "turn:u:p@h:99999"], "no STUN or TURN"), (["--turn", "turn:u:p@h?transport=x"], "no STUN"),
                            (["--public-url", "video.example.com"], "--public-url"), (["--public-url", "https://a/?b"], "--public-url")):
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 2 and says in done.stderr, (arguments, done.stderr)
    done = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0 and "--whip" in done.stdout


def stops():
    """SIGTERM ends it at once, with status 0"""
    with WebSocket(live.port) as client:
        client.receive()
        assert live.stop() == 0


def public_url():
    """--public-url: the name, origin and path of a proxy are taken, handed on or not, and no others"""
    with Live("--public-url", "https://Video.Example.com/one/two/") as behind:
        behind.ready()
        assert behind.process.stdout.readline().strip() == "https://video.example.com/one/two/"
        own, public, origin = f"127.0.0.1:{behind.port}", "video.example.com", "https://video.example.com"
        for headers, wanted in (({"Host": public, "Origin": origin}, 202), ({"Host": own, "Origin": origin}, 202),
                                ({"Host": f"{public}:443"}, 202), ({"Host": "VIDEO.example.com", "Origin": origin}, 202),
                                ({"Host": own, "Origin": f"http://{own}"}, 202), ({"Host": "evil.example"}, 403),
                                ({"Host": public, "Origin": "https://evil.example"}, 403),
                                ({"Host": own, "Origin": "http://video.example.com"}, 403),
                                ({"Host": own, "Origin": origin + ".evil.example"}, 403)):
            assert behind.ask("/api/prompt", {"prompt": "fire"}, headers)[0] == wanted, headers
        for path, wanted in (("/one/two/", 200), ("/one/two/live.js", 200), ("/one/two/api/stats", 200), ("/", 200),
                             ("/one/two/nothing", 404), ("/one/twolive.js", 404), ("/one/", 404)):
            assert behind.ask(path)[0] == wanted, path
        connection = http.client.HTTPConnection("127.0.0.1", behind.port, timeout=PATIENCE)
        connection.request("GET", "/one/two")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Location"]) == (308, "/one/two/"), answer.headers
        connection.close()
        for path in ("/ws", "/one/two/ws"):
            with WebSocket(behind.port, path, headers={"Host": public, "Origin": origin}) as client:
                assert client.status == 101 and client.receive()["type"] == "hello", path


def helpers():
    """STUN and TURN servers are asked when somebody watches, and named to who does: a TURN server with a password of a day"""
    for scheme, host, extra in (("stun", "localhost", ()), ("turn", "127.0.0.1", ("--turn-secret", "shared"))):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as helper:
            helper.bind(("127.0.0.1", 0))
            helper.settimeout(30)
            place = f"{scheme}:{host}:{helper.getsockname()[1]}"
            with Live(f"--{scheme}", place, *extra) as helped, WebSocket(helped.port) as client:
                client.receive()
                client.send({"type": "watch", "codec": "vp8"})
                server, = client.until("offer")["ice_servers"]
                assert server["urls"] == place, server
                if scheme == "turn":
                    until = int(server["username"].split(":")[0])
                    assert 80000 < until - time.time() < 90000, server
                    digest = hmac.new(b"shared", server["username"].encode(), "sha1").digest()
                    assert base64.b64decode(server["credential"]) == digest, server
                assert len(helper.recv(2000)) >= 20, "it is asked"


def tls():
    """--tls-cert: HTTPS and WebSocket with that certificate; plain HTTP and handshakes that do not end are dropped"""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key, context = make_certificate(folder, "IP:127.0.0.1")
        with Live("--tls-cert", certificate, "--tls-key", key) as secure:
            assert secure.url.startswith("https://"), secure.url
            secure.context = context
            secure.ready()
            assert secure.ask("/api/prompt", {"prompt": "fire"})[0] == 202
            assert secure.ask("/api/prompt", b" " * 70000, {"Content-Type": "application/json"})[0] == 413
            with WebSocket(secure.port, context=context) as client:
                assert client.receive()["type"] == "hello" and client.until("stats")
            with connect_tcp(secure.port) as plain, connect_tcp(secure.port, 30) as silent:
                plain.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    assert b"HTTP" not in plain.recv(100)
                eventually(lambda: secure.stats()["connections"]["open"] <= 2, "the first is forgotten")
                assert silent.recv(100) == b""
            eventually(lambda: secure.stats()["connections"]["open"] == 1, "the second, too")
            secure.flows()
        for arguments, says in ((["--tls-cert", certificate], "--tls-key"), (["--tls-cert", key, "--tls-key", key], "--tls-cert"),
                                (["--tls-cert", folder + "/none", "--tls-key", key], "none")):
            done = subprocess.run([PROGRAM, "--port", "0", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
            assert done.returncode in (1, 2) and says in done.stderr, done.stderr


def engine_fails():
    """a failing engine ends the program with its sentence and status 1"""
    failing = Live(fake=FAKE + ",fail_at=2")
    assert failing.port
    assert failing.process.wait(30) == 1
    assert "error" in failing.said(), failing.said()
    failing.stop()


def seconds():
    """--seconds ends it"""
    short = Live("--seconds", "1")
    assert short.process.wait(30) == 0
    short.stop()


try:
    run([starts, files, stats, metrics, prompts, recache, timed_prompts, settings, policies, heads, letter_case, port_in_use,
         bad_arguments, stops, public_url, helpers, tls, engine_fails, seconds])
finally:
    if live and live.process.poll() is None:
        live.process.kill()
