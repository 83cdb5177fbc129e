# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the checks of the device kit, one after another, and writes results.json and page.md. See tools/device_kit.sh."""
import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

PASS, FAIL, SKIP = "PASS", "FAIL", "SKIP"
HALF = 290  # seconds that a half may take


@dataclasses.dataclass
class Result:
    status: str
    reason: str = ""
    figures: dict = dataclasses.field(default_factory=dict)


def skip(reason, **figures):
    return Result(SKIP, reason, figures)


@dataclasses.dataclass
class Check:
    name: str
    title: str
    half: int
    budget: int  # seconds, after which it is ended and counts as failed
    run: object  # Kit -> Result
    quick: bool = True  # part of a quick rehearsal


@dataclasses.dataclass
class Ran:
    status: int  # 124: ended after its time
    out: str
    err: str


class Kit:
    """What the checks run: programs of a prepared folder, and the environment that they need."""

    def __init__(self, folder, carried, torch, rehearse, stand_in):
        self.folder, self.carried, self.torch, self.rehearse = folder, carried, torch, rehearse
        self.stand_in = stand_in  # folder of tests/fake_gpu in a build, for the rehearsal
        self.why_no_gpu = ""  # filled by the first check
        self.until = 0.0
        self.scratch = folder.parent

    # Where numbers count, and where launches and memory do: the card for both, if there is one.
    numeric = property(lambda self: "cpu" if self.rehearse else "cuda")

    @property
    def goldens(self):
        """All of a checkout, if the folder lies in one; else those that were carried."""
        for place in (self.carried.parent, pathlib.Path(__file__).resolve().parents[2]):
            if (place / "tests/golden").is_dir():
                return place / "tests/golden"
        return self.folder / "golden"

    def program(self, name):
        return str(self.folder / "bin" / name)

    def environment(self, stand_in=False):
        env = dict(os.environ)
        libraries = [str(self.folder / "lib"), str(self.torch / "lib")]
        libraries += [str(one) for one in sorted(self.torch.parent.glob("nvidia/*/lib"))]
        if stand_in:
            libraries.insert(0, str(self.stand_in / "names"))
            env["LD_PRELOAD"] = str(self.stand_in / "libfake-gpu.so")
        env["LD_LIBRARY_PATH"] = ":".join(libraries + [one for one in [env.get("LD_LIBRARY_PATH", "")] if one])
        env["FLOWCACHE_MODEL"] = str(self.folder / "models/ambient")
        env["FLOWCACHE_ENGINE"] = str(self.folder / "lib/libflowcache.so.0")
        env["FLOWCACHE_CUDA_KERNELS"] = str(self.folder / "lib/libflowcache-kernels-cuda.so")
        env["GST_PLUGIN_PATH_1_0"] = env["GST_PLUGIN_PATH"] = str(self.folder / "lib")
        env["GST_REGISTRY_1_0"] = str(self.scratch / "registry.bin")
        env.setdefault("GOMP_SPINCOUNT", "1000")
        return env

    def run(self, command, stand_in=False, limit=None):
        """Runs it for what is left of the check's time. Its whole process group is ended then."""
        left = max(1.0, self.until - time.monotonic())
        left = min(left, limit) if limit else left
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                              env=self.environment(stand_in), start_new_session=True) as process:
            try:
                out, err = process.communicate(timeout=left)
                return Ran(process.returncode, out, err)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
                return Ran(124, out, err)

    def ask(self, check, *arguments, stand_in=False, limit=None):
        """device-kit CHECK …: its answer as a Result."""
        if stand_in and not (self.stand_in / "names").exists():
            return skip(f"the stand-in for a GPU was not built in {self.stand_in}")
        more = ["--no-cudnn"] if stand_in else []
        ran = self.run([self.program("device-kit"), check, *map(str, arguments), *more], stand_in, limit)
        if ran.status == 124:
            return Result(FAIL, "not done in its time")
        try:
            answer = json.loads(ran.out)
        except ValueError:
            return Result(FAIL, f"ended with status {ran.status}: {last_line(ran.err)}")
        ok, why, skipped = answer.pop("ok"), answer.pop("why", ""), answer.pop("skipped", "")
        if ok and skipped:
            return Result(SKIP, skipped, answer)
        return Result(PASS if ok else FAIL, why, answer)


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:400] if lines else "without a word"


def all_checks():
    import engine
    import gstreamer
    import machine
    return machine.CHECKS + engine.CHECKS + gstreamer.CHECKS


def find_torch(given, folder):
    """The folder torch/ of LibTorch's wheel, or None."""
    places = [pathlib.Path(given)] if given else [folder.parent / "deps/libtorch/torch",
                                                 pathlib.Path(__file__).resolve().parents[2] / "deps/libtorch/torch"]
    for place in places:
        if (place / "lib/libtorch_cpu.so").exists():
            return place.resolve()
    if given:
        return None
    found = subprocess.run(["python3", "-c", "import importlib.util; print(importlib.util.find_spec('torch').origin)"],
                           capture_output=True, text=True, check=False)
    place = pathlib.Path(found.stdout.strip()).parent
    return place if found.returncode == 0 and (place / "lib/libtorch_cpu.so").exists() else None


