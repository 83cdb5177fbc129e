# SPDX-License-Identifier: LGPL-2.1-or-later
"""Behind a proxy with a name and HTTPS: the configurations of apps/live/DEPLOY.md, as they stand there."""

import os
import re
import shutil
import subprocess
import tempfile

from browser import Browser
from certificate import make_certificate
from peers import ROOT as NGINX, SOURCE, answers, free_port
from program import Live, eventually, need, run

NAME = "video.example.com"
folder = tempfile.mkdtemp(prefix="flowcache-proxies-")


def documented(kind, port, upstream):
    """A configuration of DEPLOY.md, on this port, to this one."""
    with open(os.path.join(SOURCE, "apps/live/DEPLOY.md"), encoding="utf-8") as file:
        text = re.search(f"```{kind}\n(.*?)```", file.read(), re.S).group(1)
    changes = {f"/etc/ssl/{NAME}.pem": os.path.join(folder, "cert.pem"), f"/etc/ssl/{NAME}.key": os.path.join(folder, "key.pem"),
               "127.0.0.1:8080": f"127.0.0.1:{upstream}", "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
               f"\n{NAME} {{": f"\nhttps://{NAME}:{port} {{\n  bind 127.0.0.1"}
    text = "\n" + text
    for old, new in changes.items():
        text = text.replace(old, new)
    assert "8080" not in text and "/etc/ssl" not in text and str(port) in text, text
    return text


def nginx(port, upstream):
    program = need(NGINX + "/usr/sbin/nginx", "nginx")
    file, home = os.path.join(folder, "nginx.conf"), os.path.join(folder, "nginx")
    os.makedirs(home, exist_ok=True)
    places = "".join(f"{kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(file, "w", encoding="ascii") as text:
        text.write(f"daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;\nevents {{}}\n"
                   f"http {{ access_log off;\n{places}{documented('nginx', port, upstream)}}}\n")
    return [program, "-p", home, "-c", file, "-e", os.path.join(home, "error.log")]


def caddy(port, upstream):
    program = os.path.join(SOURCE, "deps/caddy/usr/bin/caddy")
    program = need(program if os.path.exists(program) else "caddy", "caddy")
    file = os.path.join(folder, "Caddyfile")
    with open(file, "w", encoding="ascii") as text:  # nothing beside what is documented but: no interface of its own, no port 80
        text.write("{\n  admin off\n  auto_https disable_redirects\n}\n" + documented("caddy", port, upstream))
    return [program, "run", "--config", file, "--adapter", "caddyfile"]


def watched_behind(proxy):
    port = free_port()
    make_certificate(folder, f"DNS:{NAME}")
    url = f"https://{NAME}:{port}/cam/"
    with Live("--token", "open sesame", "--public-url", url) as live, open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
        live.token = "open sesame"
        process = subprocess.Popen(proxy(port, live.port), stdout=log, stderr=log,
                                   env=dict(os.environ, HOME=folder, XDG_DATA_HOME=folder, XDG_CONFIG_HOME=folder))
        try:
            eventually(lambda: answers(port), "the proxy listens")
            live.ready()
            with Browser(arguments=[f"--host-resolver-rules=MAP {NAME} 127.0.0.1", "--ignore-certificate-errors"]) as browser:
                browser.open(url + "#token=open%20sesame")
                browser.watches()
                browser.script("document.getElementById('prompt').value = 'fire';"
                               "document.getElementById('prompt-form').requestSubmit();")
                eventually(lambda: browser.script("return document.getElementById('now-showing').textContent") == "fire",
                           "a prompt goes through")
        finally:
            process.kill()
            process.wait()
            log.seek(0)
            print("".join(f"# {line}" for line in log.read().splitlines(True)[-5:] if "error" in line.lower()))


def behind_nginx():
    """nginx: page, picture and prompt under a path"""
    watched_behind(nginx)


def behind_caddy():
    """Caddy: the same"""
    watched_behind(caddy)


try:
    run([behind_nginx, behind_caddy])
finally:
    shutil.rmtree(folder, ignore_errors=True)
