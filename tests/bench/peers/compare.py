# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the engine and its peers in turns and compares them; peers.sh has the options and starts this."""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
# model.json, how the engine is told of it, chunks of history (None: the model's), forwards in a turn, the ratio wanted at most
SHAPES = {"ambient": (ROOT / "models/ambient/model.json", "{}", None, 20, .75),
          "wan": (HERE / "wan.json", "random:{}", None, 3, .85),
          "wan-480p": (HERE / "wan-480p.json", "random:{}", 0, 1, 1)}
PEERS = ("eager", "compile", "flashdreams", "flashdreams-compile")
CAPS = dict(FLOWCACHE_MAX_CPU_ISA="avx2", ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_ENABLE_INSTRUCTIONS="AVX2")


def die(what, remedy):
    sys.exit(f"error: {what}\n       {remedy}")


def options():
    parser = argparse.ArgumentParser(prog="peers.sh", add_help=False, allow_abbrev=False)
    parser.add_argument("shape", nargs="?", choices=SHAPES, default="ambient")
    parser.add_argument("--isa", choices=("avx2", "native"), default="native")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    positive = lambda text: max(1, int(text))
    parser.add_argument("--threads", type=positive, required=True)  # peers.sh gives what is allowed
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--runs", type=positive)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PEERS))
    parser.add_argument("--json")
    o = parser.parse_args()
    if unknown := [name for name in o.only if name not in PEERS]:
        parser.error(f"--only: {unknown[0]} is none of {', '.join(PEERS)}")
    return o


def environment(o):
    """What the engine's own programs run with, for all alike: threads that wait let others work."""
    compiled = pathlib.Path(os.environ["PYTHONPATH"], "compiled", o.isa)  # kept from run to run
    compiled.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ, OMP_NUM_THREADS=str(o.threads), TORCHINDUCTOR_CACHE_DIR=str(compiled))
    env.setdefault("GOMP_SPINCOUNT", "1000")
    if o.isa == "avx2":
        env |= CAPS
        # What torch.compile writes is compiled for the machine at hand: -march=native, unless a later one says otherwise.
        compiler = compiled / "g++"
        compiler.write_text(f'#!/bin/sh\nexec {shutil.which(os.environ.get("CXX", "g++"))} "$@" -march=x86-64-v3\n')
        compiler.chmod(0o755)
        env["CXX"] = str(compiler)
    return env


def unable(peer):
    """Why a peer cannot run here, and what to do; "" if nothing speaks against it."""
    if "compile" not in peer:
        return ""
    if not shutil.which(os.environ.get("CXX", "g++")):
        return "torch.compile needs a C++ compiler: apt-get install g++"
    if not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists():
        return "torch.compile needs Python.h: apt-get install python3-dev"
    return ""


def turn(command, env):
    """Median milliseconds of one process, and the shape that it printed; (None, reason) if it failed."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", check=False)
    found = re.search(r"queries (\d+) history (\d+)\nforward min \S+ median (\S+) ms", done.stdout)
    if done.returncode or not found:
        return None, (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
    return float(found[3]), (int(found[1]), int(found[2]))


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "CPU part"))]
    return names[0] if names else os.uname().machine


def main():
    o = options()
    file, model, history, runs, wanted = SHAPES[o.shape]
    o.runs = o.runs or runs
    bench = ROOT / "build/tests/bench/bench-forward"
    if not bench.exists():
        die(f"{bench} is not built", "run: ninja -C build tests/bench/bench-forward (./test.sh builds everything)")
    shared = [o.precision, str(o.threads), str(o.runs)]
    history = [] if history is None else [str(history)]
    commands = {"engine": [bench, model.format(file), *shared, "forward", *history]}
    commands |= {peer: [sys.executable, HERE / "forward.py", peer, file, *shared, *history] for peer in o.only}
    missing = {peer: why for peer in o.only if (why := unable(peer))}
    turns, shapes = {}, {}
    env = environment(o)
    for number in range(o.rounds):
        for name, command in commands.items():
            if name in missing:
                continue
            ms, found = turn(command, env)
            if ms is None:
                missing[name] = found
                continue
            turns.setdefault(name, []).append(ms)
            shapes[name] = found
            print(f"turn {number + 1} of {o.rounds}: {name} {ms:.1f} ms", file=sys.stderr)
    if "engine" in missing:
        die(f"the engine's bench failed: {missing['engine']}", f"try: {' '.join(map(str, commands['engine']))}")
    turns = {name: ms for name, ms in turns.items() if name not in missing}
    if len(set(shapes.values())) > 1:
        die(f"the shapes differ: {shapes}", "this is a defect of the bench: please report it")
    report(o, turns, missing, shapes["engine"], wanted)


def report(o, turns, missing, shape, wanted):
    median = {name: statistics.median(ms) for name, ms in turns.items()}
    cap = "capped to AVX2" if o.isa == "avx2" else "native"
    print(f"{o.shape}: {shape[0]} tokens, {shape[1]} of history; {o.precision}, {o.threads} threads; {processor()}, {cap}; "
          f"medians of {o.rounds} turns of {o.runs} forwards")
    print(f"{'':20} {'median ms':>10} {'least':>9} {'most':>9} {'engine / it':>12}")
    for name, ms in turns.items():
        print(f"{name:20} {median[name]:10.1f} {min(ms):9.1f} {max(ms):9.1f} {median['engine'] / median[name]:12.3f}")
    for name, why in missing.items():
        print(f"{name:20} did not run: {why}")
    peers = {name: ms for name, ms in median.items() if name != "engine"}
    if not peers:
        die("no peer ran, so there is no ratio", "see the reasons above; tests/bench/peers.sh --install installs them anew")
    fastest = min(peers, key=peers.get)
    ratio = median["engine"] / peers[fastest]
    if o.json:
        figures = dict(shape=o.shape, queries=shape[0], history=shape[1], precision=o.precision, threads=o.threads, isa=o.isa,
                       processor=processor(), rounds=o.rounds, runs=o.runs, turns_ms=turns, median_ms=median, missing=missing,
                       fastest=fastest, ratio=ratio, wanted=wanted)
        pathlib.Path(o.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    left_out = [name for name in PEERS if name not in peers]
    print(f"fastest peer: {fastest}; wanted: at most {wanted}" + (f"; not among them: {', '.join(left_out)}" if left_out else ""))
    print(f"ratio to the fastest peer: {ratio:.3f}")


if __name__ == "__main__":
    main()
