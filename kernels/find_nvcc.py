#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""find_nvcc.py FOLDER MAJOR: an nvcc that can compile the kernels here, and how.

Looks on the PATH ($NVCC first), in /usr/local/cuda and in FOLDER, where tools/setup.sh puts the one from NVIDIA's wheels. Each
is tried on a small program: first with its own choice of a compiler for the host, then with older ones, as an nvcc refuses a
compiler that is newer than it; last with the check of versions off. Prints the beginning of a command, one word a line. If
none can: the reasons, on standard error, and status 1. MAJOR: the version of LibTorch's CUDA runtime, which the module is linked with;
a compiler of another makes code that the drivers for this one cannot load."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SYSTEM = "/usr/local/cuda/bin/nvcc"
ARCHITECTURES = (75, 80, 90)  # each runs on the later cards of its first digit; the last goes along as PTX, for cards after it
HOST_COMPILERS = ("g++-15", "g++-14", "g++-13", "g++-12", "g++-11", "clang++", "clang++-19", "clang++-18", "clang++-17",
                  "clang++-16", "clang++-15", "clang++-14")
PROGRAM = """
#include <cstdint>
#include <map>
#include <mutex>
__global__ void twice(float* x) { x[threadIdx.x] += __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1); }
int run(float* x) {
  cudaLaunchConfig_t config{};
  config.gridDim = config.blockDim = dim3(32);
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  return cudaLaunchKernelEx(&config, twice, x);
}
"""


def run(*command: str) -> tuple[bool, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, done.stdout + done.stderr


def candidates(folder: Path) -> list[str]:
    found = [os.environ.get("NVCC"), shutil.which("nvcc"), SYSTEM, str(folder / "nvidia/cu13/bin/nvcc")]
    return list(dict.fromkeys(one for one in found if one and shutil.which(one)))


def flags_of(nvcc: str, runtime: int) -> list[str]:
    """What the compiler makes code for. Raises ValueError with the reason if it is of no use."""
    good, said = run(nvcc, "--version")
    version = re.search(r"release (\d+)\.(\d+)", said)
    if not good or not version:
        raise ValueError(f"does not run: {first_line(said)}")
    if int(version[1]) != runtime:
        raise ValueError(f"is of CUDA {version[1]}.{version[2]}, LibTorch's runtime of CUDA {runtime}")
    good, said = run(nvcc, "--list-gpu-arch")
    known = [one for one in ARCHITECTURES if f"compute_{one}\n" in said] if good else []
    if not known:
        raise ValueError("knows none of the architectures " + ", ".join(map(str, ARCHITECTURES)))
    flags = []
    for one in known:
        code = f"[sm_{one},compute_{one}]" if one == known[-1] else f"sm_{one}"
        flags += ["-gencode", f"arch=compute_{one},code={code}"]
    return flags


def first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line or "fatal" in line]
    return (errors or lines or ["no message"])[0]


def try_out(nvcc: str, flags: list[str]) -> list[str]:
    hosts = [one for one in HOST_COMPILERS if shutil.which(one)]
    ways = [[], *(["-ccbin", one] for one in hosts), ["-allow-unsupported-compiler"]]
    reason = ""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.cu"
        source.write_text(PROGRAM)
        for way in ways:
            command = [nvcc, *way, *flags]
            good, said = run(*command, "-std=c++17", "-c", "-Xcompiler", "-fPIC", str(source), "-o", str(source) + ".o")
            if good:
                return command
            reason = reason or first_line(said)
    raise ValueError(f"cannot compile a small program, with {', '.join(['its own compiler for the host', *hosts])}: {reason}")


def main() -> int:
    reasons = []
    for nvcc in candidates(Path(sys.argv[1])):
        try:
            print("\n".join(try_out(nvcc, flags_of(nvcc, int(sys.argv[2])))))
            return 0
        except ValueError as error:
            reasons.append(f"{nvcc} {error}")
    print("; ".join(reasons) or f"there is no nvcc on the PATH, in {SYSTEM} or in {sys.argv[1]}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
