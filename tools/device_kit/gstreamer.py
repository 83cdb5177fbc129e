# SPDX-License-Identifier: LGPL-2.1-or-later
"""The element: frames in CUDA memory, NVENC, and live for a minute."""
import re
import shutil

from engine import needs_gpu
from kit import FAIL, PASS, Check, Result, last_line, skip


def no_gstreamer(kit):
    if not shutil.which("gst-launch-1.0"):
        return "GStreamer is not installed"
    if not (kit.folder / "lib/libgstflowcache.so").exists():
        return "the plugin was not built where the kit was prepared"
    ran = kit.run(["gst-inspect-1.0", "flowcachesrc"], limit=30)
    return "" if ran.status == 0 else f"the plugin does not load here: {last_line(ran.err or ran.out)}"


def lacks(kit, element):
    return kit.run(["gst-inspect-1.0", "--exists", element], limit=20).status != 0


def frames_of(kit, device, caps, rest, name):
    """Bytes of some frames through a pipeline, and what went wrong."""
    file = kit.scratch / name
    ran = kit.run(["gst-launch-1.0", "-q", "flowcachesrc", f"device={device}", "precision=fp32", "is-live=false", "steps=2", "seed=5",
                   "prompt=orange fire", "num-buffers=12", "!", caps, *rest, "!", "filesink", f"location={file}"])
    return (file.read_bytes() if file.exists() else b""), "" if ran.status == 0 else last_line(ran.err or ran.out)


@needs_gpu
def check_memory(kit):
    if reason := no_gstreamer(kit):
        return skip(reason)
    raw = "format=NV12,width=256,height=160"
    system, problem = frames_of(kit, kit.numeric, f"video/x-raw,{raw}", [], "system")
    if problem or not system:
        return Result(FAIL, f"in system memory: {problem or 'no frame'}")
    figures = {"bytes": len(system)}
    if kit.rehearse:
        return skip("frames in system memory come out; CUDA memory in GStreamer needs a card", **figures)
    if lacks(kit, "cudadownload"):
        return skip("there is no cudadownload", **figures)
    cuda, problem = frames_of(kit, "cuda", f"video/x-raw(memory:CUDAMemory),{raw}", ["!", "cudadownload"], "cuda")
    if problem or len(cuda) != len(system):
        return Result(FAIL, problem or f"{len(cuda)} bytes instead of {len(system)}", figures)
    figures["largest_difference"] = max(abs(a - b) for a, b in zip(system, cuda))
    return Result(PASS if figures["largest_difference"] <= 1 else FAIL, "" if figures["largest_difference"] <= 1 else "frames differ", figures)


@needs_gpu
def check_nvenc(kit):
    if reason := no_gstreamer(kit):
        return skip(reason)
    if lacks(kit, "nvh264enc"):
        return skip("there is no nvh264enc")
    raw = "video/x-raw(memory:CUDAMemory),format=NV12"
    coded, problem = frames_of(kit, "cuda", raw, ["!", "nvh264enc"], "coded")
    return Result(FAIL if problem or not coded else PASS, problem, {"bytes": len(coded)})


@needs_gpu
def check_live(kit):
    """Underruns of a live stream, from the element's last statistics."""
    if reason := no_gstreamer(kit):
        return skip(reason)
    seconds = 3 if kit.rehearse else 60
    size = ["!", "video/x-raw,width=256,height=160"] if kit.rehearse else []
    ran = kit.run(["gst-launch-1.0", "-m", "flowcachesrc", f"device={kit.numeric}", "prompt=orange fire", f"num-buffers={16 * seconds}",
                   "stats-interval=1000000000", *size, "!", "fakesink", "sync=true"])
    told = re.findall(r"flowcache-stats.*", ran.out)
    if ran.status != 0 or not told:
        return Result(FAIL, last_line(ran.err or ran.out))
    figures = {"seconds": seconds}
    for name in ("fps", "frames", "repeated", "skipped", "underruns"):
        if found := re.search(rf"\b{name}=\(\w+\)([0-9.]+)", told[-1]):
            figures[name] = float(found[1])
    if "underruns" not in figures:
        return Result(FAIL, "the statistics name no underruns", figures)
    bad = figures["underruns"] > 0 and not kit.rehearse  # a busy machine says nothing of a card
    return Result(FAIL if bad else PASS, "frames came late" if bad else "", figures)


CHECKS = [
    Check("gst-memory", "GStreamer: CUDAMemory and cudadownload equal system memory", 2, 30, check_memory, quick=False),
    Check("gst-nvenc", "GStreamer: NVENC", 2, 20, check_nvenc),
    Check("gst-live", "GStreamer: live, and its underruns", 2, 80, check_live, quick=False),
]
