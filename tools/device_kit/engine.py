# SPDX-License-Identifier: LGPL-2.1-or-later
"""The engine on the card: the same as on the CPU, and how fast."""
import functools
import json
import re
import shutil

from kit import FAIL, PASS, SKIP, Check, Result, last_line, skip

SMALL = ("--size", "256x160")
WAN = "self-forcing-1.3b"


def needs_gpu(check):
    """For a check that a card must be there for, or in a rehearsal its stand-in or the CPU."""

    @functools.wraps(check)
    def checked(kit):
        if kit.why_no_gpu and not kit.rehearse:
            return skip(f"there is no GPU to check: {kit.why_no_gpu}")
        return check(kit)

    return checked


@needs_gpu
def check_process(kit):
    return kit.ask("process", "--device", "cuda", "--steps", 4, *SMALL, stand_in=kit.rehearse)


def goldens(precision):
    @needs_gpu
    def check(kit):
        bounds = [] if precision == "fp32" else ["--precision", precision, "--bounds", str(kit.folder / f"golden/{precision}_bounds.json")]
        cases = [str(kit.goldens)]
        if kit.rehearse:
            cases = [str(kit.goldens / one) for one in ("wan-causal-kv", "sinusoid-rope")]
        ran = kit.run([kit.program("golden-runner"), *bounds, "--device", kit.numeric, *cases])
        if ran.status == 77:
            return skip(last_line(ran.out))
        count = re.search(r"(\d+) passed, (\d+) failed, (\d+) unsupported", ran.out)
        if not count:
            return Result(FAIL, f"ended with status {ran.status}: {last_line(ran.err or ran.out)}")
        figures = {"passed": int(count[1]), "failed": int(count[2]), "device": kit.numeric,
                   "cases": [{"case": name, "largest_error": error} for name, error in
                             re.findall(r"^\S+\s+(\S+)\s+largest error (\S+)", ran.out, re.MULTILINE)]}
        failed = re.findall(r"^FAILED\s+(.*)$", ran.out, re.MULTILINE)
        return Result(FAIL if ran.status or not int(count[1]) else PASS, "; ".join(failed)[:2000], figures)

    return check


@needs_gpu
def check_policies(kit):
    lengths = ["--chunks", 2, "--steps", 8]
    if kit.rehearse:
        lengths = ["--chunks", 1, "--steps", 4, "--only", "flowcache,window"]
    return kit.ask("policies", "--device", kit.numeric, *SMALL, *lengths)


@needs_gpu
def check_pair(kit):
    lengths = ["--chunks", 1, "--steps", 2] if kit.rehearse else ["--chunks", 3, "--steps", 8]
    return kit.ask("pair", "--device", kit.numeric, *SMALL, *lengths)


@needs_gpu
def check_planes(kit):
    return kit.ask("planes", "--device", kit.numeric, *SMALL)


@needs_gpu
def check_sanitizer(kit):
    if kit.rehearse:
        return skip("compute-sanitizer looks at kernels on a card only")
    tool = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if not tool:
        return skip("compute-sanitizer is not installed")
    ran = kit.run([tool, "--tool", "memcheck", "--error-exitcode", "9", kit.program("device-kit"), "planes", "--device", "cuda", *map(str, SMALL)])
    if ran.status == 124:
        return skip("not done in its time")
    if "Device not supported" in ran.out + ran.err:
        return skip("compute-sanitizer does not support this device")
    return Result(PASS if ran.status == 0 else FAIL, "" if ran.status == 0 else last_line(ran.out + ran.err),
                  {"summary": last_line(ran.out + ran.err)})


@needs_gpu
def check_frames(kit):
    lengths = ["--chunks", 2, "--steps", 4, *SMALL] if kit.rehearse else ["--chunks", 60, "--precision", "bf16"]
    result = kit.ask("frames", "--device", kit.numeric, *lengths)
    if kit.rehearse:
        result.figures["of"] = "the CPU: no figure of a card"
    return result


def wan(kit, decoder):
    """A folder of the template with another decoder, as a model with random weights."""
    model = json.loads((kit.folder / f"models/templates/{WAN}.json").read_text(encoding="utf-8"))
    if decoder == "taehv":
        model["decoder"] = {"kind": "taehv", "file": "taehv.safetensors", "config": {"latent_channels": 16}}
    folder = kit.scratch / decoder
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_text(json.dumps(model), encoding="utf-8")
    return f"random:{folder}"


# name: decoder, precision, attention, chunks. The history is full after six chunks.
SPEEDS = {"bf16, TAEHV": ("taehv", "bf16", "", 12), "bf16, Wan VAE": ("wan_vae", "bf16", "", 4),
          "flash attention": ("taehv", "bf16", "flash", 4), "cuDNN's attention": ("taehv", "bf16", "cudnn", 4),
          "fp8": ("taehv", "fp8", "", 4)}
