#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""make_stubs.py LIBTORCH OUT.c SOURCE…: functions of NVIDIA's libraries that LibTorch names and no SOURCE defines.

They succeed and do nothing. What a SOURCE defines is read from its text, so that nothing has to be compiled first."""
import re
import subprocess
import sys
from pathlib import Path

NVIDIA = re.compile(r"^(cu[A-Z]|cuda[A-Z]|cudnn|cublas|cusparse|cufft|cufile|cuFile|curand|nccl|nvshmem|_?_cuda|nvtx|nvrtc)")


def symbols(library: Path, kind: str) -> set[str]:
    text = subprocess.run(["nm", "-D", kind, library], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].split("@")[0] for line in text.splitlines() if line.strip()}


def main() -> None:
    torch, out = Path(sys.argv[1]) / "lib", Path(sys.argv[2])
    defined = {name for file in sys.argv[3:] for name in re.findall(r"EXPORTED[^(]*?(\w+)\(", Path(file).read_text())}
    own = {"torch_cpu", "torch_cuda", "c10", "c10_cuda"}
    for name in own:
        defined |= symbols(torch / f"lib{name}.so", "--defined-only")
    wanted = set()
    for name in own | {"torch_nvshmem", "caffe2_nvrtc"}:
        library = torch / f"lib{name}.so"
        if library.exists():
            wanted |= symbols(library, "--undefined-only")
    rest = sorted(name for name in wanted - defined if NVIDIA.match(name))
    lines = [f'__attribute__((visibility("default"))) long {name}(void) {{ return 0; }}' for name in rest]
    out.write_text("/* Made by make_stubs.py. */\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
