# SPDX-License-Identifier: LGPL-2.1-or-later
"""The server on the fake engine: what it makes of wrong, huge, slow and hostile visitors."""

import http.client
import json
import re
import time

from program import FAKE, Live, eventually, run
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


def bad_json():
    """malformed, deep, wrong and huge requests get an error with a sentence, and change nothing"""
    bad = [b"", b"{", b"[1]", b"nul", b'{"prompt": 1}', b'{"prompt": ""}', b'{"prompt": "   "}', b"\xff\xfe",
           b'{"prompt": "a\\u0000b"}', b'{"prompt": "a", "when": 1}', b'{"prompt": "a", "in": -1}',
           b'{"prompt": "a", "in": 1e999}', b'{"prompt": "a", "in": 1, "at": 1}', b'{"prompt": "a", "type": "x"}',
           b'{"prompt": "a", "blend_chunks": 1.5}', b'{"prompt": "a", "blend_chunks": 65}',
           b'{"prompt": "a", "transition": "wipe"}', b'{"prompt": "a", "transition": "recache", "blend_chunks": 1}', b"[" * 30000,
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


try:
    run([starts, bad_json, huge_bodies, nonsense, origins, bad_messages, bad_sdp, too_many, slow_visitors,
         queue_is_bounded, tokens])
finally:
    if live and live.process.poll() is None:
        live.process.kill()
