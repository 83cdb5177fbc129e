# SPDX-License-Identifier: LGPL-2.1-or-later
"""schemathesis against the OpenAPI file: whatever it makes up, the answers are as the file says."""

import json
import os
import subprocess
import sys

from program import BUILD, Live, Skip, run

VENV = os.path.join(BUILD, "tests/live/schemathesis")
WANTED = ["schemathesis==4.1.4", "hypothesis==6.138.2"]  # later ones of the second break the first


def schemathesis():
    """The program, from a virtual environment in the build folder; made once, if the network lets it."""
    program = os.path.join(VENV, "bin/schemathesis")
    if not os.path.exists(program):
        made = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True, check=False)
        if made.returncode == 0:
            made = subprocess.run([os.path.join(VENV, "bin/pip"), "install", "-q", "--disable-pip-version-check", *WANTED],
                                  capture_output=True, text=True, timeout=200, check=False)
        if made.returncode != 0 or not os.path.exists(program):
            raise Skip(f"{WANTED[0]} cannot be installed")
    return program


def file_is_complete():
    """every path that the server answers is in the file"""
    with Live() as live:
        described = json.loads(live.ask("/openapi.json")[1])
        for path, calls in described["paths"].items():
            method = "GET" if "get" in calls else "POST"
            if path == "/api/input.jpg":  # there is none, as there is no input
                assert "picture of an input" in live.ask(path)[1]
                continue
            assert live.ask(path, method=method)[0] not in (404, 405), path
            assert live.ask(path, method="DELETE")[0] == 405, path
        assert set(described["paths"]) == {"/api/stats", "/api/input.jpg", "/api/prompt", "/api/settings", "/api/reset",
                                           "/metrics", "/healthz", "/openapi.json"}


def made_up():
    """schemathesis finds no answer that the file does not describe, and no server error"""
    look_with()


def made_up_input():
    """nor of a server with an input"""
    look_with("--input", "test")


def look_with(*arguments):
    program = schemathesis()
    with Live("--max-connections", "256", *arguments) as live:
        live.ready()
        done = subprocess.run(
            [program, "run", live.url + "openapi.json", "--url", live.url.rstrip("/"), "--max-examples", "25",
             "--seed", "1", "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
             "response_schema_conformance", "--no-color", "--request-timeout", "20"],
            capture_output=True, text=True, timeout=200, check=False, cwd=live.folder)
        assert done.returncode == 0, (f"{done.stdout}{done.stderr}"[-4000:] +
                                      f"\nthe server's status is {live.process.poll()}, it said: {live.said()[-2000:]}")
        live.flows()


run([file_is_complete, made_up, made_up_input])
