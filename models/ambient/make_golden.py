#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes tests/golden/ambient-stream and ambient-feed: the result in Python of the shipped weights, in fp32, for given noise.

Run it again after every change of the weights or the word list. The same weights give the same case. The history holds
three chunks, so a chunk has left it before the fourth and the fifth are made.
"""
import json
import pathlib

import torch
from safetensors.torch import save_file

import autoencoder
import sample
import text

FEED = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "ambient-feed"
STRENGTHS, FED_SIZE = [.6, .3, .6, 1, 0, .45], (256, 160)
FEED_NOTES = [
    "chunks that repaint: 12 frames of size are encoded (autoencoder.Encoder) and divided by latent_scale; the last round(strength*steps) "
    "steps run, from (1-sigma)*latents + sigma*noise; everything else as in ambient-stream",
    "sample (x,y) of channel c of frame n is ((5+2*c)*x + (3+c)*y + 4*n*(c+1)) % 256, bytes; out.fed are the latents of all of them"]
CASE = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "ambient-stream"
PROMPTS = ["slow green aurora"] * 2 + ["orange fire"] * 3
STEPS, SHIFT, HISTORY = 8, 1.5, 3
TEXTS = ["", "fire", "slow green aurora over mountains", "Fast BLUE stars!", "golden, ocean... (at night)", "purple\tneon\ntunnel",
         "sunset", "two flames and a snowflake", "fyre", "oceam wavs", "snoww", "slow", "sow", "blu", "quetzal", "café in teal",
         "red-orange_lava42lamp", "dense clouds to the right", "few snowflakes leftwards, rigt", "a " * 20, "northern lights in violet, dancing", "12345 !?"]
NOTES = [
    "weights are those of config.model, upcast to fp32; noise [chunks,16,3,h,w], latents [16,3*chunks,h,w]",
    "sigma = shift*u/(1+(shift-1)*u), u from 1 to 0 in equal steps; timestep 1000*sigma; x += v*(sigma_next-sigma)",
    "after its last step a chunk runs once more at timestep 0; that forward's K and V are the history of later chunks",
    "history: the last history_chunks chunks, none for the first chunk of a new prompt; RoPE counts absolute latent frames; no reuse, no guidance",
    "latents are the transformer's: times decoder.config.latent_scale they are the decoder's",
    "frames: of the first chunk, round(255*clamp(frame,0,1)); they may differ by one level",
    "text: ids before padding; words that are neither known, synonyms nor one edit from one word are in unknown"]


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = sample.Model()
    noise, trace = torch.randn(len(PROMPTS), 16, 3, *sample.GRID, generator=torch.Generator().manual_seed(2602)), []
    latents, _ = sample.generate(model.dit, PROMPTS, STEPS, SHIFT, HISTORY, noise=noise, trace=trace)
    frames = (model.frames(latents[:, :, :3]) * 255).round().byte()
    CASE.mkdir(parents=True, exist_ok=True)
    save_file({"in.noise": noise, "out.latents": latents[0].contiguous(), "out.velocity0": trace[0][0].contiguous(),
               "out.frames": frames.contiguous()}, CASE / "tensors.safetensors")
    generate = dict(op="generate", prompts=PROMPTS, steps=STEPS, shift=SHIFT, history_chunks=HISTORY, noise="in.noise",
                    token_ids=[text.encode(p) for p in PROMPTS], latents="out.latents", velocity0="out.velocity0",
                    frames="out.frames")
    words = []
    for prompt in TEXTS:
        ids = text.encode(prompt)
        words.append(dict(op="text", prompt=prompt, ids=[i for i in ids if i], padded=ids, unknown=text.words_of(prompt)[1]))
    case = dict(kind="ambient-stream", source=dict(project="gst-flowcache", files=["models/ambient/sample.py", "models/ambient/text.py"]),
                config=dict(model="../../../models/ambient"), calls=[generate] + words, tolerance=dict(rtol=1e-3, atol=1e-3),
                notes=NOTES)
    (CASE / "case.json").write_text(json.dumps(case, indent=1, ensure_ascii=False) + "\n")
    (CASE / "tensors.safetensors").chmod(0o644)
    print(f"{CASE}: {len(PROMPTS)} chunks, {len(TEXTS)} prompts, latents std {latents.std():.3f}")


def fed_frames(chunks):
    """A moving pattern that every language can make: [12*chunks,3,H,W] in 0..1."""
    n, c = torch.arange(12 * chunks).view(-1, 1, 1, 1), torch.arange(3).view(1, 3, 1, 1)
    y, x = torch.arange(FED_SIZE[1]).view(1, 1, -1, 1), torch.arange(FED_SIZE[0]).view(1, 1, 1, -1)
    return (((5 + 2 * c) * x + (3 + c) * y + 4 * n * (c + 1)) % 256) / 255


def feed():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, chunks, trace = sample.Model(), len(STRENGTHS), []
    height, width = FED_SIZE[1] // autoencoder.CELL, FED_SIZE[0] // autoencoder.CELL
    noise = torch.randn(chunks, 16, 3, height, width, generator=torch.Generator().manual_seed(2602))
    fed = autoencoder.Encoder()(fed_frames(chunks)) / model.scale  # [16,3*chunks,h,w]
    split = fed.view(16, chunks, 3, height, width).transpose(0, 1).contiguous()
    latents, _ = sample.generate(model.dit, PROMPTS[:1] * chunks, STEPS, SHIFT, HISTORY, noise=noise, trace=trace, fed=split,
                                 strengths=STRENGTHS)
    FEED.mkdir(parents=True, exist_ok=True)
    save_file({"in.noise": noise, "out.fed": fed.contiguous(), "out.latents": latents[0].contiguous()}, FEED / "tensors.safetensors")
    call = dict(op="feed", prompt=PROMPTS[0], steps=STEPS, shift=SHIFT, history_chunks=HISTORY, size=FED_SIZE, strengths=STRENGTHS,
                noise="in.noise", fed="out.fed", latents="out.latents")
    case = dict(kind="ambient-feed", source=dict(project="gst-flowcache", files=["models/ambient/sample.py", "models/ambient/autoencoder.py"]),
                config=dict(model="../../../models/ambient"), calls=[call], tolerance=dict(rtol=1e-3, atol=1e-3), notes=FEED_NOTES)
    (FEED / "case.json").write_text(json.dumps(case, indent=1, ensure_ascii=False) + "\n")
    (FEED / "tensors.safetensors").chmod(0o644)
    print(f"{FEED}: {chunks} chunks, {len(trace)} forward passes, latents std {latents.std():.3f}, fed std {fed.std():.3f}")


if __name__ == "__main__":
    main()
    feed()
