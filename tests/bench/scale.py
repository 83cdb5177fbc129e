#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""scale.py FLOWCACHE [TEMPLATE.json ...]: a prediction of what several GPUs give one stream, as a Markdown table. Nothing is run on
a GPU: bytes and exchanges are those of `flowcache inspect --devices`, operations follow from model.json, and the rest is assumed
below. Only for Wan's network."""

import json
import pathlib
import subprocess
import sys

TEMPLATES = pathlib.Path(__file__).resolve().parent.parent.parent / "models/templates"

# NVIDIA's data sheet of the H100 SXM: 1979 TFLOPS in bf16 with sparsity, half of it without; NVLink 900 GB/s, both ways together;
# PCIe 5.0 128 GB/s, both ways together.
PEAK, NVLINK, PCIE = 1979e12 / 2, 900e9 / 2, 128e9 / 2
# Assumptions, of which none was measured here: the part of each peak that is reached, the time of an exchange that carries
# nothing, and what Gloo moves between two processes of one machine.
REACHED, LINK_REACHED, NCCL_LATENCY, GLOO, GLOO_LATENCY = 0.5, 0.7, 30e-6, 3e9, 300e-6
LAUNCH = 7e-6  # of a kernel by the host, which each rank does for itself; there are 20 in a layer (tests/fake_gpu/report)
LAUNCHES_PER_LAYER = 20


def plan(program, template, devices):
    """Rank 0 of `inspect --devices`: exchanges, and bytes given in a forward pass; forward passes of a chunk."""
    text = subprocess.run([program, "inspect", "--devices", str(devices), "--device", "gpu", "--precision", "bf16",
                           f"random:{template}"], capture_output=True, text=True, check=True).stdout
    row = next(line for line in text.splitlines() if line.startswith("| 0 |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    passes = int(text.split(" forward passes")[0].split()[-1])
    return int(cells[4]), float(cells[5].split()[0]) * 1e6, passes


def operations(model):
    """Of a forward pass with a full history."""
    config, video = model["transformer"]["config"], model["video"]
    dim, layers = config["dim"], config["num_layers"]
    scale = 16  # pixels of a token: eight of the latent, two of the patch
    tokens = video["latent_frames_per_chunk"] * (video["width"] // scale) * (video["height"] // scale)
    attended = tokens * (model["cache"].get("history_chunks", 3) + 1)
    weights = 6 * dim * dim + 2 * dim * config["ffn_dim"]  # self-attention, the text's queries and output, feed-forward
    return layers * tokens * (2 * weights + 4 * dim * attended), layers


def main():
    program = sys.argv[1]
    templates = sys.argv[2:] or [str(TEMPLATES / name) for name in ("self-forcing-1.3b.json", "krea-realtime-14b.json")]
    print("| model | GPUs | MB given a pass | exchanges a pass | a chunk, NVLink | faster | a chunk, through the host | faster |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for template in templates:
        model = json.loads(pathlib.Path(template).read_text(encoding="utf-8"))
        flops, layers = operations(model)
        floor = layers * LAUNCHES_PER_LAYER * LAUNCH
        passes = plan(program, template, 2)[2]
        alone = max(flops / (PEAK * REACHED), floor)
        print(f"| {model['name']} | 1 | | | {passes * alone:.2f} s | 1.0 | {passes * alone:.2f} s | 1.0 |")
        for devices in (2, 4, 8):
            exchanges, given, passes = plan(program, template, devices)
            own = max(flops / devices / (PEAK * REACHED), floor)
            linked = own + given / (NVLINK * LINK_REACHED) + exchanges * NCCL_LATENCY
            hosted = own + given * (2 / (PCIE * LINK_REACHED) + 1 / GLOO) + exchanges * GLOO_LATENCY
            print(f"| | {devices} | {given / 1e6:.0f} | {exchanges} | {passes * linked:.2f} s | {alone / linked:.1f} | "
                  f"{passes * hosted:.2f} s | {alone / hosted:.1f} |")


main()
