# SPDX-License-Identifier: LGPL-2.1-or-later
"""The server on the fake engine: what it answers, and what it makes of wrong, huge, slow and hostile visitors."""

import base64
import contextlib
import hmac
import http.client
import json
import re
import socket
import subprocess
import tempfile
import time

from certificate import make_certificate
from program import FAKE, PATIENCE, PROGRAM, Live, eventually, run
from websocket import Closed, WebSocket, connect_tcp

live = None


def talk(data, seconds=20):
    """Sends bytes to the port, returns all that comes back."""
    with connect_tcp(live.port, seconds) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except (ConnectionError, TimeoutError):
            pass
        return answer


def status_of(answer):
    found = re.match(rb"HTTP/1\.1 (\d+)", answer)
    return int(found.group(1)) if found else 0


def request(head, body=b""):
    return status_of(talk(head.encode().replace(b"\n", b"\r\n") + b"\r\n\r\n" + body))


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
                       "text/javascript", "/picture.js": "text/javascript", "/openapi.json": "application/json"}.items():
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


def bad_json():
    """malformed, deep, wrong and huge requests get an error with a sentence, and change nothing"""
    bad = [b"", b"{", b"[1]", b"nul", b'{"prompt": 1}', b'{"prompt": ""}', b'{"prompt": "   "}', b"\xff\xfe",
           b'{"prompt": "a\\u0000b"}', b'{"prompt": "a", "when": 1}', b'{"prompt": "a", "in": -1}',
           b'{"prompt": "a", "in": 1e999}', b'{"prompt": "a", "in": 1, "at": 1}', b'{"prompt": "a", "type": "x"}',
           b'{"prompt": "a", "blend_chunks": 1.5}', b'{"prompt": "a", "blend_chunks": 65}', b"[" * 30000,
           b'{"a":' * 10000 + b"1" + b"}" * 10000, json.dumps({"prompt": "x" * 2001}).encode()]
    for body in bad:
        status, answer = live.ask("/api/prompt", body, {"Content-Type": "application/json"})
        assert status == 400 and json.loads(answer)["error"], (body[:40], status, answer)
    for path, body in {"/api/settings": {}, "/api/reset": {"seed": -1}}.items():
        assert live.ask(path, body)[0] == 400, path
    assert live.ask("/api/settings", {"cache_threshold": 11})[0] == 400
    assert live.ask("/api/settings", {"cache_threshold": "1"})[0] == 400
    assert live.ask("/api/prompt", b'{"prompt": "a"}', {"Content-Type": "text/plain"})[0] == 415
    assert live.ask("/api/prompt")[0] == 405 and live.ask("/api/stats", {"a": 1})[0] == 405
    live.flows()


