# SPDX-License-Identifier: LGPL-2.1-or-later
"""forward.py PEER MODEL_JSON PRECISION THREADS RUNS [HISTORY]: times one forward as bench-forward does, by a peer of the engine's:
eager, compile, flashdreams or flashdreams-compile. HISTORY: chunks in front, those of the model by default. Weights are random; their values do not change the time."""
import json
import sys
import time

import torch


def make(peer, model, dtype, history):
    """(forward, tokens of a chunk, tokens of its history)."""
    c, video = model["transformer"]["config"], model["video"]
    scale = 8 * model["decoder"]["config"].get("patch_size", 1)
    frames = video["latent_frames_per_chunk"]
    history = model["cache"]["history_chunks"] if history is None else int(history)
    h, w = video["height"] // scale, video["width"] // scale
    tokens = frames * (h // 2) * (w // 2)
    if peer.startswith("flashdreams"):
        import flashdreams_on_cpu
        return flashdreams_on_cpu.make(c, frames, h, w, history, dtype, peer.endswith("compile")), tokens, history * tokens
    import network
    wan = network.Wan(c).eval().to(dtype)
    text = wan.text_keys(torch.randn(1, c["text_len"], c["text_dim"]).to(dtype))
    side = lambda: torch.randn(1, c["num_heads"], (history + 1) * tokens, c["dim"] // c["num_heads"]).to(dtype)
    past = [(side(), side()) for _ in wan.blocks]
    latent, table = torch.randn(1, c["in_dim"], frames, h, w).to(dtype), wan.table(frames, h // 2, w // 2)
    run = torch.compile(wan) if peer == "compile" else wan
    return lambda: run(latent, torch.tensor([500.0]), table, past, text), tokens, history * tokens


def main(peer, file, precision, threads, runs, history=None):
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    with open(file, encoding="utf-8") as stream:
        model = json.load(stream)
    ms = []
    with torch.inference_mode():
        forward, tokens, history = make(peer, model, {"fp32": torch.float32, "bf16": torch.bfloat16}[precision], history)
        for i in range(int(runs) + 2):
            start = time.perf_counter()
            forward()
            if i >= 2:
                ms.append((time.perf_counter() - start) * 1e3)
    ms.sort()
    print(f"{peer} {precision} threads {torch.get_num_threads()} queries {tokens} history {history}")
    print(f"forward min {ms[0]:.2f} median {ms[len(ms) // 2]:.2f} ms")


main(*sys.argv[1:])
