# SPDX-License-Identifier: LGPL-2.1-or-later
"""WHIP (RFC 9725): a recalcitrant endpoint, and what a test has to see of one."""

import http.server
import threading
import time

ANSWER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE video0
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:video0
a=recvonly
a=rtcp-mux
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1;profile-level-id=42e01f
a=setup:active
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:sha-256 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00
""".replace("\n", "\r\n").encode()


class Server(http.server.ThreadingHTTPServer):
    """Answers as `plan` says, by method and path; `asked` has (method, path, token, time, body) of every request, `answered` how
    many have their whole answer. `listener`: a socket to use."""

    def __init__(self, plan, listener=None):
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=not listener)
        if listener:
            self.socket.close()
            self.socket = listener
        self.plan, self.asked, self.answered = plan, [], 0
        self.url = "http://%s:%d" % self.socket.getsockname()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.shutdown()
        self.server_close()

    def requests(self, method):
        return [request for request in self.asked if request[0] == method]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *unused):
        pass

    def answer(self, status=200, headers=(), pieces=(), chunked=False):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(sum(map(len, pieces))))
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            self.wfile.flush()
            time.sleep(0.2 if len(pieces) > 1 else 0)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization"), time.monotonic(), body))
        assert self.command != "POST" or (self.headers["Content-Type"] == "application/sdp" and b"a=candidate" in body), body
        plan = self.server.plan.get((self.command, self.path), {"status": 404})
        self.answer(**plan)
        self.server.answered += 1

    do_POST = do_DELETE = do_OPTIONS = handle_one


def taken(location="/session/1", **more):
    headers = [("Content-Type", "application/sdp"), *([("Location", location)] if location else []), *more.pop("headers", ())]
    return {"status": 201, "headers": headers, "pieces": [ANSWER], **more}