REHEARSED = {"bf16, TAEHV": ("taehv", "bf16", "", 2)}


@needs_gpu
def check_wan(kit):
    """Steps, clean pass, making room in the history, decoders, attention and precision of random Wan 1.3B."""
    figures, failed = {}, []
    for name, (decoder, precision, attention, chunks) in (REHEARSED if kit.rehearse else SPEEDS).items():
        more = ["--attention", attention] if attention else []
        one = kit.ask("speed", "--device", "cuda", "--model", wan(kit, decoder), "--precision", precision, "--steps", 0,
                      "--chunks", chunks, *more, stand_in=kit.rehearse)
        figures[name] = one.figures if one.status == PASS else {"status": one.status, "reason": one.reason}
        if one.status == FAIL:
            failed.append(f"{name}: {one.reason}")
    result = Result(FAIL if failed else PASS, "; ".join(failed), {"speeds": figures})
    if kit.rehearse:
        result.figures["of"] = "the stand-in: seconds are the host's, megabytes are real"
    return result


@needs_gpu
def check_graphs(kit):
    """The network's blocks as CUDA graphs, and launched one by one."""
    if kit.rehearse:
        return skip("what a graph runs has no stand-in that takes time")
    figures = {}
    for name, more in (("launched", []), ("graphs", ["--graphs"])):
        one = kit.ask("speed", "--device", "cuda", "--model", wan(kit, "taehv"), "--precision", "bf16", "--steps", 0, "--chunks", 5, *more)
        if one.status == FAIL:
            return Result(FAIL, f"{name}: {one.reason}", figures)
        figures[name + "_chunk_s"] = one.figures["chunk_s"]
    return Result(PASS, "", figures)


@needs_gpu
def check_ranks(kit):
    """One stream over several GPUs, or over two processes on the only one: the same picture; with several, how fast."""
    if kit.rehearse:
        return kit.ask("ranks", "--devices", "cpu,cpu", "--steps", 4, *SMALL)
    count = len(kit.run(["nvidia-smi", "-L"], limit=20).out.strip().splitlines())
    result = kit.ask("ranks", "--devices", "cuda:0,cuda:1" if count > 1 else "cuda:0,cuda:0", *SMALL)
    speeds = {}
    for devices in (one for one in (1, 2, 4, 8) if one <= count > 1):
        device = ",".join(f"cuda:{i}" for i in range(devices))
        one = kit.ask("speed", "--device", device, "--model", wan(kit, "taehv"), "--precision", "bf16", "--steps", 0, "--chunks", 4)
        speeds[device] = one.figures if one.status == PASS else {"status": one.status, "reason": one.reason}
    result.figures["speeds, to compare with tests/bench/scale.py"] = speeds
    return result


@needs_gpu
def check_endless(kit):
    lengths = ["--chunks", 12, "--steps", 2, *SMALL] if kit.rehearse else ["--chunks", 300, "--seconds", 50, "--precision", "bf16"]
    return kit.ask("endless", "--device", "cuda", *lengths, stand_in=kit.rehearse)


@needs_gpu
def check_memory(kit):
    return kit.ask("memory", "--device", "cuda", "--steps", 4, *SMALL, stand_in=kit.rehearse)


CHECKS = [
    Check("process", "A CPU engine, then two on the GPU; memory given back", 1, 40, check_process),
    Check("fp32", "Golden cases in fp32", 1, 40, goldens("fp32")),
    Check("bf16", "Golden cases in bf16", 1, 30, goldens("bf16"), quick=False),
    Check("fp8", "Golden cases in fp8", 1, 30, goldens("fp8"), quick=False),
    Check("policies", "Every policy decides and draws as on the CPU, and repeats", 1, 90, check_policies),
    Check("pair", "Two streams at once draw what each draws alone", 1, 30, check_pair, quick=False),
    Check("planes", "CUDA planes equal host planes, at odd sizes too", 1, 20, check_planes),
    Check("sanitizer", "The same under compute-sanitizer", 1, 60, check_sanitizer),
    Check("frames", "Time of a frame while chunks are made", 2, 40, check_frames, quick=False),
    Check("wan", "Random Wan 1.3B: steps, decoders, attention, fp8", 2, 100, check_wan, quick=False),
    Check("graphs", "CUDA graphs on and off", 2, 30, check_graphs),
    Check("ranks", "One stream over several GPUs: the same picture, and how fast", 2, 60, check_ranks),
    Check("endless", "300 chunks, or those of 50 s: growth and p99", 2, 70, check_endless),
    Check("memory", "Out of memory, and recovery", 2, 40, check_memory),
]
