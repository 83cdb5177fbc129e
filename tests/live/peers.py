# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers of others that flowcache-live has to do with."""

import http.server
import os
import socket
import subprocess

from program import Skip, eventually, need

SOURCE = os.environ["SOURCE_DIR"]
# test.sh unpacks nginx into deps/; an installed one does as well.
ROOT = os.path.join(SOURCE, "deps/nginx")
if not os.path.exists(ROOT):
    ROOT = ""
RTMP_MODULE = ROOT + "/usr/lib/nginx/modules/ngx_rtmp_module.so"


def free_port(kind=socket.SOCK_STREAM, address="127.0.0.1"):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def answers(port, address="127.0.0.1"):
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


class Nginx:
    """nginx with its RTMP module; an application "live", of which `more` may say more."""

    def __init__(self, folder, port, more=""):
        program = need(ROOT + "/usr/sbin/nginx", "nginx")
        if not os.path.exists(RTMP_MODULE):
            raise Skip("libnginx-mod-rtmp is not installed")
        file = os.path.join(folder, "nginx.conf")
        with open(file, "w", encoding="ascii") as text:
            text.write(f"""load_module {RTMP_MODULE};
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
rtmp {{ access_log off; server {{ listen 127.0.0.1:{port}; application live {{ live on; {more} }} }} }}
""")
        self.process = subprocess.Popen([program, "-p", folder, "-c", file], stderr=subprocess.DEVNULL)
        eventually(lambda: answers(port), "nginx listens")

    def stop(self):
        self.process.kill()
        self.process.wait()


class Turn:
    """coturn, for STUN and TURN with a shared secret, at an address of another host of the test's; TLS with certificate and key."""

    def __init__(self, folder, within, address, secret, certificate, key):
        root = os.path.join(SOURCE, "deps/coturn")
        if not os.path.exists(root):
            root = ""
        program = need(root + "/usr/bin/turnserver", "coturn")
        environment = dict(os.environ, LD_LIBRARY_PATH=root + "/usr/lib/x86_64-linux-gnu")
        self.log = open(os.path.join(folder, "turn.log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [*within, program, "-n", f"--listening-ip={address}", f"--relay-ip={address}", "--realm=test", "--use-auth-secret",
             f"--static-auth-secret={secret}", "--no-cli", f"--cert={certificate}", f"--pkey={key}", "--no-dtls", "--log-file=stdout", "--simple-log",
             f"--userdb={folder}/turn.db", f"--pidfile={folder}/turn.pid"],
            stdout=self.log, stderr=subprocess.STDOUT, env=environment)
        eventually(lambda: answers(3478, address), "the TURN server listens")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class WhipEndpoint(http.server.BaseHTTPRequestHandler):
    """WHIP (RFC 9725) for a server with publish(offer), which gives the answer and the path of what to delete, and leave(path)."""

    def log_message(self, *unused):
        pass

    def refusal(self):
        """The status to refuse an offer with; 0: it is taken."""
        return 0

    def do_POST(self):
        offer = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status = self.refusal()
        if status:
            self.send_error(status)
            return
        answer, resource = self.server.publish(offer)
        self.send_response(201)
        self.send_header("Content-Type", "application/sdp")
        self.send_header("Location", resource)
        self.end_headers()
        self.wfile.write(answer.encode())

    def do_DELETE(self):
        self.server.leave(self.path)
        self.send_response(200)
        self.end_headers()


def output(live, name):
    return [o for o in live.stats()["outputs"] if o["name"] == name][0]