def huge_bodies():
    """a body beyond 64 kB is refused, told before or not, and not kept"""
    head = f"POST /api/prompt HTTP/1.1\nHost: 127.0.0.1:{live.port}\nContent-Type: application/json\n"
    assert request(head + "Content-Length: 1000000000") == 413
    before = live.memory()
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with connect_tcp(live.port) as connection:
        connection.sendall(head.encode().replace(b"\n", b"\r\n") + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(600):  # 40 MB
                connection.sendall(chunk)
            connection.sendall(b"0\r\n\r\n")
            answer = connection.recv(65536)
            assert status_of(answer) == 413, answer[:200]
        except ConnectionError:
            pass  # cut off: just as well
    assert live.memory() - before < 12e6, live.memory() - before
    live.flows()


def nonsense():
    """what is no HTTP is refused or dropped"""
    for data in (b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 100000 + b"\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 300000 + b"\r\n\r\n"):
        assert status_of(talk(data, 2)) in (0, 400, 403, 404, 431, 505), data[:20]
    answer = talk(b"GET /api/stats HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\0b\r\n\r\n")
    assert b" 400 " in answer and b"application/json" in answer and b"cannot be read" in answer, answer
    live.flows()


def origins():
    """pages from elsewhere and foreign host names are refused, for REST and for the WebSocket"""
    own = f"127.0.0.1:{live.port}"
    for headers, wanted in (({"Origin": f"http://{own}"}, 202), ({"Origin": "http://evil.example"}, 403),
                            ({"Origin": "null"}, 403), ({"Host": "evil.example"}, 403),
                            ({"Host": f"localhost:{live.port}"}, 202)):
        assert live.ask("/api/prompt", {"prompt": "fire"}, headers)[0] == wanted, headers
    assert "Access-Control-Allow-Origin" not in talk(
        f"OPTIONS /api/prompt HTTP/1.1\r\nHost: {own}\r\nOrigin: http://evil.example\r\n"
        "Access-Control-Request-Method: POST\r\n\r\n".encode()).decode()
    with WebSocket(live.port, headers={"Origin": f"http://{own}"}) as client:
        assert client.status == 101
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        with WebSocket(live.port, headers=headers) as client:
            assert client.status == 403, (headers, client.status)


def bad_messages():
    """wrong messages on the WebSocket get an error; wrong frames end the connection"""
    with WebSocket(live.port) as client:
        client.receive()
        for text in ("", "{", "[]", '{"type": 7}', '{"type": "dance"}', '{"type": "watch", "codec": "gif"}',
                     '{"type": "answer", "sdp": "v=0"}', '{"type": "candidate", "mline": -1}', "[" * 50000):
            client.frame(text)
            reply = client.reply()
            assert reply["status"] == 400 and reply["error"], (text[:40], reply)
    rude = {"binary": lambda c: c.frame(b"\0\1", opcode=2), "unmasked": lambda c: c.frame("{}", masked=False),
            "reserved opcode": lambda c: c.frame("{}", opcode=5), "not UTF-8": lambda c: c.frame(b"\xff\xfe"),
            "huge": lambda c: c.frame(b"x", length=1 << 40), "too long": lambda c: c.frame("x" * 70000),
            "long ping": lambda c: c.frame("x" * 200, opcode=9), "no frame": lambda c: c.raw(b"\xff" * 64),
            "many": lambda c: [c.frame('{"type": "dance"}') for _ in range(300)]}
    for name, act in rude.items():
        with WebSocket(live.port) as client:
            client.receive()
            try:
                act(client)
            except ConnectionError:
                continue
            code = client.closing()
            assert code in (None, 1002, 1003, 1007, 1008, 1009), (name, code)
    live.flows()


ANSWER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=rtpmap:96 VP8/90000
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:sha-256 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00
a=setup:active
a=mid:video0
a=recvonly
a=rtcp-mux
""".replace("\n", "\r\n")


def bad_sdp():
    """wrong session descriptions and candidates are refused with a reason, and hurt nobody"""
    wrong = ["", "v=0", "v=1\r\n", "\0", ANSWER.replace("m=video 9", "m=video 0"), ANSWER.replace("m=video", "m=audio"),
             ANSWER + ANSWER[ANSWER.index("m=video"):], ANSWER.replace("a=setup:active", "a=setup:actpass"),
             ANSWER.replace("a=ice-pwd", "a=x"), ANSWER.replace("a=fingerprint", "a=x"), "v=0\r\n" + "a=x\r\n" * 20000,
             ANSWER.replace("a=rtpmap:96 VP8/90000\r\n", "")]
    for sdp in wrong:
        with WebSocket(live.port) as client:
            client.receive()
            client.send({"type": "watch", "codec": "vp8"})
            assert "m=video" in client.until("offer")["sdp"]
            client.frame(json.dumps({"type": "answer", "sdp": sdp}))
            try:
                assert client.reply("answer")["status"] == 400, sdp[:60]
            except Closed:
                assert len(sdp) > 65000
    # Right in form and wrong in content: webrtcbin has to cope.
    for sdp in (ANSWER, ANSWER.replace("VP8/90000", "AV1/90000"), ANSWER.replace("SAVPF 96", "SAVPF 97"),
                ANSWER.replace("rtpmap:96", "rtpmap:x"), ANSWER.replace("a=mid:video0\r\n", ""),
                ANSWER.replace("0123456789012345678901", "p"), ANSWER.replace("sha-256 ", "md9 "),
                ANSWER.replace("a=mid:video0", "a=mid:" + "m" * 5000)):
        with WebSocket(live.port) as client:
            client.receive()
            client.send({"type": "watch", "codec": "vp8"})
            client.until("offer")
            client.send({"type": "answer", "sdp": sdp})
            for candidate in ("candidate:1 1 UDP 1 999.1.1.1 1 typ host", "candidate:", "candidate:1 1 UDP 1 127.0.0.1 0 typ",
                              "candidate:1 1 UDP 2122252543 127.0.0.1 9 typ host", "candidate:" + "x" * 400, "x"):
                client.send({"type": "candidate", "mline": 0, "candidate": candidate})
            assert client.reply("candidate")["status"] == 400
            live.flows()


def too_many():
    """hundreds of connections: those beyond the most are turned away, the stream goes on, and places become free"""
    connections = []
    for _ in range(300):
        try:
            connections.append(connect_tcp(live.port))
        except OSError:
            break
    live.process.poll()
    eventually(lambda: talk(b"GET / HTTP/1.1\r\n\r\n")[:12] == b"HTTP/1.1 503", "somebody is turned away")
    for connection in connections:
        connection.close()
    eventually(lambda: quiet_stats() and quiet_stats()["connections"]["open"] < 5, "places become free")
    eventually(lambda: quiet_stats()["connections"]["refused"] >= 200, "they are counted")
    live.flows()


def quiet_stats():
    try:
        return live.stats()
    except (OSError, AssertionError, http.client.HTTPException):
        return None


def slow_visitors():
    """who does not read the feed, or does not finish a request, is cut off, and costs no memory"""
    with Live(fake="width=32,height=32,fps_n=200,frames=2,chunk_ms=1") as fast:
        fast.ready()
        slow = [WebSocket(fast.port, receive_buffer=4096) for _ in range(10)]
        with connect_tcp(fast.port, 30) as unfinished, WebSocket(fast.port) as reader:
            unfinished.sendall(b"GET / HTTP/1.1\r\nX: ")
            before = fast.memory()
            assert fast.stats()["connections"]["open"] >= 12
            assert unfinished.recv(100) == b""
            end = time.monotonic() + 60
            while fast.stats()["connections"]["open"] > 2:  # the reader and this question
                reader.receive()
                assert time.monotonic() < end, fast.stats()["connections"]
            assert fast.memory() - before < 20e6, fast.memory() - before
            assert reader.until("stats")["ready"]
        for client in slow:
            client.socket.close()


def queue_is_bounded():
    """more than 64 waiting prompts are refused"""
    # One for the same time would replace the one before.
    statuses = [live.ask("/api/prompt", {"prompt": f"p{i}", "at": 3600 + i})[0] for i in range(70)]
    assert statuses.count(202) <= 64 and 429 in statuses, statuses


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


def tokens():
    """with --token nothing but the page's files and /healthz answers without it"""
    with Live("--token", "open sesame", fake=FAKE) as guarded:
        guarded.ready()
        for path, wanted in (("/", 200), ("/live.js", 200), ("/healthz", 200), ("/api/stats", 401), ("/metrics", 401)):
            assert guarded.ask(path)[0] == wanted, path
        for header in ("Bearer open sesame", "Bearer open sesam", "Bearer open sesame ", "open sesame", "Bearer "):
            status = guarded.ask("/api/stats", headers={"Authorization": header})[0]
            assert (status == 200) == (header.strip() == "Bearer open sesame"), (header, status)
        assert guarded.ask("/api/prompt", {"prompt": "a"})[0] == 401
        with WebSocket(guarded.port) as client:
            assert client.status == 401
        with WebSocket(guarded.port, path="/ws?token=open%20sesame") as client:
            assert client.status == 101 and client.receive()["type"] == "hello"


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
    run([starts, files, stats, metrics, prompts, timed_prompts, settings, policies, bad_json, huge_bodies, nonsense,
         origins, bad_messages, bad_sdp, too_many, slow_visitors, queue_is_bounded, port_in_use,
         bad_arguments, heads, letter_case, stops, tokens, public_url, helpers, tls, engine_fails, seconds])
finally:
    if live and live.process.poll() is None:
        live.process.kill()
