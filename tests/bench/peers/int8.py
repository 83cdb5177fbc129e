# SPDX-License-Identifier: LGPL-2.1-or-later
"""int8.py [speed|quality]: what linear layers in int8 would gain and cost. Weights a scale for each row, activations a scale for
each call, chosen as it runs. speed: LibTorch's own operators, FBGEMM's and oneDNN's, against packed fp32 and bf16, in turns.
quality: the model that ships with all linear layers of its blocks so, against itself in fp32. With the peers' Python:

    PYTHONPATH=deps/peers $(cat deps/peers/interpreter) tests/bench/peers/int8.py
"""
import copy
import math
import pathlib
import statistics
import sys
import time

import torch

# rows, in, out: the model that ships, all tokens and a block's slice of them; Wan 1.3B
SHAPES = ((432, 192, 192), (432, 192, 768), (432, 768, 192), (64, 192, 192), (64, 192, 768), (64, 768, 192),
          (1530, 1536, 1536), (1530, 1536, 8960), (1530, 8960, 1536), (64, 1536, 8960))
PROMPTS = ("slow green aurora over mountains", "orange fire", "red lava lamp")


def quantised(weight):
    """(int8 values, a scale for each row)."""
    scale = weight.abs().amax(1) / 127
    return (weight / scale[:, None]).round().to(torch.int8), scale


def dynamic(weight, bias, engine):
    torch.backends.quantized.engine = engine
    scale = quantised(weight)[1]
    per_row = torch.quantize_per_channel(weight, scale, torch.zeros(len(weight), dtype=torch.long), 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(per_row, bias)
    return lambda x: torch.ops.quantized.linear_dynamic(x, packed, False)


def ways(rows, weight, bias):
    """Name -> (function of x, x's type)."""
    def packed(dtype):
        w, b = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype), rows), bias.to(dtype)
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, w, b, "none", [], "")
    values, scale = quantised(weight)
    w, zeros = torch.ops.onednn.qlinear_prepack(values, [rows, weight.shape[1]]), torch.zeros(len(weight), dtype=torch.int32)
    alone = lambda x: torch.ops.onednn.qlinear_pointwise(x, .03, 128, w, scale, zeros, bias, 1.0, 0, torch.float32, "none", [], "")
    return {"fp32": (packed(torch.float32), torch.float32), "bf16": (packed(torch.bfloat16), torch.bfloat16),
            "int8 FBGEMM": (dynamic(weight, bias, "fbgemm"), torch.float32),
            "int8 oneDNN": (dynamic(weight, bias, "onednn"), torch.float32),
            "product alone": (alone, torch.uint8)}


def speed(turns=7):
    print(f"ms with {torch.get_num_threads()} threads, medians of {turns} turns")
    for rows, inside, outside in SHAPES:
        made = ways(rows, torch.randn(outside, inside) * .02, torch.randn(outside))
        x, repeat = torch.randn(rows, inside), max(1, int(2e9 / (2 * rows * inside * outside)))
        given = {dtype: (x * 33 + 128).clamp(0, 255).to(dtype) if dtype == torch.uint8 else x.to(dtype) for _, dtype in made.values()}
        ms = {name: [] for name in made}
        for _ in range(turns + 1):
            for name, (run, dtype) in made.items():
                start = time.perf_counter()
                for _ in range(repeat):
                    run(given[dtype])
                ms[name].append((time.perf_counter() - start) / repeat * 1e3)
        print(f"[{rows} x {inside}] -> {outside}: " + ", ".join(f"{k} {statistics.median(v[1:]):.3f}" for k, v in ms.items()), flush=True)


class Linear(torch.nn.Module):
    """A layer of the model that ships, in int8 or in bf16."""

    def __init__(self, layer, kind):
        super().__init__()
        w, b = layer.weight.detach(), layer.bias.detach()
        wb, bb = w.bfloat16(), b.bfloat16()
        self.run = dynamic(w, b, "fbgemm") if kind == "int8" else lambda x: torch.nn.functional.linear(x.bfloat16(), wb, bb).float()

    def forward(self, x):
        return self.run(x.contiguous())


def with_linears(dit, kind):
    dit = copy.deepcopy(dit)
    for block in dit.blocks:
        for parent in (block.self_attn, block.cross_attn, block.ffn):
            for name, layer in list(parent.named_children()):
                once = parent is block.cross_attn and name in "kv"  # keys of the text, once a prompt
                if isinstance(layer, torch.nn.Linear) and not once:
                    setattr(parent, name, Linear(layer, kind))
    return dit


def quality():
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "models/ambient"))
    import sample
    model = sample.Model()
    decibel = lambda ratio: -10 * math.log10(ratio)

    def videos(dit):
        """Of each prompt: velocities of one latent at three timesteps, and the frames of a video."""
        made, noise = [], torch.randn(1, 16, 3, *sample.GRID, generator=torch.Generator().manual_seed(3))
        for prompt in PROMPTS:
            context = dit.text(torch.tensor([[sample.text.encode(prompt)]]))
            one = [dit.step(noise, t, context, 0, None)[0] for t in (950.0, 500.0, 100.0)]
            made.append((one, model.frames(sample.generate(dit, [prompt] * 2, seed=1)[0])))
        return made
    exact = videos(model.dit)
    for kind in ("bf16", "int8"):
        pairs = list(zip(exact, videos(with_linears(model.dit, kind))))
        one = [decibel(((a - b).pow(2).mean() / a.pow(2).mean()).item()) for (x, _), (y, _) in pairs for a, b in zip(x, y)]
        psnr = [decibel((a - b).pow(2).mean().item()) for (_, a), (_, b) in pairs]
        print(f"{kind}: error of one forward {min(one):.1f} to {max(one):.1f} dB below its power; frames after 24 steps "
              f"{', '.join(f'{value:.1f}' for value in psnr)} dB PSNR", flush=True)


with torch.inference_mode():
    for part in (speed, quality):
        if part.__name__ in (sys.argv[1:] or ("speed", "quality")):
            part()
