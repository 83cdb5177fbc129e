# SPDX-License-Identifier: LGPL-2.1-or-later
"""What machine this is, and whether the engine can use its GPU."""
import json
import re
import shutil

from kit import FAIL, PASS, SKIP, Check, Result, last_line, skip
from prepare import torch_version


def nvidia_smi(kit):
    if not shutil.which("nvidia-smi"):
        return "no nvidia-smi"
    fields = "name,driver_version,memory.total,compute_cap"
    return kit.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"], limit=20).out.strip() or "nvidia-smi lists nothing"


def not_found(kit, file):
    """The libraries that a program or library needs, directly or not, and that are not here."""
    return re.findall(r"^\s*(\S+) => not found", kit.run(["ldd", str(file)], limit=20).out, re.MULTILINE)


def check_libraries(kit):
    missing, gpu = {}, nvidia_smi(kit)
    # Without a card LibTorch comes without what its CUDA half needs, and so do our modules that are linked with that half.
    known = set(not_found(kit, kit.torch / "lib/libtorch_cuda.so")) if gpu == "no nvidia-smi" else set()
    for file in sorted([*(kit.folder / "bin").iterdir(), *(kit.folder / "lib").iterdir()]):
        if file.name.startswith("libgst"):
            continue  # its libraries are GStreamer's, which may not be here
        lost = [name for name in not_found(kit, file) if name not in known]
        if lost:
            missing[file.name] = " ".join(lost)
    made = json.loads((kit.folder / "manifest.json").read_text(encoding="utf-8"))
    here = torch_version(kit.torch)
    figures = {"gpu": gpu, "revision": made["revision"], "libtorch": here or "unknown", "missing": missing}
    nvcc = shutil.which("nvcc")
    figures["nvcc"] = last_line(kit.run([nvcc, "--version"], limit=20).out) if nvcc else "none"
    if missing:
        return Result(FAIL, f"libraries are missing: {missing}", figures)
    if made["libtorch"] and here != made["libtorch"]:
        return Result(FAIL, f"LibTorch is {here or 'unknown'} here, and the programs were made with {made['libtorch']}", figures)
    return Result(PASS, "", figures)


def check_doctor(kit):
    """Also tells the checks behind it whether there is a GPU."""
    if kit.rehearse and not (kit.stand_in / "names").exists():
        return skip(f"the stand-in for a GPU was not built in {kit.stand_in}")
    ran = kit.run([kit.program("flowcache"), "doctor"], stand_in=kit.rehearse)
    line = re.search(r"^\S+ +GPU +(.*)$", ran.out, re.MULTILINE)
    gpu = line.group(1) if line else f"doctor says nothing of a GPU: {last_line(ran.err)}"
    kit.why_no_gpu = "" if gpu.startswith("used: cuda") else gpu
    figures = {"gpu": gpu, "doctor": ran.out.splitlines()}
    if kit.why_no_gpu:
        return Result(FAIL if kit.rehearse else SKIP, kit.why_no_gpu, figures)
    return Result(PASS, "", figures)


CHECKS = [Check("libraries", "Driver, versions and libraries", 1, 30, check_libraries),
          Check("doctor", "flowcache doctor uses the GPU", 1, 40, check_doctor)]