def run_all(kit, checks):
    results, ends = [], {}
    for check in checks:
        start = time.monotonic()
        end = ends.setdefault(check.half, start + HALF)
        kit.until = min(start + check.budget, end)
        try:
            result = check.run(kit) if end - start > 5 else skip(f"half {check.half} has used its {HALF} s")
        except Exception as error:  # one that breaks stops no other
            result = Result(FAIL, f"{type(error).__name__}: {error}")
        seconds = time.monotonic() - start
        print(f"{result.status}  {check.name:<12} {seconds:6.1f} s  {check.title}"
              f"{': ' + result.reason if result.reason else ''}", flush=True)
        for name, value in result.figures.items():
            if not isinstance(value, (list, dict)):
                print(f"        {name} {shown(value)}")
        results.append({"check": check.name, "title": check.title, "half": check.half, "status": result.status,
                        "reason": result.reason, "seconds": round(seconds, 1), "budget_s": check.budget,
                        "figures": result.figures})
    return results


def shown(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def page(report):
    lines = ["# Device kit", "", f"{report['when']}, {report['mode']}, LibTorch in `{report['torch']}`", "",
             "| check | | s | reason |", "| --- | --- | --- | --- |"]
    for one in report["results"]:
        lines.append(f"| {one['title']} | {one['status']} | {one['seconds']} | {one['reason'].replace('|', '/')} |")
    for one in report["results"]:
        if not one["figures"]:
            continue
        lines += ["", f"## {one['title']}", "", "| | |", "| --- | --- |"]
        for name, value in one["figures"].items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                for row in value:
                    lines.append("| " + name + " | " + ", ".join(f"{k} {shown(v)}" for k, v in row.items()) + " |")
            elif isinstance(value, dict):
                for key, inner in value.items():
                    text = ", ".join(f"{k} {shown(v)}" for k, v in inner.items()) if isinstance(inner, dict) else shown(inner)
                    lines.append(f"| {name}: {key} | {text} |")
            else:
                text = "<br>".join(value) if isinstance(value, list) else shown(value)
                text = text.replace("|", "/").replace("\n", "<br>")
                lines.append(f"| {name} | {text} |")
    return "\n".join(lines) + "\n"


def arguments():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--prepare")
    parser.add_argument("--build", default=str(pathlib.Path(__file__).resolve().parents[2] / "build"))
    parser.add_argument("--half", type=int, choices=(1, 2))
    parser.add_argument("--only")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--torch")
    parser.add_argument("--out", default="device-kit-results")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def chosen(args):
    checks = [one for one in all_checks() if args.half in (None, one.half) and (not args.quick or one.quick)]
    if args.only:
        names = args.only.split(",")
        known = [one.name for one in all_checks()]
        for name in names:
            if name not in known:
                sys.exit(f"error: there is no check \"{name}\"; there are: {' '.join(known)}")
        checks = [one for one in checks if one.name in names]
    return checks


def main():
    args = arguments()
    if args.list:
        for one in all_checks():
            print(f"{one.half}  {one.name:<12} {one.budget:4d} s  {one.title}")
        return 0
    import prepare
    build = pathlib.Path(args.build).resolve()
    if args.prepare:
        return prepare.prepare(pathlib.Path(args.prepare), build)
    checks = chosen(args)
    carried = pathlib.Path(__file__).resolve().parents[2]
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="device-kit-"))
    try:
        return run_carried(args, checks, carried, build, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def run_carried(args, checks, carried, build, scratch):
    """Unpacks what was prepared, or prepares it for a rehearsal, and runs the checks."""
    import machine
    import prepare
    if args.rehearse:
        carried = scratch / "carried"
        if prepare.prepare(carried, build) != 0:
            return 1
    elif not (carried / prepare.ARCHIVE).exists():
        sys.exit("error: this folder is not prepared: run tools/device_kit.sh --prepare DIR where the project is built, "
                 "then DIR/tools/device_kit.sh here")
    torch = find_torch(args.torch, carried)
    if torch is None:
        sys.exit(f"error: no LibTorch: {args.torch or 'neither in deps/libtorch nor in python3'}; name the folder torch/ of "
                 "its wheel with --torch")
    kit = Kit(prepare.unpack(carried, scratch), carried, torch, args.rehearse, build / "tests/fake_gpu")
    if not args.rehearse and "doctor" not in [one.name for one in checks]:
        kit.until = time.monotonic() + 40
        machine.check_doctor(kit)  # tells the others whether there is a GPU
    results = run_all(kit, checks)
    report = {"when": time.strftime("%Y-%m-%d %H:%M:%S"), "mode": "rehearsal without a card" if args.rehearse else "card",
              "torch": str(torch), "results": results}
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (out / "page.md").write_text(page(report), encoding="utf-8")
    count = {status: sum(one["status"] == status for one in results) for status in (PASS, FAIL, SKIP)}
    print(f"{count[PASS]} passed, {count[FAIL]} failed, {count[SKIP]} skipped; {out}/results.json, {out}/page.md")
    return 1 if count[FAIL] else 0


if __name__ == "__main__":
    sys.modules["kit"] = sys.modules["__main__"]  # the checks import it under its own name
    sys.exit(main())
