# SPDX-License-Identifier: LGPL-2.1-or-later
"""eager_forward.py [fp32|bf16 [THREADS [RUNS]]]: what bench-forward times, by the Python model in eager PyTorch."""
import pathlib
import sys
import time

import torch

MODEL = pathlib.Path(__file__).resolve().parents[2] / "models/ambient"
sys.path.insert(0, str(MODEL))
import dit  # noqa: E402
from autoencoder import CELL  # noqa: E402
from export import load  # noqa: E402
from render import HEIGHT, WIDTH  # noqa: E402


def main(kind="fp32", threads="2", runs="20"):
    torch.set_num_threads(int(threads))
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    state, _, _ = load(MODEL)
    model = dit.DiT(state["token_embedding.weight"].shape[0])
    model.load_state_dict(state)
    model = model.eval().to(dtype)
    c = model.c
    rows, columns = HEIGHT // CELL, WIDTH // CELL
    z = torch.randn(1, c["in_dim"], 3, rows, columns, dtype=dtype)
    own = z[0, 0].numel() // 4  # tokens of a chunk
    history = 3 * own
    shape = (1, history, c["num_heads"], c["dim"] // c["num_heads"])
    kv = [(torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype)) for _ in range(c["num_layers"])]
    if kind == "bf16":  # the sinusoid is made in fp32
        embedding = model.time_embedding.forward
        model.time_embedding.forward = lambda x: embedding(x.to(dtype))
    ms = []
    with torch.inference_mode():
        context = model.text(torch.zeros(1, 1, c["text_len"], dtype=torch.long))
        for i in range(int(runs) + 2):
            start = time.perf_counter()
            model.step(z, 500.0, context, 9, kv)
            ms.append((time.perf_counter() - start) * 1e3)
    ms = sorted(ms[2:])
    print(f"eager {kind} threads {threads} queries {own} history {history}")
    print(f"forward min {ms[0]:.2f} median {ms[len(ms) // 2]:.2f} ms")


main(*sys.argv[1:])
