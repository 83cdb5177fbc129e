#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Samples the model in Python: a reference for the engine, and contact sheets."""
import argparse
import pathlib
import time

import torch
import torch.nn.functional as F

import export
import text
from autoencoder import CELL, CHANNELS, Decoder
from dit import DiT
from render import HEIGHT, WIDTH

GRID = (HEIGHT // CELL, WIDTH // CELL)
SHEET = ["green aurora", "orange fire", "golden ocean", "red lava lamp", "white stars", "blue snow", "pink clouds",
         "purple tunnel", "orange rain", "purple galaxy", "teal underwater", "red ink"]


class Model:
    """Transformer, decoder and the scale between them, in fp32, from the files exported to `folder`."""

    def __init__(self, folder=None):
        folder = folder or pathlib.Path(__file__).parent
        state, decoder, self.scale = export.load(folder)
        self.scenes = export.scenes(folder)
        self.dit, self.decoder = DiT(len(text.WORDS)).eval(), Decoder().eval()
        self.dit.load_state_dict(state)
        self.decoder.load_state_dict(decoder)

    @torch.no_grad()
    def frames(self, latents):
        """Latents [1,16,t,h,w] of the transformer -> frames [4t,3,H,W] in 0..1."""
        return self.decoder(latents * self.scale)[0].clamp(0, 1)


def sigmas(steps, shift):
    u = torch.linspace(1, 0, steps + 1)
    return shift * u / (1 + (shift - 1) * u)


@torch.no_grad()
def generate(dit, prompts, steps=24, shift=1.5, history=3, seed=0, noise=None, threshold=0.0, warmup=3, guidance=1.0,
             trace=None, fed=None, strengths=None):
    """Draws one chunk for each prompt, one at a time. Returns (latents [1,16,3n,h,w], number of forward passes).

    After its last step a chunk runs once more, at timestep 0. Later chunks attend the keys and values of that pass, of
    at most `history` chunks. After a new prompt there is no history. noise: [n,16,3,h,w] instead of the seed's.
    threshold > 0: a velocity is reused while the sum of the relative L1 distances of the embedded latents since it was
    computed stays below the threshold; never in the first `warmup` steps nor in the last. trace: a list that gets the
    velocity of every forward pass. fed: latents [n,16,3,h,w] that the chunks repaint, each with its own of `strengths`: the
    last round(strength * steps) steps run, from its own latents with the noise of the first of these steps.
    """
    gen, sigma, past, out, runs = torch.Generator().manual_seed(seed), sigmas(steps, shift), [], [], 0
    nothing = dit.text(torch.zeros(1, 1, text.MAX_IDS, dtype=torch.long))
    for c, prompt in enumerate(prompts):
        if c and prompt != prompts[c - 1]:
            past = []
        context = dit.text(torch.tensor([[text.encode(prompt)]]))
        x = torch.randn(1, CHANNELS, 3, *GRID, generator=gen) if noise is None else noise[c:c + 1]
        join = lambda layer: tuple(torch.cat([p[layer][i] for p in past], 1) for i in (0, 1))
        kv = [join(layer) for layer in range(len(dit.blocks))] if past else None
        first = 0 if fed is None else steps - int(strengths[c] * steps + .5)
        if first:
            x = (1 - sigma[first]) * fed[c:c + 1] + sigma[first] * x
        summed, before, velocity = 0.0, None, None
        for s in range(first, steps):
            tokens = dit.embed(x)
            moved = ((tokens - before).abs().mean() / before.abs().mean()).item() if before is not None else 0.0
            before = tokens
            if threshold > 0 and warmup <= s - first and s < steps - 1 and summed + moved < threshold:
                summed += moved
            else:
                summed, runs = 0.0, runs + 1
                velocity, _ = dit.step(x, sigma[s].item() * 1000, context, 3 * c, kv)
                if guidance != 1:
                    free, _ = dit.step(x, sigma[s].item() * 1000, nothing, 3 * c, kv)
                    velocity = free + guidance * (velocity - free)
                if trace is not None:
                    trace.append(velocity)
            x = x + velocity * (sigma[s + 1] - sigma[s])
        _, own = dit.step(x, 0.0, context, 3 * c, kv)
        runs += 1
        past = (past + [own])[-history:]
        out.append(x)
    return torch.cat(out, 2), runs


def save_sheet(rows, path, width=160):
    """rows: lists of frames [3,H,W] in 0..1 -> a PNG."""
    from PIL import Image
    small = lambda f: F.interpolate(f[None], size=(width * HEIGHT // WIDTH, width), mode="area")[0]
    picture = torch.cat([torch.cat([small(f) for f in row], 2) for row in rows], 1)
    Image.fromarray((picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()).save(path)


def sheet(model, path, steps=16, chunks=4):
    """A row of six frames for each prompt whose scene the model knows; below them three live changes of prompt."""
    pick = lambda video, n: [video[i] for i in torch.linspace(0, len(video) - 1, n).round().long().tolist()]
    rows = [pick(model.frames(generate(model.dit, [p] * chunks, steps)[0]), 6) for p in SHEET
            if p.split()[1] in model.scenes]
    for a, b in (("green aurora", "orange fire"), ("orange fire", "white stars"), ("blue snow", "purple tunnel")):
        video = model.frames(generate(model.dit, [a] * 2 + [b] * 4, steps, seed=5)[0])
        rows.append(pick(video[12:], 6))
    save_sheet(rows, path)


def main():
    parser = argparse.ArgumentParser(description="Write a contact sheet (PNG) of the model.")
    parser.add_argument("out", help="PNG to write")
    parser.add_argument("--model", help="folder with model.json (default: this one)")
    parser.add_argument("--prompt", action="append", help="once or more; default: one per scene, and changes of prompt")
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, start = Model(args.model), time.time()
    for prompt in args.prompt or []:
        unknown = text.words_of(prompt)[1]
        if unknown:
            print(f"warning: unknown words dropped from {prompt!r}: {' '.join(unknown)}")
    if args.prompt:
        rows = []
        for prompt in args.prompt:
            video = model.frames(generate(model.dit, [prompt] * args.chunks, args.steps)[0])
            rows.append([video[i] for i in torch.linspace(0, len(video) - 1, 6).round().long().tolist()])
        save_sheet(rows, args.out)
    else:
        sheet(model, args.out, steps=args.steps, chunks=args.chunks)
    print(f"{args.out}: {time.time() - start:.1f} s")


if __name__ == "__main__":
    main()
